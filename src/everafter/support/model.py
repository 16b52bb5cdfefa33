"""Calls between a supplier and the success team: types, times, and what the API takes and gives."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everafter.core.ids import SupplierId

QUARTER = timedelta(minutes=15)
BUFFER = QUARTER
"""Kept free after each call, so that one that runs over does not eat the next; a CSM may have
another."""
MOST_BUFFER = timedelta(hours=2)
LEAD = timedelta(hours=2)
"""A call is booked at least this long ahead: the CSM has to see it."""
AWAKE_FROM, AWAKE_UNTIL = time(7), time(21)
"""Calls at other hours, on the supplier's clocks, are offered only where there is nothing else."""
HORIZON_DAYS = 90
MAX_DAYS = 31
DEFAULT_DAYS = 14
NEXT_FREE = 5

Outcome = Literal["held", "no_show", "cancelled"]
OUTCOMES: dict[Outcome, str] = {
    "held": "it took place",
    "no_show": "the supplier did not come",
    "cancelled": "it was called off",
}


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


class Csm(Struct, frozen=True):
    """Who takes calls, and when: wall-clock hours in their own time zone on their ISO weekdays.

    work_until at or before work_from means past midnight; such a night belongs to the day it begins
    on. buffer: kept free after each call, in whole quarters. holidays: ISO 3166, whose public
    holidays are kept; null: none."""

    id: UUID
    name: str
    email: str
    timezone: str
    work_from: time
    work_until: time
    work_days: tuple[int, ...]
    buffer: timedelta = BUFFER
    holidays: str | None = None


class Diary(Struct, frozen=True):
    """A CSM's time. Quarters are numbered from 1970 in UTC.

    booked: quarters that calls hold, their buffers included. away: [from, until) in quarters, as
    their own calendar says. closed: days without work, in the CSM's own time zone."""

    csm: Csm
    booked: tuple[int, ...] = ()
    away: tuple[tuple[int, int], ...] = ()
    closed: frozenset[date] = frozenset()


class Slot(Struct, frozen=True):
    """A time at which `csm` is free, buffer included; UTC."""

    starts_at: datetime
    ends_at: datetime
    csm: Csm


class Refusal(Struct, frozen=True):
    """Why a time cannot be had: a stable word and a sentence."""

    reason: str
    detail: str


class Contact(Struct, frozen=True):
    """What a booking needs of a supplier. email, timezone: null when not told (no confirmation;
    UTC)."""

    id: UUID
    name: str
    email: str | None
    timezone: str | None
    external_id: str | None = None


class Call(Struct, frozen=True):
    """A booked call as its invitation shows it.

    sequence: how often it was changed. changed_at: when last; null: never. link: where the supplier
    moves or cancels it."""

    id: UUID
    type: str
    topic: str | None
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    csm_name: str
    csm_email: str
    supplier_name: str
    supplier_email: str | None
    sequence: int = 0
    changed_at: datetime | None = None
    cancelled: bool = False
    link: str | None = None


class BookedCall(Struct, frozen=True):
    """A call as it is. closed_at: when an outcome was recorded. csm_timezone: the CSM's own."""

    id: UUID
    contact: Contact
    type: str
    topic: str | None
    notes: str | None
    outcome: str | None
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    sequence: int
    changed_at: datetime
    cancelled_at: datetime | None
    closed_at: datetime | None
    csm_id: UUID
    csm_name: str
    csm_email: str
    csm_timezone: str

    @property
    def cancelled(self) -> bool:
        return self.outcome == "cancelled"


# ── a CSM's own calendar ──────────────────────────────────────────────────────────


CALENDAR_REACH = timedelta(days=100)
"""How far ahead a calendar is worked out: ten days further than calls are booked, so once a day is
often enough."""


class Feed(Struct, frozen=True):
    """Where a CSM's calendar is read, and what is known of the last reading. timezone, email: the
    CSM's."""

    user_id: UUID
    email: str
    timezone: str
    url: str
    allow_private: bool
    etag: str | None = None
    last_modified: str | None = None
    worked_out_at: datetime | None = None


class FeedTask(Struct, frozen=True):
    """A calendar to work out: when the owner of the address is busy in [start, until)."""

    body: bytes
    timezone: str
    email: str
    start: datetime
    until: datetime


class BusyTime(Struct, frozen=True, array_like=True):
    """A time that is not free. uid: of its event, where that could be one of our own calls."""

    starts_at: datetime
    ends_at: datetime
    uid: UUID | None = None


class FeedTimes(Struct, frozen=True):
    """What a calendar says. events: how many it has; unread: how many of them could not be
    understood whole. failure: why it is none. reasons: why events could not be understood, the
    commonest first."""

    busy: list[BusyTime] = []
    events: int = 0
    unread: int = 0
    failure: str | None = None
    reasons: list[str] = []


