"""Tickets: what is told of them, the clocks that run on them, and what the API takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.core.ids import SupplierId, TextId

Transition = Literal["opened", "replied", "waiting", "resumed", "resolved"]
ORDER: tuple[Transition, ...] = ("opened", "replied", "waiting", "resumed", "resolved")
"""What is told at one and the same moment counts in this order, so that order of arrival cannot
matter."""

CHANGES_BY_TYPE: dict[str, Transition] = {
    "ticket_opened": "opened",
    "ticket_replied": "replied",
    "ticket_waiting": "waiting",
    "ticket_resumed": "resumed",
    "ticket_resolved": "resolved",
}

CHANGES_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "ticket_id": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "state": pl.String(),
}
"""Rows of `ticket_changes`."""

State = Literal["open", "waiting", "resolved"]
ClockState = Literal["breached", "due_soon", "on_time", "paused", "missed", "met"]
"""Of a running clock: breached, due_soon, on_time; of one that is still while the supplier is
waited for: paused, or breached when it had run out before; of one that has stopped: met or
missed."""
ClockName = Literal["first_reply", "resolution"]

CLOCK_LABELS: dict[ClockState, str] = {
    "breached": "Breached",
    "due_soon": "Due soon",
    "on_time": "On time",
    "paused": "Paused",
    "missed": "Missed",
    "met": "Met",
}
STATE_LABELS: dict[State, str] = {
    "open": "Open",
    "waiting": "Waiting for the supplier",
    "resolved": "Resolved",
}
ACTIONS: dict[str, Transition] = {
    "reply": "replied",
    "wait": "waiting",
    "resume": "resumed",
    "resolve": "resolved",
}
"""What one can do to a ticket → what is then told of it."""


class Change(Struct, frozen=True, order=True):
    """Something told of a ticket, at a moment in UTC."""

    at: datetime
    transition: Transition


class Course(Struct, frozen=True):
    """A ticket's course up to a moment.

    opened_at: first. runs: the stretches in which we were to act, the last one without an end while
    it runs. answered_at: the first reply, or the resolution when that came without one; null:
    neither yet. resolved_at: null unless it is resolved. waiting_since: null unless it waits for
    the supplier. reopened: how often."""

    state: State
    opened_at: datetime
    runs: list[tuple[datetime, datetime | None]]
    answered_at: datetime | None
    resolved_at: datetime | None
    waiting_since: datetime | None
    reopened: int


class Clock(Struct, frozen=True):
    """One promise on one ticket. limit, used: seconds of open hours. due_at: when it runs out or
    ran out; null: paused, stopped in time, or beyond ten years. stopped_at: null while it is to be
    kept."""

    name: ClockName
    state: ClockState
    limit: float
    used: float
    due_at: datetime | None
    stopped_at: datetime | None

    @property
    def left(self) -> float:
        """Seconds of open hours left; negative when it is over."""
        return self.limit - self.used


class Ticket(Struct, frozen=True):
    """A ticket as it was told. subject, priority, vendor_type: null when never told. changes:
    everything told, in order."""

    supplier_id: UUID
    ticket_id: str
    subject: str | None
    priority: str | None
    supplier: str
    vendor_type: str | None
    changes: list[Change]
    external_id: str | None = None


class Evaluated(Struct, frozen=True):
    """A ticket with its course and its two clocks, as of one moment."""

    ticket: Ticket
    course: Course
    first_reply: Clock
    resolution: Clock

    @property
    def pressing(self) -> Clock:
        """The clock to look at: the first reply's until it has stopped, unless the resolution's is
        due before it."""
        reply, solve = self.first_reply, self.resolution
        if reply.stopped_at is not None or (
            reply.due_at and solve.due_at and solve.due_at < reply.due_at
        ):
            return solve
        return reply


# ── what the API takes and gives ──────────────────────────────────────────────────

TicketId = Annotated[
    TextId, Meta(description="Yours, or ours when you left it out.", examples=["T-1042"])
]
Priority = Annotated[
    str,
    Meta(
        max_length=60,
        description="One of the playbook's `[support.clocks]`; others are timed as `normal`.",
    ),
]
Moment = Annotated[
    datetime | None,
    Meta(
        description=(
            "When it happened, with an offset (without one: UTC); default: now. A ticket's past"
            " may be told late."
        )
    ),
]


class TicketRequest(Struct, frozen=True):
    """A ticket to open."""

    supplier_id: SupplierId
    subject: Annotated[
        str, Meta(min_length=1, max_length=500, description="In the supplier's words.")
    ]
    priority: Priority | None = None
    ticket_id: TicketId | None = None
    at: Moment = None


class ActionRequest(Struct, frozen=True):
    """Something done to a ticket."""

    supplier_id: SupplierId
    at: Moment = None


class ClockAnswer(Struct, frozen=True):
    """One clock; hours are open hours of support. `due_at`: when it runs out or ran out, UTC; null:
    paused, or stopped in time."""

    state: ClockState
    limit_hours: float
    used_hours: float
    due_at: datetime | None
    stopped_at: datetime | None


class ClocksAnswer(Struct, frozen=True):
    """Both promises."""

    first_reply: ClockAnswer
    resolution: ClockAnswer


class ChangeAnswer(Struct, frozen=True):
    """Something told of a ticket."""

    at: datetime
    transition: Transition


class TicketAnswer(Struct, frozen=True):
    """A ticket as it is now; times in UTC. `opened_at` is the first time; `reopened` says how often
    since."""

    supplier_id: UUID
    external_id: str | None
    ticket_id: str
    subject: str | None
    priority: str | None
    state: State
    opened_at: datetime
    answered_at: datetime | None
    waiting_since: datetime | None
    resolved_at: datetime | None
    reopened: int
    clocks: ClocksAnswer
    changes: list[ChangeAnswer]


class TicketsAnswer(Struct, frozen=True):
    """The latest opened first. `next_cursor` gets the following page; null at the end."""

    tickets: list[TicketAnswer]
    next_cursor: str | None


class InteractionRequest(Struct, frozen=True):
    """A contact that was not a booked call."""

    supplier_id: SupplierId
    type: Annotated[
        str,
        Meta(
            pattern="^[a-z][a-z0-9_]{0,59}$",
            description="`onboarding_call`, `check_in`, `technical_support`, or your own type.",
            examples=["check_in"],
        ),
    ]
    notes: Annotated[str, Meta(min_length=1, max_length=10_000, description="What was said.")]
    outcome: Annotated[str, Meta(max_length=500, description="What came of it.")] | None = None
