"""Parse delivery reports (RFC 3464, 6533) and complaints (RFC 5965). Pure.

Anybody can write to the address that receives them. A report counts only if it contains the token
of a message, which cannot be forged, and only for that message and its recipient.
"""

import email
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Literal

from everafter.core.email_address import travelling_form
from everafter.core.texts import clean_line

EventType = Literal["bounce", "soft_bounce", "delayed", "complaint", "delivered"]

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a report that are read. The rest is the content of the returned message."""

_LONGEST_REASON = 500
_TOKEN = re.compile(rb"X-Everafter:\s*([A-Za-z0-9_-]{64})(?![A-Za-z0-9_-])", re.IGNORECASE)
_STATUS_TYPES = {"message/delivery-status", "message/global-delivery-status"}
_ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}
_COMPLAINTS = {"abuse", "fraud", "opt-out", "opt-out-list", "other", "virus"}
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_NAMESPACE = uuid.UUID("6e6d1b0e-5f3c-5a7a-9d53-0c1f0b7a1e42")


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """One recipient of a report.

    addresses: the addresses of the recipient, in the form that messages are sent to, in lower case.
    status: `5.1.1`; empty: none. diagnostic: the reply of the server that rejected the message.
    """

    addresses: frozenset[str]
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report or a complaint. tokens: texts that look like message tokens."""

    tokens: frozenset[str]
    recipients: tuple[RecipientReport, ...]
    complaint: str | None = None


def read_report(raw: bytes) -> Report | None:
    """Parse a message as a report; null: it is something else, such as an automatic reply."""
    try:
        message = email.message_from_bytes(raw[:MOST_BYTES])
        parts = list(_own_parts(message, 0))
        tokens = frozenset(
            token.decode()
            for text in _texts(raw[:MOST_BYTES], parts)
            for token in _TOKEN.findall(text)
        )
        for part in parts:
            kind = part.get_content_type()
            if kind in _STATUS_TYPES:
                return Report(tokens, tuple(_recipients(_blocks(part))))
            if kind == "message/feedback-report":
                fields = _blocks(part)
                complaint = _field(fields[0], "Feedback-Type").lower() if fields else ""
                return Report(tokens, (), complaint) if complaint in _COMPLAINTS else None
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError):
        return None  # malformed beyond what the library can parse
    return None


def event_id(outbox_id: uuid.UUID, *content: str) -> uuid.UUID:
    """The id of an event, derived from the message and the content, so that repetitions count
    once."""
    return uuid.uuid5(_NAMESPACE, "\0".join([str(outbox_id), *content]))


def clean_reason(text: str) -> str:
    """The reply of a server in one line, as it is stored."""
    return clean_line(text, _LONGEST_REASON)


def _own_parts(message: Message, depth: int) -> Iterator[Message]:
    """The parts of this message, without those of nested messages; at most five levels deep."""
    if message.is_multipart() and message.get_content_maintype() == "multipart" and depth < 5:
        for part in message.get_payload():
            if isinstance(part, Message):
                yield from _own_parts(part, depth + 1)
    else:
        yield message


def _texts(raw: bytes, parts: list[Message]) -> Iterator[bytes]:
    yield raw
    for part in parts:
        if not part.is_multipart() and isinstance(text := part.get_payload(decode=True), bytes):
            yield text


def _blocks(part: Message) -> list[Message]:
    """The groups of fields in a status or feedback part: one of the message, then one per
    recipient."""
    payload = part.get_payload()
    inner = (
        [block.as_bytes() for block in payload if isinstance(block, Message)]
        if isinstance(payload, list)
        else []
    )
    text = b"\n\n".join(inner) if inner else str(payload).encode("ascii", "surrogateescape")
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() in {
        "base64",
        "quoted-printable",
    }:
        coded = Message()
        coded["Content-Transfer-Encoding"] = part["Content-Transfer-Encoding"]
        coded.set_payload(text.strip(b"\r\n").decode("ascii", "surrogateescape"))
        decoded = coded.get_payload(decode=True)
        text = decoded if isinstance(decoded, bytes) and b":" in decoded else text
    groups = re.split(rb"(?:\r?\n){2,}", text)
    return [
        BytesHeaderParser().parsebytes(group.strip(b"\r\n") + b"\n\n")
        for group in groups
        if group.strip()
    ]


def _recipients(blocks: list[Message]) -> Iterator[RecipientReport]:
    for block in blocks:
        action = _field(block, "Action").lower().partition(" ")[0].rstrip(";,")
        if action not in _ACTIONS:
            continue
        status = _STATUS.search(_field(block, "Status"))
        diagnostic = _field(block, "Diagnostic-Code").partition(";")
        addresses = {
            _address(_field(block, name)) for name in ("Original-Recipient", "Final-Recipient")
        } - {""}
        words = (diagnostic[2] or diagnostic[0]).strip()
        yield RecipientReport(
            frozenset(addresses), action, status[1] if status else "", clean_reason(words)
        )


def _field(block: Message, name: str) -> str:
    """The unfolded value of a field; non-ASCII bytes are decoded as UTF-8."""
    for key, value in block.raw_items():
        if key.lower() == name.lower():
            text = str(value).encode("ascii", "surrogateescape").decode("utf-8", "replace")
            return " ".join(text.split())
    return ""


def _address(value: str) -> str:
    """The address in `rfc822; ann@x.example` or `utf-8; j\\x{F6}rg@x.example`, in the form that
    messages are sent to, in lower case."""
    kind, _, address = value.rpartition(";")
    text = address.strip().strip("<>").strip()
    if kind.strip().lower() == "utf-8":
        text = re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", _character, text)
    return travelling_form(text).lower()


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "?"
