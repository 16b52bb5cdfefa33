"""How rarely a supplier is inactive for so long, counted in days as active as its peers'. Pure.

Source: docs/methods.md, inactivity."""

import numpy as np

from everafter.seasonality.model import Bools, Floats, Ints

RARE = 0.2
"""Probabilities below this are calibrated by the gaps seen; see `calibrate`."""
_PRIOR_LOGINS = 0.5
_PRIOR_DAYS = 7.0
MIN_LOGIN_DAYS = 4

_MIN_DAYS = 3
_DAILY_FROM = 0.5
_EARLY_DAYS = 4
_DAILY_EARLY, _DAILY_LATE, _OTHERS = 0.012, 0.002, 0.009
_HEAVIEST = 0.4
"""The lowest power that the thresholds of daily users follow."""


def inactivity_probability(
    login_chance: Floats, exposure: Floats, missed: Floats, last_activity: Floats
) -> Floats:
    """The probability that a supplier is inactive for so long, before calibration.

    Each full day has a login with the supplier's own probability, which is Beta-distributed.

    Args:
        login_chance: the probability of a login on a day at peer activity 1, as of the last login.
        exposure: the sum of peer activity over the days up to the last login.
        missed: the same over the full days without a login since.
        last_activity: peer activity on the day of the last login, of which half counts.

    >>> one = np.ones(1)
    >>> inactivity_probability(1 - np.exp(-1.2 * one), 100 * one, 3 * one, 0.9 * one).round(6)
    array([0.026623])
    """
    a = _PRIOR_LOGINS + exposure * login_chance
    b = _PRIOR_DAYS - _PRIOR_LOGINS + exposure * (1 - login_chance)
    t = missed + last_activity / 2
    return np.exp(_log_gamma(b + t) - _log_gamma(b) + _log_gamma(a + b) - _log_gamma(a + b + t))


def _log_gamma(x: Floats) -> Floats:
    """ln Γ(x) for x > 0, by Stirling's series at x + 8; the error is below 1e-10."""
    up = x + 8.0
    series = (
        (up - 0.5) * np.log(up)
        - up
        + 0.5 * np.log(2 * np.pi)
        + 1 / (12 * up)
        - 1 / (360 * up**3)
        + 1 / (1260 * up**5)
    )
    return series - sum(np.log(x + step) for step in range(8))


def learn_calibration(gaps: Floats, rare: Floats, rarity: Floats) -> tuple[Floats, Floats]:
    """Share and power of the calibration, from the ends of gaps.

    Args:
        gaps: how many gaps ended.
        rare: of these, how many had a probability below RARE.
        rarity: the sum of ln(RARE ÷ probability) over those.

    Returns:
        share: the share of gaps that are rare (0.2 if the probabilities are right); power: 1 if
        they are right, below 1 if long gaps are more common than thought.
    """
    share = (rare + 40) / (gaps + 200)
    power = (rare + 100) / (rarity + 100)
    return share, power


def calibrate(probability: Floats, share: Floats, power: Floats) -> Floats:
    """Correct probabilities by how often such gaps were seen.

    >>> calibrate(np.array([0.01, 0.15, 0.6]), np.array(0.342857), np.array(0.790931)).round(5)
    array([0.03207, 0.27308, 0.67143])
    """
    below = share * (probability / RARE) ** power
    above = share + (1 - share) * (probability - RARE) / (1 - RARE)
    return np.where(probability < RARE, below, above)


def is_unusual(days: Ints, probability: Floats, chance_now: Floats, power: Floats) -> Bools:
    """Whether inactivity is so unusual that it should be looked at.

    A supplier who would log in on most days now is noticed early: its third and fourth day have a
    threshold of their own. Where long gaps are more common than the rhythm says (power below 1),
    short ones tell less of what follows: the early threshold is lower, and the late one higher.

    Args:
        days: full days without a login.
        probability: calibrated; NaN: unknown.
        chance_now: the probability of a login on a day of the last week.
        power: of the calibration, of its vendor type.

    >>> cases = [(4, 0.011, 0.7), (5, 0.011, 0.7), (7, 0.008, 0.3), (2, 0.008, 0.3)]
    >>> days, probability, chance = (np.array(column) for column in zip(*cases))
    >>> is_unusual(days, probability, chance, np.ones(4)).tolist()
    [True, False, True, False]
    >>> is_unusual(days, probability, chance, np.full(4, 0.7)).tolist()
    [False, False, True, False]
    """
    heavy = np.clip(power, _HEAVIEST, 1.0)
    daily = np.where(days <= _EARLY_DAYS, _DAILY_EARLY * heavy**2, _DAILY_LATE / heavy)
    threshold = np.where(chance_now >= _DAILY_FROM, daily, _OTHERS)
    return (days >= _MIN_DAYS) & (np.nan_to_num(probability, nan=1.0) < threshold)
