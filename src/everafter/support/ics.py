"""The invitation to a call as RFC 5545 and 5546 text, and the signed links to it. Pure."""

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime
from urllib.parse import quote, urlsplit
from uuid import UUID

from everafter.support.model import CALL_TYPES, Call

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SIGNATURE_BYTES = 16


def write_invitation(call: Call, host: str) -> str:
    """What the supplier's calendar takes: the iTIP REQUEST for this call, or its CANCEL.

    A newer one replaces an older one of the same UID; SEQUENCE says which is newer. A supplier without an address cannot be an
    attendee, and a REQUEST needs one: theirs is a PUBLISH.

    Args:
        host: the domain that makes the UID worldwide unique.
    """
    method = "CANCEL" if call.cancelled else "REQUEST" if call.supplier_email else "PUBLISH"
    attendees = [_attendee(call.supplier_name, call.supplier_email, "NEEDS-ACTION")] if call.supplier_email else []
    said = "\n\n".join(filter(None, (call.topic, call.link and f"Move or cancel this call: {call.link}")))
    summary = f"{_title(call)} with {call.advisor_name}"
    return _write(call, host, method, summary, (call.advisor_name, call.advisor_email), said, attendees)


def write_advisor_invitation(call: Call, host: str, organizer: tuple[str, str]) -> str:
    """The same call for the advisor's calendar, which must not read that it invited itself.

    Args:
        organizer: name and address of who sends it.
    """
    attendees = [_attendee(call.advisor_name, call.advisor_email, "ACCEPTED")]
    if call.supplier_email:
        attendees.append(_attendee(call.supplier_name, call.supplier_email, "NEEDS-ACTION"))
    summary = f"{_title(call)} with {call.supplier_name or call.supplier_email or 'a supplier'}"
    return _write(call, host, "CANCEL" if call.cancelled else "REQUEST", summary, organizer, call.topic or "", attendees)


def _title(call: Call) -> str:
    return CALL_TYPES[call.type].title if call.type in CALL_TYPES else call.type.replace("_", " ")


def _write(
    call: Call, host: str, method: str, summary: str, organizer: tuple[str, str], description: str, attendees: list[str]
) -> str:
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Everafter//Calls//EN",
        "CALSCALE:GREGORIAN",
        f"METHOD:{method}",
        "BEGIN:VEVENT",
        f"UID:{call.id}@{host}",
        f"DTSTAMP:{_stamp(call.changed_at or call.created_at)}",
        f"SEQUENCE:{call.sequence}",
        f"DTSTART:{_stamp(call.starts_at)}",
        f"DTEND:{_stamp(call.ends_at)}",
        f"SUMMARY:{_text(summary)}",
        f"ORGANIZER;CN={_parameter(organizer[0])}:{_mailto(organizer[1])}",
        *([f"DESCRIPTION:{_text(description)}"] if description else []),
        *attendees,
        f"STATUS:{'CANCELLED' if call.cancelled else 'CONFIRMED'}",
        f"TRANSP:{'TRANSPARENT' if call.cancelled else 'OPAQUE'}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "".join(_fold(line) + "\r\n" for line in lines)


def _attendee(name: str, email: str, answer: str) -> str:
    wish = "TRUE" if answer == "NEEDS-ACTION" else "FALSE"
    who = f"ATTENDEE;CN={_parameter(name or email)};CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT"
    return f"{who};PARTSTAT={answer};RSVP={wish}:{_mailto(email)}"


def calendar_host(base_url: str) -> str:
    """The domain of every UID: one rule, or the mail and the link would be two appointments in one calendar."""
    return urlsplit(base_url).hostname or "everafter"


def sign_call(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """The token that opens this call's invitation without a key.

    It carries the supplier, so that the row is read by its whole key, and 128 bits that only the secret can make.
    """
    return _encode(supplier_id.bytes + _signature(secret, b"call.ics", supplier_id, call_id))


def read_call_token(secret: str, call_id: UUID, token: str) -> UUID | None:
    """The supplier whose call it is, or null when the token was not made by `sign_call` for this call."""
    raw = _decode(token)
    if len(raw) != 16 + _SIGNATURE_BYTES:
        return None
    supplier_id = UUID(bytes=raw[:16])
    return supplier_id if hmac.compare_digest(raw[16:], _signature(secret, b"call.ics", supplier_id, call_id)) else None


def sign_manage(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """The token of the page where this call is moved or cancelled; who has the supplier's invitation has it too."""
    return _encode(supplier_id.bytes + call_id.bytes + _signature(secret, b"call.manage", supplier_id, call_id))


def read_manage_token(secret: str, token: str) -> tuple[UUID, UUID] | None:
    """Supplier and call, or null when the token was not made by `sign_manage`."""
    raw = _decode(token)
    if len(raw) != 32 + _SIGNATURE_BYTES:
        return None
    supplier_id, call_id = UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])
    fits = hmac.compare_digest(raw[32:], _signature(secret, b"call.manage", supplier_id, call_id))
    return (supplier_id, call_id) if fits else None


def _signature(secret: str, purpose: bytes, supplier_id: UUID, call_id: UUID) -> bytes:
    message = purpose + supplier_id.bytes + call_id.bytes
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _decode(token: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y%m%dT%H%M%SZ")


def _text(value: str) -> str:
    value = re.sub(r"\r\n?", "\n", value)
    value = _CONTROL.sub(" ", value).replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return value.replace("\n", "\\n")


def _parameter(value: str) -> str:
    """A quoted parameter; what cannot stand in one is written with carets (RFC 6868)."""
    value = _CONTROL.sub(" ", re.sub(r"\r\n?", "\n", value))
    return '"' + value.replace("^", "^^").replace("\n", "^n").replace('"', "^'") + '"'


def _mailto(address: str) -> str:
    return "mailto:" + quote(address, safe="@+!#$&'*/=?_`{|}~.-")


def _fold(line: str) -> str:
    """At most 75 octets a line, never inside a character."""
    parts: list[str] = []
    room, part = 75, ""
    for character in line:
        size = len(character.encode())
        if room < size:
            parts.append(part)
            room, part = 74, ""
        part += character
        room -= size
    return "\r\n ".join([*parts, part])
