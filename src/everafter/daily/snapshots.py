"""Monthly snapshots: taken by the first run of a month, or afterwards from the stored events.

What is learned from them is in everafter.learning."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from everafter.activity.feature_rules import assign_slots
from everafter.core.db import Connection, FrameReader, connection
from everafter.core.errors import ConflictError
from everafter.daily.queries import FIRST_ID, list_slice_ends, lock_out_runs, unlock_runs
from everafter.feeds.queries import read_feeds
from everafter.folding import fold_events
from everafter.learning import queries, snapshot_queries
from everafter.learning.jobs import Outcome, has_closed, train_as_of
from everafter.learning.snapshot_rules import list_months, month_of, snapshot_rows
from everafter.playbook.model import Playbook
from everafter.scoring.platform import PlatformState
from everafter.scoring.rules import score_suppliers
from everafter.seasonality.jobs import measure_season
from everafter.seasonality.queries import read_last_day
from everafter.signals.queries import read_past_inputs

SLICE = 20_000
"""Suppliers in a slice of a backfill."""
FEWEST_DAYS = 28
"""Days of events that the first snapshot of a backfill needs: signals look back four weeks."""

Progress = Callable[[int, int], None]
"""Called with (months done, months in all)."""


async def plan_snapshots(conn: Connection, moment: datetime) -> date | None:
    """Whether the run of a moment takes the snapshots of its month: it is the first that came to
    its end, or a repetition of that.

    Returns:
        The month; null: its snapshots have been taken.
    """
    month = month_of(moment.date())
    known = await snapshot_queries.get_snapshot_month(conn, month)
    if known is not None:
        is_same_day = known.snapshot_at.astimezone(UTC).date() == moment.date()
        if known.finished_at is not None and not is_same_day:
            return None
        if known.snapshot_at == moment and not known.backfilled:
            return month
    await snapshot_queries.begin_snapshots(conn, month, moment, backfilled=False)
    return month


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill did. written: months; known: months that had snapshots already."""

    written: list[date]
    known: list[date]
    snapshots: int
    trainings: list[Outcome]


async def backfill_snapshots(
    url: str,
    playbook: Playbook,
    first: date | None,
    progress: Progress | None = None,
    slice_size: int = SLICE,
) -> Backfill:
    """Take the snapshots of past months from the events before them, and train as of each month.

    Months that have snapshots are left as they are. A backfill that was interrupted goes on with
    the month that it was writing; one whose training failed trains again.

    Args:
        first: the first month begins on this day or later; null: four weeks after the first event.

    Raises:
        ConflictError: a daily run or another backfill is in progress; both measure the season.
    """
    reader = await asyncio.to_thread(FrameReader, url)
    try:
        async with connection(url, autocommit=True) as conn:
            if not await lock_out_runs(conn):
                raise ConflictError(
                    "a daily run or another backfill is in progress on this database; try again"
                    " when it has finished"
                )
            while await fold_events(conn):
                pass
            months = await _list_due(conn, first)
            measured = await asyncio.to_thread(read_last_day, reader)
            known = [
                one.month
                for one in await snapshot_queries.list_snapshot_months(conn)
                if one.finished_at
            ]
            due = [month for month in months if month not in known]
            written = 0
            for number, month in enumerate(due):
                as_of = datetime.combine(month, time(), tzinfo=UTC)
                platform = await _measure(conn, reader, as_of, is_new=measured is None)
                written += await _write_month(conn, reader, playbook, as_of, platform, slice_size)
                if progress:
                    progress(number + 1, len(due))
            moments = await _list_moments(conn)
            untrained = set(moments) - await queries.list_trained(conn)
            await unlock_runs(conn)
    finally:
        await asyncio.to_thread(reader.close)
    trainings = await train_as_of(url, moments) if moments and (due or untrained) else []
    return Backfill(due, [month for month in months if month in known], written, trainings)


async def _list_due(conn: Connection, first: date | None) -> list[date]:
    """The months that begin between four weeks after the first event and the last event."""
    begin, end = await snapshot_queries.get_history(conn)
    if begin is None or end is None:
        return []
    earliest = begin.astimezone(UTC).date() + timedelta(days=FEWEST_DAYS)
    last = min(end, datetime.now(UTC)).astimezone(UTC).date()
    return list_months(max(first or earliest, earliest), last)


async def _list_moments(conn: Connection) -> list[datetime]:
    """The moments of the months' snapshots at which an earlier window had closed."""
    months = [one for one in await snapshot_queries.list_snapshot_months(conn) if one.finished_at]
    return [one.snapshot_at for one in months if has_closed(months, one.snapshot_at)]


async def _measure(
    conn: Connection, reader: FrameReader, as_of: datetime, *, is_new: bool
) -> PlatformState:
    """What was known of the platform at a past moment.

    Args:
        is_new: no run has measured the season yet, so what is measured for one month is kept for
            the next. Otherwise the season that the runs measure is left as it is.
    """
    first_event, _ = await snapshot_queries.get_history(conn)
    peers = await measure_season(
        conn, reader, as_of, first_event_at=first_event, from_events=True, dry_run=not is_new
    )
    return PlatformState(peers=peers, feeds=await asyncio.to_thread(read_feeds, reader, as_of))


async def _write_month(
    conn: Connection,
    reader: FrameReader,
    playbook: Playbook,
    as_of: datetime,
    platform: PlatformState,
    slice_size: int,
) -> int:
    """Take the snapshots of a month as of a moment. Returns how many."""
    month = month_of(as_of.date())
    features = assign_slots({}, playbook.features)
    await snapshot_queries.begin_snapshots(conn, month, as_of, backfilled=True)
    after, count = FIRST_ID, 0
    for last in await list_slice_ends(conn, after=FIRST_ID, size=slice_size):
        inputs = await read_past_inputs(reader, features, as_of, after=after, last=last)
        rows = await asyncio.to_thread(_score, inputs, playbook, as_of, features, platform)
        async with conn.transaction():
            await snapshot_queries.save_snapshots(conn, rows, month=month, after=after, last=last)
        count += rows.height
        after = last
    await snapshot_queries.finish_snapshots(conn, month)
    return count


def _score(
    inputs: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    features: dict[str, int],
    platform: PlatformState,
) -> pl.DataFrame:
    return snapshot_rows(score_suppliers(inputs, playbook, as_of, features, platform), as_of)
