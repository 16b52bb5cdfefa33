"""Watching one feed hour by hour: the evidence that it has stopped or is halved. Pure.

Source: docs/methods.md, Is a feed alive?
"""

from dataclasses import dataclass, replace
from math import log

import numpy as np

from everafter.feeds.model import Bools, Floats, Kind

ALARM = 9.0
"""Evidence at which a feed counts as stopped or halved, and at which it counts as returned."""
SHARES: dict[Kind, float] = {"stopped": 0.1, "halved": 0.5}
"""The share of the expected events that arrives, if the feed is in that state."""
MIN_HOURS: dict[Kind, int] = {"stopped": 3, "halved": 6}
"""Hours that an outage must have lasted, however many events it has cost."""

_RECENT_HOURS = 8
_RECENT_PRIOR = 10.0
_SLOWEST = 0.3

# Evidence for "stopped" against "halved" that a feed needs to count as stopped. One that sends
# nothing has 4 of it when it has ALARM, so it is not noticed later.
_DECIDED = 3.5
_AGAIN_HOURS = 24


def weigh(expected: float, seen: float, dispersion: float, share: float) -> float:
    """The evidence of one hour that only this share of the expected events arrives; negative: that
    they all do.

    >>> weigh(5, 0, 1.5, 0.1), round(weigh(5, 2.5, 1.5, 0.5), 6)
    (3.0, 0.511421)
    """
    return (expected * (1 - share) + seen * log(share)) / dispersion


@dataclass(slots=True)
class Run:
    """A CUSUM: evidence that is never below 0, and the hour at which it left 0."""

    evidence: float = 0.0
    start: int = 0

    def add(self, hour: int, weight: float) -> None:
        if self.evidence == 0 and weight > 0:
            self.start = hour
        self.evidence = max(0.0, self.evidence + weight)

    def is_raised(self, hour: int, kind: Kind) -> bool:
        """Whether there is enough evidence of that state, from enough hours."""
        return self.evidence >= ALARM and hour - self.start + 1 >= MIN_HOURS[kind]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hours in which a feed was stopped or halved. end: the first hour after it; None: it lasts.
    expected: events a day at the time it was noticed."""

    kind: Kind
    begin: int
    end: int | None
    expected: float


class Watch:
    """Watches one feed, hour by hour.

    Attributes:
        current: the stretch that lasts; None: all is well.
        ended: the earlier ones.
    """

    def __init__(self, current: Stretch | None = None) -> None:
        self.current = current
        self.ended: list[Stretch] = []
        self._stopped, self._halved, self._back = Run(), Run(), Run()
        self._decision = 0.0

    @property
    def is_stopped(self) -> bool:
        return self.current is not None and self.current.kind == "stopped"

    def step(
        self, hour: int, expected: float, seen: float, dispersion: float, daily: float
    ) -> None:
        """Examine one hour.

        Args:
            expected, seen: events in that hour.
            dispersion: φ, at least 1.
            daily: events expected on a day like any.
        """
        if self._stopped.evidence == 0:
            self._decision = 0.0
        self._decision += weigh(expected, seen, dispersion, SHARES["stopped"]) - weigh(
            expected, seen, dispersion, SHARES["halved"]
        )
        self._stopped.add(hour, weigh(expected, seen, dispersion, SHARES["stopped"]))
        self._halved.add(hour, weigh(expected, seen, dispersion, SHARES["halved"]))
        kind = self.current.kind if self.current else None
        if kind:
            self._back.add(hour, -weigh(expected, seen, dispersion, SHARES[kind]))
        is_stopped = self._stopped.is_raised(hour, "stopped") and self._decision >= _DECIDED
        if kind != "stopped" and is_stopped:
            self._change(Stretch("stopped", self._stopped.start, None, daily), self._stopped.start)
        elif kind is None and self._halved.is_raised(hour, "halved"):
            self._change(Stretch("halved", self._halved_since(hour), None, daily), hour)
        elif kind and self._back.evidence >= ALARM:
            self._change(None, self._back.start)

    def _halved_since(self, hour: int) -> int:
        """When the feed began to be halved; if all seemed well for less than a day, before that."""
        begin, next_begin = self._halved.start, hour
        for last in reversed(self.ended):
            if last.end is None or next_begin - last.end >= _AGAIN_HOURS:
                break
            begin = next_begin = last.begin
        return begin

    def _change(self, to: Stretch | None, ended: int) -> None:
        if self.current:
            end = max(ended, self.current.begin + 1)
            self.ended.append(replace(self.current, end=end))
        self.current = to
        self._back = Run()
        if to is None:
            self._stopped, self._halved = Run(), Run()


class Slowdown:
    """How active the platform is: what arrived in the last hours as a share of what was expected.

    When all types slow down together, as at Christmas, that is the platform and not a feed. So of
    each type only that share of its events is expected which arrives of the others, at most all and
    at least 0.3 of them.
    """

    def __init__(self, types: int) -> None:
        self._hours = np.zeros((_RECENT_HOURS, 2, types))

    def add(self, hour: int, expected: Floats, seen: Floats, counted: Bools) -> None:
        """Add an hour. counted: (types,), those that are not stopped and can be examined."""
        self._hours[hour % _RECENT_HOURS] = np.where(counted, [expected, seen], 0.0)

    def of_others(self) -> Floats:
        """(types,): the share that applies to each type, from all others."""
        expected, seen = self._hours.sum(axis=0)
        share = (seen.sum() - seen + _RECENT_PRIOR) / (expected.sum() - expected + _RECENT_PRIOR)
        return np.clip(share, _SLOWEST, 1.0)
