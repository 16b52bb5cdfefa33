"""The coach's JSON at a steady rate of page views, independent of the server's load.

`python -m benchmarks.coach PORT RATE FILE` sends the requests of FILE at that rate and prints
latencies as JSON. Latency counts from when a request was due, so waiting for a slow one before it
counts too."""

import asyncio
import json
import os
import random
import struct
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from uuid import UUID

import psycopg
import uvloop

from benchmarks.client import raw_request, write_requests
from benchmarks.place import in_subprocess, new_database
from benchmarks.population import load
from benchmarks.serving import serve
from benchmarks.table import Row
from everafter.accounts.keys import create_key
from everafter.coach.tokens import mint_token
from everafter.core.db import connection
from everafter.core.settings import load_settings
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook

RATE, SECONDS, COLD_SECONDS, SUPPLIERS = 300, 30, 20, 1_000
PAGES = ("/dashboard", "/forms", "/clients", "/calendar", "/journeys")
_SECRET = "a-secret-for-benchmarks-and-nothing-else"


def measure(server: str) -> list[Row]:
    url = new_database(server, "coach")
    asyncio.run(load(url, SUPPLIERS, datetime.now(UTC) - timedelta(hours=1)))
    asyncio.run(
        run_day(url, load_playbook(load_settings()))
    )  # as each morning: scores, emails, milestones
    tokens = asyncio.run(_make_tokens(url))
    choose = random.Random(3)

    def make(count: int) -> list[bytes]:
        return [
            raw_request(
                "GET", f"/api/coach?page={choose.choice(PAGES)}&locale=de-AT", choose.choice(tokens)
            )
            for _ in range(count)
        ]

    os.environ["EVERAFTER_SECRET"] = _SECRET
    with serve(url) as (port, *_), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests"

        def send(seconds: int) -> dict[str, float]:
            write_requests(path, make(RATE * seconds))
            reported = in_subprocess("benchmarks.coach", str(port), str(RATE), str(path))
            assert reported["statuses"] == {"200": RATE * seconds}, reported
            return reported  # type: ignore[return-value]

        cold, steady = send(COLD_SECONDS), send(SECONDS)
    on = f"{RATE}/s for {SECONDS} s, {SUPPLIERS:,} suppliers, {len(PAGES)} pages"
    return [
        Row("coach JSON, p99", on, f"{steady['p99_ms']:.1f} ms", "< 30 ms", steady["p99_ms"] < 30),
        Row(
            "  p50 and longest",
            "the same",
            f"{steady['p50_ms']:.1f} and {steady['longest_ms']:.0f} ms",
            "–",
            True,
        ),
        Row(
            "  from a cold start",
            f"first {COLD_SECONDS} s without cached scores: p99",
            f"{cold['p99_ms']:.0f} ms",
            "–",
            True,
        ),
    ]


async def _make_tokens(url: str) -> list[str]:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        ids: list[UUID] = [row[0] for row in conn.execute("SELECT id FROM suppliers")]
    async with connection(url) as conn:
        key = await create_key(conn, "coach", secret=_SECRET)
    now = datetime.now(UTC)
    return [
        mint_token(_SECRET, key, supplier_id, now, minutes=15, locale=None) for supplier_id in ids
    ]


# ── the client, in another process ───────────────────────────────────────────────────────────────────────────────


_KEPT_SECONDS = 3  # below the server's keep-alive


async def _send_all(port: int, rate: float, requests: list[bytes]) -> dict[str, object]:
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []
    latencies, statuses = list[float](), Counter[str]()
    began = perf_counter() + 0.1

    async def send(number: int, request: bytes) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        while idle and perf_counter() - idle[-1][2] > _KEPT_SECONDS:
            idle.pop()[1].close()
        reader, writer = (
            idle.pop()[:2] if idle else await asyncio.open_connection("127.0.0.1", port)
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        latencies.append(perf_counter() - due)
        statuses[head[9:12].decode()] += 1
        idle.append((reader, writer, perf_counter()))

    await asyncio.gather(*(send(number, request) for number, request in enumerate(requests)))
    for _, writer, _ in idle:
        writer.close()
    latencies.sort()
    return {
        "statuses": dict(statuses),
        "connections": len(idle),
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "longest_ms": 1000 * latencies[-1],
    }


def main() -> None:
    data, requests, place = Path(sys.argv[3]).read_bytes(), list[bytes](), 0
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        requests.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    print(json.dumps(uvloop.run(_send_all(int(sys.argv[1]), float(sys.argv[2]), requests))))


if __name__ == "__main__":
    main()
