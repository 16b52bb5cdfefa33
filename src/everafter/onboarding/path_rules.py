"""How far each supplier of a frame is on its onboarding path. Pure, for one row or a million.

Whose path has a step, and what it asks, stands in the playbook. All conditions are answered in one pass over the wide frame; the
rest is arithmetic on flags.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from everafter.core.errors import UnprocessableError
from everafter.onboarding.model import ACTION_TIMES, ACTIVATED, SEVERAL_ACTIVE
from everafter.playbook.model import OnboardingStep, Playbook
from everafter.playbook.rules import compile_condition
from everafter.pulse.model import moment

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Path:
    """A playbook's path. steps: by day, those of one day as they stand written. actions: what the steps ask for, each once in that
    order; an action's place is its bit in the masks. Full activation is what follows from them and is none of these."""

    steps: tuple[tuple[str, OnboardingStep], ...]
    actions: tuple[str, ...]

    def bits_of(self, actions: list[str]) -> int:
        """The mask of these actions, those left out that are not on the path."""
        return sum(1 << self.actions.index(action) for action in set(actions) if action in self.actions)


def path_of(playbook: Playbook) -> Path:
    """The playbook's path in the order of its days."""
    steps = tuple(sorted(playbook.onboarding.items(), key=lambda item: item[1].day))
    actions = dict.fromkeys(action for _, step in steps for action in step.actions if action != ACTIVATED)
    return Path(steps, tuple(actions))


def add_onboarding(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int] | None = None
) -> pl.DataFrame:
    """The frame with the onboarding signals.

    Args:
        frame: a row per supplier with the columns of `ACTION_TIMES` (Datetime us UTC, null: not seen), clients_active_30d, and what
            the playbook's conditions name. When they are there: vendor_type, pace, feature_days (dropped), and what was kept
            before (queries.read_progress): onboarding_kept Int64, a bit for each action of the path noticed or reported before;
            activated_at, the moment the path was completed: who once finished it stays finished, also when couples go quiet after
            the season.
        as_of: aware; what happened later is not seen.
        feature_ids: slots of the features in feature_days; null: none was ever used.

    Returns:
        The same rows and, added or replaced: onboarding_steps_done Int64; onboarding_steps_due Int64, steps whose day has
        come; onboarding_days_behind Float64, days since the day of the oldest due step that is not done (null: none such);
        onboarding_missed String, that step; onboarding_state String; fully_activated Boolean. Only the steps that this supplier's
        path has are counted. Without account_created the path has no beginning: due, behind, missed are null, and the state is
        null or done. And for what follows: onboarding_kept and activated_at; onboarding_actions Int64, a bit for each action of
        the path that is done; onboarding_asked Int64, a bit for each step that this supplier's path has.
    """
    path = path_of(playbook)
    frame = _with_kept(frame)
    began = pl.when(pl.col("account_created_at") <= moment(as_of)).then(pl.col("account_created_at"))
    age = (moment(as_of) - began).dt.total_microseconds() / _DAY_US
    # in passes, so that no expression holds another many times over
    frame = frame.with_columns(
        age.alias("_age"),
        *(
            _is_done(n, action, frame, playbook, as_of, feature_ids or {}).alias(f"_did_{n}")
            for n, action in enumerate(path.actions)
        ),
        *(_is_asked(step, frame, playbook).alias(f"_asks_{n}") for n, (_, step) in enumerate(path.steps)),
    )
    frame = frame.with_columns(_activated(path, as_of).alias("fully_activated"))
    frame = frame.with_columns(_is_step_done(path, step).alias(f"_made_{n}") for n, (_, step) in enumerate(path.steps))
    frame = _add_standing(frame, path, playbook)
    return frame.drop(
        "_age",
        *(f"_did_{n}" for n in range(len(path.actions))),
        *(f"_{word}_{n}" for word in ("asks", "made") for n in range(len(path.steps))),
        *(["feature_days"] if "feature_days" in frame.columns else []),
    )


def _with_kept(frame: pl.DataFrame) -> pl.DataFrame:
    """What was kept before, as columns that are there: nothing was when nobody says so."""
    kept = pl.col("onboarding_kept").fill_null(0) if "onboarding_kept" in frame.columns else pl.lit(0, pl.Int64)
    activated = pl.col("activated_at") if "activated_at" in frame.columns else pl.lit(None, pl.Datetime("us", "UTC"))
    return frame.with_columns(kept.alias("onboarding_kept"), activated.alias("activated_at"))


