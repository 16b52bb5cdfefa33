"""What the coach knows of a supplier: its score with the tips and next steps that apply, kept while
nothing has changed.

A score costs milliseconds and every page view asks for one, but a supplier's numbers change only
when its events are folded, when something is said of it, or slowly, as time passes. So it is kept
while nothing was said, and scored again behind the reader's back once a minute; what must be scored
is scored together with all others that wait (docs/decisions/0005, 0020)."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from time import monotonic
from typing import Any

import polars as pl

from everafter.coach.model import CoachState, Said
from everafter.coach.rules import celebrated, tip_conditions
from everafter.core.db import FrameReader, Pool
from everafter.core.errors import NotFoundError, OverloadedError
from everafter.onboarding.queries import record_reached
from everafter.onboarding.rules import find_news
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from everafter.recommendations.queries import get_effects, note_given, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.live import LiveScorer

log = logging.getLogger("everafter.coach")

FRESH_SECONDS = 60.0
"""So long a score is taken as it is. Older, it is given once more while it is made again; the
waiting is nobody's."""
KEPT_SECONDS = 600.0
"""Who comes back after longer waits for a new one."""
MOST_KEPT = 4_000
"""About 10 KB each."""
MOST_SAID = 8
"""Languages in which one supplier's answer is kept."""
_MOST_WAITING = 400
_REFRESH_GATHER_SECONDS = 2.0
_REFRESHED_AT_ONCE = 100


@dataclass(slots=True)
class Scored:
    """One supplier as scored at `at`. row: all signals and points; tips: those that apply, wherever
    the supplier is, the most important first; needs_call: a call is to be offered; recommendations:
    rows of recommendations.RECOMMENDATION_SCHEMA that may be offered, in order.

    refused: what the eligibility check was asked about and let none of pass; it is asked again when
    the question is another, as on the next day. said: what follows from this alone and is the same
    for every request, by languages."""

    row: dict[str, Any]
    tips: list[str]
    needs_call: bool
    recommendations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    at: float = field(default_factory=monotonic)
    stamp: tuple[int, datetime] | None = None
    refused: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])
    said: dict[tuple[str, ...], Said] = field(default_factory=dict[tuple[str, ...], Said])

    def say(self, languages: tuple[str, ...], make: Callable[[], Said]) -> Said:
        """What is said in these languages, made when it is asked for first. A browser may name any
        language, so few are kept."""
        if languages not in self.said:
            if len(self.said) >= MOST_SAID:
                self.said.clear()
            self.said[languages] = make()
        return self.said[languages]


