"""Book calls: find a free time, take its quarters, store the call and notify both sides. The caller
owns the transaction."""

import asyncio
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid4

from msgspec.structs import replace

from everafter.core.db import Connection
from everafter.core.errors import ConflictError, UnprocessableError
from everafter.core.formatting import format_utc
from everafter.core.holidays import list_holidays
from everafter.core.settings import Settings
from everafter.core.zones import list_zones
from everafter.support.model import (
    BUFFER,
    CALL_TYPES,
    DEFAULT_DAYS,
    HORIZON_DAYS,
    MOST_BUFFER,
    NEXT_FREE,
    QUARTER,
    BookedAnswer,
    BookedCall,
    CallRequest,
    CallType,
    Contact,
    CsmAnswer,
    Diary,
    Refusal,
    Slot,
    SlotAnswer,
)
from everafter.support.notices import ics_link, manage_link, notify
from everafter.support.queries import (
    count_coming_calls,
    find_known_csm,
    find_own_call,
    get_booked_call,
    get_contact,
    hold_quarters,
    insert_call,
    list_diaries,
    lock_supplier_calls,
    reserve_quarters,
)
from everafter.support.rules import (
    find_zone,
    held_quarters,
    is_free,
    rank_diaries,
    refuse_start,
    refuse_time,
    resolve_start,
    suggest,
    works_through,
)
from everafter.support.slot_rules import list_slots

_CANDIDATES = 200
"""Free times that are fetched at once: more than the bookings that run concurrently."""


def get_call_type(name: str) -> CallType:
    """The call type with this name.

    Raises:
        UnprocessableError: unknown; the message lists all types.
    """
    if found := CALL_TYPES.get(name):
        return found
    raise UnprocessableError(
        f"type: unknown call type {name!r}; expected one of {', '.join(CALL_TYPES)}"
        f"{suggest(name, [*CALL_TYPES])}"
    )


async def find_slots(
    conn: Connection,
    contact: Contact,
    call: CallType,
    start: datetime,
    now: datetime,
    *,
    days: int,
    limit: int | None = None,
    moving: BookedCall | None = None,
    any_hour: bool = False,
) -> list[Slot]:
    """Free times for a supplier's call, each with the CSM that the supplier knows, else the least
    booked one.

    The supplier's night is left out if its time zone is known and other times are free.

    Args:
        moving: the call to move; its own time counts as free, and its CSM is preferred.
        any_hour: include the night.
    """
    diaries = await read_diaries(conn, contact, max(start, now), days, moving)
    awake_in = contact.timezone if contact.timezone in list_zones() and not any_hour else None
    # three months of many CSMs would block other requests
    return await asyncio.to_thread(
        lambda: list_slots(diaries, call, start, days, now, limit=limit, awake_in=awake_in)
    )


async def book_call(
    conn: Connection,
    settings: Settings,
    request: CallRequest,
    now: datetime,
    *,
    most_coming: int | None = None,
) -> BookedAnswer:
    """Book the requested time, or the first free one.

    Args:
        most_coming: the maximum number of upcoming calls of the supplier; null: no limit.

    Raises:
        NotFoundError: unknown supplier.
        UnprocessableError: unknown type, or a time that cannot be booked; `next_free` has free
            times.
        ConflictError: the time is taken, or nothing is free; `next_free` has free times.
    """
    call = get_call_type(request.type)
    contact = await get_contact(conn, request.supplier_id)
    await lock_supplier_calls(conn, contact.id)
    if most_coming is not None and await count_coming_calls(conn, contact.id, now) >= most_coming:
        raise ConflictError(
            f"{most_coming} calls are booked already; cancel one before booking another",
            reason="too_many",
            next_free=[],
        )
    call_id = uuid4()
    if request.starts_at is None:
        slot = await _take_first_free(conn, contact, call, call_id, now)
    else:
        asked = resolve_start(request.starts_at, request.timezone or contact.timezone)
        slot = await take(conn, contact, call, call_id, asked, now)
    topic = clean_topic(request.topic)
    await insert_call(
        conn, contact, call_id, call.name, topic, slot.starts_at, slot.ends_at, slot.csm.id
    )
    booked = await get_booked_call(conn, contact.id, call_id)
    await notify(conn, settings, booked, "booked", now)
    return answer_booked(settings, booked)


def answer_booked(settings: Settings, call: BookedCall) -> BookedAnswer:
    """A call for the API."""
    contact = call.contact
    return BookedAnswer(
        interaction_id=call.id,
        supplier_id=contact.id,
        external_id=contact.external_id,
        type=call.type,
        starts_at=call.starts_at,
        ends_at=call.ends_at,
        timezone=find_zone(contact.timezone).key,
        csm=CsmAnswer(call.csm_name, call.csm_email),
        ics_url=ics_link(settings, contact.id, call.id),
        manage_url=manage_link(settings, contact.id, call.id),
    )


def answer_slots(slots: Sequence[Slot], timezone: str | None = None) -> list[SlotAnswer]:
    """Slots for the API, also in local time if a time zone is given."""
    zone = find_zone(timezone) if timezone else None
    csms = {slot.csm.id: slot.csm for slot in slots}
    answers = {identity: CsmAnswer(csm.name, csm.email) for identity, csm in csms.items()}
    return [
        SlotAnswer(
            slot.starts_at,
            slot.ends_at,
            answers[slot.csm.id],
            slot.starts_at.astimezone(zone) if zone else None,
        )
        for slot in slots
    ]


