"""The terms of a supplier's inactivity: how long, and against which rhythm. Pure."""

from dataclasses import dataclass

import numpy as np

from everafter.seasonality.bit_rules import WINDOW, Words, between, count_all, last_set
from everafter.seasonality.inactivity_rules import MIN_LOGIN_DAYS, inactivity_probability
from everafter.seasonality.model import RATE_DAYS, Floats, Ints
from everafter.seasonality.rate_rules import login_rates


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


def find_gaps(logins: Words, began: Ints, activity: Floats, group: Ints, usual: Floats) -> Gaps:
    """Describe the inactivity of suppliers.

    The rhythm is that of the 112 days up to the last login.

    Args:
        logins: (n, 3), the window of 192 days whose last is the current day, which counts only if
            it has a login.
        began: (n,), the position of the day on which the account began; before the window: ≤ 0.
        activity: (groups, 192), peer activity in logins.
        group: (n,).
        usual: (groups,), mean rate of the group.
    """
    last = last_set(logins)
    first = np.clip(np.maximum(began, last - RATE_DAYS + 1), 0, WINDOW - 1)
    rates = login_rates(logins, first, np.maximum(last, first), activity, group, usual)
    login_days = count_all(logins & between(first, last))
    whole = np.concatenate([np.zeros((len(activity), 1)), np.cumsum(activity, axis=1)], axis=1)
    today = WINDOW - 1
    missed = whole[group, today] - whole[group, np.minimum(last + 1, today)]
    chance = -np.expm1(-rates.rate)
    probability = inactivity_probability(chance, rates.exposure, missed, activity[group, last])
    return Gaps(
        np.where(last >= 0, np.maximum(today - 1 - last, 0), -1),
        np.where((last >= 0) & (login_days >= MIN_LOGIN_DAYS), probability, np.nan),
        chance,
    )
