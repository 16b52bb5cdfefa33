"""What every supplier did on each day, from which the peer activity index is measured. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from everafter.seasonality.bit_rules import WINDOW, Small, Words, between, read_window
from everafter.seasonality.model import (
    HEMISPHERE_OF_GROUP,
    HEMISPHERES,
    Bools,
    Channel,
    Floats,
    Ints,
    sum_by,
)

_BLOCK_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """What every supplier did on each day.

    Attributes:
        group: (n,).
        began: (n,), day of the account.
        ended: (n,), day of the cancellation; a day far ahead: none.
        first_day: the day of the first column.
        logins: (n, bytes), a bit for each day, the first day first, 1 for a login.
        uses: (n, days), features used that day, at most 255.
    """

    group: Ints
    began: Ints
    ended: Ints
    first_day: int
    logins: Small
    uses: Small

    def login_window(self, last: int) -> Words:
        """(n, 3): the 192 days up to a day; days before the first column are 0."""
        return read_window(self.logins, last - WINDOW + 1 - self.first_day)

    def uses_of(self, first: int, last: int) -> Small:
        """(n, last − first + 1): the uses of these days; days before the first column are 0."""
        start = first - self.first_day
        part = self.uses[:, max(start, 0) : last - self.first_day + 1]
        if start >= 0:
            return part
        return np.pad(part, ((0, 0), (min(-start, last - first + 1), 0)))

    def seen_on(self, channel: Channel, day: int) -> Floats:
        """(n,): the uses of a day, or 1 and 0 for a login or none."""
        if channel == "uses":
            return self.uses_of(day, day)[:, 0].astype(float)
        return (self.login_window(day)[:, -1] & np.uint64(1)).astype(float)

    def total_on(self, channel: Channel, day: int) -> Floats:
        """(hemispheres,): the uses, or logins, of all suppliers on a day."""
        half = HEMISPHERE_OF_GROUP[self.group]
        return sum_by(half, self.seen_on(channel, day), len(HEMISPHERES))

    def seen_in(self, channel: Channel, first: int, last: int) -> Bools:
        """(n,): whether a supplier was seen in a channel between two days, at most 192."""
        if channel == "uses":
            return np.asarray(self.uses_of(first, last).any(axis=1))
        days = between(np.array([WINDOW - 1 - (last - first)]), np.array([WINDOW - 1]))
        return np.asarray((self.login_window(last) & days).any(axis=1))

    def blocks(self) -> Iterator["PeerCounts"]:
        """The same, some rows at a time, so that what is computed fits into memory."""
        for start in range(0, len(self.group), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            yield PeerCounts(
                self.group[rows],
                self.began[rows],
                self.ended[rows],
                self.first_day,
                self.logins[rows],
                self.uses[rows],
            )
