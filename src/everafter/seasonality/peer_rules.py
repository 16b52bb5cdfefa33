"""Measuring the peer activity index of one day. Pure.

A hemisphere's level and each group's deviation from it follow a random walk whose direction is the
prior season. Each day they are estimated from what the live suppliers did, against their own rates
(maximum a posteriori). A group with few suppliers stays near its hemisphere, and a hemisphere with
few near its prior.

Source: docs/methods.md, peer activity index."""

from dataclasses import dataclass

import numpy as np

from everafter.seasonality.model import (
    GROUPS,
    HEMISPHERE_OF_GROUP,
    HEMISPHERES,
    STOPPED_ACTIVITY,
    Bools,
    Channel,
    ChannelDay,
    ChannelState,
    Floats,
    Ints,
    most_uses,
    sum_by,
)

_START_PRECISION = 1 / 0.3**2
_LEVEL_STEP = 0.15
"""Standard deviation by which a hemisphere's level may move in a day, besides the prior season."""
_DEVIATION_STEP = 0.08
_FEWEST_EXPECTED = 10.0
_STOPPED_BELOW = -1.6
"""ln((seen + ½) ÷ (expected + ½)) below which a channel's events did not arrive."""
_NEWTON_STEPS = 6
_LOWEST, _HIGHEST = -6.0, 2.0
_WEEKDAY_DAYS = 56
_WEEKDAY_SHARE = 0.8
_FEWEST_WEEKDAYS = 14


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The live suppliers of a channel on a day.

    Attributes:
        group: (n,), their group.
        rate: (n,), own rate: per day at index 1.
        seen: (n,), uses, or 1 and 0 for a login or none.
    """

    group: Ints
    rate: Floats
    seen: Floats


def prior_state(level: Floats, deviation: Floats) -> ChannelState:
    """The filter before the first day: the logarithms of the prior season.

    Args:
        level: (hemispheres,).
        deviation: (groups,).
    """
    return ChannelState(
        level.copy(),
        np.full(len(HEMISPHERES), _START_PRECISION),
        deviation.copy(),
        np.full(GROUPS, _START_PRECISION),
    )


def step_season(state: ChannelState, level_step: Floats, deviation_step: Floats) -> ChannelState:
    """Move the filter to the next day, by the change of the prior season's logarithms, and widen
    it by what else may change in a day."""
    return ChannelState(
        state.level + level_step,
        1 / (1 / state.level_precision + _LEVEL_STEP**2),
        state.deviation + deviation_step,
        1 / (1 / state.deviation_precision + _DEVIATION_STEP**2),
    )


def assume_day(state: ChannelState, usual: Floats, counted: Floats) -> ChannelDay:
    """A day of which nothing is measured: the state is the prior's."""
    groups, halves = np.zeros(GROUPS), len(HEMISPHERES)
    activity = np.exp(state.level[HEMISPHERE_OF_GROUP] + state.deviation)
    return ChannelDay(
        state,
        np.maximum(activity, STOPPED_ACTIVITY),
        np.full(halves, np.nan),
        groups,
        groups,
        np.zeros(halves, dtype=bool),
        usual,
        counted,
    )


def measure_day(
    channel: Channel,
    state: ChannelState,
    weekday: Floats,
    counts: DayCounts,
    usual: Floats,
    counted: Floats,
) -> ChannelDay:
    """Measure one day.

    Args:
        state: of the day, before it is measured (`step_season`).
        weekday: (hemispheres,), the logarithm of the weekday's effect.
        usual: (groups,), the mean own rates, which are passed on.
        counted: (hemispheres,), what all suppliers did, which is passed on.
    """
    half = HEMISPHERE_OF_GROUP[counts.group]
    bits = channel == "logins"
    assumed = counts.rate * np.exp((state.level + weekday)[half] + state.deviation[counts.group])
    if bits:
        seen, expected_each = counts.seen, -np.expm1(-assumed)
    else:
        seen = np.minimum(counts.seen, most_uses(assumed))
        expected_each = assumed
    expected = sum_by(counts.group, expected_each, GROUPS)
    seen_by_group = sum_by(counts.group, seen, GROUPS)
    stopped = find_stopped(seen_by_group, expected)
    level, level_information = estimate(
        seen, counts.rate, half, state.level + weekday, state.level_precision, bits=bits
    )
    level = np.where(stopped, _LOWEST, level)
    deviation, information = estimate(
        seen,
        counts.rate * np.exp(level)[half],
        counts.group,
        state.deviation,
        state.deviation_precision,
        bits=bits,
    )
    off = stopped[HEMISPHERE_OF_GROUP]
    deviation = np.where(off, state.deviation, deviation)
    return ChannelDay(
        ChannelState(
            np.where(stopped, state.level, level - weekday),
            state.level_precision + np.where(stopped, 0.0, level_information),
            deviation,
            state.deviation_precision + np.where(off, 0.0, information),
        ),
        np.maximum(np.exp(level[HEMISPHERE_OF_GROUP] + deviation), STOPPED_ACTIVITY),
        np.where(stopped, np.nan, level),
        seen_by_group,
        expected,
        stopped,
        usual,
        counted,
    )


