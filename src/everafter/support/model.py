"""Calls between suppliers and CSMs: types, times, requests and responses."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everafter.core.formatting import humanize, sentence
from everafter.core.ids import SupplierId

QUARTER = timedelta(minutes=15)
BUFFER = QUARTER
"""Default time that is kept free after each call; each CSM can change it."""
MOST_BUFFER = timedelta(hours=2)
LEAD = timedelta(hours=2)
"""Minimum notice for a call, so that the CSM sees it."""
AWAKE_FROM, AWAKE_UNTIL = time(7), time(21)
"""Calls at other hours in the supplier's time zone are offered only if nothing else is free."""
HORIZON_DAYS = 90
MAX_DAYS = 31
DEFAULT_DAYS = 14
NEXT_FREE = 5

Outcome = Literal["held", "no_show", "cancelled"]
OUTCOMES: dict[Outcome, str] = {
    "held": "the call took place",
    "no_show": "the supplier did not attend",
    "cancelled": "the call was cancelled",
}


class CallType(Struct, frozen=True):
    """A type of call. minutes: its length, a multiple of 15."""

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


def call_title(type_name: str) -> str:
    """The title of a call type; the type's name with spaces if it is unknown."""
    found = CALL_TYPES.get(type_name)
    return found.title if found else sentence(humanize(type_name))


class Csm(Struct, frozen=True):
    """A CSM who takes calls, with working hours in their time zone on their ISO weekdays.

    work_until: at or before work_from means past midnight; such a night belongs to the day it
    starts on. buffer: kept free after each call, in whole quarters of an hour. holidays: the ISO
    3166 code of public holidays without calls; null: none.
    """

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
    """When a CSM is not free. Quarters of an hour are numbered from 1970 in UTC.

    booked: quarters of calls, with their buffers. away: [from, until) in quarters, from the CSM's
    own calendar. closed: days off and public holidays, in the CSM's time zone.
    """

    csm: Csm
    booked: tuple[int, ...] = ()
    away: tuple[tuple[int, int], ...] = ()
    closed: frozenset[date] = frozenset()


class Slot(Struct, frozen=True):
    """A time in UTC at which `csm` is free, including the buffer."""

    starts_at: datetime
    ends_at: datetime
    csm: Csm


class Refusal(Struct, frozen=True):
    """Why a time cannot be booked. reason: a stable code; detail: a sentence."""

    reason: str
    detail: str


class Contact(Struct, frozen=True):
    """A supplier, as far as bookings need it. email: null: no confirmation is sent. timezone: null:
    UTC."""

    id: UUID
    name: str
    email: str | None
    timezone: str | None
    external_id: str | None = None


class Call(Struct, frozen=True):
    """A booked call for invitations.

    sequence: the number of changes. changed_at: the last change; null: none. link: the page where
    the supplier can move or cancel it.
    """

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
    """The current state of a call. closed_at: when its outcome was recorded."""

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


# ── calendars of CSMs ─────────────────────────────────────────────────────────────────────────


CALENDAR_REACH = timedelta(days=100)
"""How far ahead busy times are computed: ten days beyond the booking horizon, so that once a day is
enough."""


class Feed(Struct, frozen=True):
    """The calendar of a CSM, and the state of the last read. timezone, email: the CSM's.
    worked_out_at: when busy times were last computed."""

    user_id: UUID
    email: str
    timezone: str
    url: str
    allow_private: bool
    etag: str | None = None
    last_modified: str | None = None
    worked_out_at: datetime | None = None


class FeedTask(Struct, frozen=True):
    """A calendar to parse: when the owner of `email` is busy in [start, until)."""

    body: bytes
    timezone: str
    email: str
    start: datetime
    until: datetime


class BusyTime(Struct, frozen=True, array_like=True):
    """A busy time. uid: the event's UID if it can be one of our calls."""

    starts_at: datetime
    ends_at: datetime
    uid: UUID | None = None


