"""Sentences about the feeds for people. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from everafter.core.formatting import clock
from everafter.core.i18n import format_date_long, format_number
from everafter.feeds.model import DIMENSION_EVENTS, EVERYTHING, Outage, last_good_day
from everafter.feeds.outage_rules import list_notable

LABELS: dict[str, str] = {
    EVERYTHING: "events",
    "account_created": "new accounts",
    "vendor_type_selected": "vendor types",
    "completed_wizard": "completed wizards",
    "login": "logins",
    "import_clients_started": "client imports",
    "form_created": "new forms",
    "invite_sent_to_client": "invitations of clients",
    "customer_journey_started": "new journeys",
    "automation_enabled": "enabled automations",
    "feature_used": "feature uses",
    "client_added": "new clients",
    "client_active": "client activity events",
    "client_archived": "archived clients",
    "client_lost": "lost clients",
    "form_sent": "sent forms",
    "form_completed": "completed forms",
    "journey_email_sent": "sent journey emails",
    "journey_email_opened": "opened journey emails",
    "ticket_opened": "new tickets",
    "ticket_replied": "ticket replies",
    "ticket_waiting": "waiting tickets",
    "ticket_resumed": "resumed tickets",
    "ticket_resolved": "resolved tickets",
    "usage_reported": "usage reports",
    "payment_failed": "failed payments",
    "payment_recovered": "recovered payments",
    "subscription_changed": "plan changes",
    "subscription_paused": "paused subscriptions",
    "subscription_cancelled": "cancelled subscriptions",
}
"""The events of a type, in the plural; of EVERYTHING: of all types."""


_SCORED = frozenset(name for types in DIMENSION_EVENTS.values() for name in types)
_HALVED = {
    "login": "Until they recover, nobody counts as less active for logins that are missing.",
    "feature_used": "Until they recover, nobody counts as less active for uses that are missing.",
}
"""What a score does while such events are halved; of other types it uses what arrives."""


def describe_outage(outage: Outage, today: date) -> str:
    """A sentence for pages and the daily run.

    >>> at = datetime(2026, 11, 14, 9, tzinfo=UTC)
    >>> outage = Outage("login", "stopped", at, at, None, 300, 0)
    >>> describe_outage(outage, date(2026, 11, 20))
    'Logins have not arrived since 14 Nov, 09:00 UTC; scores use 13 November for them.'
    """
    name = capitalized(outage)
    since = f"{clock(outage.since, today)} UTC"
    if outage.ended_at is not None:
        state = "did not arrive" if outage.kind == "stopped" else "were about halved"
        return f"{name} {state} from {since} to {clock(outage.ended_at, today)} UTC."
    if outage.kind == "stopped":
        everything = outage.type == EVERYTHING
        what = "all scores use" if everything else "scores use"
        whom = "" if everything else " for them"
        return (
            f"{name} have not arrived since {since};"
            f" {what} {_format_day(last_good_day(outage.since), today)}{whom}."
        )
    return (
        f"{name} have been about halved since {since}: {describe_rate(outage)}."
        f" {_HALVED.get(outage.type, 'Scores use what arrives.')}"
    )


def describe_rate(outage: Outage) -> str:
    """How many events a day arrive and how many are expected.

    >>> at = datetime(2026, 11, 14, 9, tzinfo=UTC)
    >>> describe_rate(Outage("login", "halved", at, at, None, 300.2, 148.6))
    '149 a day instead of 300'
    """
    return f"{_format_rate(outage.seen)} a day instead of {_format_rate(outage.expected)}"


def capitalized(outage: Outage) -> str:
    """The events of a type at the start of a sentence."""
    name = LABELS[outage.type]
    return name[0].upper() + name[1:]


def describe_notices(outages: Iterable[Outage], as_of: datetime) -> list[str]:
    """A sentence for each outage that lasts at that moment; one while everything is stopped.

    They stand above scores, so a halved feed is named only if a dimension rests on it: clients are
    archived less when fewer weddings are over. `doctor` names all.
    """
    return [
        describe_outage(outage, as_of.astimezone(UTC).date())
        for outage in list_notable(outages, as_of)
        if outage.kind == "stopped" or outage.type in _SCORED
    ]


def describe_change(before: Sequence[Outage], after: Sequence[Outage], now: datetime) -> str | None:
    """A line for the log on outages that began or ended; null: none did.

    Args:
        before, after: those that last.
    """
    keys = {(outage.type, outage.kind) for outage in before}
    lasting = {(outage.type, outage.kind) for outage in after}
    begun = [outage for outage in after if (outage.type, outage.kind) not in keys]
    parts = [describe_outage(outage, now.date()) for outage in list_notable(begun, now)]
    parts += [
        f"{capitalized(outage)} arrive again."
        for outage in before
        if (outage.type, outage.kind) not in lasting
    ]
    return " ".join(parts) or None


def _format_rate(events: float) -> str:
    return format_number(events, decimals=0 if events >= 10 or events == int(events) else 1)


def _format_day(day: date, today: date) -> str:
    text = format_date_long(day)
    return text.removesuffix(f" {day.year}") if day.year == today.year else text
