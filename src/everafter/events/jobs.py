"""What runs beside the web server: folding what was ingested, at once; and what events need from
time to time."""

import asyncio
import logging
import random
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from everafter.activity.queries import fold_pending
from everafter.core.db import DATABASE_ERRORS, Connection, Pool
from everafter.core.idempotency import delete_idempotency_keys
from everafter.core.probes import Counters
from everafter.events.ingest import take_in_waiting
from everafter.events.queries import (
    delete_old_rejects,
    ensure_months,
    forget_rare_types,
    list_waiting_suppliers,
)

log = logging.getLogger("everafter.fold")

# Under a steady stream one fold takes what came within this time (measured: five folds of 100
# events 0.34 s, one of 500 0.11 s).
GATHER_SECONDS = 0.1
# Events stored by another process (an import that was killed, a second server) are picked up
# without a trigger.
LOOK_SECONDS = 5.0
BACKOFF_MOST = 10.0


class FoldLoop:
    """Folds pending events in the background: at once after `trigger()`, and every few seconds
    anyway."""

    def __init__(self, pool: Pool, counters: Counters) -> None:
        self._pool = pool
        self._counters = counters
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.folded = 0
        self.errors = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="fold")

    def trigger(self) -> None:
        """Say that something was committed. Cheap, and any number of calls make one fold."""
        self._wanted.set()

    async def stop(self, seconds: float = 10.0) -> None:
        """Fold what is left, for at most so long; the rest stays pending in the database and is
        folded at the next start."""
        self._stopping.set()
        self._wanted.set()
        if self._task is None:
            return
        with suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self._task, seconds)

    async def _run(self) -> None:
        failures = 0
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOK_SECONDS)
            last_round = self._stopping.is_set()
            self._wanted.clear()
            started = time.monotonic()
            try:
                await self._drain()
                failures = 0
            except Exception as error:
                self.errors += 1
                self._counters.add("everafter_fold_errors_total")
                failures += 1
                if isinstance(error, DATABASE_ERRORS):
                    log.warning("folding waits for the database: %s", _first_line(error))
                else:
                    log.exception(
                        "folding failed (%s in a row); the events wait in events_pending", failures
                    )
            if last_round:
                return
            await self._pause(started, failures)

    async def _drain(self) -> None:
        while True:
            async with self._pool.connection() as conn:
                folded = await fold_pending(conn)
            if not folded:
                return
            self.folded += folded
            self._counters.add("everafter_folded_events_total", folded)

    async def _pause(self, started: float, failures: int) -> None:
        if failures:
            pause = min(BACKOFF_MOST, 0.2 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311 jitter, not a secret
            self._wanted.set()
        else:
            pause = GATHER_SECONDS - (time.monotonic() - started)
        if pause > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


# ── from time to time ─────────────────────────────────────────────────────────────────────────────────────────────────

HOUSEKEEPING_SECONDS = 60.0
IDEMPOTENCY_HOURS = 7 * 24
MONTHS_AHEAD = 2
REJECTS_DAYS = 90
MOST_TYPES = 5_000


async def prepare_months(pool: Pool) -> None:
    """Make the partitions of this month and the next before the first event comes; without a
    database `housekeep` does it later.

    A partition that is attached while a row is on its way to events_other makes that insert be
    tried again."""
    try:
        async with pool.connection() as conn:
            await conn.set_autocommit(True)
            try:
                now = datetime.now(UTC)
                await ensure_months(
                    conn, [now + timedelta(days=31 * ahead) for ahead in range(MONTHS_AHEAD + 1)]
                )
            finally:
                await conn.set_autocommit(False)
    except Exception:
        log.exception(
            "the months of events could not be prepared; it is tried again in %.0f s",
            HOUSEKEEPING_SECONDS,
        )


async def housekeep(pool: Pool, fold: FoldLoop) -> None:
    """Until cancelled, once a minute: partitions for the months to come, events whose supplier is
    known by now, what is old.

    Events of a supplier who is identified over HTTP or imported come in with that; this is for
    suppliers the platform writes into the table by itself, and for an event and its supplier's
    identify that crossed each other."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                try:
                    if await run_housekeeping(conn, datetime.now(UTC)):
                        fold.trigger()
                finally:
                    await conn.set_autocommit(False)
        except DATABASE_ERRORS as error:
            log.warning("tending the events waits for the database: %s", _first_line(error))
        except Exception:
            log.exception(
                "tending the events failed; it is tried again in %.0f s", HOUSEKEEPING_SECONDS
            )
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def run_housekeeping(conn: Connection, now: datetime) -> int:
    """One round of `housekeep`; `conn` in autocommit. Returns how many waiting events were taken
    in."""
    await ensure_months(
        conn, [now + timedelta(days=31 * ahead) for ahead in range(MONTHS_AHEAD + 1)]
    )
    taken = 0
    waiting = sorted(await list_waiting_suppliers(conn))
    for start in range(0, len(waiting), 1000):
        async with conn.transaction():
            taken += await take_in_waiting(conn, waiting[start : start + 1000])
    await delete_old_rejects(conn, REJECTS_DAYS)
    await forget_rare_types(conn, MOST_TYPES)
    await delete_idempotency_keys(conn, now - timedelta(hours=IDEMPOTENCY_HOURS))
    return taken
