"""The ledger of interventions as pages show it."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

VerdictStatus = Literal["decided", "withheld", "held_out"]
VERDICT_STATUSES: tuple[VerdictStatus, ...] = get_args(VerdictStatus)
VERDICT_WORDS: dict[VerdictStatus, str] = {"decided": "Decided", "withheld": "Withheld", "held_out": "Held out"}

DAYS_OFFERED = (1, 7, 30, 90)
LEDGER_ROWS = 100


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What of the ledger is shown. Empty text means no filter; days: how many, up to the latest."""

    trigger: str = ""
    status: VerdictStatus | Literal[""] = ""
    reason: str = ""
    days: int = 7
    page: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the ledger. reason: for decided what fired it, in words; else the code of what kept it back.

    message_status: state of the message it led to; null when it led to none.
    """

    id: uuid.UUID
    supplier_id: uuid.UUID
    supplier_name: str
    trigger: str
    action: str
    channel: str
    status: VerdictStatus
    reason: str
    priority: int
    decided_at: datetime
    decided_on: date
    success_by: date | None
    message_status: str | None


@dataclass(frozen=True, slots=True)
class TriggerCount:
    """What became of one trigger's proposals over the days shown; withheld: (reason code, how many), most first."""

    trigger: str
    decided: int
    held_out: int
    withheld: list[tuple[str, int]]

    @property
    def total(self) -> int:
        return self.decided + self.held_out + sum(count for _, count in self.withheld)
