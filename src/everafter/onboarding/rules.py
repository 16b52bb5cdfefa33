"""How far a supplier is on the onboarding path, and what it has achieved. Pure, for one row or a million."""

import re
from datetime import UTC, datetime, timedelta

import polars as pl

from everafter.core.errors import UnprocessableError
from everafter.onboarding.model import (
    ACTION_TIMES,
    MILESTONE_TIMES,
    MILESTONES_SCHEMA,
    SEVERAL_ACTIVE,
    TEN,
    TIME,
)
from everafter.playbook.model import Milestone, Playbook
from everafter.playbook.rules import compile_condition
from everafter.pulse.model import moment

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_SKEW = timedelta(minutes=5)


def add_onboarding(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """The frame with the onboarding signals.

    Args:
        frame: a row per supplier with the columns of `ACTION_TIMES` (Datetime us UTC, null: not seen) and
            clients_active_30d. `activated_at`, when it is there, is the moment the path was completed before: who once
            finished it stays finished, also when couples go quiet after the season.
        as_of: aware; what happened later is not seen.

    Returns:
        The same rows and, added or replaced: onboarding_steps_done Int64; onboarding_steps_due Int64, steps whose day has
        come; onboarding_days_behind Float64, days since the day of the oldest due step that is not done (null: none such);
        fully_activated Boolean. Without account_created the path has no beginning: due and behind are null.
    """
    steps = list(playbook.onboarding.values())
    asked = sorted({action for step in steps for action in step.actions} - {"fully_activated"})
    began = pl.when(pl.col("account_created_at") <= moment(as_of)).then(pl.col("account_created_at"))
    age = (moment(as_of) - began).dt.total_microseconds() / 86_400_000_000
    # in passes, so that no expression holds another many times over
    frame = frame.with_columns(age.alias("_age"), *(_is_done(action, as_of).alias(f"_{action}") for action in asked))
    activated = pl.all_horizontal([f"_{action}" for action in asked]) if asked else pl.lit(False)
    if "activated_at" in frame.columns:
        activated = activated | (pl.col("activated_at") <= moment(as_of)).fill_null(False)
    frame = frame.with_columns(activated.alias("fully_activated"))
    column = {action: f"_{action}" for action in asked} | {"fully_activated": "fully_activated"}
    done = [
        pl.col("fully_activated") | pl.all_horizontal([pl.lit(True), *(column[action] for action in step.actions)])
        for step in steps
    ]
    frame = frame.with_columns(is_done.alias(f"_done_{number}") for number, is_done in enumerate(done))
    made = [pl.col(f"_done_{number}") for number in range(len(steps))]
    due = [pl.col("_age") >= step.day for step in steps]
    late = [
        pl.when(is_due & ~is_done).then(pl.col("_age") - step.day) for step, is_due, is_done in zip(steps, due, made, strict=True)
    ]
    return frame.with_columns(
        _count(made).alias("onboarding_steps_done"),
        pl.when(pl.col("_age").is_not_null()).then(_count(due)).alias("onboarding_steps_due"),
        pl.max_horizontal([pl.lit(None, dtype=pl.Float64), *late]).alias("onboarding_days_behind"),
    ).drop("_age", *(f"_{action}" for action in asked), *(f"_done_{number}" for number in range(len(steps))))


def find_milestones(frame: pl.DataFrame, playbook: Playbook, as_of: datetime, recorded: pl.DataFrame | None = None) -> pl.DataFrame:
    """The playbook's milestones that these suppliers have reached by `as_of` and that are not recorded yet.

    A milestone with `when` is reached when that is true; one without by its own event, and `ten_clients` by the tenth
    couple ever added. The time is the event's where there is one, else `as_of`, the first moment it was noticed.

    Args:
        frame: supplier_id, the signals, the columns of `MILESTONE_TIMES` and clients_added Int64 (couples ever added).
        recorded: supplier_id and `recorded` Int64, bit n set for the n-th of the playbook's milestones; null: none is. Most of a
            run's findings are those of the day before; a mask costs one number a supplier to read, where the rows took 0.8 s a run.

    Returns:
        supplier_id String, milestone_type String, achieved_at Datetime us UTC; sorted by supplier and type.
    """
    reached = {
        name: _reached(name, milestone, as_of)
        for name, milestone in playbook.milestones.items()
        if milestone.when is not None or name in MILESTONE_TIMES or name == "ten_clients"
    }
    # all in one pass over the wide frame, then narrow ones
    at = frame.select(
        pl.col("supplier_id").cast(pl.String), *(moment_of.cast(TIME).alias(f"_{name}") for name, moment_of in reached.items())
    )
    if recorded is not None:
        at = at.join(recorded, on="supplier_id", how="left").with_columns(pl.col("recorded").fill_null(0))
    else:
        at = at.with_columns(pl.lit(0, pl.Int64).alias("recorded"))
    bits = {name: 1 << bit for bit, name in enumerate(playbook.milestones)}
    found = [
        at.filter(pl.col(f"_{name}").is_not_null() & ((pl.col("recorded") & bits[name]) == 0)).select(
            "supplier_id", pl.lit(name).alias("milestone_type"), pl.col(f"_{name}").alias("achieved_at")
        )
        for name in reached
    ]
    return pl.concat([pl.DataFrame(schema=MILESTONES_SCHEMA), *found]).sort("supplier_id", "milestone_type")


def check_milestone(milestone_type: str, achieved_at: datetime | None, now: datetime) -> datetime:
    """The moment to record, in UTC.

    Raises:
        UnprocessableError: not a name, or a time in the future or before 2000. Five minutes ahead are a clock that is fast.
    """
    if not _TYPE.fullmatch(milestone_type):
        raise UnprocessableError(
            f"milestone_type: {milestone_type!r} is not a name: a lower-case letter, then at most 63 letters, digits, _"
        )
    if achieved_at is None:
        return now
    if achieved_at.tzinfo is None:
        achieved_at = achieved_at.replace(tzinfo=UTC)
    if achieved_at > now + _CLOCK_SKEW:
        raise UnprocessableError(f"achieved_at: {achieved_at.isoformat()} is in the future")
    if achieved_at < _EARLIEST:
        raise UnprocessableError(f"achieved_at: {achieved_at.isoformat()} is before 2000")
    return min(achieved_at.astimezone(UTC), now)


def _is_done(action: str, as_of: datetime) -> pl.Expr:
    if action == "multiple_clients_active":
        return (pl.col("clients_active_30d") >= SEVERAL_ACTIVE).fill_null(False)
    if column := ACTION_TIMES.get(action):
        return (pl.col(column) <= moment(as_of)).fill_null(False)
    raise UnprocessableError(f"onboarding: there is no action {action!r}")


def _count(flags: list[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal([pl.lit(0, dtype=pl.Int64), *(flag.cast(pl.Int64) for flag in flags)])


def _reached(name: str, milestone: Milestone, as_of: datetime) -> pl.Expr:
    """The moment the milestone was reached; null: not yet."""
    noticed = moment(as_of)
    if name in MILESTONE_TIMES:
        at = pl.when(pl.col(MILESTONE_TIMES[name]) <= noticed).then(pl.col(MILESTONE_TIMES[name]))
        at = at if milestone.when is None else pl.coalesce(at, noticed)
    else:
        at = noticed
    if milestone.when is not None:
        return pl.when(compile_condition(milestone.when)).then(at)
    return pl.when(pl.col("clients_added") >= TEN).then(at) if name == "ten_clients" else at
