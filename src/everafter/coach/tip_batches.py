"""Where a new tip is decided: behind the one eligibility check, one decision about a supplier at a
time, however many tabs and servers ask.

Requests that arrive while one decision is under way are decided together in the next, as in
health.live: the eligibility check's frames cost the same for one supplier or a hundred."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from everafter.coach import queries
from everafter.coach.model import NO_MILESTONES, CoachState
from everafter.coach.rules import (
    find_new_tips,
    find_open_tip,
    is_resting,
    rest_since,
    with_tips_as_triggers,
)
from everafter.core.db import Connection, Pool
from everafter.interventions.eligibility import check_eligibility
from everafter.interventions.model import FREQUENCY_CAP
from everafter.interventions.rules import make_interventions, propose
from everafter.playbook.model import TIP_PREFIX, Playbook
from everafter.playbook.queries import ensure_playbook_version
from everafter.signals.model import SIGNAL_SCHEMA

_MOST_AT_ONCE = 200
_ASKED: dict[str, Any] = {
    "supplier_id": pl.String(),
    "name": pl.String(),
    "email": pl.String(),
    "timezone": pl.String(),
    "consent": pl.Boolean(),
    **SIGNAL_SCHEMA,
}
_NO_TASKS = pl.DataFrame(schema={"supplier_id": pl.String(), "kind": pl.String()})


@dataclass(frozen=True, slots=True)
class Ask:
    """May one of these tips be shown? state: as the request found it; row: scored; here: the tips
    that apply on this page."""

    state: CoachState
    row: dict[str, Any]
    here: tuple[str, ...]
    page: str | None

    @property
    def supplier_id(self) -> str:
        return str(self.state.supplier_id)


@dataclass(frozen=True, slots=True)
class Decision:
    """tip: to show, null: none on this page. is_full: the week's attention is used up, so there is
    none on any page today."""

    tip: str | None = None
    is_full: bool = False


class NotNowError(Exception):
    """No new tip can be decided at this moment."""


class TipBatcher:
    """Decides about new tips. One per server process."""

    def __init__(self, pool: Pool, playbook: Playbook) -> None:
        self._pool, self._playbook = pool, playbook
        self._policy = with_tips_as_triggers(playbook)
        self._version: int | None = None
        self._waiting: list[tuple[Ask, asyncio.Future[Decision]]] = []
        self._working: asyncio.Task[None] | None = None

    async def decide(self, ask: Ask) -> Decision:
        """The tip to show, if one may be; what the eligibility check kept back is in the
        intervention log with its reason.

        Raises: NotNowError: the day's run is deciding, or too many wait: the next page view may ask
            again."""
        if len(self._waiting) >= _MOST_AT_ONCE:
            raise NotNowError
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """End the work under way."""
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            batch: dict[str, tuple[Ask, asyncio.Future[Decision]]] = {}
            later: list[tuple[Ask, asyncio.Future[Decision]]] = []
            for ask, future in self._waiting:
                if ask.supplier_id in batch or len(batch) >= _MOST_AT_ONCE:
                    later.append((ask, future))
                else:
                    batch[ask.supplier_id] = (ask, future)
            self._waiting = later
            try:
                triggered = await self._decide([ask for ask, _ in batch.values()])
            except Exception as error:
                for _, future in batch.values():
                    if not future.done():
                        future.set_exception(error)
                continue
            for supplier_id, (_, future) in batch.items():
                if not future.done():
                    future.set_result(triggered.get(supplier_id, Decision()))

    async def _decide(self, asks: list[Ask]) -> dict[str, Decision]:
        now = datetime.now(UTC)
        async with self._pool.connection() as conn:
            if self._version is None:
                self._version = await ensure_playbook_version(conn, self._playbook)
                await conn.commit()
            if not await queries.may_spend(conn):
                raise NotNowError
            await queries.lock_tips(conn, sorted(ask.supplier_id for ask in asks))
            triggered: dict[str, Decision] = {}
            open_: list[tuple[Ask, list[str]]] = []
            ids = [ask.state.supplier_id for ask in asks]
            fresh = await queries.list_states(
                conn, ids, NO_MILESTONES, rest_since(self._playbook, now)
            )
            states = {str(state.supplier_id): state for state in fresh}
            for ask in asks:
                if (state := states.get(ask.supplier_id)) is None:
                    continue  # deleted a moment ago
                found, new = self._look_again(state, ask, now)
                if found is not None:
                    triggered[ask.supplier_id] = Decision(found)
                elif new:
                    open_.append((ask, new))
            if open_:
                triggered |= await self._check_eligibility(conn, open_, now)
        return triggered

    def _look_again(
        self, state: CoachState, ask: Ask, now: datetime
    ) -> tuple[str | None, list[str]]:
        """Behind the lock, what another tab may have settled meanwhile: the tip that is open, or
        those that may be new."""
        if found := find_open_tip(ask.here, state.tips, self._playbook.tips, now):
            return found, []
        if is_resting(state.last_tip_at, self._playbook.coach.hours_between_tips, now):
            return None, []
        return None, find_new_tips(
            ask.here, state.tips, self._playbook.tips, now, off_season=bool(ask.row["off_season"])
        )

    async def _check_eligibility(
        self, conn: Connection, asks: list[tuple[Ask, list[str]]], now: datetime
    ) -> dict[str, Decision]:
        cooldown = max(tip.cooldown_days for tip in self._playbook.tips.values())
        history = await queries.read_history_of(
            conn, [ask.supplier_id for ask, _ in asks], now, cooldown
        )
        # what one tip was refused today for want of room, every other would be too
        full = set(
            history.filter(pl.col("scored_today") & (pl.col("last_reason") == FREQUENCY_CAP))[
                "supplier_id"
            ]
        )
        asked = [(ask, names) for ask, names in asks if ask.supplier_id not in full]
        passed, refused = await asyncio.to_thread(self._score, asked, history, now)
        if not passed.is_empty():
            await queries.insert_tip_interventions(conn, passed)
        full.update(refused)
        shown = (
            passed.filter(pl.col("status") == "triggered")
            .select("supplier_id", "trigger", "id")
            .rows()
        )
        if shown:
            pages = {ask.supplier_id: ask.page for ask, _ in asks}
            await queries.upsert_shown(
                conn,
                [
                    (supplier, trigger.removeprefix(TIP_PREFIX), identity, pages[supplier], now)
                    for supplier, trigger, identity in shown
                ],
            )
        triggered = {supplier: Decision(is_full=True) for supplier in full}
        return triggered | {
            supplier: Decision(trigger.removeprefix(TIP_PREFIX)) for supplier, trigger, _ in shown
        }

    def _score(
        self, asks: list[tuple[Ask, list[str]]], history: pl.DataFrame, now: datetime
    ) -> tuple[pl.DataFrame, list[str]]:
        """The intervention log's new rows, for each supplier down to the first tip that is shown,
        in the holdout, or over the budget; and for whom the week is used up, which is no news where
        it was so yesterday."""
        scored = pl.DataFrame(
            [{name: ask.row.get(name) for name in _ASKED} for ask, _ in asks], schema=_ASKED
        )
        may = pl.DataFrame(
            [(ask.supplier_id, TIP_PREFIX + name) for ask, names in asks for name in names],
            schema={"supplier_id": pl.String(), "trigger": pl.String()},
            orient="row",
        )
        always = dict.fromkeys(self._policy.triggers, pl.lit(True))
        proposed = propose(scored, self._policy, always).join(
            may, on=["supplier_id", "trigger"], how="semi"
        )
        passed = check_eligibility(proposed, history, _NO_TASKS, frozenset(), self._policy, now)
        ends = (pl.col("status") != "skipped") | (pl.col("reason") == FREQUENCY_CAP)
        passed = passed.sort(
            ["supplier_id", "priority", "trigger"], descending=[False, True, False]
        ).filter(ends.cast(pl.Int64).cum_sum().over("supplier_id") - ends.cast(pl.Int64) == 0)
        full = passed.filter(pl.col("reason") == FREQUENCY_CAP)["supplier_id"].to_list()
        results = passed.filter("is_new")
        return make_interventions(
            results, scored, self._policy, now, self._version or 0, replay=False
        ), full
