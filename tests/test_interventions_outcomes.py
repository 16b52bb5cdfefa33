"""Outcomes: the daily run records when a trigger's success comes true within its window."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import psycopg

from everafter.core.settings import load_settings
from everafter.daily.run import run_day
from everafter.demo import jobs
from everafter.demo.model import World
from everafter.demo.simulator import simulate
from everafter.interventions.outcome_rules import WINDOWS_SCHEMA, compile_successes, find_outcomes
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import TIP_PREFIX

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
DAY = date(2026, 3, 10)


def sql(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, options="-c search_path=everafter -c timezone=UTC") as conn:
        cursor = conn.execute(statement, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def windows(*rows: tuple[str, date, str, date | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=WINDOWS_SCHEMA, orient="row")


# ── the rule ──────────────────────────────────────────────────────────────────────────────────


def outcomes(opened: pl.DataFrame, **logins: float | None) -> list[tuple[Any, ...]]:
    scored = pl.DataFrame({"supplier_id": list(logins), "days_since_login": list(logins.values())})
    successes = {"inactivity": pl.sql_expr("days_since_login < 7").fill_null(False)}
    return sorted(find_outcomes(scored, opened, successes, DAY).rows())


def test_the_first_day_of_success_is_recorded() -> None:
    began = DAY - timedelta(days=3)
    opened = windows(
        ("a", began, "inactivity", None),
        ("b", began, "inactivity", None),
        ("cancelled", began, "inactivity", None),
    )
    assert outcomes(opened, a=1.0, b=9.0) == [("a", began, "inactivity", DAY)], (
        "a cancelled supplier has no score and cannot succeed"
    )
    assert outcomes(opened, a=None, b=7.0) == [], "unknown is not a success, and 7 is not below 7"
    later = windows(("a", began, "inactivity", DAY + timedelta(days=2)))
    assert outcomes(later, a=1.0) == [("a", began, "inactivity", DAY)], (
        "an earlier day that is scored later replaces it"
    )
    assert outcomes(later, a=9.0) == []
    same = windows(("a", began, "inactivity", DAY))
    assert outcomes(same, a=1.0) == [], "nothing changes"
    assert outcomes(same, a=9.0) == [("a", began, "inactivity", None)], (
        "the same day scored again withdraws it"
    )


def test_a_trigger_without_success_is_left_as_it_is() -> None:
    assert outcomes(windows(("a", DAY, "celebrate_first_form", None)), a=1.0) == []
    assert outcomes(windows(), a=1.0) == []


def test_every_trigger_and_tip_has_a_success_condition() -> None:
    found = compile_successes(PLAYBOOK)
    assert set(found) == {*PLAYBOOK.triggers, *(TIP_PREFIX + name for name in PLAYBOOK.tips)}, (
        "under the names of the intervention log"
    )


# ── in the run ────────────────────────────────────────────────────────────────────────────────


def test_the_outcomes_of_a_history_match_its_events(database: str) -> None:
    """Compared with the logins, for treatment group and holdout, over a history scored by replays."""
    world = World(DAY, 60, 6, 7)
    market = simulate(60, DAY, world.months, world.seed)
    days = [
        datetime.combine(DAY - timedelta(days=back), time(6), UTC)
        for back in (*range(70, 0, -5), 0)
    ]
    asyncio.run(jobs.generate(database, PLAYBOOK, market, world, days, None, lambda _: None))
    rows = sql(
        database,
        """SELECT i.status, i.succeeded_on, (
             SELECT min(r.run_on) FROM runs r WHERE r.run_on > i.evaluated_on AND r.run_on <= i.success_by
             AND NOT EXISTS (SELECT 1 FROM cancellations x WHERE x.supplier_id = i.supplier_id AND x.cancelled_at < r.as_of)
             AND EXISTS (SELECT 1 FROM events e WHERE e.supplier_id = i.supplier_id AND e.type = 'login'
                         AND e.occurred_at < r.as_of AND e.occurred_at > r.as_of - interval '7 days'))
           FROM interventions i WHERE i.trigger = 'no_login_7_days' AND i.status <> 'skipped'""",
    )
    assert [succeeded for _, succeeded, _ in rows] == [expected for _, _, expected in rows]
    assert {status for status, _, _ in rows} == {"triggered", "holdout"}
    assert len({succeeded for _, succeeded, _ in rows}) > 3 and None in {
        succeeded for _, succeeded, _ in rows
    }
    wrong = "status = 'skipped' OR succeeded_on <= evaluated_on OR succeeded_on > success_by"
    assert sql(
        database, f"SELECT count(*) FROM interventions WHERE succeeded_on IS NOT NULL AND ({wrong})"
    ) == [(0,)]

    # scoring the last day again changes nothing
    before = sql(
        database,
        "SELECT supplier_id, evaluated_on, trigger, succeeded_on FROM interventions ORDER BY 1, 2, 3",
    )
    asyncio.run(run_day(database, PLAYBOOK, days[-1]))
    assert (
        sql(
            database,
            "SELECT supplier_id, evaluated_on, trigger, succeeded_on FROM interventions ORDER BY 1, 2, 3",
        )
        == before
    )


def test_every_cancellation_is_stored(database: str) -> None:
    world = World(DAY, 120, 6, 7)
    market = simulate(120, DAY, world.months, world.seed)
    asyncio.run(
        jobs.generate(
            database,
            PLAYBOOK,
            market,
            world,
            [datetime.combine(DAY, time(6), UTC)],
            None,
            lambda _: None,
        )
    )
    said = sql(
        database,
        "SELECT supplier_id, occurred_at FROM events WHERE type = 'subscription_cancelled' ORDER BY 1, 2",
    )
    assert len(said) > 3
    assert (
        sql(database, "SELECT supplier_id, cancelled_at FROM cancellations ORDER BY 1, 2") == said
    )


def test_a_stored_score_has_the_plan_and_vendor_type_it_was_scored_with(database: str) -> None:
    world = World(DAY, 60, 6, 7)
    market = simulate(60, DAY, world.months, world.seed)
    asyncio.run(
        jobs.generate(
            database,
            PLAYBOOK,
            market,
            world,
            [datetime.combine(DAY, time(6), UTC)],
            None,
            lambda _: None,
        )
    )
    assert sql(
        database,
        """SELECT count(*), count(*) FILTER (WHERE h.plan = coalesce(p.plan, s.plan, '')
           AND h.vendor_type = coalesce(p.vendor_type, s.vendor_type, '')) = count(*), count(DISTINCT h.plan) > 1
           FROM customer_health h JOIN suppliers s ON s.id = h.supplier_id LEFT JOIN supplier_activity p USING (supplier_id)""",
    )[0][1:] == (True, True)
