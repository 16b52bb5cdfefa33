"""The loop beside the web server that folds what was ingested, at once and never in two tasks."""

import asyncio
import logging
import random
import time
from contextlib import suppress

from everafter.core.db import Pool
from everafter.pulse.queries import fold_pending

log = logging.getLogger("everafter.fold")

# Under a steady stream one fold takes what came within this time: ten folds a second cost a third of fifty small ones.
GATHER_SECONDS = 0.1
# Events stored by another process (an import that was killed, a second server) are picked up without a trigger.
LOOK_SECONDS = 5.0
BACKOFF_MOST = 10.0


class FoldLoop:
    """Folds pending events in the background: at once after `trigger()`, and every few seconds anyway."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
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
        """Fold what is left, for at most so long; the rest stays pending in the database and is folded at the next start."""
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
            except Exception:
                self.errors += 1
                failures += 1
                log.exception("folding failed (%s in a row); the events wait in events_pending", failures)
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

    async def _pause(self, started: float, failures: int) -> None:
        if failures:
            pause = min(BACKOFF_MOST, 0.2 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311 jitter, not a secret
            self._wanted.set()
        else:
            pause = GATHER_SECONDS - (time.monotonic() - started)
        if pause > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
