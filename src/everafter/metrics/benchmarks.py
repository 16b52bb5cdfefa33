"""Compute benchmarks, and keep the peers' scores of the last run for the supplier page."""

import asyncio
import time
from collections.abc import Sequence
from datetime import date, datetime

from everafter.core.db import Connection
from everafter.metrics import benchmark_queries
from everafter.metrics.benchmark_model import (
    MIN_SUPPLIERS,
    BenchmarkMonth,
    BenchmarksAnswer,
    PeerScores,
)
from everafter.metrics.benchmark_rules import (
    Run,
    choose_login_days,
    choose_runs,
    first_day,
    measure_month,
)
from everafter.metrics.queries import find_last_run, give_room, list_runs

_KEPT_SECONDS = 600


async def list_months(conn: Connection, now: datetime) -> list[Run]:
    """The last run of each month that has one, the latest first."""
    return choose_runs(await list_runs(conn, first_day(now.date()), now.date()))


async def measure_months(
    conn: Connection, runs: Sequence[Run], now: datetime
) -> list[BenchmarkMonth]:
    """The benchmarks of these runs, in their order."""
    if not runs:
        return []
    await give_room(conn)
    days = [day for day, _ in runs]
    scores = await benchmark_queries.read_scores(conn, runs)
    logins = await benchmark_queries.read_logins(conn, choose_login_days(days, now.date()))
    return await asyncio.to_thread(
        lambda: [measure_month(run, scores, logins, now) for run in runs]
    )


async def answer_benchmarks(
    conn: Connection, now: datetime, month: str | None = None
) -> BenchmarksAnswer:
    """The answer of the API and the command line: one month, or all."""
    runs = [
        run for run in await list_months(conn, now) if month is None or f"{run[0]:%Y-%m}" == month
    ]
    return BenchmarksAnswer(MIN_SUPPLIERS, await measure_months(conn, runs, now))


class PeerScoresCache:
    """The scores of the last run by group; read again when there is a later run, and after ten
    minutes, since a run of the same day may be repeated."""

    def __init__(self) -> None:
        self._peers: PeerScores | None = None
        self._read_at = 0.0

    async def get(self, conn: Connection) -> PeerScores | None:
        """Null: there was no run."""
        day: date | None = await find_last_run(conn)
        if day is None:
            return None
        late = time.monotonic() - self._read_at > _KEPT_SECONDS
        if self._peers is None or self._peers.day != day or late:
            self._peers = PeerScores(day, await benchmark_queries.read_day_scores(conn, day))
            self._read_at = time.monotonic()
        return self._peers
