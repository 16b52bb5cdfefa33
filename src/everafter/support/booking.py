"""Booking a call: look, take the quarters, write the call and its confirmation. The caller owns the transaction."""

import asyncio
import re
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from everafter.core.db import Connection
from everafter.core.errors import ConflictError, UnprocessableError
from everafter.core.settings import Settings
from everafter.support.ics import calendar_host, sign_call, write_invitation
from everafter.support.model import (
    BUFFER,
    CALL_TYPES,
    DEFAULT_DAYS,
    HORIZON_DAYS,
    NEXT_FREE,
    Advisor,
    BookedAnswer,
    Busy,
    Call,
    CallRequest,
    CallType,
    Contact,
    CsmAnswer,
    Refusal,
    Slot,
    SlotAnswer,
)
from everafter.support.queries import (
    find_known_advisor,
    find_own_call,
    get_contact,
    hold_quarters,
    insert_call,
    insert_confirmation,
    list_advisors,
    list_busy,
    lock_first_free,
    lock_supplier_calls,
)
from everafter.support.rules import (
    find_zone,
    held_quarters,
    is_free,
    list_slots,
    rank_advisors,
    refuse_start,
    resolve_start,
    works_through,
)


def get_call_type(name: str) -> CallType:
    """The call type of that name.

    Raises:
        UnprocessableError: there is none; the message lists those there are.
    """
    if found := CALL_TYPES.get(name):
        return found
    raise UnprocessableError(f"type: there is no call type {name!r}; there are {', '.join(CALL_TYPES)}")


async def find_slots(
    conn: Connection,
    contact: Contact,
    call: CallType,
    start: datetime,
    now: datetime,
    *,
    days: int,
    limit: int | None = None,
) -> list[Slot]:
    """The free times of a supplier's call; where several advisors are free, the one they know, else the least booked."""
    advisors, busy = await _read_diary(conn, contact, max(start, now), days)
    # A month of twelve advisors in as many zones took 0.13 s, which other requests should not wait for.
    return await asyncio.to_thread(list_slots, advisors, busy, call, start, days, now, limit=limit)


async def book_call(conn: Connection, settings: Settings, request: CallRequest, now: datetime) -> BookedAnswer:
    """Book the requested time, or the first free one.

    Raises:
        NotFoundError: no such supplier.
        UnprocessableError: unknown type, or a time that can never be had; `next_free` has times that can.
        ConflictError: the time is taken, or nothing is free; `next_free` has what is.
    """
    call = get_call_type(request.type)
    contact = await get_contact(conn, request.supplier_id)
    await lock_supplier_calls(conn, contact.id)
    call_id = uuid4()
    if request.starts_at is None:
        slot = await _take_first_free(conn, contact, call, call_id, now)
    else:
        slot = await _take(conn, contact, call, call_id, request.starts_at, now)
    topic = _clean(request.topic)
    created_at = await insert_call(conn, contact, call_id, call.name, topic, slot.starts_at, slot.ends_at, slot.advisor.id)
    link = f"{settings.base_url}/api/support/calls/{call_id}.ics?token={sign_call(settings.secret, contact.id, call_id)}"
    if contact.email:
        facts = _facts(settings, contact, call, slot, call_id, topic, created_at, link)
        await insert_confirmation(conn, contact, call_id, facts, slot.starts_at)
    return BookedAnswer(
        interaction_id=call_id,
        supplier_id=contact.id,
        type=call.name,
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        timezone=find_zone(contact.timezone).key,
        csm=CsmAnswer(slot.advisor.name, slot.advisor.email),
        ics_url=link,
    )


def answer_slots(slots: list[Slot]) -> list[SlotAnswer]:
    """Slots as the API gives them."""
    return [SlotAnswer(s.starts_at, s.ends_at, CsmAnswer(s.advisor.name, s.advisor.email)) for s in slots]


