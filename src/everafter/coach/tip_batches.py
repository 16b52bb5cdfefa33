"""Choose new tips: behind the eligibility check of all interventions, once at a time per supplier,
however many tabs and servers ask.

Requests that arrive while tips are chosen are served together by the next batch
(`core.batching`)."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from everafter.coach import queries
from everafter.coach.model import CoachState
from everafter.coach.rules import (
    find_new_tips,
    find_open_tip,
    is_paused,
    pause_start,
    with_tips_as_triggers,
)
from everafter.core.batching import Batcher
from everafter.core.db import Connection, Pool
from everafter.interventions.eligibility import check_eligibility
from everafter.interventions.model import FREQUENCY_CAP
from everafter.interventions.queries import read_history_of
from everafter.interventions.rules import make_interventions, propose
from everafter.onboarding.model import NO_MILESTONES
from everafter.playbook.model import TIP_PREFIX, Playbook
from everafter.playbook.queries import ensure_playbook_version
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.signals.row_model import CoachRow

_BATCH_SIZE = 200
_QUEUE_SIZE = 200
_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "name": pl.String(),
    "email": pl.String(),
    "timezone": pl.String(),
    "consent": pl.Boolean(),
    **SIGNAL_SCHEMA,
}
_NO_TASKS = pl.DataFrame(schema={"supplier_id": pl.String(), "kind": pl.String()})


@dataclass(frozen=True, slots=True, eq=False)
class TipQuery:
    """Which tip may be shown on this page?

    Attributes:
        state: as the request found it.
        row: the supplier's scored row.
        here: the tips that apply on this page, the most important first.
        page: the path of the page; null when the browser did not send it.
    """

    state: CoachState
    row: CoachRow
    here: tuple[str, ...]
    page: str | None

    @property
    def supplier_id(self) -> str:
        return str(self.state.supplier_id)


@dataclass(frozen=True, slots=True)
class TipChoice:
    """tip: to show on this page; null: none. is_capped: the frequency cap is reached, so no page
    has a new tip today."""

    tip: str | None = None
    is_capped: bool = False


class NotNowError(Exception):
    """No new tip can be chosen during a daily run."""


class TipBatcher:
    """Chooses new tips. One per server process."""

    def __init__(self, pool: Pool, playbook: Playbook) -> None:
        self._pool, self._playbook = pool, playbook
        self._policy = with_tips_as_triggers(playbook)
        self._version: int | None = None
        self._batcher = Batcher(
            self._choose,
            batch_size=_BATCH_SIZE,
            queue_size=_QUEUE_SIZE,
            partition=lambda query: query.supplier_id,
        )

    async def choose(self, query: TipQuery) -> TipChoice:
        """The tip to show, if one may be shown. Tips that the eligibility check keeps back are in
        the intervention log with the reason.

        Raises:
            NotNowError: a daily run is at work; the next page view may ask again.
            OverloadedError: too many requests are waiting.
        """
        return await self._batcher.get(query) or TipChoice()

    async def close(self) -> None:
        """Answer the requests that are waiting."""
        await self._batcher.close()

    async def _choose(self, asked: list[TipQuery]) -> dict[TipQuery, TipChoice]:
        now = datetime.now(UTC)
        async with self._pool.connection() as conn:
            if self._version is None:
                self._version = await ensure_playbook_version(conn, self._playbook)
                await conn.commit()
            if not await queries.try_share_frequency_cap(conn):
                raise NotNowError
            await queries.lock_tips(conn, sorted(query.supplier_id for query in asked))
            choices: dict[TipQuery, TipChoice] = {}
            candidates: list[tuple[TipQuery, list[str]]] = []
            ids = [query.state.supplier_id for query in asked]
            states = {
                state.supplier_id: state
                for state in await queries.list_states(
                    conn, ids, NO_MILESTONES, since=pause_start(self._playbook, now), now=now
                )
            }
            for query in asked:
                if (state := states.get(query.state.supplier_id)) is None:
                    continue  # deleted a moment ago
                found, new = self._look_again(state, query, now)
                if found is not None:
                    choices[query] = TipChoice(found)
                elif new:
                    candidates.append((query, new))
            if candidates:
                choices |= await self._check_eligibility(conn, candidates, now)
        return choices

    def _look_again(
        self, state: CoachState, query: TipQuery, now: datetime
    ) -> tuple[str | None, list[str]]:
        """With the lock held, what another tab may have changed since: the tip that is open now, or
        the tips that may be new."""
        if found := find_open_tip(query.here, state.tips, self._playbook.tips, now):
            return found, []
        if is_paused(state.last_tip_at, self._playbook.coach.hours_between_tips, now):
            return None, []
        off_season = bool(query.row["off_season"])
        return None, find_new_tips(
            query.here, state.tips, self._playbook.tips, now, off_season=off_season
        )

    async def _check_eligibility(
        self, conn: Connection, candidates: list[tuple[TipQuery, list[str]]], now: datetime
    ) -> dict[TipQuery, TipChoice]:
        cooldown = max(tip.cooldown_days for tip in self._playbook.tips.values())
        by_id = {query.supplier_id: query for query, _ in candidates}
        history = await read_history_of(conn, list(by_id), as_of=now, cooldown_days=cooldown)
        # If the frequency cap kept back one tip today, it keeps back all others.
        is_capped = pl.col("scored_today") & (pl.col("last_reason") == FREQUENCY_CAP)
        capped = set(history.filter(is_capped)["supplier_id"])
        asked = [(query, names) for query, names in candidates if query.supplier_id not in capped]
        results, newly_capped = await asyncio.to_thread(self._evaluate, asked, history, now)
        if not results.is_empty():
            await queries.insert_tip_interventions(conn, results)
        capped.update(newly_capped)
        shown = [
            (supplier_id, trigger.removeprefix(TIP_PREFIX), intervention_id)
            for supplier_id, trigger, intervention_id in results.filter(
                pl.col("status") == "triggered"
            )
            .select("supplier_id", "trigger", "id")
            .iter_rows()
        ]
        if shown:
            await queries.upsert_impressions(
                conn, [(*impression, by_id[impression[0]].page, now) for impression in shown]
            )
        choices = {by_id[supplier_id]: TipChoice(is_capped=True) for supplier_id in capped}
        return choices | {by_id[supplier_id]: TipChoice(tip) for supplier_id, tip, _ in shown}

    def _evaluate(
        self, asked: list[tuple[TipQuery, list[str]]], history: pl.DataFrame, now: datetime
    ) -> tuple[pl.DataFrame, list[str]]:
        """Put the candidates through the eligibility check.

        Returns:
            New rows for the intervention log, for each supplier down to the first tip that is
            shown, in the holdout, or over the frequency cap; and the suppliers over the cap, also
            those whose row repeats an earlier one and is left out.
        """
        scored = pl.DataFrame(
            [{name: query.row.get(name) for name in _SCHEMA} for query, _ in asked], schema=_SCHEMA
        )
        candidates = pl.DataFrame(
            [(query.supplier_id, TIP_PREFIX + name) for query, names in asked for name in names],
            schema={"supplier_id": pl.String(), "trigger": pl.String()},
            orient="row",
        )
        always = dict.fromkeys(self._policy.triggers, pl.lit(True))
        proposed = propose(scored, self._policy, always).join(
            candidates, on=["supplier_id", "trigger"], how="semi"
        )
        checked = check_eligibility(proposed, history, _NO_TASKS, frozenset(), self._policy, now)
        is_last = ((pl.col("status") != "skipped") | (pl.col("reason") == FREQUENCY_CAP)).cast(
            pl.Int64
        )
        checked = checked.sort(
            ["supplier_id", "priority", "trigger"], descending=[False, True, False]
        ).filter(is_last.cum_sum().over("supplier_id") - is_last == 0)
        capped = checked.filter(pl.col("reason") == FREQUENCY_CAP)["supplier_id"].to_list()
        rows = make_interventions(
            checked.filter("is_new"), scored, self._policy, now, self._version or 0, replay=False
        )
        return rows, capped
