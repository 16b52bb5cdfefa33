"""Progress of each supplier of a frame on its onboarding path. Pure, for one row or a million.

The playbook defines whose path has a step, and which actions it asks for. All conditions are
evaluated in one pass over the wide frame; the rest is arithmetic on flags."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.core.errors import UnprocessableError
from everafter.onboarding.model import ACTION_TIMES, SEVERAL_ACTIVE
from everafter.playbook.model import (
    FULLY_ACTIVATED,
    OnboardingStep,
    OnboardingTiming,
    Playbook,
)
from everafter.playbook.rules import compile_condition

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Path:
    """A playbook's path. steps: by day, then in the playbook's order. actions: those that the steps
    ask for, each once in that order; the position of an action is its bit in the masks. Full
    activation follows from them and is not one of them."""

    steps: tuple[tuple[str, OnboardingStep], ...]
    actions: tuple[str, ...]

    def bits_of(self, actions: list[str]) -> int:
        """The mask of these actions; those that are not on the path are ignored."""
        return sum(
            1 << self.actions.index(action) for action in set(actions) if action in self.actions
        )


def path_of(playbook: Playbook) -> Path:
    """The playbook's path in the order of its days."""
    steps = tuple(sorted(playbook.onboarding.items(), key=lambda item: item[1].day))
    actions = dict.fromkeys(
        action for _, step in steps for action in step.actions if action != FULLY_ACTIVATED
    )
    return Path(steps, tuple(actions))


