"""Read the calendars of CSMs every ten minutes, and on request."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from everafter.core.db import Connection, Pool
from everafter.support.calendar_queries import (
    claim_due_feeds,
    list_own_calls,
    mark_failed,
    mark_read,
    mark_unchanged,
    replace_busy_times,
)
from everafter.support.calendar_rules import merge_times
from everafter.support.model import CALENDAR_REACH, BusyTime, Feed, FeedReport, FeedTask

if TYPE_CHECKING:
    from ssl import SSLContext

READ_EVERY_SECONDS = 600
_RECOMPUTE_AFTER = timedelta(hours=20)
_CONCURRENCY = 4

Connecting = Callable[[], AbstractAsyncContextManager[Connection]]


async def read_due_calendars(pool: Pool) -> str | None:
    """Read all calendars that were not read for ten minutes.

    Returns:
        New failures for the log; null: none.
    """
    async with pool.connection() as conn:
        due = await claim_due_feeds(conn, READ_EVERY_SECONDS)
    turn = asyncio.Semaphore(_CONCURRENCY)

    async def read(feed: Feed) -> str | None:
        async with turn:
            report = await read_calendar(pool.connection, feed)
        return (
            f"the calendar of {feed.email} cannot be read: {report.failure}"
            if report.failure and report.changed
            else None
        )

    return "; ".join(filter(None, await asyncio.gather(*map(read, due)))) or None


async def read_calendar(
    connecting: Connecting, feed: Feed, now: datetime | None = None, tls: "SSLContext | None" = None
) -> FeedReport:
    """Read one calendar and store its busy times. If that fails, keep the earlier ones and store
    the reason.

    No database connection is held while the calendar is fetched.

    Args:
        now: compute busy times from here; null: the current time.
        tls: as in `fetch_calendar`.
    """
    # imports an HTTP client
    from everafter.support.feeds import FeedError, compute_times, fetch_calendar

    begin = now or datetime.now(UTC)
    fresh = feed.worked_out_at is not None and begin - feed.worked_out_at < _RECOMPUTE_AFTER
    try:
        fetched = await fetch_calendar(feed, conditional=fresh, tls=tls)
        if fetched.body is None:
            async with connecting() as conn:
                await mark_unchanged(conn, feed)
            return FeedReport(changed=False)
        # from one hour ago, because meetings can be in progress
        task = FeedTask(
            fetched.body,
            feed.timezone,
            feed.email,
            begin - timedelta(hours=1),
            begin + CALENDAR_REACH,
        )
        times = await compute_times(task)
    except FeedError as error:
        async with connecting() as conn:
            return FeedReport(
                changed=await mark_failed(conn, feed, error.message), failure=error.message
            )
    async with connecting() as conn:
        own = await list_own_calls(conn, [one.uid for one in times.busy if one.uid])
        busy = merge_times(
            BusyTime(one.starts_at, one.ends_at) for one in times.busy if one.uid not in own
        )
        if await mark_read(conn, feed, fetched.etag, fetched.last_modified, times):
            await replace_busy_times(conn, feed.user_id, busy)
    return FeedReport(len(busy), times.events, times.unread, reasons=times.reasons)
