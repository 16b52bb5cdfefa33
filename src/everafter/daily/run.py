"""The daily run: read a slice of suppliers once, score it with pure functions, write it in bulk in
one transaction.

While one slice is scored, the next is read and the previous one written, each on its own
connection. A slice is done when its transaction is committed. A run that was killed resumes after
the last slice that is done, with the moment and the playbook it began with."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import perf_counter

import polars as pl

from everafter.activity.feature_queries import name_features, with_features
from everafter.activity.feature_rules import assign_slots
from everafter.activity.queries import get_feature_ids
from everafter.core.db import Connection, FrameReader, connection
from everafter.core.errors import ConflictError, InputError
from everafter.daily import queries
from everafter.daily.model import (
    RunSummary,
    SliceFigures,
    add_slices,
    list_feed_states,
    summarize_slice,
)
from everafter.daily.snapshots import plan_snapshots
from everafter.feeds.jobs import examine_feeds, record_feeds
from everafter.feeds.model import Outage
from everafter.folding import fold_events
from everafter.interventions.eligibility import check_eligibility
from everafter.interventions.outcome_queries import read_windows, record_outcomes
from everafter.interventions.outcome_rules import compile_successes, find_outcomes
from everafter.interventions.queries import (
    get_suppressed,
    insert_interventions,
    read_history,
    read_open_tasks,
)
from everafter.interventions.rules import (
    find_resting,
    make_interventions,
    make_messages,
    make_tasks,
    propose,
)
from everafter.learning.jobs import train_when_due
from everafter.learning.queries import get_models
from everafter.learning.snapshot_queries import finish_snapshots, save_snapshots
from everafter.learning.snapshot_rules import snapshot_rows
from everafter.onboarding.celebration_rules import (
    celebrated_in,
    propose_celebrations,
    with_celebrations,
)
from everafter.onboarding.model import Watch
from everafter.onboarding.queries import (
    get_watch,
    join_progress,
    keep_progress,
    mark_celebrated_by_email,
    read_progress,
    read_waiting,
    record_milestones,
)
from everafter.onboarding.rules import find_fresh, find_milestones, find_progress
from everafter.playbook.model import Playbook
from everafter.playbook.queries import ensure_playbook_version
from everafter.playbook.rules import compile_conditions
from everafter.recommendations.jobs import recommend_by_email
from everafter.recommendations.queries import insert_impressions
from everafter.scoring.platform import PlatformState
from everafter.scoring.rules import churn_rows, health_rows, score_suppliers
from everafter.seasonality.jobs import measure_season
from everafter.signals.queries import read_inputs, read_past_inputs

SLICE = 20_000
"""Suppliers in a slice."""

Progress = Callable[[int, int], None]
"""Called with (suppliers done, suppliers in all)."""

_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Context:
    """What all slices of a run have in common.

    Attributes:
        conditions: by trigger (playbook.rules.compile_conditions).
        feature_ids: slots of the features in `feature_days`.
        suppressed: from interventions.queries.get_suppressed.
        replay: the day is a past one: nothing is sent.
        from_events: the activity is folded again from the events before `as_of`, because later
            ones have been folded already.
        watch: which milestones the run before looked for.
        successes: by trigger (interventions.outcome_rules.compile_successes).
        platform: the season and what else all suppliers have in common.
        outages: of the feeds, as known at that moment.
        resting: triggers that depend on a stopped feed.
        snapshot_month: the month whose snapshots this run takes; null: they have been taken.
    """

    playbook: Playbook
    conditions: dict[str, pl.Expr]
    as_of: datetime
    feature_ids: dict[str, int]
    suppressed: frozenset[str]
    playbook_version: int
    replay: bool
    from_events: bool
    watch: Watch
    successes: dict[str, pl.Expr]
    platform: PlatformState
    outages: list[Outage]
    resting: frozenset[str]
    snapshot_month: date | None

    @property
    def cooldown_days(self) -> int:
        """The playbook's longest cooldown."""
        return max(
            (trigger.cooldown_days for trigger in self.playbook.triggers.values()), default=0
        )


