"""Write invitations to calls (RFC 5545, 5546), and sign the links to them. Pure."""

from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from everafter.core.email_address import EmailAddress, EmailError, read_email
from everafter.core.signing import make_token, read_token
from everafter.core.texts import clean_line, clean_lines
from everafter.support.model import Call, call_title

if TYPE_CHECKING:
    from icalendar import vCalAddress

_INVITATION = b"call.ics"
_MANAGE = b"call.manage"


def write_invitation(call: Call, host: str) -> str:
    """Write the call for the supplier's calendar: an iTIP REQUEST, or a CANCEL.

    An invitation replaces those with the same UID and a lower SEQUENCE. A REQUEST requires an
    attendee, so suppliers without an address get a PUBLISH.

    Args:
        host: the domain that makes the UID globally unique.
    """
    invited = _find_address(call.supplier_email)
    method = "CANCEL" if call.cancelled else "REQUEST" if invited else "PUBLISH"
    attendees = [_attendee(call.supplier_name, invited, "NEEDS-ACTION")] if invited else []
    link = call.link and f"Move or cancel this call: {call.link}"
    description = "\n\n".join(filter(None, (call.topic, link)))
    summary = f"{call_title(call.type)} with {call.csm_name}"
    organizer = (call.csm_name, call.csm_email)
    return _write(call, host, method, summary, organizer, description, attendees)


def write_csm_invitation(call: Call, host: str, organizer: tuple[str, str]) -> str:
    """Write the call for the CSM's calendar, with the CSM as an attendee instead of the organizer.

    Args:
        organizer: name and address of the sender.
    """
    own, invited = _find_address(call.csm_email), _find_address(call.supplier_email)
    attendees = [_attendee(call.csm_name, own, "ACCEPTED")] if own else []
    if invited:
        attendees.append(_attendee(call.supplier_name, invited, "NEEDS-ACTION"))
    supplier = call.supplier_name or call.supplier_email or "a supplier"
    summary = f"{call_title(call.type)} with {supplier}"
    method = "CANCEL" if call.cancelled else "REQUEST"
    return _write(call, host, method, summary, organizer, call.topic or "", attendees)


def _write(
    call: Call,
    host: str,
    method: str,
    summary: str,
    organizer: tuple[str, str],
    description: str,
    attendees: list["vCalAddress"],
) -> str:
    from icalendar import Calendar, Event  # slow to import

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
    if text := clean_lines(description):
        event.add("description", text)
    for attendee in attendees:
        event.add("attendee", attendee)
    event.add("status", "CANCELLED" if call.cancelled else "CONFIRMED")
    event.add("transp", "TRANSPARENT" if call.cancelled else "OPAQUE")
    calendar.add_component(event)
    return calendar.to_ical(sorted=False).decode()


def _attendee(name: str, address: EmailAddress, status: str) -> "vCalAddress":
    person = _person(name or address.addr_spec, address)
    person.params["CUTYPE"] = "INDIVIDUAL"
    person.params["ROLE"] = "REQ-PARTICIPANT"
    person.params["PARTSTAT"] = status
    person.params["RSVP"] = "TRUE" if status == "NEEDS-ACTION" else "FALSE"
    return person


def _person(name: str, address: EmailAddress) -> "vCalAddress":
    """A person with a name. Backslashes in the name are replaced: they have no meaning in
    parameters (RFC 5545, 3.2), but some calendars treat them as escapes."""
    from icalendar import vCalAddress

    person = vCalAddress(address.mailto)
    person.params["CN"] = clean_line(name).replace("\\", "/") or address.addr_spec
    return person


def _find_address(email: str | None) -> EmailAddress | None:
    """The address as in the envelope; null: there is none, or it is invalid."""
    try:
        return read_email(email) if email else None
    except EmailError:
        return None


def method_of(invitation: str) -> str:
    """The METHOD of an invitation: REQUEST, CANCEL or PUBLISH.

    >>> method_of("BEGIN:VCALENDAR\\r\\nMETHOD:CANCEL\\r\\n")
    'CANCEL'
    """
    return invitation.partition("METHOD:")[2].partition("\r\n")[0]


def calendar_host(base_url: str) -> str:
    """The domain of every UID, so that the email and the link result in one event in a calendar."""
    return urlsplit(base_url).hostname or "everafter"


def sign_call(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """Make the token that gives access to an invitation without an API key.

    It contains the supplier, because the call's row is read by its full key; the call is in the
    path.
    """
    return make_token(secret, _INVITATION, supplier_id, bound=(call_id,))


def read_call_token(secret: str, call_id: UUID, token: str) -> UUID | None:
    """Return the supplier of the call; null: the token was not made by `sign_call` for this
    call."""
    ids = read_token(secret, _INVITATION, token, 1, bound=(call_id,))
    return ids[0] if ids else None


def sign_manage(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """Make the token of the page where a call can be moved or cancelled. Everyone with the
    supplier's invitation has it."""
    return make_token(secret, _MANAGE, supplier_id, call_id)


def read_manage_token(secret: str, token: str) -> tuple[UUID, UUID] | None:
    """Return supplier and call; null: the token was not made by `sign_manage`."""
    ids = read_token(secret, _MANAGE, token, 2)
    return (ids[0], ids[1]) if ids else None
