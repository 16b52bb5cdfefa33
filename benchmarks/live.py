"""Live scores under load, compared with an empty answer of the same server."""

import asyncio
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.client import raw_request, write_requests
from benchmarks.place import in_subprocess, new_database
from benchmarks.population import load
from benchmarks.serving import serve
from benchmarks.table import Row

REQUESTS, SUPPLIERS, CONNECTIONS = 6_000, 20_000, 12


def measure(server: str) -> list[Row]:
    url = new_database(server, "live")
    asyncio.run(load(url, SUPPLIERS, datetime.now(UTC) - timedelta(hours=1)))
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        ids = [str(row[0]) for row in conn.execute("SELECT id FROM suppliers")]
    choose = random.Random(2)
    with serve(url) as (port, _, key), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests"

        def send(paths: list[str]) -> dict[str, object]:
            write_requests(path, [raw_request("GET", name, key) for name in paths])
            return in_subprocess("benchmarks.client", str(port), str(CONNECTIONS), str(path))

        scores = [f"/api/health/score/{choose.choice(ids)}" for _ in range(REQUESTS)]
        send(scores[:500])
        scored = send(scores)
        empty = send(["/livez"] * REQUESTS)
    assert scored["statuses"] == {"200": REQUESTS}, scored
    rate, bare = REQUESTS / scored["seconds"], REQUESTS / empty["seconds"]  # type: ignore[operator]
    return [
        Row(
            "live score",
            f"{CONNECTIONS} connections, {SUPPLIERS:,} suppliers",
            f"{rate:,.0f}/s",
            "≥ 500/s",
            rate >= 500,
        ),
        Row(
            "  p99",
            f"p50 {scored['p50_ms']:.1f} ms",
            f"{scored['p99_ms']:.1f} ms",
            "< 30 ms",
            scored["p99_ms"] < 30,
        ),  # type: ignore[operator]
        Row("  to an empty answer", f"/livez: {bare:,.0f}/s", f"{rate / bare:.2f} ×", "–", True),
    ]