def clean_topic(text: str | None) -> str | None:
    """Remove control characters; null: nothing is left."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text).strip() or None if text else None


# ── taking a time ─────────────────────────────────────────────────────────────────────────────


async def take(
    conn: Connection,
    contact: Contact,
    call: CallType,
    call_id: UUID,
    asked: datetime | Refusal,
    now: datetime,
    *,
    moving: BookedCall | None = None,
    own: Sequence[datetime] = (),
) -> Slot:
    """Take the quarters of a time for the call.

    Args:
        moving: the call in its current state, if it is moved.
        own: the quarters that it holds already.

    Raises:
        UnprocessableError: the time cannot be booked; with `next_free`.
        ConflictError: the time is taken; with `next_free`.
    """
    if isinstance(asked, Refusal):
        raise await _refused(conn, contact, call, asked, now, moving)
    if refusal := refuse_time(asked, now):
        raise await _refused(conn, contact, call, refusal, now, moving)
    diaries = await read_diaries(conn, contact, max(asked, now), 1, moving)
    if refusal := refuse_start(diaries, call, asked, now):
        raise await _refused(conn, contact, call, refusal, now, moving)
    ends_at = asked + call.length
    if other := await find_own_call(conn, contact.id, asked, ends_at, call_id):
        raise await _taken(
            conn,
            contact,
            call,
            f"this supplier already has a call at {format_utc(other)}",
            ends_at,
            now,
            moving,
        )
    for diary in diaries:
        if works_through(diary, asked, call) and is_free(diary, asked, call):
            kept = own if moving and moving.csm_id == diary.csm.id else ()
            wanted = [
                quarter for quarter in held_quarters(diary.csm, asked, call) if quarter not in kept
            ]
            if await hold_quarters(conn, diary.csm.id, call_id, wanted):
                return Slot(asked, ends_at, diary.csm)
    raise await _taken(conn, contact, call, f"{format_utc(asked)} is taken", asked, now, moving)


async def _take_first_free(
    conn: Connection, contact: Contact, call: CallType, call_id: UUID, now: datetime
) -> Slot:
    """Take the first free time. Times that a concurrent booking is taking are skipped, not waited
    for."""
    start = now
    while found := await find_slots(
        conn, contact, call, start, now, days=HORIZON_DAYS, limit=_CANDIDATES
    ):
        for slot in found:
            quarters = held_quarters(slot.csm, slot.starts_at, call)
            if (
                not await find_own_call(conn, contact.id, slot.starts_at, slot.ends_at)
                and await reserve_quarters(conn, slot.csm.id, quarters)
                and await hold_quarters(conn, slot.csm.id, call_id, quarters)
            ):
                return slot
        start = found[-1].starts_at + QUARTER
    raise ConflictError(
        f"no CSM is free for a {call.title.lower()} in the next {HORIZON_DAYS} days", next_free=[]
    )


async def read_diaries(
    conn: Connection, contact: Contact, start: datetime, days: int, moving: BookedCall | None = None
) -> list[Diary]:
    """All CSMs who take calls, the preferred one of this supplier first, with their busy times in
    the period."""
    until = start + timedelta(days=days + 1) + MOST_BUFFER
    diaries = await list_diaries(conn, start - BUFFER, until, moving.id if moving else None)
    if any(diary.csm.holidays for diary in diaries):
        diaries = await asyncio.to_thread(_close_holidays, diaries, start.year - 1, until.year + 1)
    return rank_diaries(
        diaries, moving.csm_id if moving else await find_known_csm(conn, contact.id)
    )


def _close_holidays(diaries: list[Diary], first_year: int, last_year: int) -> list[Diary]:
    return [
        replace(
            diary, closed=diary.closed | _public_holidays(diary.csm.holidays, first_year, last_year)
        )
        if diary.csm.holidays
        else diary
        for diary in diaries
    ]


@lru_cache(1024)
def _public_holidays(code: str, first_year: int, last_year: int) -> frozenset[date]:
    try:
        return list_holidays(code, range(first_year, last_year + 1))
    except LookupError:
        return frozenset()  # `everafter doctor` reports it; calls can still be booked


async def _refused(
    conn: Connection,
    contact: Contact,
    call: CallType,
    refusal: Refusal,
    now: datetime,
    moving: BookedCall | None,
) -> UnprocessableError:
    free = await find_slots(
        conn, contact, call, now, now, days=DEFAULT_DAYS, limit=NEXT_FREE, moving=moving
    )
    return UnprocessableError(
        f"starts_at: {refusal.detail}", reason=refusal.reason, next_free=answer_slots(free)
    )


async def _taken(
    conn: Connection,
    contact: Contact,
    call: CallType,
    detail: str,
    start: datetime,
    now: datetime,
    moving: BookedCall | None,
) -> ConflictError:
    free = await find_slots(
        conn, contact, call, start, now, days=DEFAULT_DAYS, limit=NEXT_FREE, moving=moving
    )
    return ConflictError(f"starts_at: {detail}", reason="taken", next_free=answer_slots(free))
