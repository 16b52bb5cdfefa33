"""What the support page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from everafter.tickets.model import ClockState, State

Show = Literal["", "breached", "due_soon", "on_time", "waiting"]
SHOW_LABELS: dict[Show, str] = {
    "": "All open",
    "breached": "Breached",
    "due_soon": "Due soon",
    "on_time": "On time",
    "waiting": "Waiting for the supplier",
}
NO_PRIORITY = "-"
NO_VENDOR_TYPE = "-"
PAGE_ROWS = 40
WEEKS = 12
CALL_DAYS = 7
MOST_CALLS = 50
MOST_RESOLVED = 20_000


@dataclass(frozen=True, slots=True)
class View:
    """What is asked of the page. vendor, priority: "" for all, "-" for those without."""

    show: Show = ""
    priority: str = ""
    vendor: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class ClockLine:
    """A clock in words. said: what is large; when: the moment behind it in the team's own time,
    empty when there is none."""

    state: ClockState
    said: str
    when: str


@dataclass(frozen=True, slots=True)
class TicketLine:
    """One ticket as a row. actions: what may be done to it, as (name, words)."""

    supplier_id: UUID
    supplier: str
    vendor_type: str | None
    ticket_id: str
    subject: str
    priority: str
    state: State
    worst: ClockState
    opened: str
    note: str
    reply: ClockLine
    solve: ClockLine
    actions: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Queue:
    """The open tickets that pass the filters. counts: of each `Show`, whichever of them is chosen;
    pages: how many there are."""

    lines: list[TicketLine]
    counts: dict[Show, int]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Call:
    """A booked call. csm: null if the user was removed."""

    supplier_id: UUID
    supplier: str
    id: UUID
    type: str
    topic: str | None
    notes: str | None
    starts_at: datetime
    ends_at: datetime
    csm: str | None


@dataclass(frozen=True, slots=True)
class Week:
    """Tickets resolved in the week from Monday `starts`; hours: the median of open hours they took;
    null when there were none."""

    starts: date
    resolved: int
    hours: float | None
    in_time: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One week's bar. Height 0: nothing was resolved."""

    x: float
    y: float
    width: float
    height: float
    late: float
    words: str


@dataclass(frozen=True, slots=True)
class WeeksChart:
    """Bars between (left, top) and (right, bottom); levels and weeks: (place, word)."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    bars: Sequence[Bar]
    levels: Sequence[tuple[float, str]]
    weeks: Sequence[tuple[float, str]]