@dataclass(frozen=True, slots=True)
class SliceInputs:
    """What is read for a slice: the suppliers with ids above `after`, up to `last`."""

    after: str
    last: str
    suppliers: pl.DataFrame
    history: pl.DataFrame
    open_tasks: pl.DataFrame
    waiting: pl.DataFrame
    windows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class SliceResults:
    """The rows that a slice writes, and its scored frame."""

    scored: pl.DataFrame
    health: pl.DataFrame
    churn: pl.DataFrame
    results: pl.DataFrame
    messages: pl.DataFrame
    tasks: pl.DataFrame
    milestones: pl.DataFrame
    progress: pl.DataFrame
    outcomes: pl.DataFrame
    snapshots: pl.DataFrame
    figures: SliceFigures


async def run_day(
    url: str,
    playbook: Playbook,
    as_of: datetime | None = None,
    *,
    replay: bool = False,
    dry_run: bool = False,
    train: bool = True,
    progress: Progress | None = None,
    slice_size: int = SLICE,
    reader: FrameReader | None = None,
) -> RunSummary:
    """Score every supplier as of a moment, evaluate the triggers, and write the results.

    Args:
        as_of: null means now, or the moment of today's run if that was interrupted. A moment
            before the last event is scored from the events before it.
        replay: the day is a past one: messages are recorded and never sent.
        dry_run: write nothing; the summary says what would be written.
        train: train the models of churn if the run takes its month's snapshots, or if they were
            not trained on yet (a few seconds).
        slice_size: suppliers in a slice.
        reader: to read with; it stays open. Null: one is opened for this run (about 40 ms).

    Returns:
        The day's figures, counted from its rows at the end of the run: the same whether it ran
        through, was killed and resumed, or was repeated. Of a dry run: what it would add.

    Raises:
        ConflictError: another run is in progress, or a replay of a day scored live.
        InputError: `as_of` is in the future, or before the first event.
    """
    started = perf_counter()
    async with _open_reader(url, reader) as reading, connection(url, autocommit=True) as conn:
        if not dry_run:
            await _prepare(conn, playbook)
        context, total, after = await _open_run(
            conn, reading, playbook, as_of, replay=replay, dry_run=dry_run
        )
        async with connection(url, autocommit=True) as recommending:
            slices = await _run_slices(
                conn,
                recommending,
                reading,
                context,
                after,
                total,
                dry_run,
                progress,
                slice_size,
            )
        summary = RunSummary(
            as_of=context.as_of,
            playbook_version=context.playbook_version,
            replay=context.replay,
            dry_run=dry_run,
            feeds=list_feed_states(context.outages, context.as_of),
        )
        if dry_run:
            add_slices(summary, slices)
        else:
            await queries.add_figures(conn, summary, context.as_of.date())
        summary.seconds = round(perf_counter() - started, 3)
        if not dry_run:
            if context.snapshot_month is not None:
                await finish_snapshots(conn, context.snapshot_month)
            await queries.finish_run(conn, context.as_of.date(), summary)
            await queries.unlock_runs(conn)
    if train and not dry_run:
        await train_when_due(url, context.as_of)
    return summary


@contextlib.asynccontextmanager
async def _open_reader(url: str, reader: FrameReader | None) -> AsyncGenerator[FrameReader]:
    """The given reader, or one of its own that is closed at the end."""
    if reader is not None:
        yield reader
        return
    own = FrameReader(url)
    try:
        yield own
    finally:
        await asyncio.to_thread(own.close)


async def _prepare(conn: Connection, playbook: Playbook) -> None:
    """Lock out other runs, fold what is pending, and give the playbook's features their slots.

    Raises:
        ConflictError: another run is in progress.
    """
    if not await queries.lock_runs(conn):
        raise ConflictError(
            "another run is in progress on this database; try again when it has finished"
        )
    while await fold_events(conn):
        pass
    await name_features(conn, playbook.features)


