"""The terms of a supplier's inactivity: how long, and against which rhythm. Pure."""

from dataclasses import dataclass

import numpy as np

from everafter.seasonality.inactivity_rules import MIN_LOGIN_DAYS, inactivity_probability
from everafter.seasonality.model import RATE_DAYS, Bools, Floats, Ints
from everafter.seasonality.rate_rules import Small, find_rates

LOOKED_BACK_DAYS = 176
"""The rhythm is that of the 112 days up to the last login; a login longer ago than 64 days has
fewer of them."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Of each row, as of the beginning of a day.

    Attributes:
        days: full days without a login since the last one; −1: no login in the days looked at.
        probability: of being inactive for so long, not calibrated; NaN: fewer than four login days
            in the rhythm.
        login_chance: of a login on a day at peer activity 1, as of the last login.
    """

    days: Ints
    probability: Floats
    login_chance: Floats


def find_gaps(logins: Small, included: Bools, activity: Floats, group: Ints, usual: Floats) -> Gaps:
    """Describe the inactivity of suppliers.

    Args:
        logins: (n, days), 1 for a day with a login; the last column is the current day, which
            counts only if it has one.
        included: (n, days), the days since the account began.
        activity: (groups, days), peer activity in logins.
        group: (n,).
        usual: (groups,), mean rate of the group.
    """
    width = logins.shape[1]
    any_login = logins.any(axis=1)
    last = width - 1 - np.argmax(logins[:, ::-1], axis=1)
    column = np.arange(width)
    rhythm = included & (column <= last[:, None]) & (column > last[:, None] - RATE_DAYS)
    rates = find_rates("logins", logins, rhythm, activity, group, usual)
    login_days = (logins * rhythm).sum(axis=1)
    known = any_login & (login_days >= MIN_LOGIN_DAYS)
    whole = np.concatenate([np.zeros((len(activity), 1)), np.cumsum(activity, axis=1)], axis=1)
    missed = np.maximum(whole[group, width - 1] - whole[group, np.minimum(last + 1, width - 1)], 0)
    chance = -np.expm1(-rates.rate)
    probability = inactivity_probability(chance, rates.exposure, missed, activity[group, last])
    return Gaps(
        np.where(any_login, np.maximum(width - 2 - last, 0), -1),
        np.where(known, probability, np.nan),
        chance,
    )
