"""What the outbox speaks of: messages, their states, and how a message looks when rendered."""

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
    "queued": "waits for its time or for a worker",
    "claimed": "a worker has it; nothing was handed over yet",
    "handing": "its recipient was accepted and the message may be on its way this moment",
    "accepted": "the mail server took it, once",
    "bounced": "the mail server took it, and reported later that it could not be delivered",
    "dead": "refused for good, or could not be made; it will not be tried again",
    "in_doubt": "the connection ended before the mail server's answer; a person decides",
    "expired": "its time had passed before it could be sent",
    "suppressed": "the recipient does not want it, or cannot get it",
    "replayed": "belongs to a past day scored afterwards; never sent",
}


Source = Literal["recipient", "mail server", "bounce", "complaint", "provider", "person"]
"""Who says that no mail is to go to an address."""


LOGO_ID = "platform-logo@everafter"
"""The Content-ID of the logo that an email carries."""


class RenderError(EverafterError):
    """A message cannot be made of this template and these facts."""

    status = 422
    code = "mail_render"


@dataclass(frozen=True, slots=True)
class Links:
    """What a message points to besides its own words.

    go: beginning of a button's address; the button's action is appended. unsubscribe: the one-click
    address, null for transactional mail. sender: the name that signs. certificate: the address of
    the supplier's certificate. token: what a report about this message is known by."""

    go: str
    unsubscribe: str | None
    sender: str
    certificate: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message as it will be read."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Key:
    """Names one row of the outbox."""

    supplier_id: uuid.UUID
    id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Claim:
    """A row as the worker that claimed it sees it; `owner` and `attempt` prove that it is still the
    worker's own.

    status: 'claimed', or the end it came to instead ('expired', 'suppressed'). The three texts are
    null until a first hand-over was begun; later attempts send the same words."""

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
    """One line of a list of messages. supplier: the supplier's name, null when it is gone.
    external_id: the platform's own id of it."""

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
    """One message whole. The three texts are null until a hand-over was begun: render a preview
    instead."""

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
    """Why the mail server takes no mail of ours, since when, and when that was last seen."""

    reason: str
    since: dt.datetime
    seen_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message was handed over for."""

    supplier_id: uuid.UUID
    id: uuid.UUID
    to_email: str
    topic: Topic


@dataclass(frozen=True, slots=True)
class MailEvent:
    """Something said of a message after it was handed over. code: as of RFC 3463, null when none
    was given. at: when it happened, as far as was said."""

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
    """An address that gets nothing of a topic ('*': nothing at all), who says so, and why."""

    email: str
    topic: str
    source: Source
    reason: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep of the outbox found: messages expired, given back to the queue, and left in
    doubt."""

    expired: int
    requeued: int
    in_doubt: int


@dataclass(slots=True)
class Tally:
    """What a worker did with the messages it took; `unknown` were handed over without an answer and
    stay `handing`."""

    accepted: int = 0
    deferred: int = 0
    dead: int = 0
    unknown: int = 0
    skipped: int = 0
    returned: int = 0
