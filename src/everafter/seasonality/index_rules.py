"""The season index: how active a group is now, against its own peak. Pure.

Source: docs/methods.md, season index."""

import numpy as np

from everafter.seasonality.model import STOPPED_ACTIVITY, Bools, Floats

_PEAK_PERCENTILE = 85.0
_WEEKS = 52
_LEAST = 0.02


def living_days(activity: Floats) -> Bools:
    """Which days' events arrived."""
    return activity > STOPPED_ACTIVITY


def last_seven(activity: Floats) -> Floats:
    """(groups, days): the mean of each day and the six before, without those on which no events
    arrived; where none did, the last mean.

    Args:
        activity: (groups, days).
    """
    known = living_days(activity)
    total = _rolling_sum(np.where(known, activity, 0.0))
    days = _rolling_sum(known.astype(float))
    mean = np.where(days > 0, total / np.maximum(days, 1), np.nan)
    for day in range(1, mean.shape[1]):
        mean[:, day] = np.where(np.isnan(mean[:, day]), mean[:, day - 1], mean[:, day])
    return mean


def _rolling_sum(values: Floats, length: int = 7) -> Floats:
    whole = np.cumsum(values, axis=1)
    whole[:, length:] = whole[:, length:] - whole[:, :-length]
    return whole


def find_peak(activity: Floats, prior: Floats, measured_days: int) -> Floats:
    """(groups,): the activity of a busy week in the last 52.

    Args:
        activity: (groups, days), of which the last `measured_days` were measured.
        prior: (groups, 364), the prior season of the last 52 weeks: where nothing was measured,
            its shape counts, at the level measured.

    >>> year = np.repeat([[0.4, 0.9, 1.2, 1.5]], [8 * 7, 18 * 7, 18 * 7, 8 * 7], axis=1)
    >>> find_peak(year, year, 364).round(3)
    array([1.305])
    """
    weeks_measured = min(_WEEKS, measured_days // 7)
    shape = _weekly_means(prior, np.ones(prior.shape, dtype=bool), _WEEKS)
    if not weeks_measured:
        return np.percentile(shape, _PEAK_PERCENTILE, axis=1)
    seen = activity[:, -7 * weeks_measured :]
    weeks = _weekly_means(seen, living_days(seen), weeks_measured)
    recent = shape[:, -weeks_measured:]
    known = ~np.isnan(weeks)
    level = np.where(known, weeks, 0).sum(axis=1) / np.maximum(
        np.where(known, recent, 0).sum(axis=1), 1e-9
    )
    whole = shape * np.where(known.any(axis=1), level, 1.0)[:, None]
    whole[:, -weeks_measured:] = np.where(known, weeks, whole[:, -weeks_measured:])
    return np.percentile(whole, _PEAK_PERCENTILE, axis=1)


def _weekly_means(activity: Floats, known: Bools, weeks: int) -> Floats:
    shape = (len(activity), weeks, 7)
    days = known.reshape(shape).sum(axis=2)
    total = np.where(known, activity, 0.0).reshape(shape).sum(axis=2)
    return np.where(days > 0, total / np.maximum(days, 1), np.nan)


def season_index(mean_of_week: Floats, peak: Floats) -> Floats:
    """Activity of the last seven days against the peak, (0, 1].

    >>> season_index(np.array([0.45, 1.2, 2.0]), np.array(1.305)).round(6)
    array([0.344828, 0.91954 , 1.      ])
    """
    return np.clip(mean_of_week / peak, _LEAST, 1.0)
