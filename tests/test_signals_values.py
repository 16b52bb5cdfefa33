"""The value of every signal from raw events, with a case on each side of every window and limit."""

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest

from everafter.activity import model
from everafter.activity.rules import fold
from everafter.core.db import copy_frame
from everafter.playbook.loading import parse_playbook
from everafter.portfolio.model import Calendar, View
from everafter.portfolio.queries import get_portfolio
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.queries import read_clients
from everafter.scoring.rules import evaluate_signals, score_suppliers
from everafter.signals.model import CLIENT_SCHEMA, SIGNAL_SCHEMA
from helpers_mail import with_connection
from test_activity_fold import as_frame

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
"""A Wednesday: its week begins on 13 July. 4 weeks begin on 22 June, 13 weeks on 20 April."""
JANUARY = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""In Britain so far off season that season_index is the floor, 0.55."""

FEATURES = {"forms": 0, "gallery": 1, "calendar": 2}
PLAYBOOK = parse_playbook(
    """
    name = "values"
    [segments.default]
    title = "Any"
    key_features = ["forms", "gallery"]
    [segments.venue]
    title = "Venue"
    key_features = ["calendar", "forms", "gallery"]
    [season]
    floor = 0.55
    off_season_below = 0.6
    [onboarding.start]
    day = 0
    title = "Start"
    actions = ["first_login"]
    [onboarding.form]
    day = 3
    title = "First form"
    actions = ["first_form_created"]
    [onboarding_timing]
    behind_after_days = 1
    stuck_after_days = 3
    min_season_index = 0.5
    lasts_days = 30
    [triggers]
    """.replace("\n    ", "\n"),
    "values",
)
AT_THE_MARK = parse_playbook(
    """
    name = "mark"
    [segments.default]
    title = "Any"
    key_features = ["forms"]
    [season]
    floor = 0.55
    off_season_below = 0.55
    [triggers]
    """.replace("\n    ", "\n"),
    "mark",
)
SUPPLIER = "00000000-0000-4000-8000-000000000001"
TRAITS: dict[str, Any] = {
    "supplier_id": pl.String(),
    "external_id": pl.String(),
    "name": pl.String(),
    "email": pl.String(),
    "vendor_type": pl.String(),
    "plan": pl.String(),
    "country": pl.String(),
    "timezone": pl.String(),
    "mrr_minor": pl.Int64(),
    "client_limit": pl.Int64(),
    "created_at": model.TIME,
    "added_at": model.TIME,
    "consent": pl.Boolean(),
}
KNOWN = {
    "supplier_id": SUPPLIER,
    "name": "Ann",
    "timezone": "UTC",
    "added_at": datetime(2020, 1, 1, tzinfo=UTC),
    "consent": True,
}

Event = tuple[str, datetime, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """What one signal is, of a supplier with these events and traits. `why` names the case."""

    signal: str
    why: str
    expected: Any
    events: list[Event] = field(default_factory=list[Event])
    traits: dict[str, Any] = field(default_factory=dict[str, Any])
    as_of: datetime = NOW
    playbook: Any = PLAYBOOK


def on(text: str) -> datetime:
    """A moment of 2026, such as "04-20 00:00"."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def ago(as_of: datetime = NOW, **span: float) -> datetime:
    return as_of - timedelta(**span)


def event(type_: str, at: datetime, **props: Any) -> Event:
    return type_, at, props


def login(*moments: datetime) -> list[Event]:
    return [event("login", at) for at in moments]


def added(client: str = "c", at: datetime | None = None, wedding: date | None = None) -> Event:
    props = {"client_id": client} | ({"wedding_date": wedding.isoformat()} if wedding else {})
    return event("client_added", at or ago(days=200), **props)


def of_client(type_: str, at: datetime, client: str = "c") -> Event:
    return event(type_, at, client_id=client)


def in_days(days: int) -> date:
    return NOW.date() + timedelta(days=days)


def form(at: datetime, answered: bool = False, name: str = "f") -> list[Event]:
    sent = event("form_sent", at, client_id="c", form_id=name)
    done = event("form_completed", NOW, client_id="c", form_id=name)
    return [sent, done] if answered else [sent]


def journey(at: datetime, opened: bool = False, name: str = "m") -> list[Event]:
    sent = event("journey_email_sent", at, client_id="c", message_id=name)
    seen = event("journey_email_opened", NOW, client_id="c", message_id=name)
    return [sent, seen] if opened else [sent]