def find_stopped(seen: Floats, expected: Floats) -> Bools:
    """(hemispheres,): where a channel's events did not arrive that day.

    A hemisphere too small to tell follows the whole platform.

    Args:
        seen, expected: (groups,).

    >>> few = np.zeros(GROUPS)
    >>> seen, expected = few.copy(), few.copy()
    >>> seen[0], expected[0], expected[-1] = 20, 150, 9
    >>> find_stopped(seen, expected).tolist()
    [True, True, True]
    """
    size = len(HEMISPHERES)
    seen_half = sum_by(HEMISPHERE_OF_GROUP, seen, size)
    expected_half = sum_by(HEMISPHERE_OF_GROUP, expected, size)
    everywhere = is_stopped(seen_half.sum(), expected_half.sum())
    small = expected_half < _FEWEST_EXPECTED
    return is_stopped(seen_half, expected_half) | (small & everywhere)


def is_stopped(seen: Floats, expected: Floats) -> Bools:
    """Whether so few events of those expected mean that they did not arrive.

    >>> [bool(is_stopped(*np.array(case))) for case in ((20, 150), (35, 150), (0, 9))]
    [True, False, False]
    """
    ratio = np.log((seen + 0.5) / (expected + 0.5))
    return (expected >= _FEWEST_EXPECTED) & (ratio < _STOPPED_BELOW)


def estimate(
    seen: Floats, rates: Floats, of: Ints, prior: Floats, precision: Floats, *, bits: bool
) -> tuple[Floats, Floats]:
    """Estimate the logarithm of each group's activity from its members' counts.

    Args:
        seen: (n,), counts, or 1 and 0 for bits.
        rates: (n,), what each member does at activity 1; bits: −ln(1 − probability).
        of: (n,), the group of each member.
        prior, precision: (groups,), of the logarithm.

    Returns:
        (groups,) the estimates, and their information without the prior's.

    >>> x, _ = estimate(np.array([3, 0, 2, 8, 1.0]), np.array([4, 1, 2, 6, 2.0]),
    ...                 np.array([0, 0, 0, 1, 1]), np.zeros(2), np.full(2, 10.0), bits=False)
    >>> [round(value, 6) for value in x.tolist()]
    [-0.120521, 0.054874]
    """
    size = len(prior)
    total = sum_by(of, seen, size)
    at_one = sum_by(of, rates, size)
    x = prior.copy()
    for _ in range(_NEWTON_STEPS):
        expected, information = _expect(x, rates, of, at_one, bits=bits)
        step = (total - expected - precision * (x - prior)) / (information + precision)
        x = np.clip(x + np.clip(step, -1.5, 1.5), _LOWEST, _HIGHEST)
    return x, _expect(x, rates, of, at_one, bits=bits)[1]


def _expect(
    x: Floats, rates: Floats, of: Ints, at_one: Floats, *, bits: bool
) -> tuple[Floats, Floats]:
    if not bits:
        expected = at_one * np.exp(x)
        return expected, expected
    scaled = rates * np.exp(x)[of]
    none = np.exp(-scaled)
    size = len(x)
    return sum_by(of, 1 - none, size), sum_by(of, scaled * none, size)


def weekday_effects(levels: Floats, last_day: int) -> Floats:
    """(hemispheres, 7): the logarithm of each weekday's effect, Monday first.

    Args:
        levels: (hemispheres, days), `ChannelDay.level_that_day` up to `last_day`, NaN where not
            measured; the last 56 days count.
    """
    levels = levels[:, -_WEEKDAY_DAYS:]
    days = np.arange(last_day - levels.shape[1] + 1, last_day + 1)
    effects = np.zeros((len(levels), 7))
    for half, row in enumerate(levels):
        known = ~np.isnan(row)
        if known.sum() < _FEWEST_WEEKDAYS:
            continue
        rest = (row - _weekly_mean(row, known))[known]
        weekdays = (days[known] + 3) % 7
        medians = [
            np.median(rest[weekdays == n]) if (weekdays == n).any() else 0.0 for n in range(7)
        ]
        effects[half] = _WEEKDAY_SHARE * (np.array(medians) - np.mean(medians))
    return effects


def _weekly_mean(row: Floats, known: Bools) -> Floats:
    """The mean of the known days among the seven around each day."""
    ones = np.ones(7)
    total = np.convolve(np.where(known, row, 0.0), ones, "same")
    return total / np.maximum(np.convolve(known.astype(float), ones, "same"), 1.0)
