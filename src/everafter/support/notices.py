"""Notify both sides of a call: confirmations, changes, cancellations and reminders as rows of the
outbox. The caller owns the transaction.

The id of each message is derived from its call, change and recipient, so that repeated
notifications result in one row.
"""

import asyncio
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid5

from msgspec.structs import replace

from everafter.branding.loading import load_brand
from everafter.branding.rules import branded_sender, sender_of
from everafter.core.db import Connection
from everafter.core.errors import EverafterError
from everafter.core.formatting import format_utc
from everafter.core.i18n import format_clock, format_weekday
from everafter.core.settings import Settings
from everafter.core.zones import find_zone
from everafter.mail.model import Key
from everafter.mail.outbox_queries import enqueue, withdraw
from everafter.playbook.loading import load_playbook, playbook_path
from everafter.playbook.model import Support
from everafter.support.ics import (
    calendar_host,
    sign_call,
    sign_manage,
    write_csm_invitation,
    write_invitation,
)
from everafter.support.model import BookedCall, Call, call_title

Change = Literal["booked", "moved", "cancelled"]
_TEMPLATES = ["call_booked", "call_moved", "call_cancelled", "call_reminder", "call_for_csm"]


def ics_link(settings: Settings, supplier_id: UUID, call_id: UUID) -> str:
    """The URL of a call's invitation."""
    token = sign_call(settings.secret, supplier_id, call_id)
    return f"{settings.base_url}/api/support/calls/{call_id}.ics?token={token}"


def manage_link(settings: Settings, supplier_id: UUID, call_id: UUID) -> str:
    """The URL of the page where a call can be moved or cancelled."""
    return f"{settings.base_url}/calls/{sign_manage(settings.secret, supplier_id, call_id)}"


def invitation_to(settings: Settings, call: BookedCall) -> str:
    """The current invitation for the supplier's calendar."""
    return write_invitation(_as_invited(settings, call), calendar_host(settings.base_url))


async def notify(
    conn: Connection,
    settings: Settings,
    call: BookedCall,
    change: Change,
    now: datetime,
    *,
    before: BookedCall | None = None,
    reason: str | None = None,
) -> None:
    """Notify both sides of a change, and queue reminders. Unsent messages about an earlier state
    are withdrawn.

    Args:
        before: the call before it was moved. A CSM who no longer has the call gets a cancellation.
        reason: of a cancellation, for the CSM.
    """
    if before is not None or change == "cancelled":
        await withdraw(conn, call.contact.id, _TEMPLATES, str(call.id), f"the call was {change}")
    facts = _facts(settings, call) | {"change": change, "reason": reason}
    if before is not None:
        facts["was_starts_at"] = format_utc(before.starts_at)
    if call.contact.email:
        invited = facts | {"ics": invitation_to(settings, call)}
        await _enqueue(conn, call, f"call_{change}", call.contact.email, call.contact.name, invited)
    await _notify_csm(conn, settings, call, facts)
    if before is not None and before.csm_id != call.csm_id:
        cancelled = replace(
            before, outcome="cancelled", sequence=call.sequence, changed_at=call.changed_at
        )
        when = {"starts_at": format_utc(before.starts_at), "ends_at": format_utc(before.ends_at)}
        await _notify_csm(conn, settings, cancelled, facts | when | {"change": "passed_on"})
    if change != "cancelled" and call.contact.email:
        await _queue_reminders(conn, settings, call, now)


async def _notify_csm(
    conn: Connection, settings: Settings, call: BookedCall, facts: dict[str, Any]
) -> None:
    if not _is_reachable(call.csm_email):
        return
    brand = await asyncio.to_thread(load_brand, settings)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    invited = _as_invited(settings, call)
    organizer = (sender.display_name or sender.addr_spec, sender.addr_spec)
    csm_facts = facts | {
        "name": call.csm_name,
        "supplier_name": call.contact.name or call.contact.email or "a supplier",
        "timezone": find_zone(call.csm_timezone).key,
        "supplier_url": f"{settings.base_url}/suppliers/{call.contact.id}",
        "ics": write_csm_invitation(invited, calendar_host(settings.base_url), organizer),
    }
    del csm_facts["manage_url"]  # for the supplier only
    await _enqueue(conn, call, "call_for_csm", call.csm_email, call.csm_name, csm_facts)


