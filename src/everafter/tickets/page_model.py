"""Types of the support page."""

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
    """The query parameters. vendor, priority: "" for all, "-" for tickets without."""

    show: Show = ""
    priority: str = ""
    vendor: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class ClockLine:
    """A clock as text. text: the large text; when: the moment in the zone of the team, empty if
    there is none.
    """

    state: ClockState
    text: str
    when: str


@dataclass(frozen=True, slots=True)
class TicketLine:
    """A ticket as a row. actions: possible actions as (name, label)."""

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
    """The open tickets that match the filters. counts: tickets of each `Show`, independent of the
    chosen tab; pages: number of pages.
    """

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
    """Tickets resolved in the week from Monday `starts`. hours: median of open hours; null if there
    were none.
    """

    starts: date
    resolved: int
    hours: float | None
    in_time: int


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of a week. Height 0: nothing was resolved."""

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
