"""When a feed has stopped or is halved: hourly totals by type of event against what the last weeks
let expect. Pure.

Everything is computed from the totals of WINDOW_DAYS, so that a past moment gives the same result
whenever it is computed. The first MIN_DAYS only teach; the days after them are examined hour by
hour, each with expectations from the 28 days before it.

Source: docs/methods.md, Is a feed alive?
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import log

import numpy as np

from everafter.feeds.delay_rules import GRACE_HOURS, usual_delay
from everafter.feeds.expectation_rules import MIN_DAYS, Expectation, expect
from everafter.feeds.model import EVERYTHING, OTHER, Bools, Floats, HourTotals, Kind, Outage

ALARM = 9.0
"""Evidence at which a feed counts as stopped or halved, and at which it counts as returned."""
SHARES: dict[Kind, float] = {"stopped": 0.1, "halved": 0.5}
"""The share of the expected events that arrives, if the feed is in that state."""
MIN_HOURS: dict[Kind, int] = {"stopped": 3, "halved": 6}
"""Hours that an outage must have lasted, however many events it has cost."""

# Evidence for "stopped" against "halved" that a feed needs to count as stopped. One that sends
# nothing has 4 of it when it has ALARM, so it is not noticed later.
_DECIDED = 3.5
_EVERYTHING_SHARE = 0.95
_BLACKOUT_DAYS = 60
_HALVED_DAYS = 14


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
            self._change(Stretch("halved", self._halved.start, None, daily), hour)
        elif kind and self._back.evidence >= ALARM:
            self._change(None, self._back.start)

    def _change(self, to: Stretch | None, ended: int) -> None:
        if self.current:
            end = max(ended, self.current.begin + 1)
            self.ended.append(replace(self.current, end=end))
        self.current = to
        self._back = Run()
        if to is None:
            self._stopped, self._halved = Run(), Run()


@dataclass(frozen=True, slots=True)
class Blackout:
    """Hours without any event: from `begin` on, as far as it can be examined."""

    begin: int
    expected: float


def find_outages(totals: HourTotals, as_of: datetime, known: Sequence[Outage] = ()) -> list[Outage]:
    """The stretches in which feeds were stopped or halved, as of a moment; of feeds and, with the
    type EVERYTHING, of the platform. Each canonical type is watched.

    Args:
        totals: of the WINDOW_DAYS before the newest event.
        known: outages noticed by earlier runs. One that began before the days that can be examined
            here lasts until its events return.
    """
    now = as_of.timestamp() / 3600
    seen = _Seen(totals, now)
    if seen.newest is None:
        return []
    blackout = _find_blackout(seen)
    watches, expected = _watch(seen, blackout, known)
    outages = [
        _to_outage(seen, row, stretch, as_of)
        for row, watch in watches.items()
        for stretch in (*watch.ended, *([watch.current] if watch.current else []))
    ]
    everything = _find_everything(watches, expected, blackout)
    if everything is not None:
        outages.append(_to_outage(seen, None, everything, as_of))
    outages += _end_of_everything(seen, everything, known, as_of)
    return sorted(outages, key=lambda outage: (outage.since, outage.type, outage.kind))


class _Seen:
    """The totals cut off at a moment, and how far each feed can be examined.

    Attributes:
        counts: (types, days, 24), with the hours from `first_hour` on.
        newest: the hour of the newest event, counted from first_hour; None: there is none.
        limits: by row, the first hour that is not examined.
        blackout_limit: the same for the platform.
    """

    def __init__(self, totals: HourTotals, now: float) -> None:
        self.types, self.first_hour = totals.types, totals.first_hour
        until = int(now) - totals.first_hour
        hours = min(totals.counts.shape[1], max(until, 0) + 1)
        kept = np.where(np.arange(totals.counts.shape[1]) < hours, totals.counts, 0.0)
        begun = np.flatnonzero(kept.any(axis=0))
        self.newest: int | None = int(begun[-1]) if len(begun) else None
        # the history begins with the first day that has events
        skip = int(begun[0]) // 24 * 24 if len(begun) else 0
        self.first_hour += skip
        kept = kept[:, skip:]
        if self.newest is not None:
            self.newest -= skip
        arrivals = None if totals.arrivals is None else totals.arrivals[:, skip:]
        self.limits, limit = self._find_limits(arrivals, now)
        days = min(-(-(limit + 1) // 24), (self.newest or 0) // 24 + _BLACKOUT_DAYS)
        days = max(days, kept.shape[1] // 24)
        filled = np.zeros((len(self.types), days * 24))
        filled[:, : kept.shape[1]] = kept
        self.counts: Floats = filled.reshape(len(self.types), days, 24)
        self.blackout_limit = min(limit, days * 24)

    def _find_limits(self, arrivals: Floats | None, now: float) -> tuple[list[int], int]:
        """By row the first hour that is not examined, and the same for the platform."""
        until = int(now) - self.first_hour
        if arrivals is None:
            return [min(until, self.newest or 0)] * len(self.types), until
        first = np.where(np.isnan(arrivals).all(axis=0), np.nan, _first(arrivals))
        late = usual_delay(first, self.first_hour, now)
        blackout = int(now - (GRACE_HOURS if late is None else late)) - self.first_hour
        delays = [usual_delay(row, self.first_hour, now) or 0.0 for row in arrivals]
        limits = [int(now - delay) - self.first_hour for delay in delays]
        return [min(limit, self.newest or 0) for limit in limits], blackout


def _first(arrivals: Floats) -> Floats:
    """(hours,) the first arrival of any type; infinite where there is none."""
    return np.where(np.isnan(arrivals), np.inf, arrivals).min(axis=0, initial=np.inf)


def _find_blackout(seen: _Seen) -> Blackout | None:
    """The blackout of the whole platform after its newest event, if it is too long for chance."""
    begin = (seen.newest or 0) + 1
    day = (begin - 1) // 24
    if day < MIN_DAYS:
        return None
    nothing = np.zeros(seen.counts.shape[:2], dtype=bool)
    nothing[:, day:] = True
    evidence = 0.0
    usual = expect(seen.counts, nothing, seen.first_hour // 24, begin // 24)
    expected = float(usual.daily.sum())
    if not usual.total_known:
        return None
    for hour in range(begin, seen.blackout_limit):
        if hour % 24 == 0:
            usual = expect(seen.counts, nothing, seen.first_hour // 24, hour // 24)
        evidence += weigh(
            float(usual.total[hour % 24]), 0.0, usual.total_dispersion, SHARES["stopped"]
        )
        if evidence >= ALARM:
            return Blackout(begin, expected)
    return None


def _watch(
    seen: _Seen, blackout: Blackout | None, known: Sequence[Outage]
) -> tuple[dict[int, Watch], Floats]:
    """Go through the hours.

    Returns:
        A watch by row, and (types,) the events that are usually expected a day.
    """
    excluded: Bools = np.zeros(seen.counts.shape[:2], dtype=bool)
    if blackout:
        excluded[:, (blackout.begin - 1) // 24 :] = True
    watches = {
        row: Watch(_continued(seen, name, known))
        for row, name in enumerate(seen.types)
        if name != OTHER
    }
    limits = [seen.blackout_limit] * len(seen.types) if blackout else seen.limits
    for row, watch in watches.items():
        if watch.current:
            excluded[row, max(0, watch.current.begin // 24) : MIN_DAYS] = True
    usual_day = np.zeros(len(seen.types))
    for day in range(MIN_DAYS, seen.counts.shape[1]):
        usual = expect(seen.counts, excluded, seen.first_hour // 24, day)
        usual_day = np.where(usual.known, usual.daily, usual_day)
        for row, watch in watches.items():
            hourly = _expected_hours(usual, row, watch.current)
            if hourly is None:
                continue
            was_stopped = _watch_day(
                watch,
                day,
                hourly,
                seen.counts[row, day],
                float(usual.dispersion[row]),
                float(usual.daily[row]),
                limits[row],
            )
            if was_stopped is not None:
                excluded[row, max(0, was_stopped) : day + 1] = True
    return watches, usual_day


def _watch_day(
    watch: Watch,
    day: int,
    expected: Floats,
    seen: Floats,
    dispersion: float,
    daily: float,
    limit: int,
) -> int | None:
    """Watch a feed for a day; returns the day from which on it teaches nothing. None: it does."""
    begun: int | None = None
    for hour in range(min(24, limit - 24 * day)):
        begun = _silenced_from(watch, day, begun)
        watch.step(24 * day + hour, float(expected[hour]), float(seen[hour]), dispersion, daily)
    return _silenced_from(watch, day, begun)


def _silenced_from(watch: Watch, day: int, begun: int | None) -> int | None:
    """The day from which on the current stretch teaches nothing; `begun` if there is none. One that
    is halved for long teaches again: it has become the rule."""
    if watch.current is None:
        return begun
    first = watch.current.begin // 24
    return first if watch.current.kind == "stopped" or day - first < _HALVED_DAYS else begun


def _continued(seen: _Seen, name: str, known: Sequence[Outage]) -> Stretch | None:
    """The stretch of a feed that stopped before the days that can be examined."""
    for outage in known:
        begin = int(outage.since.timestamp() // 3600) - seen.first_hour
        if (
            outage.type == name
            and outage.kind == "stopped"
            and outage.ended_at is None
            and begin < MIN_DAYS * 24
        ):
            return Stretch("stopped", begin, None, outage.expected)
    return None


def _expected_hours(usual: Expectation, row: int, current: Stretch | None) -> Floats | None:
    """(24,) the expected events of a feed; None: nothing can be said."""
    if usual.known[row]:
        return usual.hourly[row]
    if current is None or current.kind != "stopped":
        return None
    total = usual.total.sum()
    profile = usual.total / total if total > 0 else np.full(24, 1 / 24)
    return current.expected * profile


def _find_everything(
    watches: dict[int, Watch], expected: Floats, blackout: Blackout | None
) -> Stretch | None:
    """The stretch in which the whole platform is stopped: no event arrives, or only a few of types
    that are not worth mentioning."""
    if blackout:
        return Stretch("stopped", blackout.begin, None, blackout.expected)
    begun = {
        row: watch.current
        for row, watch in watches.items()
        if watch.current and watch.current.kind == "stopped"
    }
    missing = sum(stretch.expected for stretch in begun.values())
    arriving = sum(float(expected[row]) for row in range(len(expected)) if row not in begun)
    if len(begun) < 2 or missing < _EVERYTHING_SHARE * (missing + arriving):
        return None
    return Stretch("stopped", max(stretch.begin for stretch in begun.values()), None, missing)


def _end_of_everything(
    seen: _Seen, now: Stretch | None, known: Sequence[Outage], as_of: datetime
) -> list[Outage]:
    """The known outages of the whole platform that are over, with the hour of the first event after
    them as their end."""
    if now is not None:
        return []
    ended: list[Outage] = []
    for outage in known:
        if outage.type == EVERYTHING and outage.kind == "stopped" and outage.ended_at is None:
            begin = max(0, int(outage.since.timestamp() // 3600) - seen.first_hour)
            later = np.flatnonzero(seen.counts.sum(axis=0).ravel()[begin:])
            end = begin + int(later[0]) if len(later) else None
            at = as_of if end is None else _moment(seen, end)
            ended.append(replace(outage, ended_at=max(at, outage.since)))
    return ended


def _to_outage(seen: _Seen, row: int | None, stretch: Stretch, as_of: datetime) -> Outage:
    """row: None: the platform."""
    counts = (seen.counts.sum(axis=0) if row is None else seen.counts[row]).ravel()
    end = (
        stretch.end if stretch.end is not None else int(as_of.timestamp() // 3600 - seen.first_hour)
    )
    days = max(end - stretch.begin, 1) / 24
    return Outage(
        type=EVERYTHING if row is None else seen.types[row],
        kind=stretch.kind,
        since=_moment(seen, stretch.begin),
        noticed_at=as_of,
        ended_at=None if stretch.end is None else _moment(seen, stretch.end),
        expected=stretch.expected,
        seen=float(counts[max(0, stretch.begin) : max(0, end)].sum()) / days,
    )


def _moment(seen: _Seen, hour: int) -> datetime:
    return datetime.fromtimestamp((seen.first_hour + hour) * 3600, UTC)
