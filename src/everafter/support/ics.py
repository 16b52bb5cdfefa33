"""The invitation to a call as RFC 5545 and 5546 text, and the signed link to it. Pure."""

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
    """The iTIP REQUEST for this call; calendars that take it replace an older one with the same UID.

    A supplier without an address cannot be an attendee, and a REQUEST needs one: theirs is a PUBLISH.

    Args:
        host: the domain that makes the UID worldwide unique.
    """
    title = CALL_TYPES[call.type].title if call.type in CALL_TYPES else call.type.replace("_", " ")
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Everafter//Calls//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:" + ("REQUEST" if call.supplier_email else "PUBLISH"),
        "BEGIN:VEVENT",
        f"UID:{call.id}@{host}",
        f"DTSTAMP:{_stamp(call.created_at)}",
        "SEQUENCE:0",
        f"DTSTART:{_stamp(call.starts_at)}",
        f"DTEND:{_stamp(call.ends_at)}",
        f"SUMMARY:{_text(f'{title} with {call.advisor_name}')}",
        f"ORGANIZER;CN={_parameter(call.advisor_name)}:{_mailto(call.advisor_email)}",
    ]
    if call.topic:
        lines.append(f"DESCRIPTION:{_text(call.topic)}")
    if call.supplier_email:
        lines.append(
            f"ATTENDEE;CN={_parameter(call.supplier_name or call.supplier_email)};CUTYPE=INDIVIDUAL;"
            f"ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:{_mailto(call.supplier_email)}"
        )
    lines += ["STATUS:CONFIRMED", "TRANSP:OPAQUE", "END:VEVENT", "END:VCALENDAR"]
    return "".join(_fold(line) + "\r\n" for line in lines)


def calendar_host(base_url: str) -> str:
    """The domain of every UID: one rule, or the mail and the link would be two appointments in one calendar."""
    return urlsplit(base_url).hostname or "everafter"


def sign_call(secret: str, supplier_id: UUID, call_id: UUID) -> str:
    """The token that opens this call's invitation without a key.

    It carries the supplier, so that the row is read by its whole key, and 128 bits that only the secret can make.
    """
    return _encode(supplier_id.bytes + _signature(secret, supplier_id, call_id))


def read_call_token(secret: str, call_id: UUID, token: str) -> UUID | None:
    """The supplier whose call it is, or null when the token was not made by `sign_call` for this call."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, UnicodeEncodeError):
        return None
    if len(raw) != 16 + _SIGNATURE_BYTES:
        return None
    supplier_id = UUID(bytes=raw[:16])
    return supplier_id if hmac.compare_digest(raw[16:], _signature(secret, supplier_id, call_id)) else None


def _signature(secret: str, supplier_id: UUID, call_id: UUID) -> bytes:
    message = b"call.ics" + supplier_id.bytes + call_id.bytes
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


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
