"""The intervention log of interventions as pages show it."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

InterventionStatus = Literal["triggered", "skipped", "holdout"]
INTERVENTION_STATUSES: tuple[InterventionStatus, ...] = get_args(InterventionStatus)
CONCLUSION_LABELS: dict[InterventionStatus, str] = {
    "triggered": "Triggered",
    "skipped": "Skipped",
    "holdout": "Holdout",
}

DAYS_OFFERED = (1, 7, 30, 90)
LOG_ROWS = 100


@dataclass(frozen=True, slots=True)
class LogView:
    """What of the intervention log is shown. Empty text means no filter; days: how many, up to the
    latest."""

    trigger: str = ""
    status: InterventionStatus | Literal[""] = ""
    reason: str = ""
    days: int = 7
    page: int = 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the intervention log. reason: for decided what fired it, in words; else the code
    of what kept it back.

    message_status: state of the message it led to; null when it led to none.
    """

    id: uuid.UUID
    supplier_id: uuid.UUID
    supplier_name: str
    trigger: str
    action: str
    channel: str
    status: InterventionStatus
    reason: str
    priority: int
    evaluated_at: datetime
    evaluated_on: date
    success_by: date | None
    message_status: str | None


@dataclass(frozen=True, slots=True)
class TriggerCount:
    """What became of one trigger's proposals over the days shown; skipped: (reason code, how many),
    most first."""

    trigger: str
    triggered: int
    holdout: int
    skipped: list[tuple[str, int]]

    @property
    def total(self) -> int:
        return self.triggered + self.holdout + sum(count for _, count in self.skipped)
