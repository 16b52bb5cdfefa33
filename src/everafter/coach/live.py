"""What the coach knows of a supplier: its judgement with the tips and next steps that apply, kept while nothing has changed.

A judgement costs milliseconds and every page view asks for one, but a supplier's numbers change only when its events are folded,
when something is said of it, or slowly, as time passes. So it is kept while nothing was said, and judged anew behind the reader's
back once a minute; what must be judged is judged together with all others that wait (docs/decisions/0005, 0020).
"""

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
from everafter.health.live import LiveJudge
from everafter.onboarding.queries import record_reached
from everafter.onboarding.rules import tell_news
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.couples_rules import describe_couples
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.recommendations.queries import get_effects, note_given, read_couples
from everafter.recommendations.rules import recommend

log = logging.getLogger("everafter.coach")

FRESH_SECONDS = 60.0
"""So long a judgement is taken as it is. Older, it is given once more while it is made anew; the waiting is nobody's."""
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
class Judged:
    """One supplier as judged at `at`. row: all signals and points; tips: those that apply, wherever the supplier is, the most
    important first; needs_call: a call is to be offered; advice: rows of recommendations.ADVICE_SCHEMA that may be offered, in
    order.

    refused: what the gate was asked about and let none of pass; it is asked again when the question is another, as on the next
    day. said: what follows from this alone and is the same for every request, by languages.
    """

    row: dict[str, Any]
    tips: list[str]
    needs_call: bool
    advice: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    at: float = field(default_factory=monotonic)
    stamp: tuple[int, datetime] | None = None
    refused: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])
    said: dict[tuple[str, ...], Said] = field(default_factory=dict[tuple[str, ...], Said])

    def say(self, languages: tuple[str, ...], make: Callable[[], Said]) -> Said:
        """What is said in these languages, made when it is asked for first. A browser may name any language, so few are kept."""
        if languages not in self.said:
            if len(self.said) >= MOST_SAID:
                self.said.clear()
            self.said[languages] = make()
        return self.said[languages]


class CoachJudge(LiveJudge):
    """Judges for the coach, and keeps what it judged. One per server process."""

    def __init__(self, url: str, playbook: Playbook, pool: Pool) -> None:
        super().__init__(url, playbook)
        self._pool = pool
        self._kept: OrderedDict[str, Judged] = OrderedDict()
        self._tips = tip_conditions(playbook)
        self._call = compile_condition(playbook.coach.call_when)
        self._effects: tuple[float, pl.DataFrame] | None = None
        self._noted: tuple[date | None, set[tuple[str, str]]] = (None, set())
        self._old: dict[str, tuple[int, datetime]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self.milestones = celebrated(playbook)

    async def find(self, state: CoachState) -> tuple[Judged, bool]:
        """The judgement of a supplier, and whether it was made for this call.

        Raises:
            NotFoundError: it has cancelled.
            OverloadedError: more are waiting to be judged than can be soon.
        """
        supplier_id, stamp = str(state.supplier_id), (state.told, state.updated_at)
        kept = self._kept.get(supplier_id)
        if kept is not None and kept.stamp == stamp and (age := monotonic() - kept.at) < KEPT_SECONDS:
            self._kept.move_to_end(supplier_id)
            if age > FRESH_SECONDS:
                self._refresh(supplier_id, stamp)
            return kept, False
        if self._count() >= _MOST_WAITING:
            raise OverloadedError("many suppliers are being judged just now; ask again in a moment", retry_after=2)
        return await self._renew(supplier_id, stamp), True

    async def _renew(self, supplier_id: str, stamp: tuple[int, datetime]) -> Judged:
        judged: Judged = (await self.judge(supplier_id))["judged"]
        judged.stamp = stamp  # of before the judgement: what changed in between is judged again at the next request
        before = self._kept.get(supplier_id)
        if before is not None and before.stamp == stamp:
            judged.refused = before.refused
        self._kept[supplier_id] = judged
        self._kept.move_to_end(supplier_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return judged

    def _refresh(self, supplier_id: str, stamp: tuple[int, datetime]) -> None:
        self._old[supplier_id] = stamp
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_old())

    async def _refresh_old(self) -> None:
        """Judge again what has grown old, many in one frame."""
        while self._old:
            await asyncio.sleep(_REFRESH_GATHER_SECONDS)
            some = list(self._old.items())[:_REFRESHED_AT_ONCE]
            for supplier_id, _ in some:
                del self._old[supplier_id]
            done = await asyncio.gather(*(self._renew(*one) for one in some), return_exceptions=True)
            for error in done:  # it stays old, and whoever asks after it has grown too old is told what is wrong
                if isinstance(error, Exception) and not isinstance(error, NotFoundError):
                    log.warning("a judgement could not be made anew: %s", error)
                    break

    async def close(self) -> None:
        """End the work under way and the connection."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await super().close()

    async def _judge(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        found = await super()._judge(ids)
        if not found:
            return found
        judged: list[Judged] = [one["judged"] for one in found.values()]
        as_of: datetime = judged[0].row["as_of"]
        async with self._pool.connection() as conn:
            if news := [one.row for one in judged if one.row["onboarding_news"]]:
                await record_reached(conn, news, self._playbook, as_of)
            couples = await read_couples(conn, list(found), as_of)
            if self._effects is None or monotonic() - self._effects[0] > FRESH_SECONDS:
                self._effects = (monotonic(), (await get_effects(conn))[0])
        frame: pl.DataFrame = next(iter(found.values()))["frame"]
        advice = await asyncio.to_thread(self._advise, frame, couples, self._effects[1], as_of)
        for one in advice.iter_rows(named=True):
            if not one["held_out"]:
                found[one["supplier_id"]]["judged"].advice.append(one)
        await self._note(advice, as_of.date())
        return found

    def _judge_blocking(self, reader: FrameReader, ids: list[str], as_of: datetime) -> dict[str, dict[str, Any]]:
        frame = tell_news(self._judge_frame(reader, ids, as_of), self._playbook, as_of)
        answers = frame.select(self._call.alias("call"), *(holds.alias(f"tip {name}") for name, holds in self._tips.items()))
        found: dict[str, dict[str, Any]] = {}
        for row, one in zip(frame.iter_rows(named=True), answers.iter_rows(named=True), strict=True):
            judged = Judged(row, [name for name in self._tips if one[f"tip {name}"]], one["call"])
            found[row["supplier_id"]] = {"judged": judged, "frame": frame}
        return found

    def _advise(self, frame: pl.DataFrame, couples: pl.DataFrame, effects: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        most = self._playbook.coach.next_steps
        if most == 0:
            return pl.DataFrame(schema=ADVICE_SCHEMA)
        return recommend(frame, self._playbook, describe_couples(couples, as_of), effects, most=most)

    async def _note(self, advice: pl.DataFrame, day: date) -> None:
        """Write down what is offered, once a day: a page view repeats it.

        Offered is served in the answer, seen or not: whether the panel would have been opened cannot be known of what by lot is not
        offered, so both are noted here alike.
        """
        if self._noted[0] != day or len(self._noted[1]) > 20 * MOST_KEPT:
            self._noted = (day, set())
        noted = self._noted[1]
        keys = list(advice.select("supplier_id", "id").iter_rows())
        new = advice.filter(pl.Series([key not in noted for key in keys], dtype=pl.Boolean))
        if new.is_empty():
            return
        async with self._pool.connection() as conn:
            await note_given(conn, new, "coach", day)
        noted.update(keys)
