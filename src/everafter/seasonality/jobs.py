"""Bringing the peer activity index up to date: the first step of a daily run."""

import asyncio
from datetime import UTC, datetime, timedelta

from everafter.activity.model import USE_SLOTS
from everafter.core.db import Connection, FrameReader
from everafter.seasonality import queries
from everafter.seasonality.bit_rules import WINDOW
from everafter.seasonality.count_model import PeerCounts
from everafter.seasonality.count_rules import counts_from_events, to_counts
from everafter.seasonality.history_rules import (
    History,
    advance,
    drop_changed,
    to_peer_activity,
)
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

    Repeating it changes nothing: a measured day stays as it is, unless events of that day arrived
    later.

    Args:
        conn: outside a transaction.
        from_events: count from events, because the ring buffers hold later events than `as_of`.
        dry_run: write nothing.

    Returns:
        Null: there is no day to measure.
    """
    until = int(as_of.timestamp() // 86_400) - 1
    first_event = until + 1
    if first_event_at is not None:
        first_event = int(first_event_at.timestamp() // 86_400)
    if until < first_event:
        return None
    history = await asyncio.to_thread(queries.read_days, reader, until)
    start = max(first_event, until - (KEPT_DAYS if from_events else USE_SLOTS) + 1)
    if not history.days or history.first_day > start:
        history = History(start, [])  # events of days before the first one measured have arrived
    counts: PeerCounts | None = None
    if not from_events and (not history.days or until - history.last_day <= _RING_DAYS):
        counts = await asyncio.to_thread(to_counts, await queries.read_rings(reader), until)
        history = drop_changed(history, counts, _RING_DAYS)
    if history.last_day >= until:
        return to_peer_activity(history)
    first_new = history.last_day + 1
    if counts is None:
        counts = await _from_events(reader, max(first_event, first_new - WINDOW), until)
    history = await asyncio.to_thread(advance, history, counts, until)
    if not dry_run:
        async with conn.transaction():
            await queries.save_days(
                conn, index_rows(history, first_new), norms_rows(history, first_new)
            )
    return to_peer_activity(history)


async def _from_events(reader: FrameReader, first: int, until: int) -> PeerCounts:
    suppliers, daily = await queries.read_daily(
        reader, _EPOCH + timedelta(days=first), _EPOCH + timedelta(days=until + 1)
    )
    return await asyncio.to_thread(counts_from_events, suppliers, daily, first, until)
