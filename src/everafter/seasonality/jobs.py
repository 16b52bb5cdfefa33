"""Bringing the peer activity index up to date: the first step of a daily run."""

import asyncio
from datetime import UTC, datetime, timedelta

from everafter.activity.model import USE_SLOTS
from everafter.core.db import Connection, FrameReader
from everafter.seasonality import queries
from everafter.seasonality.bit_rules import WINDOW
from everafter.seasonality.count_rules import counts_from_events, to_counts
from everafter.seasonality.history_rules import History, PeerCounts, advance, to_peer_activity
from everafter.seasonality.model import KEPT_DAYS, RATE_DAYS, PeerActivity
from everafter.seasonality.table_rules import index_rows, norms_rows

_RING_DAYS = USE_SLOTS - RATE_DAYS - 7
"""Days that can be made up for from the ring buffers; what was missed before is counted from
events."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def measure_season(
    conn: Connection,
    reader: FrameReader,
    as_of: datetime,
    *,
    first_event_at: datetime | None,
    from_events: bool,
    dry_run: bool,
) -> PeerActivity | None:
    """Measure the days that are over and not measured yet, and return the index.

    Repeating it changes nothing: a day that is measured stays as it is.

    Args:
        conn: outside a transaction.
        from_events: count from events, because the ring buffers have gone on since `as_of`.
        dry_run: write nothing.

    Returns:
        Null: there is no day to measure.
    """
    until = int(as_of.timestamp() // 86_400) - 1
    history = await asyncio.to_thread(queries.read_days, reader, until)
    if first_event_at is None:
        return None
    first_event = int(first_event_at.timestamp() // 86_400)
    if history.days and history.last_day >= until:
        return to_peer_activity(history)
    if until < first_event:
        return None
    missing = until - history.last_day
    from_rings = not from_events and (not history.days or missing <= _RING_DAYS)
    if not history.days:
        reach = USE_SLOTS if from_rings else KEPT_DAYS
        history = History(max(first_event, until - reach + 1), [])
    first_new = history.last_day + 1
    counts = (
        await _from_rings(reader, until)
        if from_rings
        else await _from_events(reader, max(first_event, first_new - WINDOW), until)
    )
    history = await asyncio.to_thread(advance, history, counts, until)
    if not dry_run:
        async with conn.transaction():
            await queries.save_days(
                conn, index_rows(history, first_new), norms_rows(history, first_new)
            )
    return to_peer_activity(history)


async def _from_rings(reader: FrameReader, until: int) -> PeerCounts:
    return await asyncio.to_thread(to_counts, await queries.read_rings(reader), until)


async def _from_events(reader: FrameReader, first: int, until: int) -> PeerCounts:
    suppliers, daily = await queries.read_daily(
        reader, _EPOCH + timedelta(days=first), _EPOCH + timedelta(days=until + 1)
    )
    return await asyncio.to_thread(counts_from_events, suppliers, daily, first, until)
