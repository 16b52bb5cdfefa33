"""A supplier's own rate: what it does in a channel on a day at peer activity 1. Pure.

Uses follow a Poisson distribution; a day has a login with the probability 1 − exp(−rate × index).
Both rates are shrunk towards the mean of the group as by one more event, seen in the time in which
the mean supplier has one.

Source: docs/methods.md, own rate."""

from dataclasses import dataclass

import numpy as np

from everafter.seasonality.bit_rules import WINDOW, Small, Words, between, count, pack
from everafter.seasonality.model import Bools, Floats, Ints, most_uses

_BINS = 12
"""Days of a group are sorted into so many bins by their index before the login rate is solved."""
_SOLVE_STEPS = 5
_LOWEST, _HIGHEST = 1e-4, 60.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Of each row.

    Attributes:
        rate: per day at index 1.
        exposure: the sum of the index over the days observed.
        events: what was seen in them: uses (capped), or expected log-ins behind the login days.
    """

    rate: Floats
    exposure: Floats
    events: Floats


def use_rates(uses: Small, included: Bools, activity: Floats, group: Ints, usual: Floats) -> Rates:
    """Estimate own rates of feature use.

    Args:
        uses: (n, days).
        included: (n, days), the days that count: since the account began.
        activity: (groups, days), the peer activity index of these days.
        group: (n,).
        usual: (groups,), mean rate of the group.
    """
    own, prior = activity.astype(np.float32)[group], 1 / usual[group]
    exposure = np.einsum("ij,ij->i", included, own, dtype=np.float32).astype(float)
    seen = uses * included
    events = seen.sum(axis=1, dtype=np.int64).astype(float)
    rate = (events + 1) / (exposure + prior)
    busy = np.flatnonzero(seen.max(axis=1, initial=0) > most_uses(0.0))
    for _ in range(2):  # one day alone may not make a rate
        most = most_uses(rate[busy, None] * own[busy])
        events[busy] = np.minimum(seen[busy], most).sum(axis=1)
        rate[busy] = (events[busy] + 1) / (exposure[busy] + prior[busy])
    return Rates(rate, exposure, events)


def login_rates(
    logins: Words, first: Ints, last: Ints, activity: Floats, group: Ints, usual: Floats
) -> Rates:
    """Estimate own rates of logins.

    Args:
        logins: (n, 3), the 192 days of a window.
        first, last: (n,), the positions that count, both included.
        activity: (groups, 192), the peer activity index of the window.
        group: (n,).
        usual: (groups,), mean rate of the group.
    """
    observed = logins & between(first, last)
    whole = np.concatenate([np.zeros((len(activity), 1)), np.cumsum(activity, axis=1)], axis=1)
    exposure = whole[group, np.maximum(last + 1, first)] - whole[group, first]
    rate = np.empty(len(group))
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        level, bins = _bin_days(activity[number])
        days = count(observed[rows], bins)
        rate[rows] = solve_login_rates(days, level, exposure[rows] + 1 / usual[number])
    return Rates(rate, exposure, rate * (exposure + 1 / usual[group]) - 1)


def _bin_days(activity: Floats) -> tuple[Floats, Words]:
    """The mean index of each bin of like days, and the bins as masks: (bins,) and (bins, 3)."""
    place = np.argsort(np.argsort(activity, kind="stable"), kind="stable")
    bins = (place * _BINS // WINDOW)[None, :] == np.arange(_BINS)[:, None]
    return (bins @ activity) / bins.sum(axis=1), pack(bins.astype(np.uint8))


def solve_login_rates(logins: Floats, level: Floats, whole: Floats) -> Floats:
    """The most likely rates: those that a step of expectation and maximisation leaves as they are,
    by Newton's method.

    Args:
        logins: (n, bins), days with a login, by bins of days with a like index.
        level: (bins,), the index in each bin.
        whole: (n,), exposure + 1 ÷ usual rate.
    """
    level = np.maximum(level, 1e-6)
    rate = np.clip((logins.sum(axis=1) + 1) / whole, _LOWEST, _HIGHEST)
    for _ in range(_SOLVE_STEPS):
        value = rate[:, None] * level
        some = -np.expm1(-value)
        ratio = value / some
        excess = rate * whole - 1 - (logins * ratio).sum(axis=1)
        # d(v ÷ (1 − e^−v)) ÷ dv, times dv ÷ d rate
        slope = whole - (logins * level * (1 - ratio * (1 - some)) / some).sum(axis=1)
        step = excess / np.maximum(slope, 1e-9)
        rate = np.clip(np.clip(rate - step, rate / 3, rate * 3), _LOWEST, _HIGHEST)
    return rate