def used(at: datetime, times: int = 1, feature: str = "forms") -> list[Event]:
    return [event("feature_used", at, feature=feature)] * times


def ticket(type_: str, at: datetime, name: str = "t") -> Event:
    return event(f"ticket_{type_}", at, ticket_id=name)


def began(days: float) -> list[Event]:
    return [event("account_created", ago(days=days))]


def inactivity(logins: int, days: float, seen: float) -> Any:
    """The closed form of docs/methods.md, by bisection and the standard library's log-gamma: after
    so many login days of those seen, with no season and a platform of which nothing is known."""

    def excess(rate: float) -> float:
        return rate * (seen + 1 / 0.3) - 1 - logins * rate / -math.expm1(-rate)

    low, high = 1e-6, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    chance = -math.expm1(-low)
    a, b, t = 0.5 + seen * chance, 6.5 + seen * (1 - chance), days + 0.5
    return pytest.approx(
        math.exp(math.lgamma(b + t) - math.lgamma(b) + math.lgamma(a + b) - math.lgamma(a + b + t))
    )


DAILY = login(*(ago(days=days) for days in (10, 11, 12, 13)))

CASES = [
    # profile
    Case("vendor_type", "trait", "dj", traits={"vendor_type": "dj"}),
    Case("vendor_type", "event before trait", "venue", [event("vendor_type_selected", ago(days=1), vendor_type="venue")], {"vendor_type": "dj"}),
    Case("vendor_type", "unknown", None),
    Case("plan", "trait", "pro", traits={"plan": "pro"}),
    Case("plan", "event before trait", "free", [event("subscription_changed", ago(days=1), plan="free")], {"plan": "pro"}),
    Case("country", "trait", "GB", traits={"country": "GB"}),
    Case("mrr_minor", "trait", 2900, traits={"mrr_minor": 2900}),
    Case("tenure_days", "trait", 100.5, traits={"created_at": ago(days=100.5)}),
    Case("tenure_days", "event before trait", 50.0, began(50), {"created_at": ago(days=100)}),
    Case("tenure_days", "unknown", None, login(ago(days=3))),
    Case("subscription", "no event", None),
    Case("subscription", "changed", "active", [event("subscription_changed", ago(days=1), plan="free")]),
    Case("subscription", "paused", "paused", [event("subscription_paused", ago(days=1))]),
    Case("subscription", "cancelled", "cancelled", [event("subscription_cancelled", ago(days=1))]),
    # activity
    Case("days_since_login", "last login", 2.5, login(ago(days=2.5), ago(days=9))),
    Case("days_since_login", "six hours", 0.25, login(ago(hours=6))),
    Case("days_since_login", "by a clock that is fast", 0.0, login(ago(hours=-1))),
    Case("days_since_login", "none, since the account began", 10.0, began(10)),
    Case("days_since_login", "none, and no beginning known", None),
    Case("days_inactive", "in season", 4.0, login(ago(days=4))),
    Case("days_inactive", "off season counts 55 %", pytest.approx(2.2), login(ago(JANUARY, days=4)), {"country": "GB", "vendor_type": "florist"}, JANUARY),
    Case("days_inactive", "unknown", None),
    Case("login_days_28d", "the 28th day counts", 1, login(on("06-18 00:00"))),
    Case("login_days_28d", "the 29th does not", 0, login(on("06-17 23:59"))),
    Case("login_days_28d", "twice on one day is one day", 1, login(NOW, ago(hours=2))),
    Case("login_days_84d", "the 84th day counts", 1, login(on("04-23 00:00"))),
    Case("login_days_84d", "the 85th does not", 0, login(on("04-22 23:59"))),
    Case("inactivity_probability", "4 login days", inactivity(4, 9, seen=4), DAILY),
    Case("inactivity_probability", "3 login days are too few", None, DAILY[:3]),
    Case("inactivity_probability", "a login 111 days before the last counts", inactivity(5, 9, seen=112), [*DAILY, *login(ago(days=121))]),
    Case("inactivity_probability", "one 112 days before does not", inactivity(4, 9, seen=112), [*DAILY, *login(ago(days=122))]),
    Case("inactivity_probability", "of a young account", inactivity(4, 9, seen=21), [*DAILY, *began(30)]),
    Case("unusual_inactivity", "a daily user's third day", True, login(*(ago(days=days) for days in range(4, 60)))),
    Case("unusual_inactivity", "its second", False, login(*(ago(days=days) for days in range(3, 60)))),
    Case("unusual_inactivity", "a weekly user's tenth", False, login(*(ago(days=days) for days in range(11, 100, 7)))),
    Case("unusual_inactivity", "unknown", False),
    Case("evidence_logins", "nothing known", pytest.approx(0.0, abs=0.05)),
    Case("evidence_logins", "steady", pytest.approx(-1.4, abs=0.4), login(*(ago(days=days) for days in range(112)))),
    Case("evidence_logins", "stopped four weeks ago", pytest.approx(5.6, abs=0.5), login(*(ago(days=days) for days in range(28, 112)))),
    Case("evidence_uses", "nothing known", pytest.approx(0.1, abs=0.05)),
    Case("evidence_uses", "stopped four weeks ago", pytest.approx(14.0, abs=1), [one for days in range(28, 112) for one in used(ago(days=days), 2)]),
    Case("expected_uses_low", "of a steady user", 8.0, [one for days in range(112) for one in used(ago(days=days), 2)]),
    Case("expected_uses_high", "of a steady user", 20.0, [one for days in range(112) for one in used(ago(days=days), 2)]),
    # clients
    Case("clients_total", "neither archived nor lost", 1, [added("a"), added("b"), added("c"), of_client("client_archived", ago(days=1), "a"), of_client("client_lost", ago(days=1), "b")]),
    Case("clients_total", "added again", 1, [added(), of_client("client_archived", ago(days=9)), added(at=ago(days=1))]),
    Case("clients_active_30d", "the 30th day counts", 1, [added(), of_client("client_active", on("06-16 00:00"))]),
    Case("clients_active_30d", "the 31st does not", 0, [added(), of_client("client_active", on("06-15 23:59"))]),
    Case("clients_active_30d", "a completed form is activity", 1, [added(), *form(ago(days=100), answered=True)]),
    Case("client_activity", "half of them", 0.5, [added("a"), added("b"), of_client("client_active", NOW, "a")]),
    Case("client_activity", "no clients", None, login(NOW)),
    Case("clients_lost_13w", "the 13th week counts", 1, [added(), of_client("client_lost", on("04-20 00:00"))]),
    Case("clients_lost_13w", "the 14th does not", 0, [added(), of_client("client_lost", on("04-19 23:59"))]),
    Case("client_loss_rate", "1 of 2", 0.5, [added("a"), added("b"), of_client("client_lost", NOW, "a")]),
    Case("client_loss_rate", "all", 1.0, [added(), of_client("client_lost", NOW)]),
    Case("client_loss_rate", "no clients, none lost", None, login(NOW)),
    Case("weddings_90d", "today counts", 1, [added(wedding=in_days(0))]),
    Case("weddings_90d", "the 90th day counts", 1, [added(wedding=in_days(89))]),
    Case("weddings_90d", "the 91st does not", 0, [added(wedding=in_days(90))]),
    Case("weddings_90d", "yesterday does not", 0, [added(wedding=in_days(-1))]),
    Case("weddings_90d", "of a lost client does not", 0, [added(wedding=in_days(9)), of_client("client_lost", NOW)]),
    Case("weddings_365d", "the 365th day counts", 1, [added(wedding=in_days(364))]),
    Case("weddings_365d", "the 366th does not", 0, [added(wedding=in_days(365))]),
    Case("days_to_next_wedding", "the nearest", 0, [added("a", wedding=in_days(7)), added("b", wedding=in_days(0))]),
    Case("days_to_next_wedding", "none is coming", None, [added(wedding=in_days(-1))]),
    # forms
    Case("forms_sent_13w", "the 13th week counts", 1, form(on("04-20 00:00"))),
    Case("forms_sent_13w", "the 14th does not", 0, form(on("04-19 23:59"))),
    Case("forms_answered_13w", "answered by now", 1, form(on("04-20 00:00"), answered=True)),
    Case("forms_answered_13w", "sent before the window", 0, form(on("04-19 23:59"), answered=True)),
    Case("form_completion_rate", "half of them", 0.5, [*form(ago(days=9), True, "a"), *form(ago(days=9), name="b")]),
    Case("form_completion_rate", "none sent", None, form(on("04-19 23:59"), answered=True)),
    Case("forms_waiting", "sent on Sunday", 1, form(on("07-12 23:59"))),
    Case("forms_waiting", "sent this week", 0, form(on("07-13 00:00"))),
    Case("forms_waiting", "the 13th week counts", 1, form(on("04-20 00:00"))),
    Case("forms_waiting", "the 14th does not", 0, form(on("04-19 23:59"))),
    Case("forms_waiting", "answered", 0, form(ago(days=20), answered=True)),
    # journeys
    Case("journey_emails_13w", "the 13th week counts", 1, journey(on("04-20 00:00"))),
    Case("journey_emails_13w", "the 14th does not", 0, journey(on("04-19 23:59"))),
    Case("journey_open_rate", "half of them", 0.5, [*journey(ago(days=9), True, "a"), *journey(ago(days=9), name="b")]),
    Case("journey_open_rate", "none sent", None, login(NOW)),
    # features
    Case("features_adopted", "the 90th day counts", 1, used(on("04-17 00:00"))),
    Case("features_adopted", "the 91st does not", 0, used(on("04-16 23:59"))),
    Case("features_adopted", "not a key feature of the segment", 0, used(NOW, feature="calendar")),
    Case("features_adopted", "a key feature of the vendor type", 1, used(NOW, feature="calendar"), {"vendor_type": "venue"}),
    Case("feature_adoption", "1 of 2", 0.5, used(NOW)),
    Case("feature_adoption", "1 of the venue's 3", pytest.approx(1 / 3), used(NOW), {"vendor_type": "venue"}),
    Case("feature_adoption", "none used", 0.0, login(NOW)),
    Case("feature_adoption", "no event", None),
    Case("feature_uses_4w", "the 4th week counts", 3, used(on("06-22 00:00"), 3)),
    Case("feature_uses_4w", "the 5th does not", 0, used(on("06-21 23:59"), 3)),
    Case("feature_use_ratio", "half of what was usual", 0.5, [*used(ago(days=40), 8), *used(NOW, 2)]),
    Case("feature_use_ratio", "7 uses before are too few", None, [*used(ago(days=40), 7), *used(NOW, 2)]),
    Case("feature_use_ratio", "the 12th week counts as before", 0.5, [*used(on("04-27 00:00"), 8), *used(NOW, 2)]),
    Case("feature_use_ratio", "the 13th does not", None, [*used(on("04-26 23:59"), 8), *used(NOW, 2)]),
    Case("feature_use_ratio", "unused for 85 days", 0.0, used(ago(days=85))),
    Case("feature_use_ratio", "unused for 84 days", None, used(ago(days=84))),
    Case("feature_use_ratio", "never used", None, login(NOW)),
    # support
    Case("tickets_open", "opened", 1, [ticket("opened", ago(days=90))]),
    Case("tickets_open", "resolved", 0, [ticket("opened", ago(days=9)), ticket("resolved", ago(days=8))]),
    Case("tickets_open", "opened again", 1, [ticket("opened", ago(days=9)), ticket("resolved", ago(days=8)), ticket("opened", ago(days=7))]),
    Case("tickets_4w", "the 4th week counts", 1, [ticket("opened", on("06-22 00:00"))]),
    Case("tickets_4w", "the 5th does not", 0, [ticket("opened", on("06-21 23:59"))]),
    # money
    Case("payment_past_due", "failed", True, [event("payment_failed", ago(days=3))]),
    Case("payment_past_due", "recovered at the same moment", False, [event("payment_failed", ago(days=3)), event("payment_recovered", ago(days=3))]),
    Case("payment_past_due", "failed after it recovered", True, [event("payment_recovered", ago(days=3)), event("payment_failed", ago(days=2))]),
    Case("payment_past_due", "no payment event", False),
    Case("days_past_due", "since the failure", 3.5, [event("payment_failed", ago(days=3.5))]),
    Case("days_past_due", "recovered", None, [event("payment_failed", ago(days=3)), event("payment_recovered", ago(days=1))]),
    Case("payments_failed_13w", "the 13th week counts", 1, [event("payment_failed", on("04-20 00:00"))]),
    Case("payments_failed_13w", "the 14th does not", 0, [event("payment_failed", on("04-19 23:59"))]),
    Case("limit_ratio", "of clients", 0.25, [added()], {"client_limit": 4}),
    Case("limit_ratio", "of usage, which is fuller", 0.75, [added(), event("usage_reported", NOW, resource="emails", used=3, limit=4)], {"client_limit": 4}),
    Case("limit_ratio", "a limit of 0 is none", None, [added()], {"client_limit": 0}),
    # onboarding
    Case("onboarding_steps_done", "one of two", 1, [*began(1), *login(NOW)]),
    Case("onboarding_steps_due", "on the step's day", 2, began(3)),
    Case("onboarding_steps_due", "a moment before", 1, began(2.999)),
    Case("onboarding_steps_due", "no beginning known", None, login(NOW)),
    Case("onboarding_days_behind", "of the oldest", 4.0, began(4)),
    Case("onboarding_days_behind", "of the second, the first being done", 1.0, [*began(4), *login(NOW)]),
    Case("onboarding_days_behind", "nothing is due", None, [*began(1), *login(NOW)]),
    Case("fully_activated", "all steps done", True, [*began(1), *login(NOW), event("form_created", NOW)]),
    Case("fully_activated", "one missing", False, [*began(1), *login(NOW)]),
    Case("onboarding_state", "in time", "on_track", [*began(3.999), *login(NOW)]),
    Case("onboarding_state", "behind after one day", "behind", [*began(4), *login(NOW)]),
    Case("onboarding_state", "still behind", "behind", [*began(5.999), *login(NOW)]),
    Case("onboarding_state", "stuck after three", "stuck", [*began(6), *login(NOW)]),
    Case("onboarding_state", "on its last day", "stuck", [*began(30), *login(NOW)]),
    Case("onboarding_state", "over", None, [*began(30.001), *login(NOW)]),
    Case("onboarding_state", "done", "done", [*began(1), *login(NOW), event("form_created", NOW)]),
    Case("onboarding_state", "no beginning known", None, login(NOW)),
    Case("onboarding_missed", "the oldest", "start", began(4)),
    Case("onboarding_missed", "the second, the first being done", "form", [*began(4), *login(NOW)]),
    Case("onboarding_missed", "nothing is due", None, [*began(1), *login(NOW)]),
    # season
    Case("season_index", "no country", 1.0, as_of=JANUARY),
    Case("season_index", "at the floor", 0.55, [], {"country": "GB", "vendor_type": "florist"}, JANUARY),
    Case("client_season", "no country", 1.0, as_of=JANUARY),
    Case("client_season", "at the floor", pytest.approx(0.55), [], {"country": "GB", "vendor_type": "florist"}, JANUARY),
    Case("off_season", "below the mark", True, [], {"country": "GB", "vendor_type": "florist"}, JANUARY),
    Case("off_season", "at the mark", False, [], {"country": "GB", "vendor_type": "florist"}, JANUARY, AT_THE_MARK),
    Case("off_season", "no country", False, as_of=JANUARY),
    # score: login (30) and feature_adoption (25) are known of someone who has only logged in
    Case("health_score", "all points for logins", pytest.approx(100 * 30 / 55), login(ago(days=2.999))),
    Case("health_score", "two thirds from 3 days on", pytest.approx(100 * 20 / 55), login(ago(days=3))),
    Case("health_score", "one third from 7 days on", pytest.approx(100 * 10 / 55), login(ago(days=7))),
    Case("health_score", "none from 14 days on", 0.0, login(ago(days=14))),
    Case("health_score", "nothing known", None),
    # its first step, start, is done; form is due on day 3
    Case("health_score", "a perfect first day", 100.0, [*began(0.2), *login(NOW), added()]),
    Case("health_score", "new, one of two due steps done", pytest.approx(100 * (30 + 12.5) / 55), [*began(5), *login(NOW), added()]),
    Case("health_score", "new for the last moment", pytest.approx(100 * (30 + 12.5) / 55), [*began(13.999), *login(NOW)]),
    Case("health_score", "growing, one of two features at half the age", 100.0, [*began(45), *login(NOW), *used(NOW)]),
    Case("health_score", "growing, none of them", pytest.approx(100 * 30 / 55), [*began(14), *login(NOW)]),
    Case("health_score", "growing, one of two at three quarters", pytest.approx(100 * (30 + 25 / 1.5) / 55), [*began(67.5), *login(NOW), *used(NOW)]),
    Case("health_score", "mature, one of two", pytest.approx(100 * 42.5 / 55), [*began(90), *login(NOW), *used(NOW)]),
    Case("health_score", "new, a client who is not active says nothing yet", 100.0, [*began(1), *login(NOW), added(at=ago(days=0.5))]),
    Case("health_score", "growing, it does", pytest.approx(100 * 55 / 80), [*began(45), *login(NOW), *used(NOW), added(at=ago(days=40))]),
    Case("risk_level", "at risk", "at_risk", login(ago(days=1))),
    Case("risk_level", "critical", "critical", login(ago(days=3))),
    Case("risk_level", "healthy", "healthy", [*login(NOW), *used(NOW), *used(NOW, feature="gallery")]),
    Case("risk_level", "nothing known", None),
    Case("stage", "the last moment of the first 14 days", "new", began(13.999)),
    Case("stage", "from day 14 on", "growing", began(14)),
    Case("stage", "the last moment of 90 days", "growing", began(89.999)),
    Case("stage", "from day 90 on", "mature", [*began(90), *login(NOW)]),
    Case("stage", "no beginning known", "mature", login(NOW)),
    Case("stage", "no login for 90 days", "dormant", [*began(200), *login(ago(days=90))]),
    Case("stage", "no login for a moment less", "mature", [*began(200), *login(ago(days=89.999))]),
    Case("stage", "never a login in 90 days", "dormant", began(90)),
    Case("coverage", "two of five dimensions", 0.55, login(NOW)),
    Case("coverage", "nothing known", 0.0),
    Case("churn_evidence", "a payment failed today", pytest.approx(0.53, abs=0.01), [event("payment_failed", NOW)]),
    Case("churn_risk", "nothing known", pytest.approx(0.25, abs=0.01)),
    Case("churn_level", "steady", "low", login(*(ago(days=days) for days in range(112)))),
    Case("churn_level", "a payment failed today", "medium", [event("payment_failed", NOW)]),
    Case("churn_level", "all has stopped", "high", [one for days in range(28, 112) for one in (*login(ago(days=days)), *used(ago(days=days)))]),
    Case("churn_probability_45d", "no model", None, login(NOW)),
    Case("churn_probability_90d", "no model", None, login(NOW)),
]  # fmt: skip


