"""Ingest over HTTP: batches of 100, durable and folded, compared with the database's own rate for
such batches."""

import asyncio
import json
import random
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, sleep

import psycopg

from benchmarks.client import raw_request, write_requests
from benchmarks.place import in_subprocess, new_database
from benchmarks.population import load
from benchmarks.serving import serve
from benchmarks.table import Row

BATCH, BATCHES, SUPPLIERS, CONNECTIONS = 100, 800, 5_000, 8


def measure(server: str) -> list[Row]:
    url = new_database(server, "ingest")
    asyncio.run(load(url, SUPPLIERS, datetime.now(UTC) - timedelta(days=2)))
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        ids = [str(row[0]) for row in conn.execute("SELECT id FROM suppliers")]
    bodies = make_bodies(ids, BATCHES)
    with serve(url) as (port, key, _), tempfile.TemporaryDirectory() as folder:
        send_bodies(folder, port, key, bodies[:20])
        _wait_folded(url)
        started = perf_counter()
        sent = send_bodies(folder, port, key, bodies[20:])
        _wait_folded(url)
        seconds = perf_counter() - started
    events = BATCH * (BATCHES - 20)
    assert sent["statuses"] == {"200": BATCHES - 20}, sent
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        stored = conn.execute("SELECT count(*) FROM events").fetchone()
    assert stored == (BATCH * BATCHES,), stored
    own = _own_rate(url, ids)
    rate = events / seconds
    return [
        Row("ingest over HTTP", f"batches of {BATCH}, durable and folded, client included", f"{rate:,.0f}/s", "≥ 5,000/s", rate >= 5_000),
        Row("  to the database alone", f"the same batches by INSERT and commit: {own:,.0f}/s", f"{rate / own:.2f} ×", "–", True),
        Row("  latency", f"{CONNECTIONS} connections, p99", f"{sent['p99_ms']:.0f} ms", "–", True),
    ]  # fmt: skip


def make_bodies(ids: list[str], batches: int) -> list[bytes]:
    """Make batches of calls for these suppliers."""
    choose, now = random.Random(5), datetime.now(UTC)
    kinds = [("login", {}), ("feature_used", {"feature": "forms"}), ("client_active", {"client_id": "c1"}),
             ("form_sent", {"client_id": "c2", "form_id": "f"}), ("client_added", {"client_id": "c3", "wedding_date": "2027-06-12"})]  # fmt: skip
    bodies: list[bytes] = []
    for _ in range(batches):
        batch: list[dict[str, object]] = []
        for _ in range(BATCH):
            name, properties = choose.choice(kinds)
            at = now - timedelta(seconds=choose.randrange(86_400))
            properties = {
                k: f"{v}{choose.randrange(40)}" if k.endswith("_id") else v
                for k, v in properties.items()
            }
            batch.append({"type": "track", "messageId": str(uuid.UUID(int=choose.getrandbits(128))), "userId": choose.choice(ids),
                          "event": name, "properties": properties, "timestamp": at.isoformat()})  # fmt: skip
        bodies.append(json.dumps({"batch": batch, "sentAt": now.isoformat()}).encode())
    return bodies


def send_bodies(folder: str, port: int, key: str, bodies: list[bytes]) -> dict[str, object]:
    """Send bodies over a few connections; what `benchmarks.client` measured."""
    path = Path(folder) / "requests"
    write_requests(path, [raw_request("POST", "/v1/batch", key, body) for body in bodies])
    return in_subprocess("benchmarks.client", str(port), str(CONNECTIONS), str(path))


def _wait_folded(url: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        for _ in range(6_000):
            if conn.execute("SELECT NOT EXISTS (SELECT FROM events_pending)").fetchone() == (True,):
                return
            sleep(0.01)
    raise RuntimeError("events are still pending after a minute")


def _own_rate(url: str, ids: list[str]) -> float:
    """Events per second of INSERT … unnest into a keyed table with a commit per batch, on one
    connection."""
    choose, batches = random.Random(6), 200
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        conn.execute("CREATE TABLE plain (LIKE events, PRIMARY KEY (supplier_id, message_id))")
        conn.commit()
        rows = [([choose.choice(ids) for _ in range(BATCH)], [str(uuid.UUID(int=choose.getrandbits(128))) for _ in range(BATCH)]) for _ in range(batches)]  # fmt: skip
        started = perf_counter()
        for suppliers, messages in rows:
            conn.execute(
                """
                INSERT INTO plain (
                  supplier_id, message_id, type, occurred_at, received_at, properties
                )
                SELECT supplier_id, message_id, 'login', now(), now(), NULL
                FROM unnest(%s::uuid[], %s::text[]) AS new (supplier_id, message_id)
                ON CONFLICT DO NOTHING
                """,
                [suppliers, messages],
            )
            conn.commit()
        return BATCH * batches / (perf_counter() - started)