class FeedReport(Struct, frozen=True):
    """What one reading came to. changed: false when the calendar is as it was. failure: what was
    known before is kept. unread, reasons: as in `FeedTimes`."""

    busy: int = 0
    events: int = 0
    unread: int = 0
    changed: bool = True
    failure: str | None = None
    reasons: list[str] = []


class CsmLine(Struct, frozen=True):
    """One user as `everafter csm list` shows them. days_off: from yesterday on. failure: why the
    calendar could not be read the last time; null: it could."""

    id: UUID
    email: str
    name: str
    takes_calls: bool
    timezone: str
    work_from: time
    work_until: time
    work_days: list[int]
    buffer_minutes: int
    holidays: str | None
    days_off: list[date]
    calendar_url: str | None
    read_at: datetime | None
    unread: int | None
    unread_reasons: list[str]
    failure: str | None
    calls_ahead: int


# ── what the API takes and gives ──────────────────────────────────────────────────

Topic = Annotated[
    str, Meta(max_length=500, description="What the call is about, in the supplier's words.")
]
TypeName = Annotated[
    str, Meta(description=f"One of {', '.join(CALL_TYPES)}.", examples=["success_call"])
]


ZoneName = Annotated[
    str,
    Meta(
        max_length=64,
        description="IANA time zone of times without an offset. Default: the supplier's.",
    ),
]


class CallRequest(Struct, frozen=True):
    """A call to book. Without `starts_at` the first free time is taken."""

    supplier_id: SupplierId
    type: TypeName
    starts_at: Annotated[
        datetime | None,
        Meta(
            description=(
                "With an offset: that moment. Without one: wall-clock time in the supplier's time"
                " zone."
            )
        ),
    ] = None
    topic: Topic | None = None
    timezone: ZoneName | None = None


class RescheduleRequest(Struct, frozen=True):
    """Another time for a call."""

    supplier_id: SupplierId
    starts_at: Annotated[
        datetime,
        Meta(
            description=(
                "With an offset: that moment. Without one: wall-clock time in the supplier's time"
                " zone."
            )
        ),
    ]
    timezone: ZoneName | None = None


class CancelRequest(Struct, frozen=True):
    """A call that will not be."""

    supplier_id: SupplierId
    reason: (
        Annotated[str, Meta(max_length=500, description="Why, for the CSM and the notes.")] | None
    ) = None


class OutcomeRequest(Struct, frozen=True):
    """What became of a call."""

    supplier_id: SupplierId
    outcome: Annotated[
        Outcome,
        Meta(description="; ".join(f"{name}: {said}" for name, said in OUTCOMES.items()) + "."),
    ]
    notes: (
        Annotated[
            str,
            Meta(
                max_length=5000, description="What was said; null leaves the notes that are there."
            ),
        ]
        | None
    ) = None


class CsmAnswer(Struct, frozen=True):
    """The CSM who takes the call."""

    name: str
    email: str


class SlotAnswer(Struct, frozen=True):
    """A free time; UTC. `local` is its beginning on the clocks of the answer's `timezone`, where it
    has one."""

    starts_at: datetime
    ends_at: datetime
    csm: CsmAnswer
    local: datetime | None = None


class SlotsAnswer(Struct, frozen=True):
    """Free times in order. `timezone` is the one asked for, else the supplier's, to show them in.

    `unknown_timezone`: what the supplier's time zone is said to be, where no such zone is known and
    UTC means it."""

    supplier_id: UUID
    external_id: str | None
    type: str
    minutes: int
    timezone: str
    slots: list[SlotAnswer]
    unknown_timezone: str | None = None


class BookedAnswer(Struct, frozen=True):
    """A booked call; times in UTC.

    `ics_url` is the invitation, `manage_url` the supplier's page to move or cancel it; both are
    good without a key."""

    interaction_id: UUID
    supplier_id: UUID
    external_id: str | None
    type: str
    starts_at: datetime
    ends_at: datetime
    timezone: str
    csm: CsmAnswer
    ics_url: str
    manage_url: str


class Interaction(Struct, frozen=True):
    """One contact with a supplier. starts_at, ends_at, csm: null when it was not a call. closed_at:
    of its outcome."""

    interaction_id: UUID
    supplier_id: UUID
    external_id: str | None
    type: str
    topic: str | None
    notes: str | None
    outcome: str | None
    created_at: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    csm: CsmAnswer | None
    cancelled_at: datetime | None = None
    closed_at: datetime | None = None


class InteractionsAnswer(Struct, frozen=True):
    """Newest first. `next_cursor` gets the following page; null at the end."""

    interactions: list[Interaction]
    next_cursor: str | None