async def _queue_reminders(
    conn: Connection, settings: Settings, call: BookedCall, now: datetime
) -> None:
    """Queue the reminders that are still ahead. Each expires when the next is due, so that only one
    is sent after an outage."""
    assert call.contact.email is not None  # noqa: S101 checked by notify()
    due = sorted(
        {call.starts_at - timedelta(hours=hours) for hours in await remind_hours(settings)}
    )
    due = [at for at in due if now < at < call.starts_at]
    for at, expires_at in zip(due, [*due[1:], call.starts_at], strict=True):
        await enqueue(
            conn,
            Key(call.contact.id, uuid5(call.id, f"reminder {call.sequence} {format_utc(at)}")),
            template="call_reminder",
            topic="transactional",
            to_email=call.contact.email,
            to_name=call.contact.name,
            facts=_facts(settings, call),
            send_after=at,
            expires_at=expires_at,
        )


async def _enqueue(
    conn: Connection, call: BookedCall, template: str, to: str, name: str, facts: dict[str, Any]
) -> None:
    first = template == "call_booked"  # its row has the id of the call
    key = Key(
        call.contact.id, call.id if first else uuid5(call.id, f"{template} {call.sequence} {to}")
    )
    await enqueue(
        conn,
        key,
        template=template,
        topic="transactional",
        to_email=to,
        to_name=name,
        facts=facts,
        expires_at=call.starts_at,
    )


def _facts(settings: Settings, call: BookedCall) -> dict[str, Any]:
    """Facts for templates, in the supplier's time zone."""
    contact, zone = call.contact, find_zone(call.contact.timezone)
    local = call.starts_at.astimezone(zone)
    return {
        "supplier_id": str(contact.id),
        "interaction_id": str(call.id),
        "name": contact.name,
        "call_type": call.type,
        "call_title": call_title(call.type),
        "minutes": int((call.ends_at - call.starts_at).total_seconds() // 60),
        "starts_at": format_utc(call.starts_at),
        "ends_at": format_utc(call.ends_at),
        "starts_local": f"{format_weekday(local, year=True)} at {format_clock(local)}",
        "timezone": zone.key,
        "csm_name": call.csm_name,
        "csm_email": call.csm_email,
        "topic": call.topic,
        "ics_url": ics_link(settings, contact.id, call.id),
        "manage_url": manage_link(settings, contact.id, call.id),
    }


def _as_invited(settings: Settings, call: BookedCall) -> Call:
    contact = call.contact
    # replies to an invitation go to its organizer, so the address must be read by somebody
    organizer = (
        call.csm_email
        if _is_reachable(call.csm_email)
        else sender_of(settings.mail_from, settings.base_url).addr_spec
    )
    return Call(
        call.id,
        call.type,
        call.topic,
        call.starts_at,
        call.ends_at,
        call.created_at,
        call.csm_name,
        organizer,
        contact.name,
        contact.email,
        sequence=call.sequence,
        changed_at=call.changed_at,
        cancelled=call.cancelled,
        link=None if call.cancelled else manage_link(settings, contact.id, call.id),
    )


def _is_reachable(email: str) -> bool:
    """The CSM of a new installation has an address that nobody has (.invalid, RFC 2606)."""
    return not email.endswith(".invalid")


async def remind_hours(settings: Settings) -> tuple[float, ...]:
    """How many hours before a call the supplier is reminded, from the current playbook.

    A playbook that becomes invalid while it is edited does not prevent bookings: the defaults are
    used.
    """
    path = playbook_path(settings)
    try:
        known = path.stat()
        return await asyncio.to_thread(
            _read_hours, settings, path, (known.st_mtime_ns, known.st_size)
        )
    except (EverafterError, OSError):
        return tuple(Support().remind_hours)


@lru_cache(8)
def _read_hours(settings: Settings, path: Path, state: tuple[int, int]) -> tuple[float, ...]:
    """Cached until the file changes: loading a playbook takes longer than booking a call."""
    return tuple(load_playbook(settings).support.remind_hours)
