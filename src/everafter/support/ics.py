"""The invitation to a call as RFC 5545 and 5546 text, and the signed links to it. Pure."""

from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from everafter.core.email_address import EmailAddress, EmailError, read_email
from everafter.core.signing import make_token, read_token
from everafter.core.texts import clean_line, clean_lines
from everafter.support.model import CALL_TYPES, Call

if TYPE_CHECKING:
    from icalendar import vCalAddress

_INVITATION = b"call.ics"
_MANAGE = b"call.manage"


def write_invitation(call: Call, host: str) -> str:
    """What the supplier's calendar takes: the iTIP REQUEST for this call, or its CANCEL.

    A newer one replaces an older one of the same UID; SEQUENCE says which is newer. A supplier
    without an address cannot be an attendee, and a REQUEST needs one: theirs is a PUBLISH.

    Args:
        host: the domain that makes the UID worldwide unique.
    """
    invited = _find_address(call.supplier_email)
    method = "CANCEL" if call.cancelled else "REQUEST" if invited else "PUBLISH"
    attendees = [_attendee(call.supplier_name, invited, "NEEDS-ACTION")] if invited else []
    said = "\n\n".join(
        filter(None, (call.topic, call.link and f"Move or cancel this call: {call.link}"))
    )
    summary = f"{_title(call)} with {call.csm_name}"
    return _write(call, host, method, summary, (call.csm_name, call.csm_email), said, attendees)


def write_csm_invitation(call: Call, host: str, organizer: tuple[str, str]) -> str:
    """The same call for the CSM's calendar, which must not read that it invited itself.

    Args:
        organizer: name and address of who sends it.
    """
    own, invited = _find_address(call.csm_email), _find_address(call.supplier_email)
    attendees = [_attendee(call.csm_name, own, "ACCEPTED")] if own else []
    if invited:
        attendees.append(_attendee(call.supplier_name, invited, "NEEDS-ACTION"))
    summary = f"{_title(call)} with {call.supplier_name or call.supplier_email or 'a supplier'}"
    return _write(
        call,
        host,
        "CANCEL" if call.cancelled else "REQUEST",
        summary,
        organizer,
        call.topic or "",
        attendees,
    )


def _title(call: Call) -> str:
    return CALL_TYPES[call.type].title if call.type in CALL_TYPES else call.type.replace("_", " ")


def _write(
    call: Call,
    host: str,
    method: str,
    summary: str,
    organizer: tuple[str, str],
    description: str,
    attendees: list["vCalAddress"],
) -> str:
    from icalendar import Calendar, Event  # few commands write a calendar

    calendar, event = Calendar(), Event()
    calendar.add("version", "2.0")
    calendar.add("prodid", "-//Everafter//Calls//EN")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", method)
    event.add("uid", f"{call.id}@{host}")
    event.add("dtstamp", (call.changed_at or call.created_at).astimezone(UTC))
    event.add("sequence", call.sequence)
    event.add("dtstart", call.starts_at.astimezone(UTC))
    event.add("dtend", call.ends_at.astimezone(UTC))
    event.add("summary", clean_line(summary))
    if (by := _find_address(organizer[1])) is not None:
        event.add("organizer", _person(organizer[0], by))
    if said := clean_lines(description):
        event.add("description", said)
    for attendee in attendees:
        event.add("attendee", attendee)
    event.add("status", "CANCELLED" if call.cancelled else "CONFIRMED")
    event.add("transp", "TRANSPARENT" if call.cancelled else "OPAQUE")
    calendar.add_component(event)
    return calendar.to_ical(sorted=False).decode()


def _attendee(name: str, address: EmailAddress, answer: str) -> "vCalAddress":
    person = _person(name or address.addr_spec, address)
    person.params["CUTYPE"] = "INDIVIDUAL"
    person.params["ROLE"] = "REQ-PARTICIPANT"
    person.params["PARTSTAT"] = answer
    person.params["RSVP"] = "TRUE" if answer == "NEEDS-ACTION" else "FALSE"
    return person


def _person(name: str, address: EmailAddress) -> "vCalAddress":
    """A backslash means nothing in a parameter (RFC 5545, 3.2), but some calendars take it for an
    escape."""
    from icalendar import vCalAddress

    person = vCalAddress(address.mailto)
    person.params["CN"] = clean_line(name).replace("\\", "/") or address.addr_spec
    return person


def _find_address(email: str | None) -> EmailAddress | None:
    """The address as the envelope has it; null when there is none that mail can go to."""
    try:
        return read_email(email) if email else None
    except EmailError:
        return None


def method_of(invitation: str) -> str:
    """The METHOD of what was written here: REQUEST, CANCEL or PUBLISH.

    >>> method_of("BEGIN:VCALENDAR\\r\\nMETHOD:CANCEL\\r\\n")
    'CANCEL'
    """
    return invitation.partition("METHOD:")[2].partition("\r\n")[0]


def calendar_host(base_url: str) -> str:
    """The domain of every UID: one rule, or the mail and the link would be two appointments in one
    calendar."""
    return urlsplit(base_url).hostname or "everafter"


def sign_call(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """Make the token that opens this call's invitation without a key.

    It carries the supplier, because the row is read by its whole key; the call is in the path."""
    return make_token(secret, _INVITATION, supplier_id, bound=(call_id,))


def read_call_token(secret: str, call_id: UUID, token: str) -> UUID | None:
    """Return the supplier whose call it is, or null when `sign_call` did not make the token for
    this call."""
    ids = read_token(secret, _INVITATION, token, 1, bound=(call_id,))
    return ids[0] if ids else None


def sign_manage(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """Make the token of the page where this call is moved or cancelled. Whoever has the supplier's
    invitation has it too."""
    return make_token(secret, _MANAGE, supplier_id, call_id)


def read_manage_token(secret: str, token: str) -> tuple[UUID, UUID] | None:
    """Return supplier and call, or null when `sign_manage` did not make the token."""
    ids = read_token(secret, _MANAGE, token, 2)
    return (ids[0], ids[1]) if ids else None