async def _take(conn: Connection, contact: Contact, call: CallType, call_id: UUID, asked: datetime, now: datetime) -> Slot:
    starts_at = resolve_start(asked, contact.timezone)
    if isinstance(starts_at, Refusal):
        raise await _refused(conn, contact, call, starts_at, now)
    advisors, busy = await _read_diary(conn, contact, max(starts_at, now), 1)
    if refusal := refuse_start(advisors, call, starts_at, now):
        raise await _refused(conn, contact, call, refusal, now)
    ends_at = starts_at + call.length
    if own := await find_own_call(conn, contact.id, starts_at, ends_at):
        raise await _taken(conn, contact, call, f"this supplier already has a call at {_utc(own)}", ends_at, now)
    quarters = held_quarters(starts_at, call)
    for advisor in advisors:
        if (
            works_through(advisor, starts_at, call)
            and is_free(advisor, busy, starts_at, call)
            and await hold_quarters(conn, advisor.id, call_id, quarters)
        ):
            return Slot(starts_at, ends_at, advisor)
    raise await _taken(conn, contact, call, f"{_utc(starts_at)} is taken", starts_at, now)


async def _take_first_free(conn: Connection, contact: Contact, call: CallType, call_id: UUID, now: datetime) -> Slot:
    await lock_first_free(conn)
    start = now
    # Only a booking that names its time can still come between; each round is one such lost race.
    for _ in range(20):
        found = await find_slots(conn, contact, call, start, now, days=HORIZON_DAYS, limit=1)
        if not found:
            break
        slot = found[0]
        if await find_own_call(conn, contact.id, slot.starts_at, slot.ends_at):
            start = slot.starts_at + (slot.ends_at - slot.starts_at)
        elif await hold_quarters(conn, slot.advisor.id, call_id, held_quarters(slot.starts_at, call)):
            return slot
    raise ConflictError(f"no advisor is free for a {call.title.lower()} in the next {HORIZON_DAYS} days", next_free=[])


async def _read_diary(conn: Connection, contact: Contact, start: datetime, days: int) -> tuple[list[Advisor], Busy]:
    """The advisors, the best for this supplier first, and what of them is held over that span."""
    busy = await list_busy(conn, start - BUFFER, start + timedelta(days=days + 1))
    return rank_advisors(await list_advisors(conn), busy, await find_known_advisor(conn, contact.id)), busy


async def _refused(conn: Connection, contact: Contact, call: CallType, refusal: Refusal, now: datetime) -> UnprocessableError:
    free = await find_slots(conn, contact, call, now, now, days=DEFAULT_DAYS, limit=NEXT_FREE)
    return UnprocessableError(f"starts_at: {refusal.detail}", reason=refusal.reason, next_free=answer_slots(free))


async def _taken(conn: Connection, contact: Contact, call: CallType, detail: str, start: datetime, now: datetime) -> ConflictError:
    free = await find_slots(conn, contact, call, start, now, days=DEFAULT_DAYS, limit=NEXT_FREE)
    return ConflictError(f"starts_at: {detail}", reason="taken", next_free=answer_slots(free))


def _facts(
    settings: Settings,
    contact: Contact,
    call: CallType,
    slot: Slot,
    call_id: UUID,
    topic: str | None,
    created_at: datetime,
    link: str,
) -> dict[str, object]:
    """What the confirmation says, in the supplier's own time, and the invitation to attach."""
    local = slot.starts_at.astimezone(find_zone(contact.timezone))
    invitation = Call(
        call_id,
        call.name,
        topic,
        slot.starts_at,
        slot.ends_at,
        created_at,
        slot.advisor.name,
        slot.advisor.email,
        contact.name,
        contact.email,
    )
    return {
        "supplier_id": str(contact.id),
        "name": contact.name,
        "call_type": call.name,
        "call_title": call.title,
        "minutes": call.minutes,
        "starts_at": _utc(slot.starts_at),
        "ends_at": _utc(slot.ends_at),
        "starts_local": f"{local:%A} {local.day} {local:%B %Y} at {local:%H:%M}",
        "timezone": find_zone(contact.timezone).key,
        "csm_name": slot.advisor.name,
        "csm_email": slot.advisor.email,
        "topic": topic,
        "ics_url": link,
        "ics": write_invitation(invitation, calendar_host(settings.base_url)),
    }


def _utc(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _clean(topic: str | None) -> str | None:
    """Without what no mail header, calendar or database takes; null when nothing is left."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", topic).strip() or None if topic else None
