"""Scores as of now, for the few suppliers that are asked about: the daily run's rules on request.

Requests that arrive while a score is computed are scored together in the next frame
(`core.batching`, docs/decisions/0005)."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from time import monotonic
from typing import TypeVar
from uuid import UUID

import polars as pl
from litestar.datastructures import State

from everafter.core.batching import Batcher
from everafter.core.db import FrameReader
from everafter.core.errors import DatabaseUnavailableError, NotFoundError
from everafter.core.ids import name_of
from everafter.feeds.queries import read_feeds
from everafter.learning.queries import read_models
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.scoring.platform import UNKNOWN_PLATFORM, PlatformState
from everafter.scoring.platform_queries import read_platform
from everafter.scoring.rules import score_suppliers
from everafter.seasonality.queries import read_last_day
from everafter.signals.queries import read_inputs_of
from everafter.signals.row_model import LiveRow, live_rows

_KEPT_SECONDS = 5.0
"""How long features and the state of the platform are kept."""
BATCH_SIZE = 500
_QUEUE_SIZE = 2 * BATCH_SIZE
GATHER_SECONDS = 0.008
"""p99 at 16 connections: 38 ms without gathering, 26 to 31 ms with it."""

_T = TypeVar("_T")


class FrameScorer:
    """Reads and scores suppliers in a thread, over one connection that it opens on first use and
    opens again after the database was restarted. One call at a time."""

    def __init__(self, url: str, playbook: Playbook) -> None:
        self._url, self._playbook = url, playbook
        self._reader: FrameReader | None = None
        self._features: tuple[float, dict[str, int]] = (0.0, {})
        self._platform: tuple[float, date | None, PlatformState] = (0.0, None, UNKNOWN_PLATFORM)

    async def score(self, ids: list[str], then: Callable[[pl.DataFrame, datetime], _T]) -> _T:
        """Score these suppliers as of now, and return what `then` makes of the frame and the
        moment; it runs in the same thread.

        The frame has a row for each supplier that exists and has not cancelled: all signals,
        points and contributions, and `as_of`.
        """
        was_open = self._reader is not None
        try:
            return await self._score_once(ids, then)
        except DatabaseUnavailableError:
            await self.close()
            if not was_open:
                raise
            return await self._score_once(ids, then)  # the server was restarted since the last call

    async def close(self) -> None:
        """Close the connection."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await asyncio.to_thread(reader.close)

    async def _score_once(self, ids: list[str], then: Callable[[pl.DataFrame, datetime], _T]) -> _T:
        if self._reader is None:
            self._reader = await asyncio.to_thread(FrameReader, self._url)
        reader, as_of = self._reader, datetime.now(UTC)
        return await asyncio.to_thread(lambda: then(self._score_frame(reader, ids, as_of), as_of))

    def _score_frame(self, reader: FrameReader, ids: list[str], as_of: datetime) -> pl.DataFrame:
        read_at, features = self._features
        if monotonic() - read_at > _KEPT_SECONDS:
            features = dict(reader.read("SELECT feature, feature_id FROM features").iter_rows())
            self._features = (monotonic(), features)
        inputs = join_progress(
            read_inputs_of(reader, ids), read_progress_of(reader, self._playbook, as_of, ids)
        )
        platform = self._read_platform(reader, as_of)
        return score_suppliers(inputs, self._playbook, as_of, features, platform).with_columns(
            pl.lit(as_of).alias("as_of")
        )

    def _read_platform(self, reader: FrameReader, as_of: datetime) -> PlatformState:
        """What the last run found of the season, read again when a run has added a day, and of
        the feeds and the models of churn."""
        read_at, day, platform = self._platform
        if monotonic() - read_at > _KEPT_SECONDS:
            last_day = read_last_day(reader)
            if last_day != day or last_day is None:
                platform = read_platform(reader, as_of)
            else:
                platform = replace(
                    platform, feeds=read_feeds(reader, as_of), churn=read_models(reader, as_of)
                )
            self._platform = (monotonic(), last_day, platform)
        return platform


class LiveScorer:
    """Scores suppliers on request, many requests in one frame. One per server process."""

    def __init__(self, url: str, playbook: Playbook) -> None:
        self._scorer = FrameScorer(url, playbook)
        self._batcher = Batcher(
            self._score,
            batch_size=BATCH_SIZE,
            queue_size=_QUEUE_SIZE,
            gather_seconds=GATHER_SECONDS,
        )

    async def score(self, supplier: UUID | str) -> LiveRow:
        """Return all signals, points and contributions of one supplier, as of now.

        Raises:
            NotFoundError: no such supplier, or it has cancelled.
            OverloadedError: too many requests are waiting for a score.
        """
        row = await self._batcher.get(str(supplier))
        if row is None:
            raise NotFoundError(f"supplier {name_of(supplier)} is not known, or has cancelled")
        return row

    async def close(self) -> None:
        """Answer the requests that are waiting, and close the connection."""
        await self._batcher.close()
        await self._scorer.close()

    async def _score(self, ids: list[str]) -> dict[str, LiveRow]:
        return await self._scorer.score(ids, _rows_by_id)


def _rows_by_id(frame: pl.DataFrame, _: datetime) -> dict[str, LiveRow]:
    return {row["supplier_id"]: row for row in live_rows(frame)}


async def score_live(state: State, supplier_ids: Sequence[UUID | str]) -> pl.DataFrame:
    """The scored rows of these suppliers, as of now: all columns of `rules.score_suppliers`.

    Raises:
        NotFoundError: one of them is not known, or has cancelled.
        OverloadedError: too many requests are waiting for a score.
    """
    live: LiveScorer = state.live
    rows = await asyncio.gather(*(live.score(supplier_id) for supplier_id in supplier_ids))
    return pl.DataFrame(rows, infer_schema_length=None)
