"""What becomes of a booked call: another time, called off, an outcome. The caller owns the
transaction."""

from datetime import datetime
from uuid import UUID

from everafter.core.db import Connection
from everafter.core.errors import ConflictError, UnprocessableError
from everafter.core.settings import Settings
from everafter.support.booking import clean_topic, get_call_type, take
from everafter.support.model import BookedCall, CallType, Outcome
from everafter.support.notices import tell
from everafter.support.queries import (
    free_quarters,
    get_booked_call,
    list_own_quarters,
    lock_supplier_calls,
    update_call_cancelled,
    update_call_outcome,
    update_call_time,
)
from everafter.support.rules import held_quarters, resolve_start


async def reschedule_call(
    conn: Connection,
    settings: Settings,
    supplier_id: UUID,
    call_id: UUID,
    starts_at: datetime,
    now: datetime,
    *,
    timezone: str | None = None,
) -> BookedCall:
    """Give a call another time; to the time it has already is no change.

    The new quarters are taken before the old ones are let go, in one transaction: never are both
    lost. In that order two calls that go for each other's times cannot wait for one another either.

    Args:
        timezone: where `starts_at` without an offset is meant; null: the supplier's.

    Raises:
        NotFoundError: no such call of this supplier.
        ConflictError: it is over or cancelled (`reason`), or the time is taken (`next_free`).
        UnprocessableError: a time that can never be had; `next_free` has times that can.
    """
    await lock_supplier_calls(conn, supplier_id)
    before = await get_booked_call(conn, supplier_id, call_id)
    _refuse_ended(before, now)
    asked = resolve_start(starts_at, timezone or before.contact.timezone)
    if asked == before.starts_at:
        return before
    own = await list_own_quarters(conn, before)
    kind = type_of(before)
    slot = await take(conn, before.contact, kind, call_id, asked, now, moving=before, own=own)
    await update_call_time(conn, before, slot.starts_at, slot.ends_at, slot.csm.id)
    kept = held_quarters(slot.csm, slot.starts_at, kind) if slot.csm.id == before.csm_id else []
    await free_quarters(
        conn, before.csm_id, call_id, [quarter for quarter in own if quarter not in kept]
    )
    call = await get_booked_call(conn, supplier_id, call_id)
    await tell(conn, settings, call, "moved", now, before=before)
    return call


async def cancel_call(
    conn: Connection,
    settings: Settings,
    supplier_id: UUID,
    call_id: UUID,
    now: datetime,
    *,
    reason: str | None = None,
) -> BookedCall:
    """Call it off, free its time and tell both sides; one that is cancelled already stays so, and
    nobody is told again.

    Raises:
        NotFoundError: no such call of this supplier.
        ConflictError: it is over (`reason`).
    """
    await lock_supplier_calls(conn, supplier_id)
    before = await get_booked_call(conn, supplier_id, call_id)
    if before.cancelled:
        return before
    _refuse_ended(before, now)
    said = clean_topic(reason)
    notes = "\n".join(filter(None, (before.notes, f"Cancelled: {said}" if said else None)))
    await update_call_cancelled(conn, before, notes or None)
    await free_quarters(conn, before.csm_id, call_id, await list_own_quarters(conn, before))
    call = await get_booked_call(conn, supplier_id, call_id)
    await tell(conn, settings, call, "cancelled", now, reason=said)
    return call


async def record_outcome(
    conn: Connection,
    settings: Settings,
    supplier_id: UUID,
    call_id: UUID,
    outcome: Outcome,
    now: datetime,
    *,
    notes: str | None = None,
) -> None:
    """Write down what became of a call. Another word later corrects it; a coming call that is
    cancelled is called off.

    Raises: NotFoundError: no such call of this supplier. ConflictError: it has not begun and can be
        neither held nor missed, or it was called off before it began (`reason`)."""
    await lock_supplier_calls(conn, supplier_id)
    call = await get_booked_call(conn, supplier_id, call_id)
    if call.cancelled_at is not None:
        if outcome != "cancelled":
            raise ConflictError("this call was cancelled before it began", reason="cancelled")
    elif call.starts_at > now:
        if outcome != "cancelled":
            raise ConflictError(
                f"this call begins only at {_utc(call.starts_at)}", reason="not_begun"
            )
        call = await cancel_call(conn, settings, supplier_id, call_id, now)
    await update_call_outcome(conn, call, outcome, clean_topic(notes) or call.notes)


def type_of(call: BookedCall) -> CallType:
    """Its kind, with the length it was booked with."""
    minutes = int((call.ends_at - call.starts_at).total_seconds() // 60)
    try:
        found = get_call_type(call.type)
    except UnprocessableError:  # of another version of this program
        return CallType(call.type, call.type.replace("_", " "), minutes)
    return CallType(found.name, found.title, minutes)


def _refuse_ended(call: BookedCall, now: datetime) -> None:
    if call.cancelled:
        raise ConflictError("this call was cancelled; book a new one", reason="cancelled")
    if call.starts_at <= now:
        raise ConflictError(
            f"this call was at {_utc(call.starts_at)}; it can no longer be changed", reason="over"
        )


def _utc(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
