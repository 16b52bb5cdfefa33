"""What a replay recorded: a matrix (days, suppliers) of each column that the figures need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.replay.learner import Learner
from benchmarks.replay.market import NEVER, Market
from benchmarks.replay.replay import Replay
from everafter.activity.model import TIME
from everafter.playbook.rules import compile_condition

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEALTH_LEVELS = {"healthy": 0.0, "at_risk": 1.0, "critical": 2.0}
PROBABILITIES = {45: "churn_probability_45d", 90: "churn_probability_90d"}
"""Columns of the churn probability by horizon; a version without them is not measured there."""
INACTIVITY_TRIGGER = "early_inactivity"
_COLUMNS = (
    "churn_risk",
    "inactivity_probability",
    "days_since_login",
    "tenure_days",
    "login_days_84d",
    "health_score",
)
DAILY_LOGINS = 75
"""Login days of 84 from which a supplier is a daily user."""
_FOLLOWED_DAYS = 30
"""How long a daily user that stopped is followed."""
_STOPS_PER_DAY = 1 / 30
"""How often each daily user is made to stop, in a copy of it."""


@dataclass(slots=True)
class Stopped:
    """A daily user whose events end on a day, in a copy that the market knows nothing of.

    Attributes:
        still_daily: whether it was a daily user in the 84 days before, and not only at some time.
        alarms: for each day since, whether the inactivity trigger is true, and whether any sign is:
            the trigger, or a churn risk that is medium or high.
    """

    supplier: int
    day: int
    still_daily: bool
    row: pl.DataFrame
    alarms: list[tuple[bool, bool]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Record:
    """Scores of a market.

    Attributes:
        days: the days scored, (rows,).
        values: (rows, suppliers) per column; NaN where null, or where the supplier is not there.
        there: (rows, suppliers), who was scored.
        logged_in: (rows, suppliers), who logged in on that day, after it was scored.
    """

    market: Market
    days: Ints
    values: dict[str, Floats]
    there: NDArray[np.bool_]
    logged_in: NDArray[np.bool_]
    stopped: list[Stopped]


def record(
    replay: Replay,
    begin: int,
    end: int,
    progress: Callable[[str], None],
    asides: Mapping[int, Callable[[Replay], None]] | None = None,
    seed: int = 9,
) -> Record:
    """Replay a market to the day `end`, score each day from `begin` on, and keep what the figures
    need. Copies of daily users are made to stop on days drawn from `seed`.

    Args:
        asides: what else to do at the beginning of some days, with the replay as it is then.
    """
    market, random = replay.market, np.random.default_rng(seed)
    rows = {name: n for n, name in enumerate(market.suppliers["supplier_id"])}
    following: list[Stopped] = []
    finished: list[Stopped] = []
    recorded: list[dict[str, Floats]] = []
    been_daily = np.zeros(len(rows), dtype=bool)
    learner, cancelled = Learner(), _cancellations(market)
    while replay.day < end:
        if asides and replay.day in asides:
            asides[replay.day](replay)
        if replay.day >= begin:
            scored = score_with_signs(
                replay, [(f"stopped-{n}", one.row) for n, one in enumerate(following)]
            )
            values = _to_arrays(scored, rows)
            recorded.append(values)
            been_daily |= np.nan_to_num(values["login_days_84d"]) >= DAILY_LOGINS
            _follow(scored, following)
            finished += [one for one in following if len(one.alarms) > _FOLLOWED_DAYS]
            following = [one for one in following if len(one.alarms) <= _FOLLOWED_DAYS]
            if replay.day + _FOLLOWED_DAYS < end:
                following += _stop_some(replay, values, been_daily, following, random)
        if replay.now.day == 1 and replay.day > 0:
            learner.learn(replay.score(), cancelled, replay.now)
            replay.platform.churn = learner.models
        if replay.day % 60 == 0:
            progress(f"{market.name}: day {replay.day} of {end}")
        replay.advance()
    names = sorted({name for values in recorded for name in values})
    matrices = {
        name: np.array([v.get(name, np.full(len(rows), np.nan)) for v in recorded])
        for name in names
    }
    return Record(
        market,
        np.arange(begin, end),
        matrices,
        ~np.isnan(matrices["churn_risk"]),
        login_matrix(market)[begin:end],
        finished,
    )


def _cancellations(market: Market) -> pl.DataFrame:
    """supplier_id and cancelled_at, of those who cancel."""
    known = [
        (name, int(day))
        for name, day in zip(market.suppliers["supplier_id"], market.cancelled, strict=True)
        if day < NEVER
    ]
    return pl.DataFrame(
        {
            "supplier_id": [name for name, _ in known],
            "cancelled_at": [market.at(day) + timedelta(hours=12) for _, day in known],
        },
        schema={"supplier_id": pl.String(), "cancelled_at": TIME},
    )


def score_with_signs(
    replay: Replay, stopped: list[tuple[str, pl.DataFrame]] | None = None
) -> pl.DataFrame:
    """The scored frame with `_health` (0 healthy, 1 at risk, 2 critical) and `_inactive`, whether
    the trigger of early inactivity is true."""
    trigger = replay.playbook.triggers[INACTIVITY_TRIGGER]
    return replay.score(stopped or []).with_columns(
        pl.col("risk_level")
        .replace_strict(HEALTH_LEVELS, default=None, return_dtype=pl.Float64)
        .alias("_health"),
        compile_condition(trigger.when).cast(pl.Float64).alias("_inactive"),
    )


def login_matrix(market: Market) -> NDArray[np.bool_]:
    """(days, suppliers), whether there was a login on the day."""
    rows = {name: n for n, name in enumerate(market.suppliers["supplier_id"])}
    seen = np.zeros((len(market.days), len(rows)), dtype=bool)
    for day, events in enumerate(market.days):
        for name in events.filter(pl.col("type") == "login")["supplier_id"].unique():
            seen[day, rows[name]] = True
    return seen


def _to_arrays(scored: pl.DataFrame, rows: dict[str, int]) -> dict[str, Floats]:
    real = scored.filter(pl.col("supplier_id").is_in(list(rows)))
    place = real["supplier_id"].replace_strict(rows, return_dtype=pl.Int64).to_numpy()
    arrays: dict[str, Floats] = {}
    for name in (*_COLUMNS, "_health", "_inactive", *PROBABILITIES.values()):
        if name in real.columns:
            arrays[name] = np.full(len(rows), np.nan)
            arrays[name][place] = real[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return arrays


def _follow(scored: pl.DataFrame, following: list[Stopped]) -> None:
    if not following:
        return
    signs = scored.filter(pl.col("supplier_id").str.starts_with("stopped-")).select(
        pl.col("supplier_id").str.slice(8).cast(pl.Int64).alias("n"),
        pl.col("_inactive") > 0,
        (pl.col("churn_level") != "low").alias("churn"),
    )
    for n, inactive, churn in signs.iter_rows():
        following[n].alarms.append((inactive, inactive or churn))


def _stop_some(
    replay: Replay,
    values: dict[str, Floats],
    been_daily: NDArray[np.bool_],
    following: list[Stopped],
    random: np.random.Generator,
) -> list[Stopped]:
    """Copies of suppliers that were daily users at some time and do not fade, stopped from today
    on."""
    market, day = replay.market, replay.day
    daily = been_daily & (values["_inactive"] == 0) & (market.cancelled > day + _FOLLOWED_DAYS)
    if market.fade_start is not None:
        daily &= market.fade_start > day
    daily[[one.supplier for one in following]] = False
    chosen = np.flatnonzero(daily & (random.random(len(daily)) < _STOPS_PER_DAY))
    if not len(chosen):
        return []
    inputs, names = replay.inputs(), market.suppliers["supplier_id"]
    return [
        Stopped(
            int(n),
            day,
            bool(values["login_days_84d"][n] >= DAILY_LOGINS),
            inputs.filter(pl.col("supplier_id") == names[int(n)]),
        )
        for n in chosen
    ]
