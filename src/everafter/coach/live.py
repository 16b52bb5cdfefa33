"""What the coach knows of a supplier: its score, and the tips and recommendations that apply.

Every page view asks for this, and a score costs milliseconds. A supplier's numbers change when its
events are folded, when somebody writes about it, or slowly, as time passes. So a score is cached
until one of the first two happens, and renewed in the background once a minute (docs/decisions/
0005, 0020)."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from time import monotonic
from typing import Any

import polars as pl

from everafter.coach.model import CoachState, CoachTexts, Version
from everafter.coach.rules import tip_conditions
from everafter.core.batching import Batcher
from everafter.core.db import Pool
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.onboarding.queries import record_reached
from everafter.onboarding.rules import find_news
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from everafter.recommendations.queries import get_effects, insert_impressions, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.live import BATCH_SIZE, GATHER_SECONDS, FrameScorer
from everafter.signals.row_model import CoachRow, coach_rows

log = logging.getLogger("everafter.coach")

FRESH_SECONDS = 60.0
"""Age up to which a score is served as it is. An older one is served once more and renewed in the
background."""
KEPT_SECONDS = 600.0
"""Age after which a score is discarded."""
MOST_KEPT = 4_000
"""Suppliers in the cache, about 10 KB each."""
MOST_LANGUAGES = 8
"""Languages in which one supplier's texts are cached."""
_QUEUE_SIZE = 400
_RENEW_GATHER_SECONDS = 2.0
_RENEWED_AT_ONCE = 100


@dataclass(slots=True)
class Scored:
    """One supplier as scored at `at` (monotonic seconds).

    Attributes:
        row: all signals and points.
        tips: names of the tips that apply, on whichever page, the most important first.
        needs_call: whether a call should be offered.
        recommendations: rows of `RECOMMENDATION_SCHEMA` to show, in order.
        version: of the supplier's state before it was scored.
        refused: questions for which the eligibility check let no tip pass; not asked again.
        texts: what follows from this score alone, by languages.
    """

    row: CoachRow
    tips: list[str]
    needs_call: bool
    recommendations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    at: float = field(default_factory=monotonic)
    version: Version | None = None
    refused: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])
    texts: dict[tuple[str, ...], CoachTexts] = field(
        default_factory=dict[tuple[str, ...], CoachTexts]
    )

    def get_texts(self, languages: tuple[str, ...], make: Callable[[], CoachTexts]) -> CoachTexts:
        """The texts in these languages, made on first use. Browsers may send any language, so only
        a few are cached."""
        if languages not in self.texts:
            if len(self.texts) >= MOST_LANGUAGES:
                self.texts.clear()
            self.texts[languages] = make()
        return self.texts[languages]


class CoachScorer:
    """Scores batches of suppliers for the coach; records what they reached and are shown."""

    def __init__(self, url: str, playbook: Playbook, pool: Pool) -> None:
        self._playbook, self._pool = playbook, pool
        self._frames = FrameScorer(url, playbook)
        self._tips = tip_conditions(playbook)
        self._call = compile_condition(playbook.coach.call_when)
        self._effects: tuple[float, pl.DataFrame] | None = None
        self._recorded: tuple[date | None, set[tuple[str, str]]] = (None, set())

    async def score(self, ids: list[str]) -> dict[str, Scored]:
        """Score these suppliers as of now, by id; those unknown or cancelled are left out."""
        frame, found, as_of = await self._frames.score(ids, self._read_frame)
        if not found:
            return found
        async with self._pool.connection() as conn:
            if news := [one.row for one in found.values() if one.row["onboarding_news"]]:
                await record_reached(conn, news, self._playbook, as_of)
            clients = await read_clients(conn, list(found), as_of)
            if self._effects is None or monotonic() - self._effects[0] > FRESH_SECONDS:
                self._effects = (monotonic(), (await get_effects(conn))[0])
        recommendations = await asyncio.to_thread(
            self._recommend, frame, clients, self._effects[1], as_of
        )
        for one in recommendations.iter_rows(named=True):
            if not one["holdout"]:
                found[one["supplier_id"]].recommendations.append(one)
        await self._record_impressions(recommendations, as_of.date())
        return found

    async def close(self) -> None:
        """Close the connection."""
        await self._frames.close()

    def _read_frame(
        self, frame: pl.DataFrame, as_of: datetime
    ) -> tuple[pl.DataFrame, dict[str, Scored], datetime]:
        """The frame with `onboarding_news`, its suppliers without recommendations, and `as_of`."""
        frame = find_news(frame, self._playbook, as_of)
        answers = frame.select(
            self._call.alias("call"),
            *(applies.alias(f"tip {name}") for name, applies in self._tips.items()),
        )
        found: dict[str, Scored] = {}
        for row, one in zip(coach_rows(frame), answers.iter_rows(named=True), strict=True):
            tips = [name for name in self._tips if one[f"tip {name}"]]
            found[row["supplier_id"]] = Scored(row, tips, one["call"])
        return frame, found, as_of

    def _recommend(
        self, frame: pl.DataFrame, clients: pl.DataFrame, effects: pl.DataFrame, as_of: datetime
    ) -> pl.DataFrame:
        most = self._playbook.coach.recommendations
        if most == 0:
            return pl.DataFrame(schema=RECOMMENDATION_SCHEMA)
        return recommend(
            frame, self._playbook, describe_clients(clients, as_of), effects, most=most
        )

    async def _record_impressions(self, recommendations: pl.DataFrame, day: date) -> None:
        """Record what is shown, once a day rather than at each page view.

        An impression counts when it is served, seen or not: whether the control group would have
        opened the panel cannot be known, so both groups are counted alike."""
        if self._recorded[0] != day or len(self._recorded[1]) > 20 * MOST_KEPT:
            self._recorded = (day, set())
        recorded = self._recorded[1]
        keys = list(recommendations.select("supplier_id", "id").iter_rows())
        new = recommendations.filter(
            pl.Series([key not in recorded for key in keys], dtype=pl.Boolean)
        )
        if new.is_empty():
            return
        async with self._pool.connection() as conn:
            await insert_impressions(conn, new, "coach", day)
        recorded.update(keys)