def add_onboarding(
    frame: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    feature_ids: dict[str, int] | None = None,
) -> pl.DataFrame:
    """Add the onboarding signals to a frame.

    Args:
        frame: a row per supplier with the columns of `ACTION_TIMES` (Datetime us UTC, null: not
            seen), clients_active_30d, and the signals that the playbook's conditions use.
            Optional: vendor_type, season_index, feature_days (dropped), and the progress from
            `queries.read_progress`: onboarding_kept Int64, a bit for each action of the path that
            was noticed or reported before; activated_at, when the path was completed. A supplier
            that has completed it stays so, even if its clients become inactive after the season.
        as_of: aware; later events are ignored.
        feature_ids: slots of the features in feature_days; null: no feature was ever used.

    Returns:
        The same rows with these columns added or replaced. Only steps of the supplier's own path
        are counted.

        - onboarding_steps_done Int64.
        - onboarding_steps_due Int64: steps whose day has come.
        - onboarding_missed String: the oldest due step that is not done; null: none.
        - onboarding_days_behind Float64: days since the day of that step.
        - onboarding_state String: a `PathState`; null: no path, or its time is over.
        - fully_activated Boolean.
        - onboarding_actions Int64: a bit for each action of the path that is done.
        - onboarding_asked Int64: a bit for each step of the supplier's path.
        - onboarding_kept and activated_at, as above.

        Without account_created the path has no start: due, behind and missed are null, and the
        state is null or done.
    """
    path = path_of(playbook)
    frame = _with_kept(frame)
    now = float((as_of - _EPOCH) // timedelta(microseconds=1))
    answers = _evaluate(frame, path, playbook, feature_ids or {})
    did = _find_done(path, answers, frame["onboarding_kept"].to_numpy(), now)
    asks = _find_asked(path, answers)
    began = answers["account_created_at"].to_numpy()
    age = np.where(began <= now, (now - began) / _DAY_US, np.nan)
    did[FULLY_ACTIVATED] = _activated(path, did, asks) | (answers["activated_at"].to_numpy() <= now)
    return frame.with_columns(_signals(frame, path, playbook, did, asks, age)).drop(
        "feature_days", strict=False
    )


def _evaluate(
    frame: pl.DataFrame, path: Path, playbook: Playbook, feature_ids: dict[str, int]
) -> pl.DataFrame:
    """Evaluate conditions and vendor types in one pass over the wide frame.

    The rest is arithmetic on arrays: as expressions it took twice the time for the one row of a
    request.

    Returns:
        `_asks_N` for each step that not every path has, `_did_N` for each action that signals can
        show, and the moments of the account and of the actions in microseconds, NaN for null.
    """
    asked = {
        f"_asks_{n}": _is_asked(step, frame, playbook) for n, (_, step) in enumerate(path.steps)
    }
    seen = {
        f"_did_{n}": _is_seen(action, frame, playbook, feature_ids)
        for n, action in enumerate(path.actions)
    }
    moments = dict.fromkeys(
        filter(None, ("account_created_at", "activated_at", *map(ACTION_TIMES.get, path.actions)))
    )
    return frame.select(
        *(answer.alias(name) for name, answer in (asked | seen).items() if answer is not None),
        *map(_micros, moments),
    )


def _find_done(
    path: Path, answers: pl.DataFrame, kept: npt.NDArray[np.int64], now: float
) -> dict[str, Bools]:
    """By action, whether it was ever noticed or reported, or its signals or its event show it."""
    never = np.zeros(answers.height, dtype=np.bool_)
    return {
        action: (answers[f"_did_{bit}"].to_numpy() if f"_did_{bit}" in answers.columns else never)
        | ((kept & (1 << bit)) != 0)
        | (answers[ACTION_TIMES[action]].to_numpy() <= now if action in ACTION_TIMES else False)
        for bit, action in enumerate(path.actions)
    }


def _find_asked(path: Path, answers: pl.DataFrame) -> list[Bools]:
    """By step, whether the supplier's path has it."""
    always = np.ones(answers.height, dtype=np.bool_)
    names = [f"_asks_{n}" for n in range(len(path.steps))]
    return [answers[name].to_numpy() if name in answers.columns else always for name in names]


def _with_kept(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of earlier progress where they are missing, as no progress."""
    kept = (
        pl.col("onboarding_kept").fill_null(0)
        if "onboarding_kept" in frame.columns
        else pl.lit(0, pl.Int64)
    )
    activated = (
        pl.col("activated_at")
        if "activated_at" in frame.columns
        else pl.lit(None, pl.Datetime("us", "UTC"))
    )
    return frame.with_columns(kept.alias("onboarding_kept"), activated.alias("activated_at"))


def _micros(column: str) -> pl.Expr:
    """Microseconds since 1970, NaN for null; exact until the year 2255."""
    return (
        pl.col(column)
        .cast(pl.Datetime("us", "UTC"))
        .to_physical()
        .cast(pl.Float64)
        .fill_null(float("nan"))
    )


def _is_seen(
    action: str, frame: pl.DataFrame, playbook: Playbook, feature_ids: dict[str, int]
) -> pl.Expr | None:
    """Whether the signals show that the action is done, apart from its own event; never null. None:
    no signal can show it."""
    declared = playbook.onboarding_actions.get(action)
    ways: list[pl.Expr] = []
    if action == "multiple_clients_active":
        ways.append(pl.col("clients_active_30d") >= SEVERAL_ACTIVE)
    elif action not in ACTION_TIMES and declared is None:
        raise UnprocessableError(f"onboarding: there is no action {action!r}")
    if declared is not None and declared.done_when is not None:
        ways.append(compile_condition(declared.done_when))
    if declared is not None and declared.feature in feature_ids and "feature_days" in frame.columns:
        # Two bytes per feature: the day of its last use; absent or zero: never (activity/model.py).
        slot = pl.col("feature_days").bin.slice(2 * feature_ids[declared.feature], 2)
        ways.append((slot != b"") & (slot != b"\0\0"))
    if not ways:
        return None
    seen = [way.fill_null(False) for way in ways]
    return _for_each(pl.any_horizontal(seen) if len(seen) > 1 else seen[0])


def _is_asked(step: OnboardingStep, frame: pl.DataFrame, playbook: Playbook) -> pl.Expr | None:
    """Whether the supplier's path has the step; never null. None: every path has it."""
    if not step.vendor_types and step.when is None:
        return None
    asked = pl.lit(True)
    if step.vendor_types:
        vendor_type = (
            pl.col("vendor_type") if "vendor_type" in frame.columns else pl.lit(None, pl.String)
        )
        segment = (
            pl.when(vendor_type.is_in(list(playbook.segments)))
            .then(vendor_type)
            .otherwise(pl.lit("default"))
        )
        asked = segment.is_in(step.vendor_types)
    return _for_each(asked if step.when is None else asked & compile_condition(step.when))


def _for_each(answer: pl.Expr) -> pl.Expr:
    """One row per supplier, also where the answer is the same for all."""
    return answer & pl.col("onboarding_kept").is_not_null()


def _activated(path: Path, did: dict[str, Bools], asks: list[Bools]) -> Bools:
    """Whether the supplier's path asks for something, and all of it is done."""
    real = [
        (ask, [action for action in step.actions if action != FULLY_ACTIVATED])
        for ask, (_, step) in zip(asks, path.steps, strict=True)
    ]
    whole = [
        (ask, np.logical_and.reduce([did[action] for action in actions]))
        for ask, actions in real
        if actions
    ]
    if not whole:
        return np.zeros(len(asks[0]) if asks else 1, dtype=np.bool_)
    some = np.logical_or.reduce([ask for ask, _ in whole])
    return some & np.logical_and.reduce([~ask | done for ask, done in whole])


def _signals(
    frame: pl.DataFrame,
    path: Path,
    playbook: Playbook,
    did: dict[str, Bools],
    asks: list[Bools],
    age: Floats,
) -> list[pl.Series]:
    """Compute the signals from what was asked and done.

    Args:
        did: by action.
        asks: by step.
        age: days since the account began; NaN: unknown.
    """
    rows, activated = frame.height, did[FULLY_ACTIVATED]
    done, due = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    behind, missed = np.full(rows, np.nan), np.full(rows, -1)
    asked_bits, done_bits = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for number, ((_, step), ask) in enumerate(zip(path.steps, asks, strict=True)):
        made = activated | np.logical_and.reduce(
            [np.ones(rows, dtype=np.bool_), *(did[action] for action in step.actions)]
        )
        is_due = ask & (age >= step.day)
        first = is_due & ~made & (missed < 0)  # in the order of days: the first is the oldest
        behind[first], missed[first] = age[first] - step.day, number
        done += ask & made
        due += is_due
        asked_bits |= ask.astype(np.int64) << number
    for bit, action in enumerate(path.actions):
        done_bits |= did[action].astype(np.int64) << bit
    names = pl.Series([name for name, _ in path.steps] or [""], dtype=pl.String)
    return [
        pl.Series("fully_activated", activated),
        pl.Series("onboarding_steps_done", done),
        pl.Series("onboarding_steps_due", due).set(pl.Series(np.isnan(age)), None),
        pl.Series("onboarding_days_behind", behind, nan_to_null=True),
        names.gather(pl.Series(missed).set(pl.Series(missed < 0), None)).alias("onboarding_missed"),
        pl.Series("onboarding_actions", done_bits),
        pl.Series("onboarding_asked", asked_bits),
        _state(frame, playbook.onboarding_timing, activated, age, asked_bits, behind),
    ]


def _state(
    frame: pl.DataFrame,
    timing: OnboardingTiming,
    activated: Bools,
    age: Floats,
    asked_bits: npt.NDArray[np.int64],
    behind: Floats,
) -> pl.Series:
    # Off season a day counts less, as everywhere else.
    season = (
        frame["season_index"].fill_null(1.0).to_numpy()
        if "season_index" in frame.columns
        else np.ones(frame.height)
    )
    waited = np.nan_to_num(behind * np.maximum(season, timing.min_season_index), nan=-1.0)
    place = np.select(
        [
            activated,
            np.isnan(age) | (age > timing.lasts_days) | (asked_bits == 0),
            waited >= timing.stuck_after_days,
            waited >= timing.behind_after_days,
        ],
        [3, 4, 2, 1],
        0,
    )
    states = pl.Series(["on_track", "behind", "stuck", "done", None], dtype=pl.String)
    return states.gather(place).alias("onboarding_state")
