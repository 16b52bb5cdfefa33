"""The snapshots in the database: the first run of a month takes them, and a backfill those of the past."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
import pytest
from benchmarks.population import load

from conftest import copy_database
from everafter.core.db import FrameReader, connection
from everafter.core.errors import ConflictError
from everafter.core.locks import Lock
from everafter.core.settings import load_settings
from everafter.daily.run import run_day
from everafter.daily.snapshots import backfill_snapshots
from everafter.demo import jobs
from everafter.demo.model import World
from everafter.demo.simulator import simulate
from everafter.learning import snapshot_queries
from everafter.playbook.loading import load_playbook

NOW = datetime.now(UTC).replace(microsecond=0)
MONTH = NOW.date().replace(day=1)
PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
ANCHOR = date(2026, 6, 15)


def sql(url: str, text: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, options="-c search_path=everafter -c timezone=UTC") as conn:
        cursor = conn.execute(text, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def run(url: str, as_of: datetime, **terms: Any) -> None:
    asyncio.run(run_day(url, PLAYBOOK, as_of, **terms))


@pytest.fixture
def populated(database: str) -> str:
    asyncio.run(load(database, 60, NOW - timedelta(hours=1)))
    return database


# ── the daily run ─────────────────────────────────────────────────────────────────


def test_the_first_run_of_a_month_takes_the_snapshots(populated: str) -> None:
    run(populated, NOW, slice_size=25)
    found = sql(
        populated,
        """
        SELECT s.supplier_id, s.snapshot_on, s.snapshot_at,
          abs(1 / (1 + exp(-(2.1 * s.churn_evidence - 1.25))) - c.risk) < 1e-5,
          s.health_score IS NOT DISTINCT FROM h.score::real, s.vendor_type = coalesce(p.vendor_type, v.vendor_type)
        FROM signal_snapshots s
        JOIN churn_risk c ON c.supplier_id = s.supplier_id AND c.calculated_on = s.snapshot_on
        JOIN suppliers v ON v.id = s.supplier_id
        JOIN supplier_activity p ON p.supplier_id = s.supplier_id
        LEFT JOIN customer_health h
          ON h.supplier_id = s.supplier_id AND h.calculated_on = s.snapshot_on
        """,
    )
    assert len(found) == 60
    assert all(row[1:] == (NOW.date(), NOW, True, True, True) for row in found)
    assert sql(
        populated, "SELECT month, snapshot_at, backfilled, suppliers FROM snapshot_months"
    ) == [(MONTH, NOW, False, 60)]


def test_a_second_run_that_day_replaces_them_and_a_later_day_takes_none(populated: str) -> None:
    run(populated, NOW - timedelta(seconds=9))
    run(populated, NOW)
    assert sql(
        populated, "SELECT DISTINCT snapshot_at, count(*) OVER () FROM signal_snapshots"
    ) == [(NOW, 60)]
    # as if they were of an earlier day of this month
    earlier = NOW - timedelta(days=1)
    sql(populated, "UPDATE snapshot_months SET snapshot_at = %s RETURNING 1", earlier)
    sql(populated, "DELETE FROM signal_snapshots RETURNING 1")
    if earlier.month == NOW.month:
        run(populated, NOW + timedelta(seconds=9))
        assert not sql(populated, "SELECT 1 FROM signal_snapshots")


def test_snapshots_that_were_not_finished_are_taken_by_the_next_run(populated: str) -> None:
    async def begin() -> None:
        async with connection(populated) as conn:
            await snapshot_queries.begin_snapshots(
                conn, MONTH, NOW - timedelta(days=3), backfilled=False
            )

    asyncio.run(begin())
    run(populated, NOW)
    assert sql(populated, "SELECT snapshot_at, suppliers FROM snapshot_months") == [(NOW, 60)]


def test_a_dry_run_takes_none(populated: str) -> None:
    run(populated, NOW, dry_run=True)
    assert not sql(populated, "SELECT 1 FROM signal_snapshots UNION SELECT 1 FROM snapshot_months")


# ── a backfill ────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def history(module_database: str) -> str:
    """Six months of events of a sample market, not scored yet."""
    world = World(ANCHOR, 90, 6, 7)
    market = simulate(90, ANCHOR, world.months, world.seed)

    async def go() -> None:
        async with connection(module_database, autocommit=True) as conn:
            await jobs.load(conn, market, world, None, datetime.combine(ANCHOR, time(18), UTC))

    asyncio.run(go())
    return module_database


@pytest.fixture(scope="module")
def learned(server_url: str, history: str) -> Iterator[tuple[str, Any]]:
    """A copy of it after a backfill, and what the backfill returned."""
    name = str(psycopg.conninfo.conninfo_to_dict(history)["dbname"])
    with copy_database(server_url, name) as url:
        yield url, backfill(url)


@pytest.fixture
def imported(server_url: str, history: str) -> Iterator[str]:
    """A copy of it."""
    name = str(psycopg.conninfo.conninfo_to_dict(history)["dbname"])
    with copy_database(server_url, name) as url:
        yield url


def backfill(url: str, first: date | None = None) -> Any:
    seen: list[tuple[int, int]] = []
    done = asyncio.run(
        backfill_snapshots(url, PLAYBOOK, first, lambda *step: seen.append(step), slice_size=40)
    )
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    return done


def test_a_backfill_waits_for_no_run_and_no_other_backfill(imported: str) -> None:
    with psycopg.connect(imported, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [Lock.RUN])
        with pytest.raises(ConflictError, match="daily run or another backfill is in progress"):
            backfill(imported)
    assert not sql(imported, "SELECT 1 FROM snapshot_months")


def test_no_run_begins_during_a_backfill(imported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    async def try_to_run(conn: Any, *_: Any, **__: Any) -> Any:
        try:
            await run_day(imported, PLAYBOOK)
        except ConflictError as error:
            refused.append(error.message)
        raise InterruptedError

    monkeypatch.setattr("everafter.daily.snapshots._measure", try_to_run)
    with pytest.raises(InterruptedError):
        backfill(imported)
    assert refused and "in progress" in refused[0]
    monkeypatch.undo()
    assert backfill(imported).written, "the lock ended with the backfill"


def test_a_backfill_takes_past_months_and_learns_at_once(learned: tuple[str, Any]) -> None:
    imported, done = learned
    assert len(done.written) >= 4 and done.written[-1] == date(2026, 6, 1) and not done.known
    counted = sql(
        imported,
        "SELECT snapshot_on, count(*), min(snapshot_at) FROM signal_snapshots GROUP BY 1 ORDER BY 1",
    )
    assert [day for day, _, _ in counted] == done.written
    assert all(at == datetime.combine(day, time(), UTC) for day, _, at in counted)
    assert sum(count for _, count, _ in counted) == done.snapshots > 200
    # A training as of each month before which a window had closed.
    assert [one.as_of.date() for one in done.trainings] == done.written[2:]
    assert sql(imported, "SELECT count(*) FROM model_versions") == [(8 * len(done.trainings),)]
    again = backfill(imported)
    assert not again.written and again.known == done.written and not again.trainings
    sql(imported, "UPDATE model_trainings SET error = 'out of memory' RETURNING 1")
    once_more = backfill(imported)
    assert not once_more.written and once_more.trainings == done.trainings


def test_a_backfill_is_what_a_run_of_that_day_would_have_taken(
    imported: str, server_url: str
) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(imported)["dbname"])
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    columns = "supplier_id, churn_evidence, health_score, tenure_days, clients_total"
    with copy_database(server_url, name) as other:
        run(other, moment, replay=True)
        taken = sql(
            other,
            f"SELECT {columns} FROM signal_snapshots WHERE snapshot_on = %s ORDER BY 1",
            moment,
        )
    backfill(imported, date(2026, 5, 1))
    found = sql(
        imported,
        f"SELECT {columns} FROM signal_snapshots WHERE snapshot_on = %s ORDER BY 1",
        moment,
    )
    assert len(found) > 50
    assert [row[0] for row in found] == [row[0] for row in taken]
    for here, there in zip(found, taken, strict=True):
        assert here[1:] == pytest.approx(there[1:], rel=1e-3, abs=1e-3)


def test_a_backfill_begins_at_the_day_that_was_asked_for(imported: str) -> None:
    assert backfill(imported, date(2026, 4, 2)).written == [date(2026, 5, 1), date(2026, 6, 1)]
    # Later, the months before that too.
    assert backfill(imported, date(2026, 4, 1)).written == [date(2026, 4, 1)]


def test_without_events_there_is_nothing_to_take(database: str) -> None:
    done = asyncio.run(backfill_snapshots(database, PLAYBOOK, None))
    assert not done.written and not done.known and not done.trainings


# ── reading ───────────────────────────────────────────────────────────────────────


def test_outcomes_are_joined_as_of_a_moment(learned: tuple[str, Any]) -> None:
    imported, _ = learned
    supplier = sql(imported, "SELECT min(supplier_id::text) FROM signal_snapshots")[0][0]
    sql(imported, "DELETE FROM cancellations RETURNING 1")
    for at in (datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 5, 20, tzinfo=UTC)):
        sql(imported, "INSERT INTO cancellations VALUES (%s, %s) RETURNING 1", supplier, at)
    for number, (at, status, replay) in enumerate(
        [
            (datetime(2026, 3, 1, tzinfo=UTC), "triggered", False),
            (datetime(2026, 4, 10, tzinfo=UTC), "triggered", False),
            (datetime(2026, 4, 5, tzinfo=UTC), "skipped", False),
            (datetime(2026, 4, 2, tzinfo=UTC), "triggered", True),
            (datetime(2026, 5, 2, tzinfo=UTC), "holdout", False),
        ]
    ):
        sql(
            imported,
            """
            INSERT INTO interventions
              (id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at,
               evaluated_on, facts, playbook_version, replay)
            VALUES
              (gen_random_uuid(), %s, %s, 'send', 'email', %s, '', 50, %s, %s, '{}', 1, %s)
            RETURNING 1
            """,
            supplier, f"t{number}", status, at, at.date(), replay,
        )  # fmt: skip
    reader = FrameReader(imported)
    try:
        frame = snapshot_queries.read_snapshots(
            reader, date(2026, 1, 1), datetime(2026, 6, 10, tzinfo=UTC)
        )
        early = snapshot_queries.read_snapshots(
            reader, date(2026, 1, 1), datetime(2026, 4, 5, tzinfo=UTC)
        )
        half = snapshot_queries.read_snapshots(reader, date(2026, 1, 1), NOW, 0.5)
    finally:
        reader.close()
    rows = {
        row["snapshot_on"]: row
        for row in frame.filter(frame["supplier_id"] == supplier).iter_rows(named=True)
    }
    april, may = rows[date(2026, 4, 1)], rows[date(2026, 5, 1)]
    assert rows[date(2026, 3, 1)]["cancelled_at"] == datetime(2026, 3, 20, tzinfo=UTC)
    assert april["cancelled_at"] == may["cancelled_at"] == datetime(2026, 5, 20, tzinfo=UTC)
    assert rows[date(2026, 6, 1)]["cancelled_at"] is None
    assert april["touched_before"] == datetime(2026, 3, 1, tzinfo=UTC)
    assert april["touched_after"] == datetime(2026, 4, 10, tzinfo=UTC), (
        "not the replay, nor the skip"
    )
    assert may["touched_before"] == datetime(2026, 4, 10, tzinfo=UTC) and may["holdout"]
    assert rows[date(2026, 3, 1)]["touched_after"] == datetime(2026, 3, 1, tzinfo=UTC)
    known = early.filter(early["supplier_id"] == supplier).iter_rows(named=True)
    april = next(row for row in known if row["snapshot_on"] == date(2026, 4, 1))
    assert april["cancelled_at"] is None and april["touched_after"] is None, "not known yet"
    suppliers = frame["supplier_id"].n_unique()
    assert suppliers * 0.2 < half["supplier_id"].n_unique() < suppliers * 0.8
    of_half = frame.filter(frame["supplier_id"].is_in(half["supplier_id"].unique().to_list()))
    assert of_half.height == half.height, "a supplier has all its months or none"