class CoachScorer(LiveScorer):
    """Scores for the coach, and keeps what it scored. One per server process."""

    def __init__(self, url: str, playbook: Playbook, pool: Pool) -> None:
        super().__init__(url, playbook)
        self._pool = pool
        self._kept: OrderedDict[str, Scored] = OrderedDict()
        self._tips = tip_conditions(playbook)
        self._call = compile_condition(playbook.coach.call_when)
        self._effects: tuple[float, pl.DataFrame] | None = None
        self._noted: tuple[date | None, set[tuple[str, str]]] = (None, set())
        self._old: dict[str, tuple[int, datetime]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self.milestones = celebrated(playbook)

    async def find(self, state: CoachState) -> tuple[Scored, bool]:
        """The score of a supplier, and whether it was made for this call.

        Raises:
            NotFoundError: it has cancelled.
            OverloadedError: more are waiting to be scored than can be soon.
        """
        supplier_id, stamp = str(state.supplier_id), (state.reported, state.updated_at)
        kept = self._kept.get(supplier_id)
        if (
            kept is not None
            and kept.stamp == stamp
            and (age := monotonic() - kept.at) < KEPT_SECONDS
        ):
            self._kept.move_to_end(supplier_id)
            if age > FRESH_SECONDS:
                self._refresh(supplier_id, stamp)
            return kept, False
        if self._count() >= _MOST_WAITING:
            raise OverloadedError(
                "many suppliers are being scored just now; ask again in a moment", retry_after=2
            )
        return await self._renew(supplier_id, stamp), True

    async def _renew(self, supplier_id: str, stamp: tuple[int, datetime]) -> Scored:
        scored: Scored = (await self.score(supplier_id))["scored"]
        scored.stamp = stamp  # of before the score: what changed in between is scored again at the next request
        before = self._kept.get(supplier_id)
        if before is not None and before.stamp == stamp:
            scored.refused = before.refused
        self._kept[supplier_id] = scored
        self._kept.move_to_end(supplier_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return scored

    def _refresh(self, supplier_id: str, stamp: tuple[int, datetime]) -> None:
        self._old[supplier_id] = stamp
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_old())

    async def _refresh_old(self) -> None:
        """Score again what has grown old, many in one frame."""
        while self._old:
            await asyncio.sleep(_REFRESH_GATHER_SECONDS)
            some = list(self._old.items())[:_REFRESHED_AT_ONCE]
            for supplier_id, _ in some:
                del self._old[supplier_id]
            done = await asyncio.gather(
                *(self._renew(*one) for one in some), return_exceptions=True
            )
            for error in (
                done
            ):  # it stays old, and whoever asks after it has grown too old is told what is wrong
                if isinstance(error, Exception) and not isinstance(error, NotFoundError):
                    log.warning("a score could not be made again: %s", error)
                    break

    async def close(self) -> None:
        """End the work under way and the connection."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await super().close()

    async def _score(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        found = await super()._score(ids)
        if not found:
            return found
        scored: list[Scored] = [one["scored"] for one in found.values()]
        as_of: datetime = scored[0].row["as_of"]
        async with self._pool.connection() as conn:
            if news := [one.row for one in scored if one.row["onboarding_news"]]:
                await record_reached(conn, news, self._playbook, as_of)
            clients = await read_clients(conn, list(found), as_of)
            if self._effects is None or monotonic() - self._effects[0] > FRESH_SECONDS:
                self._effects = (monotonic(), (await get_effects(conn))[0])
        frame: pl.DataFrame = next(iter(found.values()))["frame"]
        recommendations = await asyncio.to_thread(
            self._recommend, frame, clients, self._effects[1], as_of
        )
        for one in recommendations.iter_rows(named=True):
            if not one["holdout"]:
                found[one["supplier_id"]]["scored"].recommendations.append(one)
        await self._note(recommendations, as_of.date())
        return found

    def _score_blocking(
        self, reader: FrameReader, ids: list[str], as_of: datetime
    ) -> dict[str, dict[str, Any]]:
        frame = find_news(self._score_frame(reader, ids, as_of), self._playbook, as_of)
        answers = frame.select(
            self._call.alias("call"),
            *(holds.alias(f"tip {name}") for name, holds in self._tips.items()),
        )
        found: dict[str, dict[str, Any]] = {}
        for row, one in zip(
            frame.iter_rows(named=True), answers.iter_rows(named=True), strict=True
        ):
            scored = Scored(row, [name for name in self._tips if one[f"tip {name}"]], one["call"])
            found[row["supplier_id"]] = {"scored": scored, "frame": frame}
        return found

    def _recommend(
        self, frame: pl.DataFrame, clients: pl.DataFrame, effects: pl.DataFrame, as_of: datetime
    ) -> pl.DataFrame:
        most = self._playbook.coach.next_steps
        if most == 0:
            return pl.DataFrame(schema=RECOMMENDATION_SCHEMA)
        return recommend(
            frame, self._playbook, describe_clients(clients, as_of), effects, most=most
        )

    async def _note(self, recommendations: pl.DataFrame, day: date) -> None:
        """Write down what is offered, once a day: a page view repeats it.

        Offered is served in the answer, seen or not: whether the panel would have been opened
        cannot be known of what at random is not offered, so both are noted here alike."""
        if self._noted[0] != day or len(self._noted[1]) > 20 * MOST_KEPT:
            self._noted = (day, set())
        noted = self._noted[1]
        keys = list(recommendations.select("supplier_id", "id").iter_rows())
        new = recommendations.filter(
            pl.Series([key not in noted for key in keys], dtype=pl.Boolean)
        )
        if new.is_empty():
            return
        async with self._pool.connection() as conn:
            await note_given(conn, new, "coach", day)
        noted.update(keys)
