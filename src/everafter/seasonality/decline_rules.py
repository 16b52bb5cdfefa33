"""Do the last weeks of a supplier look like a decline, or like any other weeks? Pure.

Weekly counts are compared with what peer activity lets expect, under 40 shapes of a decline and
under none; the own rate is integrated out. The evidence is the logarithm of how much more likely
the counts are under a decline.

Source: docs/methods.md, decline evidence."""

import numpy as np

from everafter.seasonality.model import Floats

WEEKS = 16
_RATE_SHAPE = 1.5
_LEAST_DISPERSION = 2.0
_LEAST_LEFT = 0.05
_FADING_WEEKS = (1, 2, 3, 4, 5, 6, 8, 10)
_FADED_AFTER = (4, 6, 8, 10)
_STEP_WEEKS = (1, 2, 3, 4, 6)
_STEP_LEFT = (0.1, 0.3, 0.5)
_BLOCK = 4
_FEWEST_EVENTS = 8
_RANGE_80 = 0.6408


def _shapes(elapsed_days: float) -> Floats:
    """(shapes, weeks): the share of the own rate left in each week, the current week first.

    Args:
        elapsed_days: days of the current week that are over, 0–7.
    """
    middle = np.concatenate([[elapsed_days / 14], elapsed_days / 7 + np.arange(WEEKS - 1) + 0.5])
    fading = [
        np.maximum(_LEAST_LEFT, 1 - np.maximum(since - middle, 0) / whole)
        for since in _FADING_WEEKS
        for whole in _FADED_AFTER
        if since <= whole
    ]
    steps = [np.where(middle < since, left, 1.0) for since in _STEP_WEEKS for left in _STEP_LEFT]
    return np.array(fading + steps)


def decline_evidence(
    counts: Floats, exposure: Floats, usual: Floats, dispersion: Floats, elapsed_days: float
) -> Floats:
    """The evidence of a decline in one channel: 0 is none, above 0 for it, below 0 against it.

    Args:
        counts: (n, 16), events of each week from Monday, the current one first.
        exposure: (n, 16), the sum of peer activity over the week's full days since the account
            began.
        usual: (n,), mean own rate of the group.
        dispersion: (n,), variance of the counts ÷ their mean.
        elapsed_days: days of the current week that are over, 0–7.

    >>> weeks = np.array([[2, 4, 7, 10] + [14] * 12], dtype=float)
    >>> full = np.full((1, 16), 7.0)
    >>> decline_evidence(weeks, full, np.array([2.0]), np.array([2.0]), 7).round(4)
    array([4.6364])
    """
    shapes = _shapes(elapsed_days).astype(np.float32)
    rate = _RATE_SHAPE / usual
    total = _RATE_SHAPE + counts.sum(axis=1) / dispersion
    full = rate + exposure.sum(axis=1) / dispersion
    # single precision: three times as fast, and exact to four digits
    weighed = (exposure / dispersion[:, None] / full[:, None]).astype(np.float32)
    ratio = weighed @ shapes.T + (rate / full).astype(np.float32)[:, None]
    log_likelihood = (counts / dispersion[:, None]).astype(np.float32) @ np.log(shapes).T
    log_likelihood -= total.astype(np.float32)[:, None] * np.log(ratio)
    highest = log_likelihood.max(axis=1)
    mean = np.exp(log_likelihood - highest[:, None]).mean(axis=1)
    return (highest + np.log(mean)).astype(np.float64)


def expect_month(counts: Floats, exposure: Floats, usual: Floats) -> Floats:
    """(n,): the mean count that a supplier's own rate lets expect in four weeks.

    Args:
        counts, exposure, usual: as in `decline_evidence`.
    """
    observed = exposure.sum(axis=1)
    rate = (counts.sum(axis=1) + _RATE_SHAPE) / (observed + _RATE_SHAPE / usual)
    return rate * observed * _BLOCK / WEEKS


def find_dispersion(burst: Floats, drift: Floats, monthly: Floats) -> Floats:
    """Variance ÷ mean of a supplier's weekly counts.

    Args:
        burst, drift: of its vendor type.
        monthly: its mean expected count in four weeks.

    >>> find_dispersion(np.array([1.1, 2.8]), np.array([0.015, 0.05]), np.array([40.0, 60.0]))
    array([2. , 5.8])
    """
    return np.maximum(_LEAST_DISPERSION, burst + drift * monthly)


def learn_dispersion(counts: Floats, exposure: Floats) -> tuple[float, float]:
    """Burst and drift of a vendor type, from the sixteen weeks that are over.

    Args:
        counts, exposure: (n, 16), of its suppliers; the last week first.

    Returns:
        burst: variance ÷ mean of weekly counts within four weeks; drift: the variance of the
        level between blocks of four weeks, relative to its square.
    """
    size = len(counts)
    blocks = counts.reshape(size, WEEKS // _BLOCK, _BLOCK)
    exposures = exposure.reshape(size, WEEKS // _BLOCK, _BLOCK)
    block_counts, block_exposure = blocks.sum(axis=2), exposures.sum(axis=2)
    enough = (block_counts >= _FEWEST_EVENTS) & (block_exposure > 0)
    mean = exposures * (block_counts / np.maximum(block_exposure, 1e-9))[:, :, None]
    chi = np.where(mean > 0, (blocks - mean) ** 2 / np.maximum(mean, 1e-9), 0).sum(axis=2)
    each = np.minimum(20.0, chi / (_BLOCK - 1))[enough]
    burst = (each.sum() + 100 * 1.2) / (len(each) + 100)
    own = _own_drift(block_counts, block_exposure, burst)
    return float(burst), float((own.sum() + 100 * 0.02) / (len(own) + 100))


def _own_drift(counts: Floats, exposure: Floats, burst: float) -> Floats:
    """Of each supplier with enough events: how far its four blocks drift, less what bursts do."""
    rate = counts.sum(axis=1) / np.maximum(exposure.sum(axis=1), 1e-9)
    expected = exposure * rate[:, None]
    enough = expected[:, 1:].min(axis=1) >= _FEWEST_EVENTS
    counts, expected = counts[enough], expected[enough]
    spread = ((counts - expected) ** 2 * 4 / 3 - burst * expected).sum(axis=1)
    return np.clip(spread / (expected**2).sum(axis=1), -0.5, 1.0)


def expected_range(
    counts: Floats,
    exposure: Floats,
    usual: Floats,
    next_week: Floats,
    dispersion: Floats,
    burst: Floats,
    drift: Floats,
) -> tuple[Floats, Floats]:
    """The range in which four of five counts of the coming seven days lie.

    Args:
        counts, exposure, usual, dispersion: as in `decline_evidence`.
        next_week: (n,), the sum of peer activity expected over the seven days.
        burst, drift: of the vendor type.

    Returns:
        The lowest and the highest count.
    """
    a = _RATE_SHAPE + counts.sum(axis=1) / dispersion
    b = _RATE_SHAPE / usual + exposure.sum(axis=1) / dispersion
    mean = a / b * next_week
    width = _RANGE_80 * np.sqrt(burst + drift * mean + mean / a)
    root = np.sqrt(mean)
    return np.round(np.maximum(0, root - width) ** 2), np.round((root + width) ** 2)
