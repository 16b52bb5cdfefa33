"""What an event is: the canonical types, the frames they travel in, and their limits."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl

# id: text or whole number, kept as text · text: the same, on one line · amount: a number from 0 on
# · date: a day "?": may be absent; what cannot be read is left out then, and named
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
"""Every canonical type with the properties that are checked; other properties, and other types, are
kept as they come."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE_ALLOWED = timedelta(hours=24)
"""How far ahead of the present a file's event may lie. Over HTTP an event cannot be later than its
receipt."""

BELIEVED_SKEW = timedelta(hours=24)
"""A sender's clock that is wrong by more than this is believed only for calls that it made within
this time of sending them: then both were read off the same wrong clock."""

SEND_DELAY = timedelta(minutes=1)
"""How much later than its sending a call may seem to have been made."""

ID_CHARACTERS = 200
PROPERTIES_BYTES = 32 * 1024
PROPERTIES_DEPTH = 32
WEDDING_YEARS = (1990, 2100)

TIME = pl.Datetime("us", "UTC")

NOT_AN_ID = "\0"
"""Prefix of the text of a value that was sent as an id and cannot be one (true, a list, 12.5), so
that every check rejects it."""

RAW_SCHEMA: dict[str, Any] = {
    "row": pl.Int64(),
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "type": pl.String(),
    "occurred_at": pl.String(),
    "properties": pl.String(),
}
"""Events as they came. row: index in the batch or line of the file; type: null for a message that
is no event (identify, group); occurred_at: ISO 8601 or epoch text, null for "when it was received";
properties: JSON text, null or empty for none."""

STORED_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "type": pl.String(),
    "occurred_at": TIME,
    "received_at": TIME,
    "properties": pl.String(),
}
"""Events as they are stored. supplier_id: a UUID as text (core.ids); type: null for a message that
is only remembered; properties: a JSON object as text, null when empty. Before an event is stored, a
day in it may be a moment whose day has yet to be found in the supplier's time zone (see
`settle_days`)."""

CHECKED_SCHEMA: dict[str, Any] = {"row": pl.Int64(), **STORED_SCHEMA, "external_id": pl.String()}
"""Events that passed the check. external_id: the platform's own id of the supplier, null where it
named it by its UUID."""

REJECT_SCHEMA: dict[str, Any] = {
    "row": pl.Int64(),
    "code": pl.String(),
    "reason": pl.String(),
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "payload": pl.String(),
    "external_id": pl.String(),
}
"""Events that were refused: why, and what came (JSON text; null when it is no JSON or larger than
PROPERTIES_BYTES). supplier_id: a UUID and external_id the platform's own id where the event waits
for its supplier; else the text that came."""


@dataclass(frozen=True, slots=True)
class BadValue:
    """A value that could not be kept as it came, though its event was. row: as in RAW_SCHEMA."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame of events after the check: `good` has CHECKED_SCHEMA, `rejects` has REJECT_SCHEMA.

    bad_values: what was left out of events in `good`, in the order of `row`.
    """

    good: pl.DataFrame
    rejects: pl.DataFrame
    bad_values: list[BadValue] = field(default_factory=list[BadValue])


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """new: stored now; duplicates: the supplier's message was there already, or twice in the
    batch."""

    new: int
    duplicates: int