class CoachCache:
    """The scores that the coach shows, cached. One per server process."""

    def __init__(self, url: str, playbook: Playbook, pool: Pool) -> None:
        self._scorer = CoachScorer(url, playbook, pool)
        self._batcher = Batcher(
            self._scorer.score,
            batch_size=BATCH_SIZE,
            queue_size=_QUEUE_SIZE,
            gather_seconds=GATHER_SECONDS,
        )
        self._kept: OrderedDict[str, Scored] = OrderedDict()
        self._aging: dict[str, Version] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def find(self, state: CoachState) -> tuple[Scored, bool]:
        """The score of a supplier, and whether it was made for this call.

        Raises:
            NotFoundError: the supplier has cancelled.
            OverloadedError: too many requests are waiting for a score.
        """
        supplier_id = str(state.supplier_id)
        kept = self._kept.get(supplier_id)
        if (
            kept is not None
            and kept.version == state.version
            and (age := monotonic() - kept.at) < KEPT_SECONDS
        ):
            self._kept.move_to_end(supplier_id)
            if age > FRESH_SECONDS:
                self._renew_later(supplier_id, state.version)
            return kept, False
        return await self._renew(supplier_id, state.version), True

    def clear(self) -> None:
        """Discard every score."""
        self._kept.clear()

    async def close(self) -> None:
        """Answer the requests that are waiting, and close the connection."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await self._batcher.close()
        await self._scorer.close()

    async def _renew(self, supplier_id: str, version: Version) -> Scored:
        scored = await self._batcher.get(supplier_id)
        if scored is None:
            raise NotFoundError(f"supplier {name_of(supplier_id)} is not known, or has cancelled")
        # The version from before the score: a change since then is scored at the next request.
        scored.version = version
        before = self._kept.get(supplier_id)
        if before is not None and before.version == version:
            scored.refused = before.refused
        self._kept[supplier_id] = scored
        self._kept.move_to_end(supplier_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return scored

    def _renew_later(self, supplier_id: str, version: Version) -> None:
        self._aging[supplier_id] = version
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew_aging())

    async def _renew_aging(self) -> None:
        """Renew aging scores, many in one frame."""
        while self._aging:
            await asyncio.sleep(_RENEW_GATHER_SECONDS)
            some = list(self._aging.items())[:_RENEWED_AT_ONCE]
            for supplier_id, _ in some:
                del self._aging[supplier_id]
            results = await asyncio.gather(
                *(self._renew(*one) for one in some), return_exceptions=True
            )
            for error in results:
                # The score stays as it is; a request after KEPT_SECONDS gets the error.
                if isinstance(error, Exception) and not isinstance(error, NotFoundError):
                    log.warning("a cached score could not be refreshed: %s", error)
                    break
