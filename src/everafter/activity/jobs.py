"""Background jobs of the web server: the fold, and the slots of the playbook's features."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from everafter.activity.feature_queries import name_features
from everafter.core.db import DATABASE_ERRORS, Connection, Pool
from everafter.core.errors import first_line
from everafter.core.probes import Counters

log = logging.getLogger("everafter.fold")

RETRY_SECONDS = 5.0
# Under a steady stream, one fold takes the events of this time (measured: five folds of 100 events
# took 0.34 s, one of 500 took 0.11 s).
GATHER_SECONDS = 0.1
# How often to look for events that another process stored, such as a killed import.
LOOK_SECONDS = 5.0
MAX_BACKOFF = 10.0


class FoldLoop:
    """Fold pending events in the background: at once after `trigger()`, and every few seconds."""

    def __init__(
        self, pool: Pool, counters: Counters, fold: Callable[[Connection], Awaitable[int]]
    ) -> None:
        self._pool = pool
        self._fold = fold
        self._counters = counters
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.folded = 0
        self.errors = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="fold")

    def trigger(self) -> None:
        """Request a fold after a commit. Cheap; any number of calls cause one fold."""
        self._wanted.set()

    async def stop(self, seconds: float = 10.0) -> None:
        """Fold what is pending, for at most so long; the rest is folded after the next start."""
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
                    log.warning("folding waits for the database: %s", first_line(error))
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
                folded = await self._fold(conn)
            if not folded:
                return
            self.folded += folded
            self._counters.add("everafter_folded_events_total", folded)

    async def _pause(self, started: float, failures: int) -> None:
        if failures:
            pause = min(MAX_BACKOFF, 0.2 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311 jitter, not a secret
            self._wanted.set()
        else:
            pause = GATHER_SECONDS - (time.monotonic() - started)
        if pause > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)


async def keep_features_named(
    pool: Pool, features: Collection[str], first_try: asyncio.Event
) -> None:
    """Give the playbook's features their slots; retry until the database is available.

    Args:
        first_try: set after the first attempt, so that a server can wait for it.
    """
    while True:
        try:
            async with pool.connection() as conn:
                await name_features(conn, features)
            return
        except Exception:
            log.exception(
                "assigning slots to the playbook's features failed; retrying in %.0f s",
                RETRY_SECONDS,
            )
        finally:
            first_try.set()
        await asyncio.sleep(RETRY_SECONDS)
