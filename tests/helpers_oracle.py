"""Signals computed from a supplier's raw events in plain Python: slow, obvious, and sharing no code with the fold."""

from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any

Event = dict[str, Any]

IMPLIED = {
    "form_created": "forms",
    "form_sent": "forms",
    "customer_journey_started": "journeys",
    "automation_enabled": "automations",
    "import_clients_started": "client_import",
}


def day(at: datetime) -> int:
    return (at.astimezone(UTC).date() - date(1970, 1, 1)).days


def week(at: datetime) -> int:
    return (day(at) + 3) // 7


def read_signals(events: list[Event], as_of: datetime) -> dict[str, Any]:
    """The signals at `as_of`, from one supplier's events in the order of their arrival, all before it."""
    today, this_week = day(as_of), week(as_of)

    def times(*types: str) -> list[datetime]:
        return [e["at"] for e in events if e["type"] in types]

    def in_weeks(moments: list[datetime], length: int, skip: int = 0) -> int:
        return sum(this_week - skip - length < week(at) <= this_week - skip for at in moments)

    clients = defaultdict[str, list[Event]](list)
    for event in events:
        if event["props"].get("client_id") is not None:
            clients[event["props"]["client_id"]].append(event)
    current: list[dict[str, Any]] = []
    lost: list[datetime] = []
    for story in clients.values():
        added = [e["at"] for e in story if e["type"] == "client_added"]
        archived = [e["at"] for e in story if e["type"] == "client_archived"]
        losses = [e["at"] for e in story if e["type"] == "client_lost"]
        ended = max(archived + losses, default=None)
        dates = [
            (e["at"], e["props"]["wedding_date"])
            for e in story
            if e["type"] == "client_added" and e["props"].get("wedding_date")
        ]
        active = [e["at"] for e in story if e["type"] in ("client_active", "form_completed")]
        if ended is None or (added and max(added) > ended):
            current.append(
                {
                    "wedding": date.fromisoformat(_last(dates)[1]) if dates else None,
                    "active": max(active, default=None),
                }
            )
        elif losses and (not archived or max(losses) > max(archived)):
            lost.append(max(losses))
    weddings = [
        day(datetime.combine(c["wedding"], datetime.min.time(), tzinfo=UTC)) - today
        for c in current
        if c["wedding"]
    ]
    coming = [ahead for ahead in weddings if ahead >= 0]

    def items(sent_type: str, answer_type: str, key: str) -> list[tuple[datetime, bool]]:
        sent: dict[tuple[str, str], datetime] = {}
        for e in events:
            if e["type"] == sent_type:
                name = (e["props"]["client_id"], e["props"][key])
                sent[name] = min(sent.get(name, e["at"]), e["at"])
        answered = {
            (e["props"]["client_id"], e["props"][key]) for e in events if e["type"] == answer_type
        }
        return [(at, name in answered) for name, at in sent.items()]

    forms = items("form_sent", "form_completed", "form_id")
    mails = items("journey_email_sent", "journey_email_opened", "message_id")
    tickets = defaultdict[str, dict[str, list[datetime]]](
        lambda: {"ticket_opened": [], "ticket_resolved": []}
    )
    for e in events:
        if e["type"] in ("ticket_opened", "ticket_resolved"):
            tickets[e["props"]["ticket_id"]][e["type"]].append(e["at"])
    features: dict[str, int] = {}
    for e in events:
        feature = (
            e["props"].get("feature") if e["type"] == "feature_used" else IMPLIED.get(e["type"])
        )
        if feature:
            features[feature] = max(features.get(feature, 0), day(e["at"]))
    logins = {day(at) for at in times("login")}
    last_login = max(times("login"), default=None)
    failed, recovered = (
        max(times("payment_failed"), default=None),
        max(times("payment_recovered"), default=None),
    )
    past_due = failed is not None and (recovered is None or recovered < failed)
    return {
        "events_total": len(events),
        "login_days_28d": sum(today - 28 < d <= today for d in logins),
        "login_days_84d": sum(today - 84 < d <= today for d in logins),
        "last_login_at": last_login,
        "clients_added": len(clients),
        "clients_total": len(current),
        "clients_active_30d": sum(
            c["active"] is not None and today - 30 < day(c["active"]) for c in current
        ),
        "clients_lost_13w": in_weeks(lost, 13),
        "weddings_90d": sum(0 <= ahead < 90 for ahead in weddings),
        "weddings_365d": sum(0 <= ahead < 365 for ahead in weddings),
        "days_to_next_wedding": min(coming, default=None),
        "forms_sent_13w": in_weeks([at for at, _ in forms], 13),
        "forms_answered_13w": in_weeks([at for at, done in forms if done], 13),
        "forms_waiting": in_weeks([at for at, done in forms if not done], 12, skip=1),
        "journey_emails_13w": in_weeks([at for at, _ in mails], 13),
        "emails_opened": in_weeks([at for at, done in mails if done], 13),
        "feature_uses_4w": in_weeks(times("feature_used"), 4),
        "features_90d": {name for name, last in features.items() if last > today - 90},
        "tickets_open": sum(
            bool(t["ticket_opened"])
            and max(t["ticket_opened"])
            > max(t["ticket_resolved"], default=datetime.min.replace(tzinfo=UTC))
            for t in tickets.values()
        ),
        "tickets_4w": in_weeks(
            [min(t["ticket_opened"]) for t in tickets.values() if t["ticket_opened"]], 4
        ),
        "payment_past_due": past_due,
        "payments_failed_13w": in_weeks(times("payment_failed"), 13),
        "first_form_at": min(times("form_created", "form_sent"), default=None),
        "usage_ratio": _usage(events),
        "subscription": _subscription(events),
    }


def _last(values: list[Any]) -> Any:
    """The value of the latest moment, each being (moment, value, …); of two with one moment the later arrival."""
    return sorted(values, key=lambda one: one[0])[-1]


def _usage(events: list[Event]) -> float | None:
    reports = defaultdict[str, list[tuple[datetime, float, float | None]]](list)
    for e in events:
        if e["type"] == "usage_reported":
            props = e["props"]
            reports[props["resource"]].append((e["at"], props["used"], props.get("limit")))
    latest = [_last(values) for values in reports.values()]
    return max((used / limit for _, used, limit in latest if limit), default=None)


def _subscription(events: list[Event]) -> str | None:
    states = {
        "subscription_changed": "active",
        "subscription_paused": "paused",
        "subscription_cancelled": "cancelled",
    }
    changes = [(e["at"], states[e["type"]]) for e in events if e["type"] in states]
    return _last(changes)[1] if changes else None
