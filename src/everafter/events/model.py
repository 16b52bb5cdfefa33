"""Events: the canonical types, the schemas of frames, and limits. Pure."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

# id: text or a whole number, stored as text. text: the same, on one line. amount: a number, at
# least 0. date: a day. "?": optional; an unreadable value is left out and reported.
Kind = Literal["id", "id?", "text?", "amount", "amount?", "date?"]

CANONICAL: dict[str, dict[str, Kind]] = {
    "account_created": {},
    "vendor_type_selected": {"vendor_type": "text?"},
    "completed_wizard": {},
    "login": {},
    "import_clients_started": {},
    "form_created": {},
    "invite_sent_to_client": {"client_id": "id?"},
    "customer_journey_started": {},
    "automation_enabled": {},
    "feature_used": {"feature": "id"},
    "client_added": {"client_id": "id", "wedding_date": "date?", "name": "text?"},
    "client_active": {"client_id": "id"},
    "client_archived": {"client_id": "id"},
    "client_lost": {"client_id": "id"},
    "form_sent": {"client_id": "id", "form_id": "id"},
    "form_completed": {"client_id": "id", "form_id": "id"},
    "journey_email_sent": {"client_id": "id", "message_id": "id"},
    "journey_email_opened": {"client_id": "id", "message_id": "id"},
    "ticket_opened": {"ticket_id": "id", "subject": "text?", "priority": "text?"},
    "ticket_replied": {"ticket_id": "id"},
    "ticket_waiting": {"ticket_id": "id"},
    "ticket_resumed": {"ticket_id": "id"},
    "ticket_resolved": {"ticket_id": "id"},
    "usage_reported": {"resource": "id", "used": "amount", "limit": "amount?"},
    "payment_failed": {},
    "payment_recovered": {},
    "subscription_changed": {"plan": "text?"},
    "subscription_paused": {},
    "subscription_cancelled": {},
}
"""The canonical types with the properties that are checked; other properties and types are stored
as sent."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE_ALLOWED = timedelta(hours=24)
"""How far in the future an event in a file may be. Over HTTP an event is never later than its
receipt."""

BELIEVED_SKEW = timedelta(hours=24)
"""A sender's clock that is off by more than this is corrected only for calls made within this time
before sending, when both times were read from the same clock."""

SEND_DELAY = timedelta(minutes=1)
"""How much later than its sending a call may seem to be made."""

ID_CHARACTERS = 200
PROPERTIES_BYTES = 32 * 1024
PROPERTIES_DEPTH = 32
WEDDING_YEARS = (1990, 2100)

TIME = pl.Datetime("us", "UTC")

NOT_AN_ID = "\0"
"""Prefix of a value that was sent as an id but is not one (true, a list, 12.5), so that every check
rejects it."""

RAW_SCHEMA: dict[str, Any] = {
    "row": pl.Int64(),
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "type": pl.String(),
    "occurred_at": pl.String(),
    "properties": pl.String(),
}
"""Events as sent. row: index in the batch, or line of the file. type: null for a message that is
not an event (identify, group). occurred_at: ISO 8601 or epoch text; null: the time of receipt.
properties: JSON text; null or empty: none."""

STORED_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "type": pl.String(),
    "occurred_at": TIME,
    "received_at": TIME,
    "properties": pl.String(),
}
"""Events as stored. supplier_id: a UUID as text (core.ids). type: null for a message of which only
the id is stored. properties: a JSON object as text; null when empty. Before storing, a day may
still be a moment (see `resolve_days`)."""

CHECKED_SCHEMA: dict[str, Any] = {"row": pl.Int64(), **STORED_SCHEMA, "external_id": pl.String()}
"""Events that passed the check. external_id: the platform's own id of the supplier; null where it
used the UUID."""

REJECT_SCHEMA: dict[str, Any] = {
    "row": pl.Int64(),
    "code": pl.String(),
    "reason": pl.String(),
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "payload": pl.String(),
    "external_id": pl.String(),
}
"""Rejected events. payload: what was sent, as JSON text; null when it is larger than
PROPERTIES_BYTES. supplier_id: the UUID, with the platform's own id in external_id, if the event
waits for its supplier; otherwise the text that was sent."""


@dataclass(frozen=True, slots=True)
class BadValue:
    """A value that was changed or left out, while its event was stored. row: as in RAW_SCHEMA."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Events after the check. good: CHECKED_SCHEMA. rejects: REJECT_SCHEMA. bad_values: of events
    in `good`, ordered by `row`.
    """

    good: pl.DataFrame
    rejects: pl.DataFrame
    bad_values: list[BadValue] = field(default_factory=list[BadValue])


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """new: stored now. duplicates: stored before, or repeated in the batch."""

    new: int
    duplicates: int
