"""The demo's history in the product: the resulting scores, and what a second start adds."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import psycopg
import pytest

from everafter.core.db import connection
from everafter.core.settings import load_settings
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.demo import jobs, queries
from everafter.demo.commands import PORT
from everafter.demo.model import QUEUE_OUTAGE_DAYS, Market, World
from everafter.demo.rules import DAILY_DAYS, SCORED_DAYS, plan_moments, read_world, write_world
from everafter.demo.simulator import simulate
from everafter.playbook.loading import load_playbook

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))


def world_and_market(anchor: date, suppliers: int) -> tuple[World, Market]:
    world = World(anchor, suppliers, 6, 7)
    return world, simulate(suppliers, anchor, world.months, world.seed)


@pytest.mark.parametrize("anchor", [date(2026, 6, 15), date(2025, 11, 20)])
def test_the_portfolio_is_plausible_in_summer_and_in_november(database: str, anchor: date) -> None:
    world, market = world_and_market(anchor, 220)
    as_of = datetime.combine(anchor, time(18), UTC)

    async def score() -> RunSummary:
        async with connection(database, autocommit=True) as conn:
            await jobs.load(conn, market, world, None, as_of)
        return await run_day(database, PLAYBOOK, as_of, dry_run=True)

    summary = asyncio.run(score())
    share = {risk: count / summary.suppliers for risk, count in summary.by_risk.items()}
    assert (
        0.60 <= share["healthy"] <= 0.82
        and 0.12 <= share["at_risk"] <= 0.32
        and 0.03 <= share["critical"] <= 0.14
    )
    assert summary.by_churn["high"] >= 1 and summary.by_churn["medium"] >= 8
    results = summary.interventions
    assert results.holdout > 0
    expected = {
        "billing_trouble",
        "no_login_7_days",
        "low_client_adoption",
        "stuck_onboarding",
        "high_usage_no_upgrade",
        "approaching_limits",
        "churn_high_assign",
        "churn_medium_check_in",
    }
    assert expected <= results.by_trigger.keys()


def test_a_history_generated_in_two_parts_is_stored_once(database: str) -> None:
    anchor = date(2026, 3, 10)
    world, market = world_and_market(anchor, 25)
    days = [datetime.combine(anchor - timedelta(days=back), time(6), UTC) for back in (40, 20, 1)]
    done: list[datetime] = []

    async def read_state() -> queries.DemoState:
        async with connection(database) as conn:
            return await queries.get_demo_state(conn)

    assert asyncio.run(read_state()) == queries.DemoState(None, 0, None, None, None)
    asyncio.run(jobs.generate(database, PLAYBOOK, market, world, days[:2], None, done.append))
    half = asyncio.run(read_state())
    assert half.world == world and half.scored_at == days[1]
    assert half.events_until is not None and half.events_until < days[1]

    # a start that was killed while it stored the next batch: each event counts once
    async def store_a_part() -> None:
        async with connection(database, autocommit=True) as conn:
            await jobs.load(conn, market, world, half.events_until, days[1] + timedelta(days=3))

    asyncio.run(store_a_part())
    again = asyncio.run(read_state())
    asyncio.run(
        jobs.generate(database, PLAYBOOK, market, world, days[2:], again.events_until, done.append)
    )
    assert done == days
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        stored = conn.execute(
            "SELECT count(*), count(DISTINCT (supplier_id, message_id)) FROM events"
        ).fetchone()
        folded = conn.execute("SELECT sum(events_total) FROM supplier_activity").fetchone()
        (responses,) = conn.execute(
            "SELECT count(*) FROM events WHERE message_id LIKE 'demo-%-r-%'"
        ).fetchone() or (0,)
        mail = conn.execute("SELECT status, count(*) FROM outbox GROUP BY 1").fetchall()
        early = conn.execute(
            "SELECT count(*) FROM customer_health h JOIN suppliers s ON s.id = h.supplier_id WHERE s.created_at > h.calculated_at"
        ).fetchone()
    expected = market.events.filter(pl.col("occurred_at") < days[2]).height
    assert stored == (expected + responses, expected + responses) and folded == (
        expected + responses,
    )
    assert early == (0,), "no supplier is scored before its account exists"
    # messages of past days are not sent, those of the last day of each call may be
    assert {status for status, _ in mail} <= {"replayed", "queued"} and dict(mail)["replayed"] > 0


def test_the_coachs_recommendations_are_recorded_and_their_effects_measured(database: str) -> None:
    anchor = date(2026, 3, 10)
    world, market = world_and_market(anchor, 60)
    days = [
        datetime.combine(anchor - timedelta(days=back), time(6), UTC)
        for back in (90, 30, 29, 16, 15, 0)
    ]
    asyncio.run(jobs.generate(database, PLAYBOOK, market, world, days, None, lambda _: None))
    with psycopg.connect(database, options="-c search_path=everafter -c timezone=UTC") as conn:
        by_coach = "SELECT supplier_id::text, shown_on, treated, measured_on FROM recommendation_impressions WHERE channel = 'coach'"
        offers = conn.execute(by_coach).fetchall()
        logins = conn.execute(
            "SELECT DISTINCT supplier_id::text, (occurred_at + interval '18 hours')::date FROM events WHERE type = 'login'"
        ).fetchall()
        counted = conn.execute(
            "SELECT sum(treated), sum(control) FROM recommendation_effects WHERE vendor_type <> ''"
        ).fetchone()
        all_vendor_types = conn.execute(
            "SELECT sum(treated), sum(control) FROM recommendation_effects WHERE vendor_type = ''"
        ).fetchone()
    # only within COACH_DAYS, and not today, when suppliers use the coach itself
    assert {shown_on for _, shown_on, _, _ in offers} == {day.date() for day in days[1:-1]}
    assert {(supplier, shown_on) for supplier, shown_on, _, _ in offers} <= set(logins)
    assert {treated for _, _, treated, _ in offers} == {True, False}, (
        "some are in the control group"
    )
    assert all(
        (measured_on == anchor) == (shown_on <= anchor - timedelta(days=14))
        for _, shown_on, _, measured_on in offers
    )
    assert counted is not None and counted == all_vendor_types and counted[0] > counted[1] > 0


def test_moments_are_weekly_then_daily_then_now() -> None:
    world = World(date(2026, 11, 22), 300, 16, 7)
    now = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
    moments = plan_moments(world, None, now)
    assert moments == sorted(moments) and moments[-1] == now
    assert 0 <= (moments[0].date() - world.anchor).days + SCORED_DAYS < 7 and all(
        moment.hour == 6 for moment in moments[:-1]
    )
    gaps = [(b.date() - a.date()).days for a, b in pairwise(moments)]
    assert (
        set(gaps) <= {1, 7, *range(2, 7)}
        and gaps.count(1) == DAILY_DAYS
        and gaps.count(7) >= SCORED_DAYS // 7 - 3
    )
    assert plan_moments(World(world.anchor, 300, 4, 7), None, now)[0].date() >= date(2026, 8, 5), (
        "a short history starts after two weeks"
    )
    assert plan_moments(world, now - timedelta(hours=1), now) == []
    three_later = plan_moments(world, now, now + timedelta(days=3))
    assert [moment.date().day for moment in three_later] == [23, 24, 25]


def test_a_world_survives_encoding() -> None:
    world = World(date(2026, 11, 22), 120, 9, 3)
    assert read_world(write_world(world)) == world


def test_the_quickstart_repeats_the_demos_figures() -> None:
    text = " ".join(Path("docs/quickstart.md").read_text(encoding="utf-8").split())
    world = World(date(2026, 11, 22))
    assert world.months == 12
    for text_part in (
        f"a year of sample data for {world.suppliers} suppliers",
        f"the last {SCORED_DAYS} days",
        f"each of the last {DAILY_DAYS} days",
        f"http://127.0.0.1:{PORT}",
        f"Between {QUEUE_OUTAGE_DAYS.stop - 1} and {QUEUE_OUTAGE_DAYS.start} days ago",
    ):
        assert text_part in text, text_part