def fold_events(case: Case) -> pl.DataFrame:
    events = [
        {"supplier": SUPPLIER, "type": type_, "at": at, "props": props}
        for type_, at, props in case.events
    ]
    return fold(model.empty_state(), as_frame(events), FEATURES).activity


def inputs_of(case: Case) -> pl.DataFrame:
    """The supplier's row as a run reads it."""
    folded = fold_events(case).to_dicts()
    activity = dict.fromkeys(model.ACTIVITY_SCHEMA) | (folded[0] if folded else {})
    for name in ("events_total", "clients_added", "clients_total", "tickets_open"):
        activity[name] = activity[name] or 0
    traits = dict.fromkeys(TRAITS) | KNOWN | case.traits
    for name in ("vendor_type", "plan"):
        activity[name] = activity[name] or traits[name]
    row = traits | activity | {"supplier_id": SUPPLIER}
    return pl.DataFrame([row], schema=TRAITS | model.ACTIVITY_SCHEMA)


def evaluate(case: Case) -> Any:
    """The signal's value, computed from the events as a run computes it."""
    inputs = inputs_of(case)
    is_cancelled = inputs["subscription"].item() == "cancelled"
    compute = evaluate_signals if is_cancelled else score_suppliers
    return compute(inputs, case.playbook, case.as_of, FEATURES)[case.signal].item()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.signal}-{case.why}")
