"""How late the events of a feed usually arrive. Pure.

A platform that sends its events in nightly batches has none of tonight's at 5:00. So a feed is only
examined up to where its events have usually arrived by now.
"""

import numpy as np

from everafter.feeds.model import Floats

GRACE_HOURS = 48.0
"""Used for the platform as a whole while nothing but an import has arrived."""

_DAYS = 28
_MOST_DAYS_TOGETHER = 8
_TOGETHER_HOURS = 6.0
_QUANTILE = 0.9


def usual_delay(arrivals: Floats, first_hour: int, until: float) -> float | None:
    """Hours after its end by which an hour's first event has usually arrived: the ninth decile over
    the days of the last four weeks, each with its latest hour.

    Days that arrived together with more than a week of others came by an import, which says nothing
    about the usual.

    Args:
        arrivals: (hours,), as in HourTotals; a whole number of days.
        until: the moment up to which arrivals are known, in hours since 1970.

    Returns:
        Null: nothing arrived except by an import.
    """
    ends = first_hour + 1 + np.arange(len(arrivals))
    known = np.where(arrivals <= until, arrivals, np.nan).reshape(-1, 24)
    days = np.flatnonzero(~np.isnan(known).all(axis=1))
    days = days[days >= (until - first_hour) / 24 - _DAYS]
    if not len(days):
        return None
    latest = np.nanmax(known[days], axis=1)
    delay = np.nanmax(known[days] - ends.reshape(-1, 24)[days], axis=1)
    together = (np.abs(latest[:, None] - latest) <= _TOGETHER_HOURS).sum(axis=1)
    usual = delay[together <= _MOST_DAYS_TOGETHER]
    if not len(usual):
        return None
    return max(0.0, float(np.quantile(usual, _QUANTILE, method="higher")))
