"""The peer activity index as of a moment: cut where the moment is in the past, continued by the
prior season where it is later than the last day measured. Pure."""

from functools import lru_cache

import numpy as np

from everafter.seasonality.history_rules import prior_of_days
from everafter.seasonality.index_rules import find_peak, last_seven, season_index
from everafter.seasonality.model import (
    GROUPS,
    KEPT_DAYS,
    STOPPED_ACTIVITY,
    Floats,
    PeerActivity,
    prior_norms,
)

_USUAL_LOGINS, _USUAL_USES = 0.3, 0.8
"""Mean own rates before anything was measured. Assumed."""


@lru_cache(maxsize=8)
def prior_activity(last_day: int) -> PeerActivity:
    """The index of a platform of which nothing is measured: the prior season."""
    days = prior_of_days(last_day, KEPT_DAYS)
    peak = find_peak(days, prior_of_days(last_day), 0)
    return PeerActivity(
        last_day=last_day,
        logins=days,
        uses=days,
        season_index=season_index(last_seven(days), peak[:, None]),
        login_usual=np.full(GROUPS, _USUAL_LOGINS),
        use_usual=np.full(GROUPS, _USUAL_USES),
        norms=prior_norms(),
        first_measured=None,
    )


def peers_as_of(peers: PeerActivity | None, today: int) -> PeerActivity:
    """The index up to a day that is not over, at least KEPT_DAYS of it.

    Args:
        peers: as measured; null: nothing is.
        today: the day; what was measured of it and later is left out.
    """
    if peers is None or peers.first_day >= today:
        return prior_activity(today)
    cut = min(peers.last_day, today - 1) - peers.first_day + 1
    logins, uses, index = (part[:, :cut] for part in (peers.logins, peers.uses, peers.season_index))
    last = peers.first_day + cut - 1
    for day in range(last + 1, today + 1):
        before, now = prior_of_days(day, 2).T
        change = now / before
        logins = np.column_stack([logins, _living(logins) * change])
        uses = np.column_stack([uses, _living(uses) * change])
        index = np.column_stack([index, np.minimum(1.0, _living(index, 0.0) * change)])
    missing = KEPT_DAYS - logins.shape[1]
    if missing > 0:
        before = prior_activity(peers.first_day - 1)
        logins, uses, index = (
            np.column_stack([old[:, -missing:], new])
            for old, new in (
                (before.logins, logins),
                (before.uses, uses),
                (before.season_index, index),
            )
        )
    return PeerActivity(
        today,
        logins,
        uses,
        index,
        peers.login_usual,
        peers.use_usual,
        peers.norms,
        peers.first_measured,
    )


def _living(activity: Floats, stopped: float = STOPPED_ACTIVITY) -> Floats:
    """(groups,): the last day on which events arrived."""
    living = activity > stopped
    last = activity.shape[1] - 1 - np.argmax(living[:, ::-1], axis=1)
    return np.where(living.any(axis=1), activity[np.arange(len(activity)), last], 1.0)
