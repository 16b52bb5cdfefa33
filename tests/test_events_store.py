"""Events are stored once, also by concurrent writers; the fold and housekeeping loops."""

import asyncio
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest

from everafter.activity.jobs import FoldLoop
from everafter.core.db import Connection, connection, make_pool
from everafter.core.probes import Counters
from everafter.events import model
from everafter.events.ingest import store_waiting
from everafter.events.jobs import run_housekeeping
from everafter.events.queries import ensure_months, store_events, store_events_in_bulk
from everafter.folding import fold_events
from helpers_server import Server

NOW = datetime.now(UTC).replace(microsecond=123456)
SUPPLIERS = [str(uuid.UUID(int=number)) for number in range(1, 6)]


def frame(count: int, seed: int = 0) -> pl.DataFrame:
    rng = random.Random(seed)
    rows = [
        (rng.choice(SUPPLIERS), f"m{number}", "login", NOW - timedelta(minutes=number), NOW, None)
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=model.STORED_SCHEMA, orient="row")


def count(database: str, table: str) -> int:
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # pyright: ignore
        assert row
        return row[0]


@pytest.mark.parametrize("store", [store_events, store_events_in_bulk])
def test_events_are_stored_once_with_unchanged_values(
    database: str, store: Callable[..., Any]
) -> None:
    odd = pl.DataFrame(
        [
            (SUPPLIERS[0], 'q"uo,te\\', "a type", NOW, NOW, '{"a":"x,\\"y\\n","b":[1,2.5,null]}'),
            (SUPPLIERS[0], "\\N", "ünïcode 😀", NOW, NOW, None),
            (SUPPLIERS[0], "only remembered", None, NOW, NOW, None),
            (SUPPLIERS[1], 'q"uo,te\\', "other supplier", NOW, NOW, None),
            (SUPPLIERS[0], "\\N", "twice in the batch", NOW, NOW, None),
        ],
        schema=model.STORED_SCHEMA,
        orient="row",
    )

    async def run() -> None:
        for expected in (model.StoredCounts(4, 1), model.StoredCounts(0, 5)):
            async with connection(database) as conn:
                assert await store(conn, odd) == expected

    asyncio.run(run())
    with psycopg.connect(database, options="-c search_path=everafter -c timezone=UTC") as conn:
        found = conn.execute(
            "SELECT supplier_id::text, message_id, type, occurred_at, properties FROM events ORDER BY type"
        ).fetchall()
        pending = conn.execute(
            "SELECT type, occurred_at, received_at FROM events_pending ORDER BY seq"
        ).fetchall()
    assert found == [
        (SUPPLIERS[0], 'q"uo,te\\', "a type", NOW, {"a": 'x,"y\n', "b": [1, 2.5, None]}),
        (SUPPLIERS[1], 'q"uo,te\\', "other supplier", NOW, None),
        (SUPPLIERS[0], "\\N", "ünïcode 😀", NOW, None),
    ]
    assert pending == [(kind, NOW, NOW) for kind in ("a type", "ünïcode 😀", "other supplier")]


def test_overlapping_concurrent_batches_store_each_event_once(database: str) -> None:
    """Eight writers store shuffled, overlapping parts of 400 events, by arrays and by COPY: each event once, without deadlock."""
    whole = frame(400)

    async def write(seed: int) -> int:
        part = whole.sample(fraction=0.7, shuffle=True, seed=seed)
        async with connection(database) as conn:
            stored = await (store_events if seed % 2 else store_events_in_bulk)(conn, part)
            await asyncio.sleep(0.02)
            return stored.new

    async def run() -> list[int]:
        return await asyncio.gather(*(write(seed) for seed in range(8)))

    new = asyncio.run(run())
    assert (
        sum(new)
        == count(database, "events")
        == count(database, "event_ids")
        == count(database, "events_pending")
    )
    assert sum(1 for part in new if part) > 1, "they did overlap"


def test_a_failed_batch_stores_nothing(database: str) -> None:
    async def run() -> None:
        with pytest.raises(RuntimeError):
            async with connection(database) as conn:
                await store_events(conn, frame(10))
                raise RuntimeError
        async with connection(database) as conn:
            assert (await store_events(conn, frame(10))).new == 10

    asyncio.run(run())


