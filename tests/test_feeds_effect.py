"""What stopped feeds and feeds that were never sent mean for signals, scores, triggers and pages."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import copy_database
from everafter.core.db import FrameReader, connection
from everafter.core.settings import Settings
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.feeds.model import (
    DIMENSION_EVENTS,
    DIMENSION_NEEDS,
    EVERYTHING,
    UNKNOWN_FEEDS,
    Feeds,
    Outage,
    make_feeds,
)
from everafter.feeds.queries import read_feeds
from everafter.interventions.rules import find_resting
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import DIMENSIONS
from everafter.scoring.explain import take_snapshot
from everafter.scoring.platform import PlatformState
from everafter.scoring.rules import score_suppliers
from everafter.signals.model import SIGNALS
from everafter.signals.queries import read_past_inputs
from everafter.signals.row_model import scored_rows
from everafter.signals.source_model import SIGNAL_EVENTS, rests_on_stopped
from helpers_mail import sql
from helpers_outages import RATES, SUPPLIERS, TYPES, add_suppliers, at, make_counts, stop, store

SENT = frozenset(TYPES) | {"client_added", "journey_email_sent", "journey_email_opened"}
SMALL = {name: rate / 4 for name, rate in RATES.items()}
COUNTS = make_counts(56, SMALL, seed=3)


@pytest.fixture(scope="module")
def platform(module_settings: Settings) -> str:
    url = str(module_settings.database_url)
    add_suppliers(url)
    sql(
        url,
        "INSERT INTO events_pending (supplier_id, type, occurred_at, properties)"
        " SELECT id, 'client_added', %s, jsonb_build_object('client_id', 'c' || n)"
        " FROM suppliers, generate_series(0, 9) n",
        at(0, 1),
    )
    sql(
        url,
        "INSERT INTO events (supplier_id, message_id, type, occurred_at, properties)"
        " SELECT supplier_id, 'added' || (properties ->> 'client_id'), type, occurred_at, properties"
        " FROM events_pending",
    )
    store(url, stop(COUNTS, at(40, 9), at(50, 14), "login"), at(55))
    return url


@pytest.fixture
def copy(platform: str, server_url: str) -> Iterator[str]:
    with copy_database(server_url, str(conninfo_to_dict(platform)["dbname"])) as url:
        yield url


@pytest.fixture(scope="module")
def playbook(module_settings: Settings) -> Any:
    return load_playbook(module_settings)


def score(url: str, playbook: Any, as_of: datetime, feeds: Feeds) -> dict[str, Any]:
    """The scored row of the first supplier at a moment, from the events before it."""

    async def read() -> pl.DataFrame:
        reader = FrameReader(url)
        try:
            features = {name: number for number, name in enumerate(playbook.features)}
            inputs = await read_past_inputs(
                reader,
                features,
                as_of,
                after="00000000-0000-0000-0000-000000000000",
                last=SUPPLIERS[0],
            )
            progress = read_progress_of(reader, playbook, as_of, [SUPPLIERS[0]])
            return score_suppliers(
                join_progress(inputs, progress),
                playbook,
                as_of,
                features,
                PlatformState(feeds=feeds),
            )
        finally:
            reader.close()

    (row,) = scored_rows(asyncio.run(read()))
    return dict(row)


def stopped(since: datetime, *types: str) -> Feeds:
    return Feeds(sent=SENT, stopped=dict.fromkeys(types, since))


# ── the vocabulary ────────────────────────────────────────────────────────────────────────────────


def test_every_dimension_names_its_events() -> None:
    assert set(DIMENSION_EVENTS) == set(DIMENSION_NEEDS) == set(DIMENSIONS)


def test_the_events_of_signals_agree_with_their_sources() -> None:
    sources = {signal.name: signal.source for signal in SIGNALS}
    for name, types in SIGNAL_EVENTS.items():
        words = sources[name].split(", ")
        for event in types:
            assert any(
                word == event or (word.endswith("*") and event.startswith(word[:-1]))
                or word == "onboarding events" or name.startswith("onboarding_")
                for word in words
            ), f"{name}: {event} is not in {sources[name]}"  # fmt: skip
    counted = [
        signal.name
        for signal in SIGNALS
        if signal.group in {"activity", "forms", "journeys", "features", "support"}
    ]
    assert not set(counted) - SIGNAL_EVENTS.keys(), "every count depends on its events"


def test_feeds_are_frozen_at_the_end_of_the_last_good_day() -> None:
    feeds = Feeds(SENT, {"login": at(40, 9), "form_sent": at(41, 0)}, {"feature_used": at(45)})
    assert feeds.frozen_at("login") == at(40) and feeds.as_of("login") == at(39).date()
    assert feeds.as_of("form_sent") == at(40).date(), "at midnight, the day before was complete"
    assert feeds.as_of("form_sent", "login") == at(39).date(), "the earlier of two"
    assert feeds.as_of("feature_used") is None and feeds.frozen_at("ticket_opened") is None
    assert (
        feeds.rests("login") and feeds.rests("feature_used") and not feeds.rests("form_completed")
    )
    assert feeds.is_stopped("login") and not feeds.is_stopped("feature_used")


def test_what_was_never_sent_is_not_known() -> None:
    logins = Feeds(sent=frozenset({"login"}))
    assert [name for name in DIMENSIONS if logins.is_known(name)] == ["login"]
    assert all(UNKNOWN_FEEDS.is_known(name) for name in DIMENSIONS)
    implied = Feeds(sent=frozenset({"form_created", "form_completed"}))
    assert implied.is_known("feature_adoption") and implied.is_known("client_activity")
    assert "form_created" in implied.dimension_types("feature_adoption")
    assert Feeds(sent=SENT).dimension_types("feature_adoption") == ("feature_used",)


def test_while_everything_is_stopped_every_type_is() -> None:
    outage = Outage(EVERYTHING, "stopped", at(45), at(46), None, 100, 0)
    earlier = replace(outage, type="login", since=at(40))
    later = replace(outage, type="form_sent", since=at(45, 5))
    about_then = replace(outage, type="ticket_opened", since=at(41), expected=5)
    halved = replace(outage, type="feature_used", kind="halved", since=at(44))
    feeds = make_feeds(SENT, [outage, earlier, later, about_then, halved], at(50))
    assert feeds.everything_since == at(45) and set(feeds.stopped) == SENT
    assert feeds.stopped["login"] == at(40)
    assert feeds.stopped["form_sent"] == feeds.stopped["client_active"] == at(45)
    assert feeds.stopped["ticket_opened"] == at(45), "of rare events the moment is uncertain"
    assert not feeds.halved


def test_a_feed_that_stopped_a_quarter_ago_counts_as_never_sent() -> None:
    outage = Outage("form_completed", "stopped", at(10), at(11), None, 20, 0)
    lasts = make_feeds(SENT, [outage], at(101))
    assert lasts.is_stopped("form_completed") and lasts.is_known("form_completion")
    over = make_feeds(SENT, [outage], at(101, 1))
    assert not over.is_stopped("form_completed") and not over.is_known("form_completion")
    everything = replace(outage, type=EVERYTHING)
    assert make_feeds(SENT, [outage, everything], at(400)).is_stopped("form_completed")


# ── scores as of the last good day ────────────────────────────────────────────────────────────────

FROZEN = {
    "login": ("login", ["days_since_login", "days_inactive", "login_days_28d", "login_days_84d"]),
    "feature_adoption": ("feature_used", ["features_adopted", "feature_adoption", "feature_uses_4w"]),
    "form_completion": ("form_completed", ["forms_answered_13w", "form_completion_rate"]),
    "client_activity": ("client_active", ["clients_active_30d", "client_activity"]),
}  # fmt: skip


@pytest.mark.parametrize("dimension", FROZEN)
def test_a_dimension_of_a_stopped_feed_keeps_its_last_good_day(
    platform: str, copy: str, playbook: Any, dimension: str
) -> None:
    name, signals = FROZEN[dimension]
    sql(
        copy, "DELETE FROM events WHERE type = %s AND occurred_at >= %s", name, at(41, 9)
    )  # logins have not arrived since day 40 in any case
    since, now = at(40 if name == "login" else 41, 9), at(49, 5)
    before = score(platform, playbook, since, UNKNOWN_FEEDS)
    frozen = score(copy, playbook, now, stopped(since, name))
    for signal in signals:
        if signal.startswith(("days_", "login_days", "forms_", "form_")):
            within = {"d": 0.4, "l": 1, "f": 0.12 * before[signal]}[signal[0]]  # whole days, weeks
            assert frozen[signal] == pytest.approx(before[signal], abs=within), signal
        elif signal.startswith("client"):
            assert frozen[signal] >= before[signal], "who was active then counts, and who is still"
        else:
            assert frozen[signal] == before[signal], signal
    assert frozen[f"{dimension}_as_of"] == (since - timedelta(days=1)).date()
    others = [frozen[f"{other}_as_of"] for other in DIMENSIONS if other != dimension]
    assert others == [None] * 4
    if name == "login":
        lapsed = score(copy, playbook, now, Feeds(sent=SENT))
        assert lapsed["days_since_login"] > 8.5 and lapsed["login_points"] < frozen["login_points"]
        assert lapsed["login_as_of"] is None


def test_of_an_account_that_began_later_nothing_is_known(copy: str, playbook: Any) -> None:
    sql(copy, "UPDATE suppliers SET created_at = %s", at(44))
    sql(copy, "DELETE FROM events WHERE type = 'login'")
    row = score(copy, playbook, at(49, 5), stopped(at(40, 9), "login"))
    assert (row["days_since_login"], row["days_inactive"], row["login_points"]) == (None,) * 3
    assert row["tenure_days"] == pytest.approx(5 + 5 / 24)


def test_a_dimension_is_unknown_once_its_window_is_not_kept(copy: str, playbook: Any) -> None:
    sql(copy, "DELETE FROM events WHERE type = 'form_completed' AND occurred_at >= %s", at(20, 9))
    feeds = stopped(at(20, 9), "form_completed")
    assert score(copy, playbook, at(35), feeds)["form_completion_rate"] is not None
    assert score(copy, playbook, at(54), feeds)["form_completion_rate"] is None


def test_of_halved_logins_only_those_that_arrive_count(copy: str, playbook: Any) -> None:
    sql(copy, "DELETE FROM events WHERE type = 'login' AND occurred_at >= %s", at(45))
    plain = score(copy, playbook, at(55, 5), Feeds(sent=SENT))
    halved = score(copy, playbook, at(55, 5), Feeds(sent=SENT, halved={"login": at(45, 7)}))
    then = score(copy, playbook, at(45), Feeds(sent=SENT))
    assert halved["days_since_login"] == plain["days_since_login"] > 9
    assert plain["unusual_inactivity"] and not halved["unusual_inactivity"]
    for name in ("days_inactive", "evidence_logins"):
        assert halved[name] == pytest.approx(then[name], abs=1e-6)
        assert halved[name] < plain[name]
    assert halved["client_activity"] == plain["client_activity"]


def test_of_halved_feature_uses_only_those_that_arrive_count(platform: str, playbook: Any) -> None:
    plain = score(platform, playbook, at(49, 5), Feeds(sent=SENT))
    halved = score(platform, playbook, at(49, 5), Feeds(sent=SENT, halved={"feature_used": at(45)}))
    # the uses of that week count, as far as they have arrived
    assert halved["evidence_uses"] < plain["evidence_uses"]
    assert halved["evidence_logins"] == plain["evidence_logins"]


# ── never sent ────────────────────────────────────────────────────────────────────────────────────


def test_a_platform_that_sends_only_logins_has_only_that_dimension(
    platform: str, playbook: Any
) -> None:
    row = score(platform, playbook, at(35), Feeds(sent=frozenset({"login"})))
    assert [name for name in DIMENSIONS if row[f"{name}_points"] is not None] == ["login"]
    assert row["evidence_uses"] is None and row["evidence_logins"] is not None
    assert row["coverage"] < 0.5 and row["risk_level"] == "healthy"


def test_a_platform_that_sends_no_logins(platform: str, playbook: Any) -> None:
    row = score(platform, playbook, at(35), Feeds(sent=SENT - {"login"}))
    assert (row["days_since_login"], row["days_inactive"], row["login_points"]) == (None,) * 3
    assert row["feature_adoption_points"] is not None and row["evidence_logins"] is None


def test_forms_without_answers_are_unknown_only_if_answers_are_never_sent(
    copy: str, playbook: Any
) -> None:
    sql(copy, "DELETE FROM events WHERE type = 'form_completed'")
    sent = score(copy, playbook, at(35), Feeds(sent=SENT))
    never = score(copy, playbook, at(35), Feeds(sent=SENT - {"form_completed"}))
    assert sent["form_completion_rate"] == 0 and never["form_completion_rate"] is None


# ── triggers ──────────────────────────────────────────────────────────────────────────────────────


def test_triggers_that_depend_on_a_stopped_feed_rest(playbook: Any) -> None:
    resting = find_resting(playbook, stopped(at(40), "login"))
    assert {"no_login_7_days", "early_inactivity"} <= resting
    assert not {"billing_trouble", "low_client_adoption", "churn_medium_check_in"} & resting
    assert find_resting(playbook, Feeds(sent=SENT, halved={"login": at(40)})) == frozenset()
    assert "billing_trouble" in find_resting(playbook, stopped(at(40), "payment_recovered"))
    assert not rests_on_stopped(["plan", "subscription", "tenure_days"], stopped(at(40), *SENT))


def test_everything_rests_while_nothing_arrives(playbook: Any) -> None:
    outage = Outage(EVERYTHING, "stopped", at(45), at(46), None, 100, 0)
    resting = find_resting(playbook, make_feeds(SENT, [outage], at(50)))
    assert {"churn_high_assign", "no_login_7_days", "low_client_adoption"} <= resting


def run(url: str, playbook: Any, as_of: datetime, **terms: Any) -> RunSummary:
    return asyncio.run(run_day(url, playbook, as_of, replay=True, **terms))


def log(url: str, trigger: str) -> list[tuple[Any, ...]]:
    return sql(
        url,
        "SELECT status, CASE status WHEN 'skipped' THEN reason END, count(*) FROM interventions"
        " WHERE trigger = %s GROUP BY 1, 2 ORDER BY 1",
        trigger,
    )


def test_ten_days_without_logins_make_nobody_red(copy: str, playbook: Any) -> None:
    healthy = run(copy, playbook, at(40, 5)).by_risk
    for day in range(41, 51):
        summary = run(copy, playbook, at(day, 5))
        assert summary.by_risk == healthy, day
        assert [feed.type for feed in summary.feeds] == ["login"]
    assert log(copy, "no_login_7_days") == [] == log(copy, "early_inactivity")
    sql(copy, "DELETE FROM feed_outages")


def test_a_resting_trigger_is_in_the_log_with_its_reason(copy: str, playbook: Any) -> None:
    sql(copy, "DELETE FROM events WHERE type = 'login' AND supplier_id = %s AND occurred_at >= %s",
        SUPPLIERS[3], at(25))  # fmt: skip
    run(copy, playbook, at(45, 5))
    assert log(copy, "no_login_7_days") == [("skipped", "feed_stopped", 1)]
    run(copy, playbook, at(46, 5))
    assert log(copy, "no_login_7_days") == [("skipped", "feed_stopped", 1)], "once, not daily"


# ── where it is read ──────────────────────────────────────────────────────────────────────────────


def test_explanations_and_live_scores_use_the_recorded_outages(copy: str, playbook: Any) -> None:
    run(copy, playbook, at(45, 5))
    run(copy, playbook, at(52, 5))

    async def explain(day: date) -> Any:
        reader = FrameReader(copy)
        try:
            async with connection(copy) as conn:
                return await take_snapshot(conn, reader, playbook, SUPPLIERS[0], day)
        finally:
            reader.close()

    during, after = asyncio.run(explain(at(45).date())), asyncio.run(explain(at(52).date()))
    assert during.as_of_dates["login"] == at(39).date() and during.recomputed_score is None
    assert after.as_of_dates["login"] is None
    reader = FrameReader(copy)
    try:
        known = {day: read_feeds(reader, at(day)).stopped for day in (40, 44, 46, 50, 51)}
    finally:
        reader.close()
    assert {day for day, feeds in known.items() if feeds} == {46, 50}
    assert known[46] == {"login": at(40, 9)}
