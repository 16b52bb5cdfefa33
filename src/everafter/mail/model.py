"""Types of the outbox: messages, their statuses, and rendered messages."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from everafter.core.errors import EverafterError

Topic = Literal["success", "transactional"]
Status = Literal[
    "queued",
    "claimed",
    "handing",
    "accepted",
    "bounced",
    "dead",
    "in_doubt",
    "expired",
    "suppressed",
    "replayed",
]

STATUS_MEANING: dict[Status, str] = {
    "queued": "waiting for its time or for a worker",
    "claimed": "taken by a worker; not handed to the mail server yet",
    "handing": "the recipient was accepted; the message is being sent",
    "accepted": "accepted by the mail server",
    "bounced": "accepted by the mail server, and returned later as undeliverable",
    "dead": "rejected permanently, or could not be rendered; it will not be tried again",
    "in_doubt": "the connection ended before the mail server replied; needs a decision",
    "expired": "not sent before its expiry",
    "suppressed": "the recipient does not want it, or cannot receive it",
    "replayed": "for a past day that was scored later, so it is never sent",
}


STATUS_TITLES: dict[Status, str] = {
    "queued": "Queued",
    "claimed": "Claimed",
    "handing": "Sending",
    "accepted": "Accepted",
    "bounced": "Bounced",
    "in_doubt": "In doubt",
    "dead": "Failed",
    "expired": "Expired",
    "suppressed": "Suppressed",
    "replayed": "Not sent (past day)",
}


Source = Literal["recipient", "mail server", "bounce", "complaint", "provider", "person"]
"""Where a suppression comes from."""


LOGO_ID = "platform-logo@everafter"
"""The Content-ID of the attached logo."""


class RenderError(EverafterError):
    """A message cannot be rendered with this template and these facts."""

    status = 422
    code = "mail_render"


@dataclass(frozen=True, slots=True)
class Links:
    """Links and signature of a message.

    go: the prefix of button URLs, to which the action is appended. unsubscribe: the one-click URL;
    null for transactional email. sender: the name in the signature. certificate: the URL of the
    supplier's certificate. token: identifies the message in delivery reports.
    """

    go: str
    unsubscribe: str | None
    sender: str
    certificate: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered message."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Key:
    """The primary key of a row in the outbox."""

    supplier_id: uuid.UUID
    id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Claim:
    """A row claimed by a worker. Later updates compare `owner` and `attempt`, so that a worker only
    changes rows it still holds.

    status: 'claimed', or 'expired' or 'suppressed' if it must not be sent. subject, body_text and
    body_html are null until the first hand-over; later attempts send the same texts.
    """

    supplier_id: uuid.UUID
    id: uuid.UUID
    owner: str
    attempt: int
    status: Status
    template: str
    topic: Topic
    to_email: str
    to_name: str
    facts: dict[str, Any]
    expires_at: dt.datetime
    subject: str | None
    body_text: str | None
    body_html: str | None


@dataclass(frozen=True, slots=True)
class OutboxLine:
    """One row of a message list. supplier: the supplier's name; null if it no longer exists.
    external_id: the platform's id of the supplier."""

    supplier_id: uuid.UUID
    id: uuid.UUID
    supplier: str | None
    external_id: str | None
    template: str
    topic: Topic
    to_email: str
    subject: str | None
    status: Status
    status_reason: str | None
    attempt: int
    send_after: dt.datetime
    expires_at: dt.datetime
    created_at: dt.datetime
    accepted_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message with all its columns. subject, body_text and body_html are null until the first
    hand-over; `preview` renders them."""

    supplier_id: uuid.UUID
    id: uuid.UUID
    supplier: str | None
    external_id: str | None
    intervention_id: uuid.UUID | None
    template: str
    topic: Topic
    to_email: str
    to_name: str
    facts: dict[str, Any]
    subject: str | None
    body_text: str | None
    body_html: str | None
    status: Status
    status_reason: str | None
    attempt: int
    owner: str | None
    lease_until: dt.datetime | None
    send_after: dt.datetime
    expires_at: dt.datetime
    created_at: dt.datetime
    accepted_at: dt.datetime | None
    smtp_reply: str | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the mail server currently rejects our mail. since: the first time; seen_at: the last."""

    reason: str
    since: dt.datetime
    seen_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a sent message."""

    supplier_id: uuid.UUID
    id: uuid.UUID
    to_email: str
    topic: Topic


@dataclass(frozen=True, slots=True)
class MailEvent:
    """An event about a sent message.

    code: the enhanced status code (RFC 3463); null: none. at: when it happened, or when it arrived
    if the report does not say.
    """

    supplier_id: uuid.UUID
    outbox_id: uuid.UUID
    id: uuid.UUID
    type: str
    source: str
    code: str | None
    reason: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no email of a topic ('*': of any topic), with source and reason."""

    email: str
    topic: str
    source: Source
    reason: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Swept:
    """Messages that one sweep of the outbox expired, requeued and marked as in doubt."""

    expired: int
    requeued: int
    in_doubt: int


@dataclass(slots=True)
class Tally:
    """Counts of the messages that a worker processed, by result.

    unknown: sent without a reply; they stay `handing`. returned: put back into the queue.
    """

    accepted: int = 0
    deferred: int = 0
    dead: int = 0
    unknown: int = 0
    skipped: int = 0
    returned: int = 0