def test_concurrent_processes_create_each_partition_once(database: str) -> None:
    moments = [datetime(2026, month, 15, tzinfo=UTC) for month in (10, 11, 12)]

    async def ensure() -> None:
        async with connection(database, autocommit=True) as conn:
            await ensure_months(conn, moments)

    async def run() -> None:
        await asyncio.gather(*(ensure() for _ in range(4)))

    asyncio.run(run())
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^events_20' AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in found] == ["events_2026_10", "events_2026_11", "events_2026_12"]


def test_partitions_can_be_created_while_events_arrive(database: str) -> None:
    months = [datetime(2026, month, 10, tzinfo=UTC) for month in range(1, 13)]
    rows = [
        (SUPPLIERS[0], f"{month}-{number}", "login", at, NOW, None)
        for month, at in enumerate(months)
        for number in range(40)
    ]
    whole = pl.DataFrame(rows, schema=model.STORED_SCHEMA, orient="row")

    async def write(seed: int) -> None:
        for start in range(0, whole.height, 60):
            async with connection(database) as conn:
                await store_events(
                    conn, whole.sample(fraction=1, shuffle=True, seed=seed)[start : start + 60]
                )

    async def ensure() -> None:
        async with connection(database, autocommit=True) as conn:
            for month in months:
                await ensure_months(conn, [month])

    async def run() -> None:
        await asyncio.gather(*(write(seed) for seed in range(4)), ensure(), ensure())

    asyncio.run(run())
    assert count(database, "events") == whole.height


@pytest.mark.parametrize("store", [store_events, store_events_in_bulk])
def test_an_event_of_a_month_being_created_is_stored_in_its_partition(
    database: str, store: Any
) -> None:
    """The insert into events_other waits, is refused once the partition exists, and succeeds at the second attempt, once."""
    late = frame(10).with_columns(
        pl.lit(datetime(2026, 3, 10, tzinfo=UTC)).cast(model.TIME).alias("occurred_at")
    )

    async def wait_for_lock(conn: Connection) -> None:
        async with asyncio.timeout(30):
            while True:
                cursor = await conn.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'events_other'::regclass"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
                if await cursor.fetchone():
                    return
                await asyncio.sleep(0.02)

    async def run() -> None:
        async with (
            connection(database, autocommit=True) as looking,
            connection(database) as making,
            connection(database) as writing,
        ):
            await writing.execute(
                "INSERT INTO suppressions (email, topic, reason) VALUES ('a@example.org', '*', 'earlier')"
            )
            await making.execute("SELECT ensure_event_month('2026-03-01')")
            storing = asyncio.create_task(store(writing, late))
            await wait_for_lock(looking)
            await making.commit()
            assert (await storing).new == 10

    asyncio.run(run())
    assert (
        count(database, "events_2026_03")
        == count(database, "event_ids")
        == count(database, "events_pending")
        == 10
    )
    assert count(database, "events_other") == 0
    assert count(database, "suppressions") == 1, "what the transaction did before is"


# ── the loops ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_fold_is_retried(database: str, caplog: pytest.LogCaptureFixture) -> None:
    calls = list[int]()

    async def flaky(conn: Connection) -> int:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("no luck")
        return await fold_events(conn)

    async def run() -> None:
        pool = make_pool(database, size=2)
        await pool.open()
        async with pool.connection() as conn:
            await store_events(conn, frame(30))
        loop = FoldLoop(pool, Counters(), flaky)
        loop.start()
        loop.trigger()
        async with asyncio.timeout(10):
            while loop.folded < 30:  # noqa: ASYNC110 the loop offers no event, and needs none
                await asyncio.sleep(0.02)
        assert loop.errors == 2
        await loop.stop()
        await pool.close()

    asyncio.run(run())
    assert count(database, "events_pending") == 0
    assert "folding failed" in caplog.text


