"""Calls between a supplier and the success team: types, times, and what the API takes and gives."""

from collections.abc import Set
from datetime import datetime, time, timedelta
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

QUARTER = timedelta(minutes=15)
BUFFER = QUARTER
"""Kept free after each call, so that one that runs over does not eat the next."""
LEAD = timedelta(hours=2)
"""A call is booked at least this long ahead: the advisor has to see it."""
HORIZON_DAYS = 90
MAX_DAYS = 31
DEFAULT_DAYS = 14
NEXT_FREE = 5

Busy = Set[tuple[UUID, datetime]]
"""Quarters held: (advisor, UTC start)."""


class CallType(Struct, frozen=True):
    """A kind of call; `minutes` is a multiple of 15, as the grid is."""

    name: str
    title: str
    minutes: int

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=self.minutes)


CALL_TYPES: dict[str, CallType] = {
    call.name: call
    for call in (
        CallType("onboarding_call", "Onboarding call", 30),
        CallType("check_in", "Check-in", 15),
        CallType("technical_support", "Technical support", 30),
        CallType("success_call", "Success call", 15),
    )
}


class Advisor(Struct, frozen=True):
    """Who takes calls, and when: wall-clock hours in their own time zone on their ISO weekdays.

    work_until at or before work_from means past midnight; such a night belongs to the weekday it begins on.
    """

    id: UUID
    name: str
    email: str
    timezone: str
    work_from: time
    work_until: time
    work_days: tuple[int, ...]


class Slot(Struct, frozen=True):
    """A time at which `advisor` is free, buffer included; UTC."""

    starts_at: datetime
    ends_at: datetime
    advisor: Advisor


class Refusal(Struct, frozen=True):
    """Why a time cannot be had: a stable word and a sentence."""

    reason: str
    detail: str


class Contact(Struct, frozen=True):
    """What a booking needs of a supplier. email, timezone: null when not told (no confirmation; UTC)."""

    id: UUID
    name: str
    email: str | None
    timezone: str | None


class Call(Struct, frozen=True):
    """A booked call as its invitation shows it."""

    id: UUID
    type: str
    topic: str | None
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    advisor_name: str
    advisor_email: str
    supplier_name: str
    supplier_email: str | None


# ── what the API takes and gives ──────────────────────────────────────────────────────────────────────────────────────

Topic = Annotated[str, Meta(max_length=500, description="What the call is about, in the supplier's words.")]
TypeName = Annotated[str, Meta(description=f"One of {', '.join(CALL_TYPES)}.", examples=["success_call"])]


class CallRequest(Struct, frozen=True):
    """A call to book. Without `starts_at` the first free time is taken."""

    supplier_id: UUID
    type: TypeName
    starts_at: Annotated[
        datetime | None,
        Meta(description="With an offset: that moment. Without one: wall-clock time in the supplier's time zone."),
    ] = None
    topic: Topic | None = None


class CsmAnswer(Struct, frozen=True):
    """The advisor who takes the call."""

    name: str
    email: str


class SlotAnswer(Struct, frozen=True):
    """A free time; UTC."""

    starts_at: datetime
    ends_at: datetime
    csm: CsmAnswer


class SlotsAnswer(Struct, frozen=True):
    """Free times in order. `timezone` is the supplier's, to show them in."""

    supplier_id: UUID
    type: str
    minutes: int
    timezone: str
    slots: list[SlotAnswer]


class BookedAnswer(Struct, frozen=True):
    """A booked call; times in UTC. `ics_url` is the invitation, good without a key."""

    interaction_id: UUID
    supplier_id: UUID
    type: str
    starts_at: datetime
    ends_at: datetime
    timezone: str
    csm: CsmAnswer
    ics_url: str


class Interaction(Struct, frozen=True):
    """One contact with a supplier. starts_at, ends_at, csm: null when it was not a call."""

    interaction_id: UUID
    supplier_id: UUID
    type: str
    topic: str | None
    notes: str | None
    outcome: str | None
    created_at: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    csm: CsmAnswer | None


class InteractionsAnswer(Struct, frozen=True):
    """Newest first. `next_cursor` gets the following page; null at the end."""

    interactions: list[Interaction]
    next_cursor: str | None
