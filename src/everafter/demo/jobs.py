"""Load a simulated history as a real one would arrive: store, fold and score, moment by moment."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl

from everafter.core.db import Connection, FrameReader, connection
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.demo.coach import COACH_DAYS, record_recommendations
from everafter.demo.model import Market, World
from everafter.demo.platform_queries import ensure_csms
from everafter.demo.queries import complete_past_tasks, count_past_interventions, list_sent
from everafter.demo.responses import RESPONSE_DAYS, Responses
from everafter.demo.rules import check_simulated, month_starts, updates_between
from everafter.events.ingest import store_batch
from everafter.events.queries import ensure_months
from everafter.folding import fold_events
from everafter.learning.jobs import train_as_of
from everafter.playbook.model import Playbook
from everafter.recommendations.jobs import measure_impressions
from everafter.suppliers.model import TraitUpdate

_BATCH = 20_000


async def generate(
    url: str,
    playbook: Playbook,
    market: Market,
    world: World,
    moments: list[datetime],
    stored_until: datetime | None,
    progress: Callable[[datetime], None],
) -> RunSummary | None:
    """Store, fold and score up to each moment in turn. Only the last run's messages may be sent.

    Suppliers respond to the messages of earlier runs. A stopped call can be repeated: batches are
    transactions, and each event is stored once.

    Args:
        moments: in order; the last is now.
        stored_until: time of the last event already stored, null for none.
        progress: called after each moment.

    Returns:
        The summary of the last run, null when there are no moments.
    """
    summary: RunSummary | None = None
    async with connection(url, autocommit=True) as conn, connection(url, autocommit=True) as ahead:
        responses = await open_responses(conn, market, world, stored_until)
        with closing(await asyncio.to_thread(FrameReader, url)) as reader:
            storing = _Storing(ahead, market, world, moments, stored_until)
            try:
                for place, moment in enumerate(moments):
                    await storing.wait(place)
                    await _store(conn, responses.between(stored_until, moment), [])
                    stored_until = moment  # run_day folds first
                    if place == len(moments) - 1:
                        await count_past_interventions(conn)
                        await ensure_csms(conn)
                        await complete_past_tasks(conn, moment)
                    summary = await run_day(
                        url,
                        playbook,
                        moment,
                        replay=place < len(moments) - 1,
                        train=False,
                        # by now this moment's state has been read, so later events can be stored
                        progress=lambda _, __, following=place + 1: storing.begin(following),
                        reader=reader,
                    )
                    responses.add(await list_sent(conn, moment))
                    if timedelta() < moments[-1] - moment <= timedelta(days=COACH_DAYS):
                        await record_recommendations(conn, reader, playbook, market, moment)
                    progress(moment)
            finally:
                await storing.stop()
            if moments:
                await measure_impressions(conn, playbook, moments[-1].date())
                await train_as_of(url, moments[-1:])
    return summary


class _Storing:
    """Stores the simulated events up to each moment, one moment ahead of the scoring."""

    def __init__(
        self,
        conn: Connection,
        market: Market,
        world: World,
        moments: list[datetime],
        stored_until: datetime | None,
    ) -> None:
        self._conn, self._market, self._world, self._moments = conn, market, world, moments
        self._stored_until = stored_until
        self._tasks: list[asyncio.Task[int]] = []

    def begin(self, place: int) -> None:
        """Start storing the events up to the moment at `place`. Earlier ones are stored."""
        if place == len(self._tasks) and place < len(self._moments):
            after = self._moments[place - 1] if place else self._stored_until
            until = self._moments[place]
            self._tasks.append(
                asyncio.create_task(store(self._conn, self._market, self._world, after, until))
            )

    async def wait(self, place: int) -> None:
        """Wait until the events up to the moment at `place` are stored."""
        self.begin(place)
        await self._tasks[place]

    async def stop(self) -> None:
        """Cancel the running tasks and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def open_responses(
    conn: Connection, market: Market, world: World, stored_until: datetime | None
) -> Responses:
    """Return the suppliers' responses to recent messages from `stored_until` on."""
    end = market.events["occurred_at"][-1] if market.events.height else datetime.now(UTC)
    responses = Responses(market, world.seed, int(end.timestamp()) + 1)
    if stored_until is not None:
        responses.add(await list_sent(conn, stored_until - timedelta(days=RESPONSE_DAYS)))
    return responses


async def load(
    conn: Connection, market: Market, world: World, after: datetime | None, until: datetime
) -> int:
    """Store and fold the events between two moments, including responses to earlier messages.

    Returns:
        How many events were new.
    """
    new = await store(conn, market, world, after, until)
    if after is not None:
        responses = await open_responses(conn, market, world, after)
        new += await _store(conn, responses.between(after, until), [])
    while await fold_events(conn):
        pass
    return new


async def store(
    conn: Connection, market: Market, world: World, after: datetime | None, until: datetime
) -> int:
    """Store the events between two moments, without responses to messages.

    Returns:
        How many events were new.
    """
    begin, end = (
        0 if one is None else market.events["occurred_at"].search_sorted(one, side="left")
        for one in (after, until)
    )
    events = market.events.slice(int(begin), max(0, int(end) - int(begin)))
    return await _store(conn, events, updates_between(market, world, after, until))


async def _store(conn: Connection, events: pl.DataFrame, updates: list[TraitUpdate]) -> int:
    if events.is_empty() and not updates:
        return 0
    checked = await asyncio.to_thread(check_simulated, events)
    if checked.good.height:
        first, last = checked.good["occurred_at"][0], checked.good["occurred_at"][-1]
        await ensure_months(conn, month_starts(first.date(), last.date()))
    new = 0
    for begin in range(0, max(1, checked.good.height), _BATCH):
        async with conn.transaction():
            part = type(checked)(checked.good.slice(begin, _BATCH), checked.rejects)
            outcome = await store_batch(conn, part, updates if begin == 0 else [], source="demo")
        new += outcome.stored.new
    return new