def test_pending_events_are_folded_at_shutdown(database: str) -> None:
    async def run() -> None:
        pool = make_pool(database, size=2)
        await pool.open()
        loop = FoldLoop(pool, Counters(), fold_events)
        loop.start()
        async with pool.connection() as conn:
            await store_events(conn, frame(30))
        await loop.stop()
        await pool.close()

    asyncio.run(run())
    assert count(database, "events_pending") == 0
    assert count(database, "supplier_activity") == 5


def test_housekeeping_stores_waiting_events_and_deletes_old_rejects(database: str) -> None:
    payload = (
        f'{{"supplier_id": "{SUPPLIERS[0]}", "message_id": "late", "type": "login", "occurred_at": "2026-01-01T00:00:00Z",'
        ' "received_at": "2026-01-01T00:00:00Z", "properties": {"a": 1}}'
    )
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute("INSERT INTO suppliers (id) VALUES (%s)", [SUPPLIERS[0]])
        for supplier, code, days in (
            (SUPPLIERS[0], "unknown_supplier", 0),
            (SUPPLIERS[1], "unknown_supplier", 0),
            (None, "future", 91),
        ):
            conn.execute(
                "INSERT INTO rejects (source, code, reason, supplier_id, payload, received_at)"
                " VALUES ('http', %s, '', %s, %s, now() - make_interval(days => %s))",
                [code, supplier, payload, days],
            )

    async def run() -> None:
        async with connection(database, autocommit=True) as conn:
            assert await run_housekeeping(conn, datetime(2026, 11, 30, tzinfo=UTC)) == 1
            assert await run_housekeeping(conn, datetime(2026, 11, 30, tzinfo=UTC)) == 0
        async with connection(database) as conn:
            assert await store_waiting(conn, SUPPLIERS) == 0

    asyncio.run(run())
    assert (count(database, "events"), count(database, "rejects")) == (1, 1)
    with psycopg.connect(database) as conn:
        made = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relname IN ('events_2026_11', 'events_2026_12', 'events_2027_01')"
        ).fetchone()
    assert made == (3,)


# ── when things are down ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unavailable_database_is_a_503(server: Server) -> None:
    """Connections are cut and new ones refused: /livez answers 200, /readyz and ingest 503; afterwards everything works again."""
    key = server.key("ingest")
    name = psycopg.conninfo.conninfo_to_dict(server.database)["dbname"]
    admin = psycopg.conninfo.make_conninfo(server.database, dbname="postgres")
    supplier = SUPPLIERS[0]
    server.sql("INSERT INTO suppliers (id) VALUES (%s)", supplier)
    body = {
        "batch": [{"type": "track", "event": "login", "userId": supplier, "messageId": "one"}],
        "writeKey": key,
    }
    with server.client() as client, psycopg.connect(admin, autocommit=True) as conn:
        assert client.post("/v1/batch", json={**body, "batch": []}).status_code == 200
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # pyright: ignore
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        assert client.get("/livez").status_code == 200
        ready, refused = client.get("/readyz"), client.post("/v1/batch", json=body)
        assert (ready.status_code, refused.status_code) == (503, 503)
        assert "retry-after" in refused.headers
        assert refused.elapsed < timedelta(seconds=12)
        assert ready.elapsed < timedelta(seconds=5)
        assert "everafter_up 0" in client.get("/metrics").text
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # pyright: ignore
        deadline = datetime.now(UTC) + timedelta(seconds=30)
        while (answer := client.post("/v1/batch", json=body)).status_code != 200:
            assert datetime.now(UTC) < deadline
            assert answer.status_code == 503
        assert answer.json()["accepted"] == 1
    server.wait_folded(20)
    assert server.sql("SELECT events_total FROM supplier_activity") == [(1,)]


def test_an_internal_error_reveals_no_details(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from everafter.events import api

    async def broken(*_: Any, **__: Any) -> None:
        raise ValueError("secret detail in /some/path")

    monkeypatch.setattr(api, "store_batch", broken)
    monkeypatch.setattr(api.queries, "list_rejects", broken)
    with server.client("read") as reader, server.client("ingest") as sender:
        for answer in (reader.get("/api/rejects"), sender.post("/v1/batch", json={"batch": []})):
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert "secret" not in answer.text
            assert "Traceback" not in answer.text
            assert answer.json()["code"] == "internal"
