"""Timeline text: one line for all events of one type on one day. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC
from itertools import groupby
from typing import Any

from everafter.core.formatting import humanize, noun, plural, sentence
from everafter.core.i18n import format_number
from everafter.portfolio.supplier_model import Actor, Entry, Event, TimelineDay

# type → who did it, text for one event, text for several
_LABELS: dict[str, tuple[Actor, str, str]] = {
    "account_created": ("account", "The account was opened", "The account was opened"),
    "vendor_type_selected": ("account", "Chose a vendor type", "Chose a vendor type {n} times"),
    "completed_wizard": ("account", "Finished the setup", "Finished the setup"),
    "login": ("supplier", "Signed in", "Signed in {n} times"),
    "import_clients_started": (
        "supplier",
        "Started a client import",
        "Started {n} client imports",
    ),
    "form_created": ("supplier", "Created a form", "Created {n} forms"),
    "invite_sent_to_client": ("supplier", "Invited a client", "Sent {n} invitations"),
    "customer_journey_started": ("supplier", "Started a journey", "Started {n} journeys"),
    "automation_enabled": ("supplier", "Switched on an automation", "Switched on {n} automations"),
    "feature_used": ("supplier", "Used a feature", "Used features {n} times"),
    "client_added": ("supplier", "Added a client", "Added {n} clients"),
    "client_active": ("client", "A client was active", "{n} clients were active"),
    "client_archived": (
        "supplier",
        "Archived a client after the wedding",
        "Archived {n} clients after their weddings",
    ),
    "client_lost": ("trouble", "Lost a client", "Lost {n} clients"),
    "form_sent": ("supplier", "Sent a form", "Sent {n} forms"),
    "form_completed": ("client", "A form was completed", "{n} forms were completed"),
    "journey_email_sent": ("supplier", "A journey email went out", "{n} journey emails went out"),
    "journey_email_opened": (
        "client",
        "A journey email was opened",
        "{n} journey emails were opened",
    ),
    "ticket_opened": ("trouble", "Opened a ticket", "Opened {n} tickets"),
    "ticket_replied": ("ours", "We answered a ticket", "We answered tickets {n} times"),
    "ticket_waiting": (
        "ours",
        "A ticket is waiting for the supplier",
        "{n} tickets are waiting for the supplier",
    ),
    "ticket_resumed": ("supplier", "Answered on a ticket", "Answered on tickets {n} times"),
    "ticket_resolved": ("account", "A ticket was resolved", "{n} tickets were resolved"),
    "usage_reported": ("account", "Usage was reported", "Usage was reported {n} times"),
    "payment_failed": ("trouble", "A payment failed", "{n} payments failed"),
    "payment_recovered": ("account", "A payment recovered", "{n} payments recovered"),
    "subscription_changed": ("account", "Changed the plan", "Changed the plan {n} times"),
    "subscription_paused": (
        "trouble",
        "Paused the subscription",
        "Paused the subscription {n} times",
    ),
    "subscription_cancelled": ("trouble", "Cancelled", "Cancelled {n} times"),
}
_NAMES_SHOWN = 3
_NAME = re.compile(r"[A-Za-z][A-Za-z _-]{2,60}")


def group_timeline(events: Sequence[Event], ours: Sequence[Entry] = ()) -> list[TimelineDay]:
    """Group events by day and type, latest day first; unknown types are shown by their own name.

    Args:
        events: latest first.
        ours: entries for what Everafter did, merged in.
    """
    entries = list(ours)
    by_day = sorted(
        events, key=lambda event: (event.occurred_at.astimezone(UTC).date(), event.type)
    )
    for (_, kind), group in groupby(
        by_day, key=lambda event: (event.occurred_at.astimezone(UTC).date(), event.type)
    ):
        entries.append(_entry(kind, list(group)))
    entries.sort(key=lambda entry: entry.at, reverse=True)
    return [
        TimelineDay(on, list(day))
        for on, day in groupby(entries, key=lambda entry: entry.at.astimezone(UTC).date())
    ]


def _entry(kind: str, events: list[Event]) -> Entry:
    actor, one, many = _LABELS.get(
        kind,
        ("account", f"“{sentence(humanize(kind))}”", f"“{sentence(humanize(kind))}”, {{n}} times"),
    )
    at = max(event.occurred_at for event in events)
    number = _count_clients(events) if kind == "client_active" else len(events)
    words = noun(number, one, many).replace("{n}", format_number(number))
    return Entry(at, actor, words, _detail(kind, events))


def _count_clients(events: list[Event]) -> int:
    """The number of different clients; events without a client's id count as one each."""
    clients = [_text(event.properties, "client_id") for event in events]
    return len({client for client in clients if client}) + clients.count("")


def _detail(kind: str, events: list[Event]) -> str:
    if kind == "feature_used":
        return _listed([humanize(_text(event.properties, "feature")) for event in events])
    if kind == "ticket_opened":
        return _listed([_text(event.properties, "subject") for event in events])
    if kind == "usage_reported":
        return _listed([_usage(event.properties) for event in events])
    if kind == "subscription_changed":
        return _listed([_text(event.properties, "plan") for event in events])
    if kind == "vendor_type_selected":
        return _listed([humanize(_text(event.properties, "vendor_type")) for event in events])
    clients = _listed([event.client_name or "" for event in events])
    forms = (
        {_text(event.properties, "form_id") for event in events}
        if kind in {"form_sent", "form_completed"}
        else set[str]()
    )
    # show a form's id if it reads like a name; on most platforms it is a number
    shown = [
        humanize(form.replace("-", " "))
        for form in forms
        if len(forms) == 1 and _NAME.fullmatch(form)
    ]
    return " · ".join(part for part in (*shown, clients) if part)


def _text(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name)
    return "" if value is None else str(value)[:120]


def _usage(properties: dict[str, Any]) -> str:
    resource, used, limit = (_text(properties, name) for name in ("resource", "used", "limit"))
    return f"{humanize(resource)}: {used}" + (f" of {limit}" if limit else "") if resource else ""


def _listed(names: list[str]) -> str:
    """Join the first few distinct names, and say how many more there are."""
    different = list(dict.fromkeys(name for name in names if name))
    more = len(different) - _NAMES_SHOWN
    return ", ".join(different[:_NAMES_SHOWN]) + (
        f" and {plural(more, 'other')}" if more > 0 else ""
    )
