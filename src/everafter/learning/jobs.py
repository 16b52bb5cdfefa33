"""Train the models: in a process of its own, once a month, after the month's snapshots.

A training that fails is recorded and logged; it never fails the run that started it."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from everafter.core.db import Connection, connection
from everafter.core.errors import ConflictError, EverafterError
from everafter.core.locks import Lock
from everafter.learning import queries, snapshot_queries
from everafter.learning.model import HORIZONS, Fitted, Kind, ModelVersion, SnapshotMonth
from everafter.learning.promotion_rules import Before, choose, find_better
from everafter.learning.snapshot_rules import month_of
from everafter.learning.train import Moment, Request, Result, Trained

log = logging.getLogger("everafter.learning")

TRAINING_SECONDS = 600.0
"""A training that takes longer is killed; a backfill has as much for each month."""
_TREES_DAYS = 62
"""Trees are measured at trainings as of the last two months only; earlier ones are of the past."""
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)


class TrainingError(EverafterError):
    """A training that failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One training. speaking: by horizon, the model that speaks from then on."""

    as_of: datetime
    snapshots: int
    speaking: dict[int, Kind]


async def train_when_due(url: str, as_of: datetime) -> str | None:
    """Train as of this month's snapshots, if a run as of `as_of` has just taken them, or if they
    were not trained on since: that training failed, or was interrupted.

    Never raises: what went wrong is recorded and logged.

    Returns:
        A line for the log; null: nothing was trained.
    """
    try:
        async with connection(url, autocommit=True) as conn:
            month = await snapshot_queries.get_snapshot_month(conn, month_of(as_of.date()))
            if month is None or month.finished_at is None or month.snapshot_at > as_of:
                return None
            moment = month.snapshot_at
            trained = await queries.list_trained(conn)
            if moment < as_of and any(one >= moment for one in trained):
                return None
            if not has_closed(await snapshot_queries.list_snapshot_months(conn), moment):
                return None
        outcomes = await train_as_of(url, [moment])
    except Exception as error:
        log.warning("the models of churn were not trained: %s", describe_error(error))
        return None
    return "; ".join(describe_outcome(one) for one in outcomes)


def has_closed(months: Sequence[SnapshotMonth], as_of: datetime) -> bool:
    """Whether the shortest window of a month's snapshots has closed by a moment."""
    return any(one.snapshot_at + timedelta(days=HORIZONS[0]) <= as_of for one in months)


def describe_outcome(outcome: Outcome) -> str:
    """A line for the log."""
    spoken = ", ".join(f"{kind} for {days} days" for days, kind in outcome.speaking.items())
    return f"trained on {outcome.snapshots:,} snapshots: {spoken}"


def describe_error(error: BaseException) -> str:
    """One line on what went wrong."""
    text = error.message if isinstance(error, EverafterError) else str(error)
    return " ".join(text.split()) or type(error).__name__


async def train_as_of(
    url: str, moments: Sequence[datetime], *, seconds: float = TRAINING_SECONDS
) -> list[Outcome]:
    """Train as of these moments, in order, and store the versions.

    Args:
        seconds: for each moment.

    Raises:
        ConflictError: another training is in progress.
        TrainingError: it failed, or took longer. That is recorded too.
    """
    async with connection(url, autocommit=True) as conn:
        cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", [Lock.TRAIN])
        row = await cursor.fetchone()
        if not (row and row[0]):
            raise ConflictError("another training is in progress; try again when it has finished")
        try:
            return await _train(conn, url, sorted(moments), seconds)
        finally:
            await conn.execute("SELECT pg_advisory_unlock(%s)", [Lock.TRAIN])


async def _train(
    conn: Connection, url: str, moments: Sequence[datetime], seconds: float
) -> list[Outcome]:
    _, last_event = await snapshot_queries.get_history(conn)
    for moment in moments:
        await queries.begin_training(conn, moment)
    trees_from = moments[-1] - timedelta(days=_TREES_DAYS)
    request = Request(
        url, tuple(Moment(one, min(one, last_event or one)) for one in moments), trees_from
    )
    try:
        result = await _run_process(request, seconds * len(moments))
    except BaseException as error:
        for moment in moments:
            await queries.finish_training(conn, moment, error=describe_error(error))
        raise
    return [await _store(conn, one) for one in result.trained]


async def _run_process(request: Request, seconds: float) -> Result:
    """Train in a process of its own.

    Raises:
        TrainingError: it failed, or was killed after `seconds`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "everafter.learning.train",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | _ONE_THREAD,
        start_new_session=True,
    )
    try:
        out, problems = await asyncio.wait_for(
            process.communicate(msgspec.json.encode(request)), seconds
        )
    except TimeoutError as error:
        raise TrainingError(
            f"the training took longer than {seconds:.0f} s, and was ended"
        ) from error
    finally:
        if process.returncode is None:
            # with its children, which would keep its output open
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        found = find_error(problems.decode(errors="replace"))
        raise TrainingError(f"the training failed: {found or f'exit code {process.returncode}'}")
    try:
        return msgspec.json.decode(out, type=Result)
    except msgspec.DecodeError as error:
        raise TrainingError(f"the training failed: its result is not readable: {error}") from error


def find_error(traceback: str) -> str:
    """What went wrong, from the output of a process: the last line that names an exception, else
    the last line.

    >>> find_error("Traceback:\\n  x\\nadbc.ProgrammingError: no column a\\n. SQLSTATE: 42703\\n")
    'adbc.ProgrammingError: no column a'
    >>> find_error("Killed\\n"), find_error("")
    ('Killed', '')
    """
    lines = traceback.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    return (named or lines or [""])[-1]


async def _store(conn: Connection, trained: Trained) -> Outcome:
    speaking: dict[int, Kind] = {}
    reasons: dict[tuple[int, Kind], str] = {}
    earlier = await _list_month_before(conn, trained.as_of)
    for horizon in HORIZONS:
        models = [one for one in trained.models if one.horizon == horizon]
        choice = choose(models, find_before(earlier, horizon))
        speaking[horizon] = choice.speaking
        reasons |= {(horizon, kind): reason for kind, reason in choice.reasons.items()}
    async with conn.transaction():
        await queries.save_versions(conn, trained.as_of, trained.models, speaking, reasons)
        await queries.finish_training(conn, trained.as_of, snapshots=trained.snapshots)
    return Outcome(trained.as_of, trained.snapshots, speaking)


async def _list_month_before(conn: Connection, as_of: datetime) -> list[ModelVersion]:
    """The versions of the latest training as of the calendar month before."""
    this_month = datetime.combine(month_of(as_of.date()), datetime.min.time(), tzinfo=UTC)
    last_moment = this_month - timedelta(microseconds=1)
    first = month_of(last_moment.date())
    since = datetime.combine(first, datetime.min.time(), tzinfo=UTC)
    versions = await queries.list_versions(conn, since, last_moment)
    return [one for one in versions if one.trained_as_of == versions[0].trained_as_of]


def find_before(versions: Sequence[ModelVersion], horizon: int) -> Before:
    """What the training of the month before found for a horizon."""
    mine = [one for one in versions if one.horizon == horizon]
    spoke: list[Kind] = [one.kind for one in mine if one.promoted_at is not None]
    fitted = [Fitted(one.kind, one.horizon, one.metrics, one.parameters) for one in mine]
    return Before(spoke[0] if spoke else "index", find_better(fitted))
