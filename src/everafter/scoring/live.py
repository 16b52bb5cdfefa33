"""The live score: the daily run's rules for the few suppliers that are being asked about now.

Requests that arrive while a score is under way are scored together in the next: a frame of one row
costs as much as a frame of a hundred, so under load the work per request falls instead of queueing
(docs/decisions/0005)."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import polars as pl
from litestar.datastructures import State

from everafter.core.db import FrameReader
from everafter.core.errors import DatabaseUnavailableError, NotFoundError
from everafter.core.ids import name_of
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_inputs_of

_FEATURES_KEPT_SECONDS = 5.0
_MOST_AT_ONCE = 500
# After a score its callers ask again almost at once. The next frame waits until as many have come
# as were answered, or for so long; else those that come a moment too late wait for two scores. p99
# at 16 connections: 38 ms without, 26 to 31 ms with it.
_GATHER_SECONDS = 0.008


class LiveScorer:
    """Scores suppliers on request, many requests in one frame. One per server process."""

    def __init__(self, url: str, playbook: Playbook) -> None:
        self._url, self._playbook = url, playbook
        self._reader: FrameReader | None = None
        self._features: tuple[float, dict[str, int]] = (0.0, {})
        self._waiting: dict[str, list[asyncio.Future[dict[str, Any] | None]]] = {}
        self._working: asyncio.Task[None] | None = None
        self._answered, self._enough = 0, asyncio.Event()

    async def score(self, supplier: UUID | str) -> dict[str, Any]:
        """All signals, points and contributions of one supplier, as of now.

        Raises:
            NotFoundError: no such supplier, or it has cancelled.
        """
        supplier_id = str(supplier)
        future: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(supplier_id, []).append(future)
        if self._count() >= self._answered:
            self._enough.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        row = await future
        if row is None:
            raise NotFoundError(f"supplier {name_of(supplier)} is not known, or has cancelled")
        return row

    async def _work(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:_MOST_AT_ONCE]
            batch = {supplier_id: self._waiting.pop(supplier_id) for supplier_id in ids}
            try:
                rows = await self._score(ids)
            except Exception as error:
                for future in (
                    future for futures in batch.values() for future in futures if not future.done()
                ):
                    future.set_exception(error)
                continue
            for supplier_id, futures in batch.items():
                for future in futures:
                    if not future.done():
                        future.set_result(rows.get(supplier_id))
            await self._gather(sum(len(futures) for futures in batch.values()))

    async def _gather(self, answered: int) -> None:
        """Wait for as many requests as were just answered, within `_GATHER_SECONDS`; none delays a
        request that comes alone."""
        self._answered = answered
        self._enough.clear()
        if self._count() < answered:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), _GATHER_SECONDS)

    def _count(self) -> int:
        return sum(len(futures) for futures in self._waiting.values())

    async def _score(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        was_open = self._reader is not None
        try:
            return await self._score_once(ids)
        except DatabaseUnavailableError:
            await self._drop_reader()
            if not was_open:
                raise
            return await self._score_once(ids)  # the server was restarted since the last request

    async def _score_once(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        if self._reader is None:
            self._reader = await asyncio.to_thread(FrameReader, self._url)
        as_of = datetime.now(UTC)
        return await asyncio.to_thread(self._score_blocking, self._reader, ids, as_of)

    def _score_blocking(
        self, reader: FrameReader, ids: list[str], as_of: datetime
    ) -> dict[str, dict[str, Any]]:
        return {
            row["supplier_id"]: row
            for row in self._score_frame(reader, ids, as_of).iter_rows(named=True)
        }

    def _score_frame(self, reader: FrameReader, ids: list[str], as_of: datetime) -> pl.DataFrame:
        read_at, features = self._features
        if monotonic() - read_at > _FEATURES_KEPT_SECONDS:
            features = dict(reader.read("SELECT feature, feature_id FROM features").iter_rows())
            self._features = (monotonic(), features)
        inputs = join_progress(
            read_inputs_of(reader, ids), read_progress_of(reader, self._playbook, as_of, ids)
        )
        return score_suppliers(inputs, self._playbook, as_of, features).with_columns(
            pl.lit(as_of).alias("as_of")
        )

    async def _drop_reader(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await asyncio.to_thread(reader.close)

    async def close(self) -> None:
        """End the work under way and the connection."""
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)
        await self._drop_reader()


async def score_live(state: State, supplier_ids: Sequence[UUID | str]) -> pl.DataFrame:
    """The scored rows of these suppliers, as of now: everything `daily.rules.score` gives.

    Raises:
        NotFoundError: one of them is not known, or has cancelled.
    """
    live: LiveScorer = state.live
    rows = await asyncio.gather(*(live.score(supplier_id) for supplier_id in supplier_ids))
    return pl.DataFrame(rows, infer_schema_length=None)
