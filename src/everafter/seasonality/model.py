"""The peer activity index: how active the suppliers of a group are on a day, as a share of their
usual. Pure.

A group is a vendor type (of `prior_model.VENDOR_TYPES`) in a hemisphere. Two *channels* are
measured alike and separately: logins (whether there was one that day) and uses (how often features
were used that day). Days are numbered from 1970-01-01 (UTC).

Source: docs/methods.md, seasonality; docs/decisions/0035-peer-activity.md."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everafter.seasonality.prior_model import VENDOR_TYPES, Hemisphere

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Channel = Literal["logins", "uses"]
CHANNELS: tuple[Channel, ...] = ("logins", "uses")

HEMISPHERES: tuple[Hemisphere, ...] = ("north", "south", "unknown")
TYPES = tuple(VENDOR_TYPES)
GROUPS = len(HEMISPHERES) * len(TYPES)
"""Group number = hemisphere × len(TYPES) + vendor type."""
HEMISPHERE_OF_GROUP: Ints = np.repeat(np.arange(len(HEMISPHERES)), len(TYPES))
TYPE_OF_GROUP: Ints = np.tile(np.arange(len(TYPES)), len(HEMISPHERES))

RATE_DAYS = 112
"""Days in which a supplier's own rate is measured: 16 weeks."""
KEPT_DAYS = 420
"""Days of the index that are read: a year, and the weeks at both ends."""
LIVE_DAYS = 56
"""A supplier counts as live in a channel for so many days after it was last seen there."""
WARM_UP_DAYS = 14
"""In its first days a platform's index is the prior alone."""
STOPPED_ACTIVITY = 0.004
"""The index of a day on which a channel's events did not arrive, and its smallest value."""


def sum_by(of: Ints, values: NDArray[np.floating | np.integer], size: int) -> Floats:
    """(size,): the sum of the values of each number in `of`."""
    return np.bincount(of, values, size).astype(np.float64)


def most_uses(expected: Floats | float) -> Floats | float:
    """The uses of a supplier on a day that count at most: nobody may move a group, or its own rate,
    by one day alone."""
    return 3.0 * expected + 10.0


@dataclass(frozen=True, slots=True)
class ChannelState:
    """The filter of one channel after a day.

    Attributes:
        level: (hemispheres,), the logarithm of the hemisphere's index without the weekday.
        level_precision: (hemispheres,), 1 ÷ variance of `level`.
        deviation: (groups,), the logarithm of the group's index ÷ its hemisphere's.
        deviation_precision: (groups,).
    """

    level: Floats
    level_precision: Floats
    deviation: Floats
    deviation_precision: Floats


@dataclass(frozen=True, slots=True)
class ChannelDay:
    """What one day measured in one channel.

    Attributes:
        activity: (groups,), the index of the day.
        level_that_day: (hemispheres,), the logarithm of the hemisphere's index with the weekday;
            NaN: nothing was measured (warm-up, or stopped).
        seen, expected: (groups,), events (or login days) of live suppliers, and how many the
            index of the day before let expect.
        stopped: (hemispheres,), whether the events did not arrive.
        usual: (groups,), the mean own rate: per day at index 1.
        counted: (hemispheres,), events (or login days) of all suppliers, live or not.
    """

    state: ChannelState
    activity: Floats
    level_that_day: Floats
    seen: Floats
    expected: Floats
    stopped: Bools
    usual: Floats
    counted: Floats


@dataclass(frozen=True, slots=True)
class Norms:
    """What is learned for each vendor type; every array is (vendor types,).

    Attributes:
        login_burst, use_burst: dispersion of weekly counts within four weeks (1: Poisson).
        login_drift, use_drift: squared relative drift of a supplier's four-week counts.
        inactivity_share, inactivity_power: q and κ of the calibration of inactivity
            probabilities (inactivity_rules.calibrate).
    """

    login_burst: Floats
    login_drift: Floats
    use_burst: Floats
    use_drift: Floats
    inactivity_share: Floats
    inactivity_power: Floats


def prior_norms() -> Norms:
    """The norms before anything was learned."""
    one = np.ones(len(TYPES))
    return Norms(1.2 * one, 0.02 * one, 1.2 * one, 0.02 * one, 0.2 * one, one.copy())


@dataclass(frozen=True)
class PeerActivity:
    """The index as known at the end of a day; the argument that scoring takes.

    Attributes:
        last_day: the last day of the columns.
        logins, uses: (groups, days), the index of each day up to `last_day`.
        season_index: (groups, days), (0, 1]: expected activity against the group's own peak; 0 on
            a day on which no logins arrived.
        login_usual, use_usual: (groups,), the mean own rate of the group's suppliers.
        first_measured: the first day that was measured and not assumed; null: none was.
    """

    last_day: int
    logins: Floats
    uses: Floats
    season_index: Floats
    login_usual: Floats
    use_usual: Floats
    norms: Norms
    first_measured: int | None

    @cached_property
    def first_day(self) -> int:
        """The day of the first column."""
        return self.last_day - self.logins.shape[1] + 1

    def of(self, channel: Channel) -> Floats:
        """(groups, days): the index of one channel."""
        return self.logins if channel == "logins" else self.uses