async def _open_run(
    conn: Connection,
    reader: FrameReader,
    playbook: Playbook,
    as_of: datetime | None,
    *,
    replay: bool,
    dry_run: bool,
) -> tuple[Context, int, str]:
    """Decide on the moment, the playbook version and the first supplier, and measure the season.

    Returns:
        The context, the number of suppliers in all, and the last supplier id that is done.
    """
    now = datetime.now(UTC)
    total, first_event, last_event = await queries.get_bounds(conn)
    moment = as_of
    if moment is None:
        moment = (None if dry_run else await queries.get_unfinished_run(conn, now.date())) or now
    else:
        _check_moment(moment, now, total, first_event)
    version, after = 0, queries.FIRST_ID
    moment = moment.astimezone(UTC)  # its date is the day scored, whatever the caller's time zone
    if not dry_run:
        version = await ensure_playbook_version(conn, playbook)
        async with conn.transaction():
            after = await queries.start_run(conn, moment, version, replay=replay)
    from_events = as_of is not None and last_event is not None and last_event >= moment
    known = {} if from_events else await get_feature_ids(conn)
    peers = await measure_season(
        conn,
        reader,
        moment,
        first_event_at=first_event,
        from_events=from_events,
        dry_run=dry_run,
    )
    find_feeds = examine_feeds if dry_run else record_feeds
    finding = await find_feeds(conn, moment, from_events=from_events)
    context = Context(
        playbook=with_celebrations(playbook),
        conditions=compile_conditions(playbook),
        as_of=moment,
        feature_ids=assign_slots(known, playbook.features),
        suppressed=await get_suppressed(conn),
        playbook_version=version,
        replay=replay,
        from_events=from_events,
        watch=await get_watch(conn, playbook, moment.date()),
        successes=compile_successes(playbook),
        platform=PlatformState(
            peers=peers, feeds=finding.feeds, churn=await get_models(conn, moment)
        ),
        outages=finding.outages,
        resting=find_resting(playbook, finding.feeds),
        snapshot_month=None if dry_run else await plan_snapshots(conn, moment),
    )
    return context, total, after


def _check_moment(
    moment: datetime, now: datetime, suppliers: int, first_event: datetime | None
) -> None:
    if moment > now + _CLOCK_SKEW:
        raise InputError(f"as of {moment:%Y-%m-%d %H:%M}: this is in the future")
    if first_event is not None and moment < first_event:
        raise InputError(
            f"as of {moment:%Y-%m-%d}: the first event is from {first_event:%Y-%m-%d %H:%M} UTC"
        )
    if first_event is None and suppliers == 0:
        raise InputError(
            f"as of {moment:%Y-%m-%d}: there are no suppliers and no events yet; import or send"
            " some first"
        )


