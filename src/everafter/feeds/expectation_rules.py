"""How many events of each type an hour lets expect, from the days before it. Pure.

Expected are: the type's share of all events × the daily total of all types over the last 7 days ×
weekday × hour of the day. Share, weekday and hour profile are of the last 28 days. Days on which a
feed was stopped teach nothing of it, and the totals of those days are estimated from the others.

Weekdays and hours are those of all types, bent towards the type's own as far as it has events of
its own to show: a type that a job sends every Monday at 3:00 is not expected at noon.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everafter.feeds.model import Bools, Floats

LEARN_DAYS = 28
LEVEL_DAYS = 7
MIN_DAYS = 14
"""Days with events of the platform that are needed before anything is expected."""
MIN_EVENTS = 50
MIN_EVENT_DAYS = 7
"""Events of a type, and days with any, that are needed before something is expected of it."""

_CAP = 25.0
_PRIOR_DAYS = 20.0
# Events per weekday and per hour of the day that the profile of all types is worth.
_WEEKDAY_PRIOR, _HOUR_PRIOR = 50.0, 20.0
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one day lets expect.

    Attributes:
        hourly: (types, 24) events.
        daily: (types,) events on a day like any, whatever its weekday.
        dispersion: (types,) φ, at least 1.
        known: (types,) whether the type has enough history.
        total: (24,) events of all types.
        total_dispersion: φ of all types together.
        total_known: whether the platform has enough history.
    """

    hourly: Floats
    daily: Floats
    dispersion: Floats
    known: Bools
    total: Floats
    total_dispersion: float
    total_known: bool


def expect(counts: Floats, stopped: Bools, first_day: int, day: int) -> Expectation:
    """What the days before `day` let expect of it.

    Args:
        counts: (types, days, 24) events.
        stopped: (types, days), days on which the feed was stopped.
        first_day: days since 1970-01-01 of the first day in `counts`.
        day: the place of the day in `counts`; may be the one after the last.
    """
    begin = max(0, day - LEARN_DAYS)
    past, alive = counts[:, begin:day], ~stopped[:, begin:day]
    raw = past.sum(axis=2)
    daily = clip_bursts(raw, alive)
    past = past * _divide(daily, raw)[:, :, None]
    share, level = split(daily, alive)
    weekdays = (first_day + np.arange(begin, day + 1) + 3) % 7
    general = _weekday_factors(level, weekdays[:-1])
    factors = _own_weekdays(daily, alive, share, level, weekdays[:-1], general)
    usual = _usual_levels(level, general[weekdays[:-1]])
    expected = share[:, None] * usual * factors[:, weekdays]
    hours = _own_hours(past, alive)
    lived = alive & ~np.isnan(level)
    total_days = ~np.isnan(level)
    events = np.where(lived, daily, 0.0)
    return Expectation(
        hourly=expected[:, -1:] * hours,
        daily=share * usual[-1],
        dispersion=find_dispersion(raw, expected[:, :-1], lived),
        known=_enough(events, lived),
        total=(expected[:, -1:] * hours).sum(axis=0),
        total_dispersion=float(
            find_dispersion(
                np.nan_to_num(level)[None],
                (usual * general[weekdays])[None, :-1],
                total_days[None],
            )[0]
        ),
        total_known=bool(_enough(events.sum(axis=0)[None], total_days[None])[0]),
    )


def clip_bursts(daily: Floats, alive: Bools) -> Floats:
    """Daily counts, at most 3 × the type's median + 10: an import of thousands of clients is not
    the rate at which clients are added.

    >>> clip_bursts(np.array([[3000.0, 2.0, 4.0]]), np.ones((1, 3), dtype=bool)).tolist()
    [[22.0, 2.0, 4.0]]
    """
    living = np.where(alive, daily, np.nan)
    known = alive.any(axis=1)
    median = np.zeros(len(daily))
    median[known] = np.nanmedian(living[known], axis=1)
    return np.minimum(daily, 3 * median[:, None] + 10)


