"""What the coach knows of a supplier: its judgement with the tips and advice that apply, kept while nothing has changed.

A judgement costs milliseconds and a page view asks for one, but a supplier's numbers change only when its events are folded, when
something is said of it, or as time passes. So it is kept while neither row has changed, for a minute at most; what must be judged
is judged together with all others that wait (docs/decisions/0005, 0020).
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

import polars as pl

from everafter.coach.model import CoachState
from everafter.coach.rules import tip_conditions
from everafter.core.db import FrameReader, Pool
from everafter.health.live import LiveJudge
from everafter.onboarding.queries import record_reached
from everafter.onboarding.rules import find_milestones, find_progress
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.rules import recommend

KEPT_SECONDS = 60.0
MOST_KEPT = 4_000
"""About 10 KB each."""


@dataclass(slots=True)
class Judged:
    """One supplier as judged at `at`. row: all signals and points; tips: those that apply, wherever the supplier is, the most
    important first; needs_call: a call is to be offered; advice: rows of recommendations.ADVICE_SCHEMA in order.

    refused: what the gate was asked about and let none of pass, with when the last tip was: asked again only when that changes.
    made: answers' parts by language, filled as they are asked for.
    """

    row: dict[str, Any]
    tips: list[str]
    needs_call: bool
    advice: list[dict[str, Any]]
    at: float = field(default_factory=monotonic)
    stamp: tuple[datetime | None, datetime] | None = None
    refused: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])
    made: dict[tuple[str, ...], Any] = field(default_factory=dict[tuple[str, ...], Any])


class CoachJudge(LiveJudge):
    """Judges for the coach, and keeps what it judged. One per server process."""

    def __init__(self, url: str, playbook: Playbook, pool: Pool) -> None:
        super().__init__(url, playbook)
        self._pool = pool
        self._kept: OrderedDict[str, Judged] = OrderedDict()
        self._tips = tip_conditions(playbook)
        self._call = compile_condition(playbook.coach.call_when)
        self.milestones = [name for name, milestone in playbook.milestones.items() if "coach" in milestone.celebrate]

    async def find(self, state: CoachState) -> tuple[Judged, bool]:
        """The judgement of a supplier, and whether it was made for this call.

        Raises:
            NotFoundError: it has cancelled.
        """
        supplier_id, stamp = str(state.supplier_id), (state.folded_at, state.updated_at)
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

    async def _judge(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        found = await super()._judge(ids)
        new = [one["judged"].row for one in found.values() if one["reached"]]
        if new:
            frame = pl.DataFrame(new, infer_schema_length=None)
            async with self._pool.connection() as conn:
                await record_reached(conn, frame, self._playbook, new[0]["as_of"])
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
        advice: dict[str, list[dict[str, Any]]] = {}
        for one in recommend(frame, self._playbook).iter_rows(named=True):
            advice.setdefault(one["supplier_id"], []).append(one)
        found: dict[str, dict[str, Any]] = {}
        for one in applying.iter_rows(named=True):
            supplier_id = one["supplier_id"]
            tips = [name for name in self._tips if one[f"tip {name}"]]
            judged = Judged(rows[supplier_id], tips, one["call"], advice.get(supplier_id, []))
            found[supplier_id] = {"judged": judged, "reached": supplier_id in reached}
        return found