def _is_done(
    bit: int, action: str, frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int]
) -> pl.Expr:
    """Whether the action is done, by any of the ways in which it can be seen; never null."""
    declared = playbook.onboarding_actions.get(action)
    ways = [(pl.col("onboarding_kept") & (1 << bit)) != 0]
    if column := ACTION_TIMES.get(action):
        ways.append(pl.col(column) <= moment(as_of))
    elif action == "multiple_clients_active":
        ways.append(pl.col("clients_active_30d") >= SEVERAL_ACTIVE)
    elif declared is None:
        raise UnprocessableError(f"onboarding: there is no action {action!r}")
    if declared is not None and declared.done_when is not None:
        ways.append(compile_condition(declared.done_when))
    if declared is not None and declared.feature in feature_ids and "feature_days" in frame.columns:
        # two bytes a feature: the day of its last use, absent or zero for never (pulse/model.py)
        slot = pl.col("feature_days").bin.slice(2 * feature_ids[declared.feature], 2)
        ways.append((slot != b"") & (slot != b"\0\0"))
    return pl.any_horizontal([way.fill_null(False) for way in ways])


def _is_asked(step: OnboardingStep, frame: pl.DataFrame, playbook: Playbook) -> pl.Expr:
    """Whether this supplier's path has the step; never null."""
    asked = pl.lit(True)
    if step.vendor_types:
        trade = pl.col("vendor_type") if "vendor_type" in frame.columns else pl.lit(None, pl.String)
        segment = pl.when(trade.is_in(list(playbook.segments))).then(trade).otherwise(pl.lit("default"))
        asked = segment.is_in(step.vendor_types)
    return asked if step.when is None else asked & compile_condition(step.when)


def _activated(path: Path, as_of: datetime) -> pl.Expr:
    """Everything that is asked of the supplier is done, or once was."""
    before = (pl.col("activated_at") <= moment(as_of)).fill_null(False)
    real = [(n, [action for action in step.actions if action != ACTIVATED]) for n, (_, step) in enumerate(path.steps)]
    real = [(n, actions) for n, actions in real if actions]
    if not real:
        return before
    done = [~pl.col(f"_asks_{n}") | pl.all_horizontal([_did(path, action) for action in actions]) for n, actions in real]
    return before | (pl.any_horizontal([f"_asks_{n}" for n, _ in real]) & pl.all_horizontal(done))


def _did(path: Path, action: str) -> pl.Expr:
    return pl.col("fully_activated") if action == ACTIVATED else pl.col(f"_did_{path.actions.index(action)}")


def _is_step_done(path: Path, step: OnboardingStep) -> pl.Expr:
    return pl.col("fully_activated") | pl.all_horizontal([pl.lit(True), *(_did(path, action) for action in step.actions)])


def _add_standing(frame: pl.DataFrame, path: Path, playbook: Playbook) -> pl.DataFrame:
    """From the flags of actions and steps to the signals."""
    pace = playbook.onboarding_pace
    asks = [pl.col(f"_asks_{n}") for n in range(len(path.steps))]
    made = [ask & pl.col(f"_made_{n}") for n, ask in enumerate(asks)]
    due = [ask & (pl.col("_age") >= step.day) for ask, (_, step) in zip(asks, path.steps, strict=True)]
    open_ = [is_due & ~pl.col(f"_made_{n}") for n, is_due in enumerate(due)]
    behind = [pl.when(is_open).then(pl.col("_age") - step.day) for is_open, (_, step) in zip(open_, path.steps, strict=True)]
    missed = [pl.when(is_open).then(pl.lit(name)) for is_open, (name, _) in zip(open_, path.steps, strict=True)]
    season = pl.col("pace").fill_null(1.0) if "pace" in frame.columns else pl.lit(1.0)
    frame = frame.with_columns(
        _count(made).alias("onboarding_steps_done"),
        pl.when(pl.col("_age").is_not_null()).then(_count(due)).alias("onboarding_steps_due"),
        pl.max_horizontal([pl.lit(None, pl.Float64), *behind]).alias("onboarding_days_behind"),
        pl.coalesce([*missed, pl.lit(None, pl.String)]).alias("onboarding_missed"),
        _mask([pl.col(f"_did_{n}") for n in range(len(path.actions))]).alias("onboarding_actions"),
        _mask(asks).alias("onboarding_asked"),
    )
    # in a slack month a day of waiting counts less, as everywhere else
    waited = (pl.col("onboarding_days_behind") * pl.max_horizontal(season, pl.lit(pace.least_pace))).fill_null(-1.0)
    return frame.with_columns(
        pl.when("fully_activated")
        .then(pl.lit("done"))
        .when(pl.col("_age").is_null() | (pl.col("_age") > pace.lasts_days) | (pl.col("onboarding_asked") == 0))
        .then(pl.lit(None, pl.String))
        .when(waited >= pace.stuck_after_days)
        .then(pl.lit("stuck"))
        .when(waited >= pace.behind_after_days)
        .then(pl.lit("behind"))
        .otherwise(pl.lit("on_track"))
        .alias("onboarding_state")
    )


def _count(flags: list[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal([pl.lit(0, pl.Int64), *(flag.cast(pl.Int64) for flag in flags)])


def _mask(flags: list[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal([pl.lit(0, pl.Int64), *(flag.cast(pl.Int64) * (1 << bit) for bit, flag in enumerate(flags))])