def split(daily: Floats, alive: Bools) -> tuple[Floats, Floats]:
    """Split daily totals into (types,) shares and (days,) totals of all types as if none of the
    feeds had been stopped; NaN: all of them were.

    >>> daily = np.array([[6.0, 6.0, 0.0], [2.0, 2.0, 2.0]])
    >>> share, level = split(daily, np.array([[True, True, False], [True, True, True]]))
    >>> share.round(2).tolist(), level.round(2).tolist()
    ([0.75, 0.25], [8.0, 8.0, 8.0])
    """
    seen = np.where(alive, daily, 0.0)
    level = np.where(alive.any(axis=0), seen.sum(axis=0), np.nan)
    share = np.zeros(len(daily))
    for _ in range(1 if alive.all() else _ROUNDS):
        share = _divide(seen.sum(axis=1), np.where(alive, np.nan_to_num(level), 0.0).sum(axis=1))
        known = np.where(alive, share[:, None], 0.0).sum(axis=0)
        level = np.where(known > 0, seen.sum(axis=0) / np.where(known > 0, known, 1.0), np.nan)
        if not share.any():
            level = np.where(alive.any(axis=0), 0.0, np.nan)
    scale = share.sum() or 1.0
    return share / scale, level * scale


def find_dispersion(daily: Floats, expected: Floats, alive: Bools) -> Floats:
    """φ of each row: how much more the days vary than chance alone, at least 1.

    >>> day = np.array([[16.0, 4.0]])
    >>> find_dispersion(day, np.array([[10.0, 10.0]]), day > 0).round(4).tolist()
    [1.2364]
    """
    used = alive & (expected > 0)
    squares = (daily - expected) ** 2 / np.where(used, expected, 1.0)
    total = np.where(used, np.minimum(_CAP, squares), 0.0).sum(axis=1)
    return np.maximum(1.0, (total + _PRIOR_DAYS) / (used.sum(axis=1) + _PRIOR_DAYS))


def _enough(events: Floats, alive: Bools) -> Bools:
    return (
        (alive.sum(axis=1) >= MIN_DAYS)
        & (events.sum(axis=1) >= MIN_EVENTS)
        & ((events > 0).sum(axis=1) >= MIN_EVENT_DAYS)
    )


def _weekday_factors(level: Floats, weekdays: npt.NDArray[np.int64]) -> Floats:
    """(7,) activity of all types by weekday, 1 on average; 1 where the weekday was not seen."""
    known = ~np.isnan(level)
    total = np.bincount(weekdays[known], weights=level[known], minlength=7)
    days = np.bincount(weekdays[known], minlength=7)
    mean = level[known].mean() if known.any() else 0.0
    return np.where((days > 0) & (mean > 0), total / np.maximum(days, 1) / (mean or 1.0), 1.0)


def _own_weekdays(
    daily: Floats,
    alive: Bools,
    share: Floats,
    level: Floats,
    weekdays: npt.NDArray[np.int64],
    general: Floats,
) -> Floats:
    """(types, 7) activity by weekday."""
    lived = alive & ~np.isnan(level)
    is_weekday = np.eye(7)[weekdays]
    own = np.where(lived, daily, 0.0) @ is_weekday
    expected = np.where(lived, share[:, None] * np.nan_to_num(level), 0.0) @ is_weekday
    return general * (own + _WEEKDAY_PRIOR) / (expected + _WEEKDAY_PRIOR)


def _own_hours(past: Floats, alive: Bools) -> Floats:
    """(types, 24) share of the day's events in each hour; even where nothing was seen."""
    own = np.where(alive[:, :, None], past, 0.0).sum(axis=1)
    general = own.sum(axis=0)
    general = general / general.sum() if general.sum() > 0 else np.full(24, 1 / 24)
    bent = general * (own + _HOUR_PRIOR) / (own.sum(axis=1, keepdims=True) * general + _HOUR_PRIOR)
    # an hour in which nobody sends anything has no share to bend
    return bent / bent.sum(axis=1, keepdims=True)


def _usual_levels(level: Floats, factors: Floats) -> Floats:
    """(days + 1,) the mean total of the last 7 living days before each day and before the one
    after them, without their weekdays. The first days take that of the first 7."""
    known = np.flatnonzero(~np.isnan(level))
    usual = np.zeros(len(level) + 1)
    for place in range(len(level) + 1):
        before = known[known < place]
        days = before[-LEVEL_DAYS:] if len(before) >= LEVEL_DAYS else known[:LEVEL_DAYS]
        weight = factors[days].sum()
        usual[place] = level[days].sum() / weight if weight > 0 else 0.0
    return usual


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)