def test_a_signal_has_its_value(case: Case) -> None:
    found = evaluate(case)
    assert found == case.expected
    if case.expected is not None:
        assert type(found) is type(getattr(case.expected, "expected", case.expected))


def test_every_signal_has_a_value_test() -> None:
    assert {case.signal for case in CASES} == set(SIGNAL_SCHEMA)


# ── one client ────────────────────────────────────────────────────────────────────────────────

CLIENT_CASES: list[tuple[str, str, Any, dict[str, Any], list[tuple[str, float, bool]]]] = [
    # signal, why, expected, the client's columns, items (kind, days ago, answered)
    ("client_name", "as sent", "Emma & Jonas", {"name": "Emma & Jonas"}, []),
    ("client_name", "cut at 60 characters", "A" * 59 + "…", {"name": "A" * 61}, []),
    ("client_name", "60 characters fit", "A" * 60, {"name": "A" * 60}, []),
    ("client_name", "not sent", None, {}, []),
    ("days_to_wedding", "today", 0, {"wedding_date": in_days(0)}, []),
    ("days_to_wedding", "later", 24, {"wedding_date": in_days(24)}, []),
    ("days_to_wedding", "no date", None, {}, []),
    ("forms_sent", "however long ago", 2, {}, [("form", 400, True), ("form", 1, False)]),
    ("forms_unanswered", "180 days ago counts", 1, {}, [("form", 180, False)]),
    ("forms_unanswered", "longer ago does not", 0, {}, [("form", 180.001, False)]),
    ("forms_unanswered", "answered", 0, {}, [("form", 9, True)]),
    ("form_waiting_days", "the oldest, rounded down", 9, {}, [("form", 9.9, False), ("form", 2, False)]),
    ("form_waiting_days", "answered", None, {}, [("form", 9, True)]),
    ("emails_unopened", "180 days ago counts", 1, {}, [("journey_email", 180, False)]),
    ("emails_unopened", "longer ago does not", 0, {}, [("journey_email", 180.001, False)]),
    ("emails_unopened", "opened", 0, {}, [("journey_email", 9, True)]),
    ("days_since_active", "rounded down", 3, {"last_active_at": ago(days=3.9)}, []),
    ("days_since_active", "never", None, {}, []),
    ("portal_inactive_days", "since the last activity", 3, {"last_active_at": ago(days=3.9)}, []),
    ("portal_inactive_days", "never active, since it was added", 50, {"added_at": ago(days=50.5)}, []),
    ("portal_inactive_days", "neither known", None, {"added_at": None}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("signal", "why", "expected", "columns", "items"),
    CLIENT_CASES,
    ids=[f"{case[0]}-{case[1]}" for case in CLIENT_CASES],
)
def test_a_client_signal_has_its_value(
    database: str,
    signal: str,
    why: str,
    expected: Any,
    columns: dict[str, Any],
    items: list[tuple[str, float, bool]],
) -> None:
    client = {"added_at": ago(days=300)} | columns
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        names = ", ".join(["supplier_id", "client_id", *client])
        marks = ", ".join(["%s"] * (len(client) + 2))
        conn.execute("INSERT INTO suppliers (id, name) VALUES (%s, 'Ann')", [SUPPLIER])
        conn.execute(
            f"INSERT INTO clients ({names}) VALUES ({marks})",  # type: ignore[arg-type]
            [SUPPLIER, "c", *client.values()],
        )
        for number, (kind, days, answered) in enumerate(items):
            conn.execute(
                "INSERT INTO sent_items (supplier_id, client_id, kind, item_id, sent_at, answered_at) VALUES (%s, 'c', %s, %s, %s, %s)",
                [SUPPLIER, kind, str(number), ago(days=days), NOW if answered else None],
            )
    raw = with_connection(database, lambda conn: read_clients(conn, [SUPPLIER], NOW))
    [found] = describe_clients(raw, NOW).to_dicts()
    assert found[signal] == expected


def test_every_client_signal_has_a_value_test() -> None:
    assert {case[0] for case in CLIENT_CASES} == set(CLIENT_SCHEMA)


# ── the same in SQL ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("days", "counts"), [(-1, 0), (0, 1), (89, 1), (90, 0)])
def test_the_portfolio_counts_the_weddings_of_the_signal(
    database: str, days: int, counts: int
) -> None:
    case = Case("weddings_90d", "", counts, [added(wedding=in_days(days))])
    assert evaluate(case) == counts
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute("INSERT INTO suppliers (id, name) VALUES (%s, 'Ann')", [SUPPLIER])
    activity = fold_events(case)
    with_connection(database, lambda conn: copy_frame(conn, "supplier_activity", activity))
    found = with_connection(
        database, lambda conn: get_portfolio(conn, View(), Calendar(None, None, []), NOW.date())
    )
    assert [row.weddings_90d for row in found.rows] == [counts]
