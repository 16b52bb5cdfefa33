"""Feeds in the database: hourly totals that the fold keeps, and what the daily run finds and
records."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import copy_database
from everafter.core.db import connection, make_pool
from everafter.core.settings import Settings
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.feeds import queries
from everafter.feeds.checks import check_feeds
from everafter.feeds.jobs import record_feeds, watch_feeds
from everafter.feeds.model import Outage
from everafter.playbook.loading import load_playbook
from helpers_mail import sql
from helpers_outages import (
    RATES,
    START,
    SUPPLIERS,
    add_suppliers,
    at,
    make_counts,
    stop,
    store,
)

SMALL = {name: rate / 4 for name, rate in RATES.items()}
COUNTS = make_counts(62, SMALL, seed=3)
OUTAGE = stop(COUNTS, at(40, 9), at(50, 14), "login")


@pytest.fixture(scope="module")
def platform(module_settings: Settings) -> str:
    """Fifty-five days of events, ten of them without logins; as if received when they occurred."""
    url = str(module_settings.database_url)
    add_suppliers(url)
    store(url, OUTAGE, at(55))
    return url


@pytest.fixture
def copy(platform: str, server_url: str) -> Iterator[str]:
    """The same, to change."""
    name = str(conninfo_to_dict(platform)["dbname"])
    with copy_database(server_url, name) as url:
        yield url


@pytest.fixture
def run(module_settings: Settings) -> Any:
    playbook = load_playbook(module_settings)

    def run(url: str, as_of: datetime | None, **terms: Any) -> RunSummary:
        return asyncio.run(run_day(url, playbook, as_of, **terms))

    return run


def outages(url: str) -> list[tuple[Any, ...]]:
    return sql(
        url, "SELECT type, kind, since, noticed_at, ended_at FROM feed_outages ORDER BY since, type"
    )


def examine(url: str, now: datetime) -> list[Any]:
    async def look() -> list[Any]:
        async with connection(url) as conn:
            return await check_feeds(conn, None, now)  # type: ignore[arg-type]

    return asyncio.run(look())


def test_an_empty_platform_has_no_events_yet(database: str) -> None:
    (check,) = examine(database, START)
    assert (check.status, check.found) == ("ok", "no events yet")
    add_suppliers(database)
    store(database, COUNTS, at(5))
    (check,) = examine(database, at(5))
    assert check.found == "events of all types arrive as usual"


# ── the totals ────────────────────────────────────────────────────────────────────────────────────


def test_the_fold_counts_events_by_hour_and_type(platform: str) -> None:
    kept = sql(platform, "SELECT min(hour), max(hour) FROM event_hours")[0]
    assert kept == (at(14, 23), at(54, 23))
    counted = sql(platform, "SELECT type, hour, events FROM event_hours ORDER BY 2, 1")
    direct = sql(
        platform,
        "SELECT type, date_trunc('hour', occurred_at), count(*) FROM events WHERE occurred_at >= %s"
        " GROUP BY 1, 2 ORDER BY 2, 1",
        at(14, 23),
    )
    assert counted == direct and len(counted) > 2500


def test_types_that_are_not_canonical_share_a_row(database: str) -> None:
    add_suppliers(database)
    for name in ("page_view", "page_view", "cart_emptied", "login"):
        sql(
            database,
            "INSERT INTO events_pending (supplier_id, type, occurred_at) VALUES (%s, %s, %s)",
            SUPPLIERS[0],
            name,
            at(1, 5.5),
        )
    store(database, COUNTS, START)  # folds
    assert sql(database, "SELECT type, hour, events FROM event_hours ORDER BY 1") == [
        ("login", at(1, 5), 1),
        ("other", at(1, 5), 3),
    ]


def test_a_long_history_does_not_fill_the_table(database: str) -> None:
    add_suppliers(database)
    sql(
        database,
        "INSERT INTO events_pending (supplier_id, type, occurred_at)"
        " SELECT %s, 'login', %s - n * interval '1 hour' FROM generate_series(0, 24 * 400) n",
        SUPPLIERS[0],
        at(0, 3),
    )
    store(database, COUNTS, START)
    assert sql(database, "SELECT count(*), min(hour) FROM event_hours") == [
        (40 * 24 + 1, at(-40, 3))
    ]


def test_an_older_installation_is_filled_once(copy: str) -> None:
    before = sql(copy, "SELECT * FROM event_hours ORDER BY 1, 2")
    sql(copy, "DELETE FROM event_hours")
    sql(copy, "UPDATE event_hours_fill SET filled_at = NULL")
    sql(
        copy,
        "INSERT INTO events_pending (supplier_id, type, occurred_at, received_at, properties)"
        " SELECT supplier_id, type, occurred_at, received_at, properties FROM events WHERE occurred_at >= %s",
        at(54),
    )  # stored, and folded only after the totals are filled

    async def fill() -> list[bool]:
        async with connection(copy, autocommit=True) as conn:
            done: list[bool] = []
            for _ in range(2):
                async with conn.transaction():
                    done.append(await queries.fill_hours(conn))
            return done

    assert asyncio.run(fill()) == [True, False]
    assert sql(copy, "SELECT max(hour) FROM event_hours") == [(at(53, 23),)]
    store(copy, COUNTS, START)  # folds
    after = sql(copy, "SELECT * FROM event_hours ORDER BY 1, 2")
    assert [row[:3] for row in after] == [row[:3] for row in before]


def test_the_migration_fills_nothing_on_a_new_installation(database: str) -> None:
    assert sql(database, "SELECT filled_at IS NOT NULL FROM event_hours_fill") == [(True,)]


# ── the run ───────────────────────────────────────────────────────────────────────────────────────


def test_a_run_names_the_feed_that_stopped(copy: str, run: Any) -> None:
    sql(copy, "DELETE FROM events WHERE occurred_at >= %s", at(45, 5))
    sql(copy, "DELETE FROM event_hours WHERE hour >= %s", at(45, 5))
    sql(copy, "UPDATE supplier_activity SET last_event_at = least(last_event_at, %s)", at(45, 4))
    summary = run(copy, at(45, 5))
    (feed,) = summary.feeds
    assert (feed.type, feed.state, feed.since, feed.until) == ("login", "stopped", at(40, 9), None)
    assert feed.notice == (
        "Logins have not arrived since 14 Jul, 09:00 UTC; scores use 13 July for them."
    )
    sent = msgspec.json.decode(msgspec.json.encode(summary))["feeds"]
    assert sent[0]["type"] == "login" and "until" not in sent[0]
    assert outages(copy) == [("login", "stopped", at(40, 9), at(45, 5), None)]
    assert [feed.since for feed in run(copy, at(45, 5)).feeds] == [at(40, 9)], "repeated"
    assert len(outages(copy)) == 1
    (check,) = examine(copy, at(45, 5))
    assert check.status == "bad"
    assert check.found == (
        "Logins have not arrived since 14 Jul, 09:00 UTC: 0 a day instead of "
        f"{sql(copy, 'SELECT round(expected) FROM feed_outages')[0][0]:.0f}"
    )
    assert "`login` events" in check.do


def test_a_dry_run_names_it_and_records_nothing(copy: str, run: Any) -> None:
    (feed,) = run(copy, at(45, 5), replay=True, dry_run=True).feeds
    assert (feed.type, feed.since) == ("login", at(40, 9))
    assert outages(copy) == []


def test_replays_find_the_same_in_any_order(copy: str, run: Any) -> None:
    for day in (39, 41, 45, 50, 52, 45, 41):
        feeds = run(copy, at(day, 5), replay=True).feeds
        stopped = [(feed.type, feed.since) for feed in feeds if feed.until is None]
        assert stopped == ([("login", at(40, 9))] if 41 <= day <= 50 else []), day
    assert outages(copy) == [("login", "stopped", at(40, 9), at(41, 5), at(50, 14))]


def test_the_return_is_shown_for_a_day(copy: str, run: Any) -> None:
    run(copy, at(45, 5), replay=True)
    (feed,) = run(copy, at(51, 5), replay=True).feeds
    assert (feed.until, feed.notice) == (
        at(50, 14),
        "Logins did not arrive from 14 Jul, 09:00 UTC to 24 Jul, 14:00 UTC.",
    )
    assert run(copy, at(52, 5), replay=True).feeds == []


def test_a_run_of_now_over_an_old_export_says_one_thing(copy: str, run: Any) -> None:
    sql(copy, "UPDATE event_hours SET first_seen_at = now()")
    now = datetime.now(UTC)
    assert now > at(60), "the invented platform is in the past"
    (feed,) = run(copy, None).feeds
    assert (feed.type, feed.state, feed.since) == ("*", "stopped", at(55))
    assert feed.notice.startswith("Events have not arrived since 29 Jul")
    assert "all scores use 28 July" in feed.notice
    (check,) = examine(copy, now)
    assert check.status == "bad" and check.found.startswith("Events have not arrived since")


# ── the worker, the gauges ────────────────────────────────────────────────────────────────────────


def test_the_worker_records_what_changes_between_runs(copy: str) -> None:
    async def watch() -> list[str | None]:
        pool = make_pool(copy)
        async with pool:
            return [await watch_feeds(pool), await watch_feeds(pool)]

    first, second = asyncio.run(watch())
    assert first and first.startswith("Events have not arrived since 29 Jul") and second is None
    assert ("*", "stopped", at(55)) in [row[:3] for row in outages(copy)]
    for gauge in queries.GAUGES:
        values = dict(sql(copy, gauge.statement))
        assert values.get('type="all"') == (1 if gauge.name.endswith("stopped") else None)


def test_the_worker_waits_for_the_fold(copy: str) -> None:
    sql(
        copy,
        "INSERT INTO events_pending (supplier_id, type, occurred_at, received_at)"
        " VALUES (%s, 'login', %s, now() - interval '1 hour')",
        SUPPLIERS[0],
        at(54),
    )

    async def watch() -> str | None:
        pool = make_pool(copy)
        async with pool:
            return await watch_feeds(pool)

    assert asyncio.run(watch()) is None
    assert examine(copy, datetime.now(UTC)) == [], "nor does doctor take it for an outage"


def test_an_outage_that_late_events_explain_is_over(copy: str) -> None:
    async def record(as_of: datetime) -> list[Outage]:
        async with connection(copy, autocommit=True) as conn:
            return (await record_feeds(conn, as_of, from_events=True)).recorded

    assert [one.ended_at for one in asyncio.run(record(at(45)))] == [None]
    sql(
        copy,
        "INSERT INTO events (supplier_id, message_id, type, occurred_at)"
        " SELECT %s, 'late' || n, 'login', %s + n * interval '18 minutes' FROM generate_series(0, 900) n",
        SUPPLIERS[0],
        at(40),
    )
    assert [one.ended_at for one in asyncio.run(record(at(45, 6)))] == [at(45, 6)]
