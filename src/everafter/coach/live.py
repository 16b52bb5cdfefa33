"""What the coach knows of a supplier: its judgement with the tips and next steps that apply, kept while nothing has changed.

A judgement costs milliseconds and every page view asks for one, but a supplier's numbers change only when its events are folded,
when something is said of it, or as time passes. So it is kept while neither has happened, for a minute at most; what must be
judged is judged together with all others that wait (docs/decisions/0005, 0020).
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import polars as pl

from everafter.coach.model import CoachState
from everafter.coach.rules import tip_conditions
from everafter.core.db import FrameReader, Pool
from everafter.health.live import LiveJudge
from everafter.onboarding.queries import record_reached
from everafter.onboarding.rules import find_milestones, find_progress
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.couples_rules import describe_couples
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.recommendations.queries import get_effects, note_given, read_couples
from everafter.recommendations.rules import recommend

KEPT_SECONDS = 60.0
MOST_KEPT = 4_000
"""About 10 KB each."""


@dataclass(slots=True)
class Judged:
    """One supplier as judged at `at`. row: all signals and points; tips: those that apply, wherever the supplier is, the most
    important first; needs_call: a call is to be offered; advice: rows of recommendations.ADVICE_SCHEMA that may be told, in order.

    refused: what the gate was asked about and let none of pass; it is asked again when the question is another.
    """

    row: dict[str, Any]
    tips: list[str]
    needs_call: bool
    reached: bool
    advice: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    at: float = field(default_factory=monotonic)
    stamp: tuple[int | None, datetime] | None = None
    refused: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])


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
        self.milestones = [name for name, milestone in playbook.milestones.items() if "coach" in milestone.celebrate]

    async def find(self, state: CoachState) -> tuple[Judged, bool]:
        """The judgement of a supplier, and whether it was made for this call.

        Raises:
            NotFoundError: it has cancelled.
        """
        supplier_id, stamp = str(state.supplier_id), (state.events_total, state.updated_at)
        kept = self._kept.get(supplier_id)
        if kept is not None and kept.stamp == stamp and monotonic() - kept.at < KEPT_SECONDS:
            self._kept.move_to_end(supplier_id)
            return kept, False
        judged: Judged = (await self.judge(supplier_id))["judged"]
        judged.stamp = stamp  # of before the judgement: what changed in between is judged again at the next request
        self._kept[supplier_id] = judged
        self._kept.move_to_end(supplier_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return judged, True

    def forget(self, supplier_id: UUID) -> None:
        """Judge this supplier anew at the next request, because something was said of it that neither row shows."""
        self._kept.pop(str(supplier_id), None)

    async def _judge(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        found = await super()._judge(ids)
        judged: list[Judged] = [one["judged"] for one in found.values()]
        if not judged:
            return found
        as_of: datetime = judged[0].row["as_of"]
        frame = pl.DataFrame([one.row for one in judged], infer_schema_length=None)
        async with self._pool.connection() as conn:
            if any(one.reached for one in judged):
                await record_reached(conn, frame, self._playbook, as_of)
            couples = await read_couples(conn, list(found), as_of)
            if self._effects is None or monotonic() - self._effects[0] > KEPT_SECONDS:
                self._effects = (monotonic(), (await get_effects(conn))[0])
        advice = await asyncio.to_thread(self._advise, frame, couples, self._effects[1], as_of)
        for one in advice.iter_rows(named=True):
            if not one["held_out"]:
                found[one["supplier_id"]]["judged"].advice.append(one)
        await self._note(advice, as_of.date())
        return found

    def _judge_blocking(self, reader: FrameReader, ids: list[str], as_of: datetime) -> dict[str, dict[str, Any]]:
        rows = super()._judge_blocking(reader, ids, as_of)
        if not rows:
            return {}
        frame = pl.DataFrame(list(rows.values()), infer_schema_length=None)
        reached = {
            *find_progress(frame, self._playbook, as_of)["supplier_id"],
            *find_milestones(frame, self._playbook, as_of)["supplier_id"],
        }
        applying = frame.select(
            "supplier_id", self._call.alias("call"), *(holds.alias(f"tip {name}") for name, holds in self._tips.items())
        )
        found: dict[str, dict[str, Any]] = {}
        for one in applying.iter_rows(named=True):
            supplier_id = one["supplier_id"]
            tips = [name for name in self._tips if one[f"tip {name}"]]
            found[supplier_id] = {"judged": Judged(rows[supplier_id], tips, one["call"], supplier_id in reached)}
        return found

    def _advise(self, frame: pl.DataFrame, couples: pl.DataFrame, effects: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
        most = self._playbook.coach.next_steps
        if most == 0:
            return pl.DataFrame(schema=ADVICE_SCHEMA)
        return recommend(frame, self._playbook, describe_couples(couples, as_of), effects, most=most)

    async def _note(self, advice: pl.DataFrame, day: date) -> None:
        """Write down what is told, once a day: a page view repeats it."""
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
