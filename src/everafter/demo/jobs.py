"""MetricText a simulated history to the product by its own roads: take in, fold, score, one moment
after the other."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta

from everafter.activity.queries import fold_pending
from everafter.core.db import Connection, FrameReader, connection
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.demo.coach import OFFERED_DAYS, offer_next_steps
from everafter.demo.model import Market, World
from everafter.demo.queries import live_the_past
from everafter.demo.rules import events_between, month_starts, said_between
from everafter.events.ingest import take_in
from everafter.events.queries import ensure_months
from everafter.playbook.model import Playbook
from everafter.recommendations.jobs import measure_impressions

_BATCH = 20_000


async def generate(
    url: str,
    playbook: Playbook,
    market: Market,
    world: World,
    moments: list[datetime],
    told_until: datetime | None,
    progress: Callable[[datetime], None],
) -> RunSummary | None:
    """Bring the database to each moment in turn and score it there; only the last one's messages
    may be sent.

    Stopped anywhere and told again, it goes on: batches are whole, and a message counts once.

    Args:
        moments: in order; the last is now.
        told_until: the last event that is stored already, null for none.
        progress: called with each moment that is done.

    Returns:
        The summary of the last run, null when there are no moments.
    """
    summary: RunSummary | None = None
    async with connection(url, autocommit=True) as conn:
        with closing(await asyncio.to_thread(FrameReader, url)) as reader:
            for place, moment in enumerate(moments):
                await load(conn, market, world, told_until, moment)
                told_until = moment
                if place == len(moments) - 1:
                    await live_the_past(conn)
                summary = await run_day(url, playbook, moment, replay=place < len(moments) - 1)
                if timedelta() < moments[-1] - moment <= timedelta(days=OFFERED_DAYS):
                    await offer_next_steps(conn, reader, playbook, market, moment)
                progress(moment)
            if moments:
                await measure_impressions(conn, playbook, moments[-1].date())
    return summary


async def load(
    conn: Connection, market: Market, world: World, after: datetime | None, until: datetime
) -> int:
    """Store what happens between two moments, and fold it.

    Returns:
        How many events were new.
    """
    checked = await asyncio.to_thread(events_between, market, after, until)
    said = said_between(market, world, after, until)
    if checked.good.height:
        first, last = checked.good["occurred_at"][0], checked.good["occurred_at"][-1]
        await ensure_months(conn, month_starts(first.date(), last.date()))
    new = 0
    for begin in range(0, max(1, checked.good.height), _BATCH):
        async with conn.transaction():
            part = type(checked)(checked.good.slice(begin, _BATCH), checked.rejects)
            outcome = await take_in(conn, part, said if begin == 0 else [], source="demo")
        new += outcome.stored.new
    while await fold_pending(conn):
        pass
    return new
