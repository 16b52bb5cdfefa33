"""The intervention log as pages show it."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from everafter.interventions.model import Status

STATUSES: tuple[Status, ...] = get_args(Status)
STATUS_LABELS: dict[Status, str] = {
    "triggered": "Triggered",
    "skipped": "Skipped",
    "holdout": "Holdout",
}

DAYS_OFFERED = (1, 7, 30, 90)
LOG_ROWS = 100
"""Entries on a page."""


@dataclass(frozen=True, slots=True)
class LogView:
    """What part of the log a page shows: `days` days up to the latest. An empty text is no
    filter."""

    trigger: str = ""
    status: Status | Literal[""] = ""
    reason: str = ""
    days: int = 7
    page: int = 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log.

    reason: for a triggered entry why, in words; else the code of the skip reason. message_status:
    status of the message that was written; null: none was. acted_on, holdout_on: for an entry
    skipped by its cooldown, the last day before it on which the trigger was triggered or in the
    holdout; null: never.
    """

    id: uuid.UUID
    supplier_id: uuid.UUID
    supplier_name: str
    trigger: str
    action: str
    channel: str
    status: Status
    reason: str
    priority: int
    evaluated_at: datetime
    evaluated_on: date
    success_by: date | None
    message_status: str | None
    acted_on: date | None = None
    holdout_on: date | None = None


@dataclass(frozen=True, slots=True)
class TriggerCount:
    """One trigger's entries over the days shown. skipped: (reason code, number), the most frequent
    first."""

    trigger: str
    triggered: int
    holdout: int
    skipped: list[tuple[str, int]]

    @property
    def total(self) -> int:
        return self.triggered + self.holdout + sum(count for _, count in self.skipped)
