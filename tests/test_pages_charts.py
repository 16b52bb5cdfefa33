"""Charts and labels, without a server."""

import doctest
from datetime import UTC, date, datetime, timedelta
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core import charts, csv, formatting
from everafter.interventions import log_rules
from everafter.portfolio import rules
from everafter.portfolio.event_labels import group_timeline
from everafter.portfolio.supplier_model import Event

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=80)


@pytest.mark.parametrize("module", [formatting, charts, csv, rules, log_rules])
def test_the_doctests_pass(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert tried.failed == 0 and tried.attempted > 0


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.integers(0, 2))
def test_rounded_parts_add_up(parts: list[float], decimals: int) -> None:
    shown = charts.round_to_sum(parts, sum(parts), decimals)
    assert (
        round(sum(shown), decimals) == round(sum(parts), decimals)
        or abs(sum(shown) - sum(parts)) <= 0.5 * 10**-decimals + 1e-9
    )
    assert all(
        abs(after - before) <= 10**-decimals + 1e-9
        for before, after in zip(parts, shown, strict=True)
    )


@given(SCORES)
def test_a_sparkline_stays_inside_and_breaks_at_unknown_values(
    scores: list[float | None],
) -> None:
    spark = charts.sparkline(
        scores, [place / max(1, len(scores) - 1) for place in range(len(scores))]
    )
    for line in spark.lines:
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= spark.width + 1 and 0 <= y <= spark.height
    stretches = "".join("." if score is None else "x" for score in scores).split(".")
    assert len(spark.lines) == sum(bool(stretch) for stretch in stretches)
    assert (spark.end is None) == all(score is None for score in scores)


@given(SCORES, st.integers(0, 400))
def test_a_trend_stays_inside(scores: list[float | None], start: int) -> None:
    days = [
        charts.Day(
            date(2025, 1, 1) + timedelta(days=start + place), score, 0.3 if place % 9 < 4 else 1.0
        )
        for place, score in enumerate(scores)
    ]
    drawn = charts.trend(
        days, [(date(2025, 1, 5), "x")], critical_below=40, at_risk_below=70, off_season_below=0.5
    )
    for zone in drawn.off_season:
        assert (
            zone.size > 0
            and drawn.left <= zone.start
            and zone.start + zone.size <= drawn.right + 1e-6
        )
    for tick in [*drawn.months, *drawn.marks]:
        assert drawn.left <= tick.at <= drawn.right
    assert drawn.at_risk.start + drawn.at_risk.size == pytest.approx(drawn.critical.start)
    assert len(drawn.off_season) == (len(scores) + 8) // 9


def test_events_of_one_type_and_day_are_one_line() -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    events = [
        Event(
            "form_sent", noon - timedelta(hours=hour), {"form_id": f"f{hour % 2}"}, f"Client {hour}"
        )
        for hour in range(6)
    ]
    events.append(Event("form_sent", noon - timedelta(days=1), {"form_id": "song-list"}, None))
    today, yesterday = group_timeline(events)
    assert [(entry.words, entry.detail) for entry in today.entries] == [
        ("Sent 6 forms", "Client 0, Client 1, Client 2 and 3 others")
    ]
    assert today.entries[0].at == noon
    assert [(entry.words, entry.detail) for entry in yesterday.entries] == [
        ("Sent a form", "song list")
    ]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "Invited a client"),
        (2, "Sent 2 invitations"),
        (5, "Sent 5 invitations"),
        (1200, "Sent 1,200 invitations"),
    ],
)
def test_the_events_of_a_day_are_counted(count: int, words: str) -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    (day,) = group_timeline([Event("invite_sent_to_client", noon, {}, None)] * count)
    assert [entry.words for entry in day.entries] == [words]


def test_a_year_has_its_months_by_name() -> None:
    days = [charts.Day(date(2025, 12, 15) + timedelta(days=n), None, None) for n in range(365)]
    drawn = charts.trend(days, [], critical_below=40, at_risk_below=70, off_season_below=0.5)
    assert [tick.word for tick in drawn.months] == [
        "2026", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec",
    ]  # fmt: skip


def test_numbers_are_not_shown_as_names() -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    ((day),) = group_timeline([Event("form_sent", noon, {"form_id": "0179c25f3"}, "Anna & Ben")])
    assert day.entries[0].detail == "Anna & Ben"


# DESIGN, Events
CANONICAL = [
    "account_created",
    "vendor_type_selected",
    "completed_wizard",
    "login",
    "import_clients_started",
    "form_created",
    "invite_sent_to_client",
    "customer_journey_started",
    "automation_enabled",
    "feature_used",
    "client_added",
    "client_active",
    "client_archived",
    "client_lost",
    "form_sent",
    "form_completed",
    "journey_email_sent",
    "journey_email_opened",
    "ticket_opened",
    "ticket_replied",
    "ticket_waiting",
    "ticket_resumed",
    "ticket_resolved",
    "usage_reported",
    "payment_failed",
    "payment_recovered",
    "subscription_changed",
    "subscription_paused",
    "subscription_cancelled",
]


@pytest.mark.parametrize("kind", CANONICAL)
def test_every_canonical_event_has_labels(kind: str) -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    for count in (1, 3):
        (day,) = group_timeline([Event(kind, noon, {}, None)] * count)
        (entry,) = day.entries
        assert not entry.words.startswith("“") and "{" not in entry.words
