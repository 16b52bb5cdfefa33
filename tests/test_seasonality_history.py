"""The peer activity index in the database: measured once, the same from rings and from events, and
as it was known on a past day."""

import asyncio
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from conftest import copy_database
from everafter.core.db import FrameReader, connection
from everafter.core.settings import Settings, load_settings
from everafter.daily.run import run_day
from everafter.folding import fold_events
from everafter.playbook.loading import load_playbook
from everafter.seasonality import jobs, queries
from everafter.seasonality.history_rules import History
from everafter.seasonality.model import CHANNELS, PeerActivity
from everafter.seasonality.table_rules import to_day

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
FIRST = date(2026, 3, 2)
LAST = date(2026, 7, 5)
DAYS = (LAST - FIRST).days + 1
SUPPLIERS = 60


def moment(day: date, hour: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour)


def events() -> list[tuple[Any, ...]]:
    """Logins and feature uses of 60 suppliers, fewer from June on, and no login at all from 5 to 7
    May."""
    random = np.random.default_rng(5)
    rows: list[tuple[Any, ...]] = []
    for number in range(SUPPLIERS):
        supplier, rate = uuid.UUID(int=number + 1), random.gamma(3, 0.3)
        for offset in range(DAYS):
            day = FIRST + timedelta(days=offset)
            level = 0.5 if day >= date(2026, 6, 1) else 1.0
            logins = random.random() < 1 - np.exp(-rate * level)
            if logins and not date(2026, 5, 5) <= day <= date(2026, 5, 7):
                rows.append((supplier, "login", moment(day, 9), {}))
            rows += [
                (supplier, "feature_used", moment(day, 10 + use / 10), {"feature": "gallery"})
                for use in range(random.poisson(2 * rate * level))
            ]
    return rows


ALL = events()


@pytest.fixture(scope="module")
def platform(server_url: str, template: str) -> Any:
    """A database with these suppliers and their events, folded."""
    with copy_database(server_url, template) as url:
        store(url, ALL)
        yield url


