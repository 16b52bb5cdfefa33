"""Watching the feeds: in the daily run, and between the runs in the worker."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from everafter.core.db import Connection, Pool
from everafter.core.locks import Lock
from everafter.feeds import queries
from everafter.feeds.hour_rules import to_totals
from everafter.feeds.model import Feeds, Outage, make_feeds
from everafter.feeds.notice_rules import describe_change
from everafter.feeds.outage_rules import known_at, lasting, reconcile
from everafter.feeds.rules import find_outages

WATCH_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found as of a moment.

    Attributes:
        feeds: what a score needs to know.
        recorded: all outages to record from now on, also those that ended later.
        outages: those noticed by that moment, as they were known then.
    """

    feeds: Feeds
    recorded: list[Outage]
    outages: list[Outage]


async def examine_feeds(conn: Connection, as_of: datetime, *, from_events: bool = False) -> Finding:
    """Find the feeds that are stopped or halved as of a moment. Writes nothing.

    Args:
        from_events: the moment is a past one: the totals are read from the events before it.
    """
    hours = await (
        queries.read_past_hours(conn, as_of) if from_events else queries.read_hours(conn)
    )
    recorded = await queries.list_outages(conn)
    sent = await queries.list_sent(conn, as_of)
    return await asyncio.to_thread(
        lambda: _conclude(
            find_outages(to_totals(hours), as_of, known_at(recorded, as_of)), recorded, sent, as_of
        )
    )


def _conclude(
    found: list[Outage], recorded: list[Outage], sent: list[str], as_of: datetime
) -> Finding:
    after = reconcile(recorded, found, as_of)
    outages = known_at(after, as_of)
    return Finding(make_feeds(sent, lasting(outages), as_of), after, outages)


async def record_feeds(conn: Connection, as_of: datetime, *, from_events: bool = False) -> Finding:
    """The same, and record what was found, in a transaction. Fills the hourly totals of an older
    installation first."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FEEDS])
        await queries.fill_hours(conn)
        finding = await examine_feeds(conn, as_of, from_events=from_events)
        await queries.save_outages(conn, finding.recorded)
    return finding


async def watch_feeds(pool: Pool) -> str | None:
    """Record outages between the daily runs; a duty of the worker.

    Returns:
        A line for the log; null: nothing has changed.
    """
    now = datetime.now(UTC)
    async with pool.connection() as conn:
        if await queries.is_folding_late(conn, now):
            return None
        before = lasting(await queries.list_outages(conn))
        finding = await record_feeds(conn, now)
    return describe_change(before, lasting(finding.recorded), now)