async def _run_slices(
    conn: Connection,
    recommending: Connection,
    reader: FrameReader,
    context: Context,
    after: str,
    total: int,
    dry_run: bool,
    progress: Progress | None,
    slice_size: int,
) -> list[SliceFigures]:
    """Score slice by slice, reading one ahead and writing one behind."""
    ends = await queries.list_slice_ends(conn, after=after, size=slice_size)
    starts = [after, *ends[:-1]]
    done, figures = 0, list[SliceFigures]()
    unnamed = conn if dry_run else None
    reading = (
        asyncio.create_task(_read(reader, context, starts[0], ends[0], unnamed)) if ends else None
    )
    writing: asyncio.Task[None] | None = None
    try:
        for number in range(len(ends)):
            assert reading is not None  # noqa: S101 set above and at the end of each turn
            inputs = await reading
            following = number + 1
            reading = None
            if following < len(ends):
                reading = asyncio.create_task(
                    _read(reader, context, starts[following], ends[following], unnamed)
                )
            results = await asyncio.to_thread(score_slice, inputs, context)
            figures.append(results.figures)
            if not dry_run:
                # Before waiting for the previous slice: this takes longer than writing it, and
                # nothing in it depends on that slice.
                recommended = await recommend_by_email(
                    recommending,
                    results.messages,
                    results.scored,
                    context.playbook,
                    context.as_of,
                    of_now=not context.from_events,
                )
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_write(conn, inputs, results, recommended, context))
            done += inputs.suppliers.height
            if progress:
                progress(done, total)
        if writing is not None:
            await writing
    except BaseException:
        for task in (reading, writing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(BaseException):
                    await task
        raise
    return figures


async def _read(
    reader: FrameReader, context: Context, after: str, last: str, unnamed: Connection | None
) -> SliceInputs:
    """Read a slice.

    Args:
        unnamed: in a dry run, the connection to read features with that have no slot yet: a real
            run would have given them one.
    """
    if context.from_events:
        suppliers = await read_past_inputs(
            reader, context.feature_ids, context.as_of, after=after, last=last
        )
    else:
        suppliers = await read_inputs(reader, after=after, last=last)
        if unnamed is not None:
            suppliers = await with_features(
                unnamed, suppliers, context.feature_ids, after=after, last=last
            )
    progress = await asyncio.to_thread(
        read_progress, reader, context.playbook, context.as_of, after=after, last=last
    )
    return SliceInputs(
        after,
        last,
        join_progress(suppliers, progress),
        await read_history(
            reader,
            after=after,
            last=last,
            as_of=context.as_of,
            cooldown_days=context.cooldown_days,
            replay=context.replay,
        ),
        await read_open_tasks(reader, after=after, last=last),
        await read_waiting(reader, context.playbook, context.as_of, after=after, last=last),
        await read_windows(reader, after=after, last=last, day=context.as_of.date()),
    )


def score_slice(inputs: SliceInputs, context: Context) -> SliceResults:
    """Score a slice and evaluate its triggers. Pure: no I/O, no clock."""
    playbook, as_of = context.playbook, context.as_of
    scored = score_suppliers(
        inputs.suppliers, playbook, as_of, context.feature_ids, context.platform
    )
    milestones = find_fresh(
        find_milestones(scored, playbook, as_of), scored, playbook, context.watch, as_of
    )
    celebrations = propose_celebrations(
        scored, inputs.waiting, milestones, inputs.history, playbook, as_of
    )
    proposed = pl.concat([propose(scored, playbook, context.conditions), celebrations])
    new = check_eligibility(
        proposed,
        inputs.history,
        inputs.open_tasks,
        context.suppressed,
        playbook,
        as_of,
        context.resting,
    ).filter("is_new")
    results = make_interventions(
        new,
        scored,
        playbook,
        as_of,
        context.playbook_version,
        replay=context.replay,
    )
    return SliceResults(
        scored=scored,
        health=health_rows(scored, as_of, context.playbook_version),
        churn=churn_rows(scored, as_of, context.platform.churn),
        results=results,
        messages=make_messages(results, scored, playbook, as_of, replay=context.replay),
        tasks=make_tasks(results, scored, replay=context.replay),
        milestones=milestones,
        progress=find_progress(scored, playbook, as_of),
        outcomes=find_outcomes(scored, inputs.windows, context.successes, as_of.date()),
        snapshots=snapshot_rows(scored, as_of),
        figures=summarize_slice(scored, new),
    )


async def _write(
    conn: Connection,
    inputs: SliceInputs,
    rows: SliceResults,
    recommended: tuple[pl.DataFrame, pl.DataFrame],
    context: Context,
) -> None:
    day = context.as_of.date()
    messages, recommendations = recommended
    celebrated = celebrated_in(rows.results)
    async with conn.transaction():
        await queries.save_scores(
            conn, rows.health, rows.churn, day=day, after=inputs.after, last=inputs.last
        )
        if context.snapshot_month is not None:
            await save_snapshots(
                conn,
                rows.snapshots,
                month=context.snapshot_month,
                after=inputs.after,
                last=inputs.last,
            )
        await record_outcomes(conn, rows.outcomes)
        await insert_interventions(conn, rows.results, messages, rows.tasks)
        if not context.replay:
            await insert_impressions(conn, recommendations, "email", day)
        # In the order in which a reported action writes both, or the two could deadlock.
        await keep_progress(conn, rows.progress)
        await record_milestones(conn, rows.milestones)
        if not context.replay:
            await mark_celebrated_by_email(conn, celebrated, context.as_of)
        await queries.save_slice(conn, day=day, last=inputs.last, figures=rows.figures)