def store(url: str, rows: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        for number in range(SUPPLIERS):
            conn.execute(
                """
                INSERT INTO suppliers (id, name, vendor_type, country, created_at)
                VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT DO NOTHING
                """,
                [
                    uuid.UUID(int=number + 1),
                    f"Supplier {number}",
                    ("photographer", "dj", "venue")[number % 3],
                    "NZ" if number % 10 == 0 else "GB",
                    moment(FIRST),
                ],
            )
        conn.execute(
            "SELECT ensure_event_month(d) FROM generate_series(%s, %s, '1 month'::interval) d",
            [moment(FIRST), moment(LAST)],
        )
        for table in ("events", "events_pending"):
            extra = ", message_id" if table == "events" else ""
            with conn.cursor().copy(
                f"COPY {table} (supplier_id, type, occurred_at, properties{extra}) FROM STDIN"
            ) as copy:
                for supplier, kind, at, properties in rows:
                    row = (supplier, kind, at, json.dumps(properties))
                    copy.write_row((*row, str(uuid.uuid4())) if extra else row)
        conn.commit()
    asyncio.run(fold_all(url))


async def fold_all(url: str) -> None:
    async with connection(url, autocommit=True) as conn:
        while await fold_events(conn):
            pass


def measure(
    url: str,
    as_of: datetime,
    *,
    from_events: bool,
    dry_run: bool = False,
    first: date = FIRST,
) -> PeerActivity:
    async def work() -> PeerActivity | None:
        reader = FrameReader(url)
        try:
            async with connection(url, autocommit=True) as conn:
                return await jobs.measure_season(
                    conn,
                    reader,
                    as_of,
                    first_event_at=moment(first, 9),
                    from_events=from_events,
                    dry_run=dry_run,
                )
        finally:
            reader.close()

    found = asyncio.run(work())
    assert found is not None
    return found


def days_of(url: str, until: date = LAST) -> History:
    reader = FrameReader(url)
    try:
        return queries.read_days(reader, to_day(until))
    finally:
        reader.close()


def rows_of(url: str) -> list[Any]:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        return (
            conn.execute("SELECT * FROM season_index ORDER BY 1, 2, 3").fetchall()
            + conn.execute("SELECT * FROM vendor_type_norms ORDER BY 1, 2").fetchall()
        )


def clear(url: str) -> None:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        conn.execute("DELETE FROM season_index")
        conn.execute("DELETE FROM vendor_type_norms")


def same(one: PeerActivity, other: PeerActivity) -> None:
    size = min(one.logins.shape[1], other.logins.shape[1])
    for name in ("logins", "uses", "season_index"):
        mine, theirs = getattr(one, name)[:, -size:], getattr(other, name)[:, -size:]
        assert mine == pytest.approx(theirs, rel=1e-9), name
    assert one.login_usual == pytest.approx(other.login_usual, rel=1e-9)


END = moment(LAST + timedelta(days=1))


def test_the_season_and_a_stopped_feed_are_measured(platform: str) -> None:
    clear(platform)
    peers = measure(platform, END, from_events=True)
    photographers = peers.logins[0]
    day = lambda on: to_day(on) - peers.first_day  # noqa: E731
    may, june = photographers[day(date(2026, 5, 25))], photographers[day(date(2026, 6, 25))]
    assert june / may == pytest.approx(0.5, abs=0.13)
    assert peers.season_index[0, day(date(2026, 6, 25))] < 0.75
    stopped = slice(day(date(2026, 5, 5)), day(date(2026, 5, 8)))
    assert (photographers[stopped] == 0.004).all()
    assert (peers.season_index[:, stopped] == 0).all()
    assert (peers.uses[0, stopped] > 0.5).all()
    assert peers.first_measured == to_day(FIRST) + 14


def test_rings_and_events_give_the_same_days(platform: str) -> None:
    clear(platform)
    from_events = measure(platform, END, from_events=True)
    clear(platform)
    from_rings = measure(platform, END, from_events=False)
    same(from_events, from_rings)


def test_a_measured_day_stays_as_it_is(platform: str) -> None:
    clear(platform)
    first = measure(platform, END, from_events=False)
    before = rows_of(platform)
    same(first, measure(platform, END, from_events=False))
    same(first, measure(platform, END, from_events=True))
    assert rows_of(platform) == before


def test_days_measured_one_by_one_are_those_measured_at_once(platform: str) -> None:
    clear(platform)
    at_once = measure(platform, END, from_events=True)
    clear(platform)
    measure(platform, moment(date(2026, 6, 24), 5), from_events=True)
    for number in range(24, 31):
        measure(platform, moment(date(2026, 6, number), 5), from_events=True)
    same(at_once, measure(platform, END, from_events=True))


def test_a_past_day_knows_nothing_of_later_ones(platform: str) -> None:
    clear(platform)
    past = measure(platform, moment(date(2026, 5, 20)), from_events=True)
    clear(platform)
    measure(platform, END, from_events=True)
    again = measure(platform, moment(date(2026, 5, 20)), from_events=True)
    assert past.last_day == again.last_day == to_day(date(2026, 5, 19))
    same(past, again)


def test_a_day_whose_events_come_late_is_measured_again(server_url: str, template: str) -> None:
    with copy_database(server_url, template) as url:
        late = [row for row in ALL if row[2].date() == LAST]
        store(url, [row for row in ALL if row[2].date() != LAST])
        first = measure(url, END, from_events=False)
        assert first.logins[0, -1] == first.uses[0, -1] == 0.004  # nothing has arrived
        store(url, late)
        again = measure(url, END, from_events=False)
        assert 0.3 < again.logins[0, -1] < 0.8
        clear(url)
        same(again, measure(url, END, from_events=False))


def test_history_that_is_imported_later_is_measured_from_its_beginning(
    server_url: str, template: str
) -> None:
    since = date(2026, 6, 15)
    with copy_database(server_url, template) as url:
        store(url, [row for row in ALL if row[2].date() >= since])
        measure(url, END, from_events=False, first=since)
        assert days_of(url).first_day == to_day(since)
        store(url, [row for row in ALL if row[2].date() < since])
        again = measure(url, END, from_events=False)
        assert days_of(url).first_day == to_day(FIRST)
        clear(url)
        same(again, measure(url, END, from_events=False))


def test_a_dry_run_writes_nothing(platform: str) -> None:
    clear(platform)
    dry = measure(platform, END, from_events=False, dry_run=True)
    assert rows_of(platform) == []
    same(dry, measure(platform, END, from_events=False))


def test_rows_come_back_as_they_were_written(platform: str) -> None:
    clear(platform)
    measure(platform, END, from_events=False)
    history = days_of(platform)
    assert history.first_day == to_day(FIRST) and history.last_day == to_day(LAST)
    assert all(len(history.days) == DAYS for _ in CHANNELS)
    with psycopg.connect(platform, options="-c search_path=everafter") as conn:
        conn.execute("DELETE FROM season_index WHERE day = %s AND vendor_type = 'dj'", [LAST])
    assert (
        days_of(platform).last_day == to_day(LAST) - 1
    )  # a day that lacks a row is measured again
    measure(platform, END, from_events=False)
    assert days_of(platform).last_day == to_day(LAST)


def test_the_run_measures_the_days_before_it(platform: str, settings: Settings) -> None:
    clear(platform)
    summary = asyncio.run(run_day(platform, PLAYBOOK, END, replay=True))
    assert summary.suppliers == SUPPLIERS
    assert days_of(platform).last_day == to_day(LAST)
    with psycopg.connect(platform, options="-c search_path=everafter") as conn:
        low, high = conn.execute(
            "SELECT min(season_index), max(season_index) FROM customer_health WHERE calculated_on = %s",
            [END.date()],
        ).fetchone() or (0, 0)
    assert low < high <= 1