class FeedTimes(Struct, frozen=True):
    """The busy times of a calendar.

    events: the number of events; unread: those that could not be fully parsed; reasons: why, the
    most frequent first. failure: why the file is not a calendar.
    """

    busy: list[BusyTime] = []
    events: int = 0
    unread: int = 0
    failure: str | None = None
    reasons: list[str] = []


class FeedReport(Struct, frozen=True):
    """The result of one read. changed: false if the calendar did not change. failure: why it could
    not be read; earlier busy times are kept. unread, reasons: as in `FeedTimes`."""

    busy: int = 0
    events: int = 0
    unread: int = 0
    changed: bool = True
    failure: str | None = None
    reasons: list[str] = []


class CsmLine(Struct, frozen=True):
    """A row of `everafter csm list`. days_off: from yesterday. failure: why the last read of the
    calendar failed; null: it did not."""

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


# ── the API ───────────────────────────────────────────────────────────────────────────────────

Topic = Annotated[str, Meta(max_length=500, description="What the call is about.")]
TypeName = Annotated[
    str, Meta(description=f"One of {', '.join(CALL_TYPES)}.", examples=["success_call"])
]
ZoneName = Annotated[
    str,
    Meta(
        max_length=64,
        description="The IANA time zone of times without an offset. Default: the supplier's.",
    ),
]
_STARTS_AT = (
    "With an offset: this instant. Without one: wall-clock time in `timezone`, or in the supplier's"
    " time zone."
)


class CallRequest(Struct, frozen=True):
    """A call to book. Without `starts_at` it is booked at the first free time."""

    supplier_id: SupplierId
    type: TypeName
    starts_at: Annotated[
        datetime | None,
        Meta(description=_STARTS_AT),
    ] = None
    topic: Topic | None = None
    timezone: ZoneName | None = None


class RescheduleRequest(Struct, frozen=True):
    """A new time for a call."""

    supplier_id: SupplierId
    starts_at: Annotated[
        datetime,
        Meta(description=_STARTS_AT),
    ]
    timezone: ZoneName | None = None


class CancelRequest(Struct, frozen=True):
    """A call to cancel."""

    supplier_id: SupplierId
    reason: (
        Annotated[str, Meta(max_length=500, description="Shown to the CSM and added to the notes.")]
        | None
    ) = None


class OutcomeRequest(Struct, frozen=True):
    """The outcome of a call."""

    supplier_id: SupplierId
    outcome: Annotated[
        Outcome,
        Meta(description="; ".join(f"{name}: {text}" for name, text in OUTCOMES.items()) + "."),
    ]
    notes: (
        Annotated[
            str,
            Meta(max_length=5000, description="Replaces the notes of the call; null keeps them."),
        ]
        | None
    ) = None


class CsmAnswer(Struct, frozen=True):
    """The CSM who takes the call."""

    name: str
    email: str


class SlotAnswer(Struct, frozen=True):
    """A free time in UTC. `local`: the start in the `timezone` of the response."""

    starts_at: datetime
    ends_at: datetime
    csm: CsmAnswer
    local: datetime | None = None


class SlotsAnswer(Struct, frozen=True):
    """Free times in order. `timezone`: the requested one, else the supplier's.

    `unknown_timezone`: the supplier's time zone if it is not a known one; UTC is used instead.
    """

    supplier_id: UUID
    external_id: str | None
    type: str
    minutes: int
    timezone: str
    slots: list[SlotAnswer]
    unknown_timezone: str | None = None


class BookedAnswer(Struct, frozen=True):
    """A booked call; times in UTC.

    `ics_url`: the invitation. `manage_url`: the page where the supplier can move or cancel it. Both
    work without an API key.
    """

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
    """A contact with a supplier. starts_at, ends_at, csm: null if it was not a booked call.
    closed_at: when its outcome was recorded."""

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
    """Newest first. `next_cursor`: for the next page; null on the last one."""

    interactions: list[Interaction]
    next_cursor: str | None
