"""Ingest with a key while a hostile client holds connections, relative to the undisturbed rate, in
alternating rounds."""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median

import psycopg

from benchmarks.ingest import BATCH, make_bodies, send_bodies
from benchmarks.place import ROOT, new_database
from benchmarks.population import load
from benchmarks.serving import serve
from benchmarks.table import Row

_ROUNDS, _PER_ROUND = 5, 60
_ATTACKS = (("64 slow bodies without a key", "bodies", 64), ("2,000 incomplete headers", "headers", 2_000), ("2,000 slow bodies", "bodies", 2_000), ("2,000 idle connections", "idle", 2_000))  # fmt: skip


@contextmanager
def hostile(port: int, kind: str, count: int) -> Iterator[None]:
    """Run a hostile client in another process."""
    command = [sys.executable, "-m", "benchmarks.hostile", str(port), kind, str(count)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == "ready\n", "the hostile client did not start"
        yield
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def measure(server: str) -> list[Row]:
    url = new_database(server, "attack")
    asyncio.run(load(url, 2_000, datetime.now(UTC) - timedelta(days=2)))
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        ids = [str(row[0]) for row in conn.execute("SELECT id FROM suppliers")]
    bodies = iter(make_bodies(ids, _PER_ROUND * (1 + _ROUNDS * 2 * len(_ATTACKS))))
    rows: list[Row] = []
    with serve(url) as (port, key, _), tempfile.TemporaryDirectory() as folder:

        def rate() -> float:
            started = time.perf_counter()
            sent = send_bodies(folder, port, key, [next(bodies) for _ in range(_PER_ROUND)])
            assert sent["statuses"] == {"200": _PER_ROUND}, sent
            return BATCH * _PER_ROUND / float(str(sent["seconds"] or time.perf_counter() - started))

        rate()
        for name, kind, count in _ATTACKS:
            shares, waits = [], []
            for _ in range(_ROUNDS):
                calm = rate()
                with hostile(port, kind, count), _probing(port) as probed:
                    shares.append(rate() / calm)
                waits += probed
            share, worst = median(shares), max(waits)
            rows.append(Row(f"ingest beside {name}", f"relative to undisturbed, median of {_ROUNDS}", f"{share:.2f} ×", "≥ 0.5 ×", share >= 0.5))  # fmt: skip
            rows.append(Row("  GET /livez meanwhile", f"{len(waits)} times, the slowest", f"{1000 * worst:.0f} ms", "< 1 s", worst < 1))  # fmt: skip
    return rows


@contextmanager
def _probing(port: int) -> Iterator[list[float]]:
    """Probe /livez continuously, each time over a new connection; the seconds of each probe."""
    seconds, over = list[float](), threading.Event()

    def probe() -> None:
        while not over.is_set():
            started = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30) as answer:
                assert answer.status == 200
            seconds.append(time.perf_counter() - started)
            over.wait(0.05)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()
