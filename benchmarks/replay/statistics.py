"""Statistics of the figures: areas, alarms, rates, calibration, with intervals by supplier."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Interval = tuple[float, float]

DRAWS = 500
COOLDOWN_DAYS = 30


def area_under_curve(churned: Bools, value: Floats, weight: Floats | None = None) -> float:
    """The probability that a churned row has a higher value than another; ties count half.

    Args:
        churned, value, weight: (rows,); null: all weigh the same.

    >>> area_under_curve(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]))
    0.75
    """
    weights = np.ones(len(value)) if weight is None else weight
    order, group = _by_value(value)
    return _area(churned[order], weights[order], group)


def _by_value(value: Floats) -> tuple[Ints, Ints]:
    """The order of the values, and the number of each one's group of equals in that order."""
    order = np.argsort(value, kind="stable")
    ordered = value[order]
    return order, np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])]).astype(np.int64)


def _area(churned: Bools, weight: Floats, group: Ints) -> float:
    size = int(group[-1]) + 1
    yes = np.bincount(group, weight * churned, size)
    no = np.bincount(group, weight * ~churned, size)
    pairs = yes.sum() * no.sum()
    if pairs == 0:
        return float("nan")
    return float((yes * (np.cumsum(no) - no / 2)).sum() / pairs)


def area_interval(churned: Bools, value: Floats, supplier: Ints, seed: int = 1) -> Interval:
    """95 % of the area under the curve, resampled by supplier."""
    random, count = np.random.default_rng(seed), int(supplier.max()) + 1
    order, group = _by_value(value)
    churned, supplier = churned[order], supplier[order]
    present = np.unique(supplier)
    areas: list[float] = []
    for _ in range(DRAWS):
        chosen = present[random.integers(0, len(present), len(present))]
        times = np.bincount(chosen, minlength=count).astype(float)
        areas.append(_area(churned, times[supplier], group))
    low, high = np.nanquantile(areas, [0.025, 0.975])
    return float(low), float(high)


def ratio_interval(above: Floats, below: Floats, seed: int = 1) -> Interval:
    """95 % of a quotient of two rates, each given as (suppliers, 2): count and exposure."""
    random, ratios = np.random.default_rng(seed), np.empty(DRAWS)
    for n in range(DRAWS):
        chosen = random.integers(0, len(above), len(above))
        (a, x), (b, y) = above[chosen].sum(axis=0), below[chosen].sum(axis=0)
        ratios[n] = (a / x) / (b / y) if x > 0 and y > 0 and b > 0 else np.nan
    if np.isnan(ratios).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def find_alarms(state: Bools, there: Bools) -> Bools:
    """(days, suppliers), where a state begins that the day before did not have, at least 30 days
    after the last such alarm. The first day has none."""
    alarms = np.zeros_like(state)
    last = np.full(state.shape[1], -(10**6))
    for day in range(1, len(state)):
        begins = state[day] & ~state[day - 1] & there[day - 1] & (day - last >= COOLDOWN_DAYS)
        alarms[day] = begins
        last[begins] = day
    return alarms


def threshold_for(risk: Floats, there: Bools, per_year: float) -> float:
    """The threshold above which there are so many alarms a supplier-year."""
    years = there.sum() / 365.25
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        alarms = find_alarms(np.nan_to_num(risk) > middle, there).sum() / years
        # Below the usual value everybody is always in the state, and alarms are few again.
        often = np.nanmean(risk > middle) > 0.5
        low, high = (middle, high) if alarms > per_year or often else (low, middle)
    return high


def log_loss(happened: Bools, probability: Floats) -> float:
    """Mean logarithmic loss."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-np.where(happened, np.log(p), np.log(1 - p)).mean())


def calibration_slope(happened: Bools, probability: Floats) -> float:
    """The slope of a logistic regression on the logit of the probability; 1 is calibrated."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    logit = np.log(p / (1 - p))
    if np.ptp(logit) < 1e-9 or not happened.any():
        return float("nan")
    design, beta = np.column_stack([np.ones(len(logit)), logit]), np.zeros(2)
    for _ in range(50):
        mean = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        hessian = design.T @ (design * (mean * (1 - mean))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (happened - mean))
        beta += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return float(beta[1])
