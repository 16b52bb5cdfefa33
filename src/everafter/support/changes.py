"""Change booked calls: move, cancel, record the outcome. The caller owns the transaction."""

from datetime import datetime
from uuid import UUID

from everafter.core.db import Connection
from everafter.core.errors import ConflictError, UnprocessableError
from everafter.core.formatting import format_utc
from everafter.core.settings import Settings
from everafter.support.booking import clean_topic, get_call_type, take
from everafter.support.model import BookedCall, CallType, Outcome, call_title
from everafter.support.notices import notify
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
    """Move a call to another time. Its current time is not a change.

    The new quarters are taken before the old ones are released, so that the call never loses both.
    This order also prevents deadlocks between two calls that swap their times.

    Args:
        timezone: the time zone of `starts_at` without an offset; null: the supplier's.

    Raises:
        NotFoundError: this supplier has no such call.
        ConflictError: it is over or cancelled (`reason`), or the time is taken (`next_free`).
        UnprocessableError: the time cannot be booked; `next_free` has free times.
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
    await notify(conn, settings, call, "moved", now, before=before)
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
    """Cancel a call, release its time and notify both sides. Cancelling again does nothing.

    Raises:
        NotFoundError: this supplier has no such call.
        ConflictError: it is over (`reason`).
    """
    await lock_supplier_calls(conn, supplier_id)
    before = await get_booked_call(conn, supplier_id, call_id)
    if before.cancelled:
        return before
    _refuse_ended(before, now)
    why = clean_topic(reason)
    notes = "\n".join(filter(None, (before.notes, f"Cancelled: {why}" if why else None)))
    await update_call_cancelled(conn, before, notes or None)
    await free_quarters(conn, before.csm_id, call_id, await list_own_quarters(conn, before))
    call = await get_booked_call(conn, supplier_id, call_id)
    await notify(conn, settings, call, "cancelled", now, reason=why)
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
    """Record the outcome of a call; a later outcome replaces it. `cancelled` cancels an upcoming
    call.

    Raises:
        NotFoundError: this supplier has no such call.
        ConflictError: it has not started, or it was cancelled before it started (`reason`).
    """
    await lock_supplier_calls(conn, supplier_id)
    call = await get_booked_call(conn, supplier_id, call_id)
    if call.cancelled_at is not None:
        if outcome != "cancelled":
            raise ConflictError("this call was cancelled before it started", reason="cancelled")
    elif call.starts_at > now:
        if outcome != "cancelled":
            raise ConflictError(
                f"this call starts at {format_utc(call.starts_at)}", reason="not_started"
            )
        call = await cancel_call(conn, settings, supplier_id, call_id, now)
    await update_call_outcome(conn, call, outcome, clean_topic(notes) or call.notes)


def type_of(call: BookedCall) -> CallType:
    """The call type, with the length of this call."""
    minutes = int((call.ends_at - call.starts_at).total_seconds() // 60)
    try:
        found = get_call_type(call.type)
    except UnprocessableError:  # of another version of Everafter
        return CallType(call.type, call_title(call.type), minutes)
    return CallType(found.name, found.title, minutes)


def _refuse_ended(call: BookedCall, now: datetime) -> None:
    if call.cancelled:
        raise ConflictError("this call was cancelled; book a new one", reason="cancelled")
    if call.starts_at <= now:
        raise ConflictError(
            f"this call was at {format_utc(call.starts_at)} and can no longer be changed",
            reason="over",
        )
