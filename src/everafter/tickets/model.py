"""Tickets, their changes and clocks, and the requests and answers of the API."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.core.ids import SupplierId, TextId

Transition = Literal["opened", "replied", "waiting", "resumed", "resolved"]
ORDER: tuple[Transition, ...] = ("opened", "replied", "waiting", "resumed", "resolved")
"""Changes at the same moment apply in this order, so that the order of arrival does not matter."""

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
"""Running: breached, due_soon or on_time. While waiting for the supplier: paused, or breached if it
had run out before. Stopped: met or missed."""
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
"""Action on a ticket → the change that it records."""


class Change(Struct, frozen=True, order=True):
    """A change of a ticket, at a moment in UTC."""

    at: datetime
    transition: Transition


class Course(Struct, frozen=True):
    """The history of a ticket up to a moment.

    opened_at: the first time. runs: periods in which support had to act; the last one has no end
    while it runs. answered_at: the first reply, or the resolution if there was none; null: neither
    yet. resolved_at: null unless resolved. waiting_since: null unless waiting for the supplier.
    reopened: how often.
    """

    state: State
    opened_at: datetime
    runs: list[tuple[datetime, datetime | None]]
    answered_at: datetime | None
    resolved_at: datetime | None
    waiting_since: datetime | None
    reopened: int


class Clock(Struct, frozen=True):
    """A service-level clock of a ticket. limit, used: seconds of open hours. due_at: when it runs
    out or ran out; null: paused, stopped in time, or more than ten years ahead. stopped_at: null
    while it runs or is paused.
    """

    name: ClockName
    state: ClockState
    limit: float
    used: float
    due_at: datetime | None
    stopped_at: datetime | None

    @property
    def left(self) -> float:
        """Seconds of open hours left; negative if overdue."""
        return self.limit - self.used


class Ticket(Struct, frozen=True):
    """A ticket as reported. subject, priority, vendor_type: null if not reported. changes: all
    changes, in order.
    """

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
        """The more urgent clock: the first reply's until it stops, unless the resolution is due
        earlier."""
        reply, solve = self.first_reply, self.resolution
        if reply.stopped_at is not None or (
            reply.due_at and solve.due_at and solve.due_at < reply.due_at
        ):
            return solve
        return reply


# ── API ──────────────────────────────────────────────────

TicketId = Annotated[
    TextId, Meta(description="Your id, or a generated one if left out.", examples=["T-1042"])
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
            "When it happened, with an offset (without one: UTC). Default: now. Late reports are"
            " accepted."
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
    """An action on a ticket."""

    supplier_id: SupplierId
    at: Moment = None


class ClockAnswer(Struct, frozen=True):
    """One clock, in open hours of support. `due_at`: when it runs out or ran out, UTC; null:
    paused, or stopped in time.
    """

    state: ClockState
    limit_hours: float
    used_hours: float
    due_at: datetime | None
    stopped_at: datetime | None


class ClocksAnswer(Struct, frozen=True):
    """Both clocks."""

    first_reply: ClockAnswer
    resolution: ClockAnswer


class ChangeAnswer(Struct, frozen=True):
    """A change of a ticket."""

    at: datetime
    transition: Transition


class TicketAnswer(Struct, frozen=True):
    """A ticket as it is now, times in UTC. `opened_at`: the first time. `reopened`: how often."""

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
    """Latest opened first. `next_cursor`: for the next page; null on the last."""

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
