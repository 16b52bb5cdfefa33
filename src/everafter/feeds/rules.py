"""When a feed has stopped or is halved: hourly totals by type of event against what the last weeks
let expect. Pure.

Everything is computed from the totals of HOURS_DAYS, so that a past moment gives the same result
whenever it is computed. The first MIN_DAYS only teach; the days after them are examined hour by
hour, each with expectations from the 28 days before it.

Source: docs/methods.md, Is a feed alive?
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from everafter.feeds.delay_rules import GRACE_HOURS, usual_delay
from everafter.feeds.expectation_rules import MIN_DAYS, Expectation, expect
from everafter.feeds.model import EVERYTHING, OTHER, Bools, Floats, HourTotals, Outage
from everafter.feeds.watch_rules import ALARM, SHARES, Slowdown, Stretch, Watch, weigh

MIN_BLACKOUT_HOURS = 6
"""Hours without any event before the whole platform counts as stopped; shorter ones may be
maintenance."""

_EVERYTHING_SHARE = 0.95
_BLACKOUT_DAYS = 60
_HALVED_DAYS = 14


@dataclass(frozen=True, slots=True)
class Blackout:
    """Hours without any event: from `begin` on, as far as it can be examined."""

    begin: int
    expected: float


def find_outages(totals: HourTotals, as_of: datetime, known: Sequence[Outage] = ()) -> list[Outage]:
    """The stretches in which feeds were stopped or halved, as of a moment; of feeds and, with the
    type EVERYTHING, of the platform. Each canonical type is watched.

    Args:
        totals: of the HOURS_DAYS before the newest event.
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
        if evidence >= ALARM and hour - begin + 1 >= MIN_BLACKOUT_HOURS:
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
    limits = np.array(seen.limits)
    if blackout:
        limits[:] = seen.blackout_limit
    for row, watch in watches.items():
        if watch.current:
            excluded[row, max(0, watch.current.begin // 24) : MIN_DAYS] = True
    usual_day = np.zeros(len(seen.types))
    slowdown = Slowdown(len(seen.types))
    for day in range(MIN_DAYS, seen.counts.shape[1]):
        usual = expect(seen.counts, excluded, seen.first_hour // 24, day)
        usual_day = np.where(usual.known, usual.daily, usual_day)
        begun = _watch_day(watches, slowdown, usual, seen.counts[:, day], day, limits)
        for row, first in begun.items():
            excluded[row, max(0, first) : day + 1] = True
    return watches, usual_day


def _watch_day(
    watches: dict[int, Watch],
    slowdown: Slowdown,
    usual: Expectation,
    seen: Floats,
    day: int,
    limits: npt.NDArray[np.int64],
) -> dict[int, int]:
    """Watch all feeds for a day; returns the day from which on they teach nothing, by row."""
    hourly = {row: _expected_hours(usual, row, watch.current) for row, watch in watches.items()}
    begun: dict[int, int] = {}
    for hour in range(24 * day, min(24 * day + 24, int(limits.max()))):
        begun |= _list_missing(watches, day)
        stopped = np.zeros(len(seen), dtype=bool)
        stopped[[row for row, watch in watches.items() if watch.is_stopped]] = True
        counted = usual.known & ~stopped & (hour < limits)
        slowdown.add(hour, usual.hourly[:, hour % 24], seen[:, hour % 24], counted)
        shares = slowdown.of_others()
        for row, watch in watches.items():
            expected = hourly[row]
            if expected is not None and hour < limits[row]:
                watch.step(
                    hour,
                    float(expected[hour % 24] * shares[row]),
                    float(seen[row, hour % 24]),
                    float(usual.dispersion[row]),
                    float(usual.daily[row]),
                )
    return begun | _list_missing(watches, day)


def _list_missing(watches: dict[int, Watch], day: int) -> dict[int, int]:
    """The day from which on the events of a feed are missing, by row. A feed that is halved for
    long teaches again: it has become the rule."""
    begun: dict[int, int] = {}
    for row, watch in watches.items():
        if watch.current:
            first = watch.current.begin // 24
            if watch.is_stopped or day - first < _HALVED_DAYS:
                begun[row] = first
    return begun


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
        row: watch.current for row, watch in watches.items() if watch.current and watch.is_stopped
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
