"""Support's open hours as periods, so that the open time between two moments is one subtraction.
Pure.

Hours are wall-clock hours in the zone of the support team. If the clocks skip part of the open
hours, that part does not exist; if they repeat it, it is open twice (docs/decisions/0023).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from everafter.playbook.model import Support

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_AROUND = 3 * 3600 * _SECOND


class OpenHours:
    """The periods in which support is open, in order and without overlap, and the open time before
    each.

    Moments are microseconds since 1970. Nothing is open before the first period; `until` is the end
    of the computed time.
    """

    def __init__(self, stretches: list[tuple[int, int]], until: int) -> None:
        self.starts = [start for start, _ in stretches]
        self.ends = [end for _, end in stretches]
        self.before = [0]
        for start, end in stretches:
            self.before.append(self.before[-1] + end - start)
        self.until = until

    def open_until(self, at: int) -> int:
        """Return the open time from the beginning to this moment."""
        place = bisect_right(self.starts, at) - 1
        return (
            0 if place < 0 else self.before[place] + min(at, self.ends[place]) - self.starts[place]
        )

    def reach(self, total: int) -> int | None:
        """Return the first moment with so much open time; null: beyond the computed time."""
        place = bisect_left(self.before, total) - 1
        if place >= len(self.starts):
            return None
        return self.starts[place] + total - self.before[place] if place >= 0 else self.starts[0]


def work_out_hours(
    support: Support, holidays: Collection[date], first: date, last: date
) -> OpenHours:
    """Compute the open hours of every day from `first` to `last`, in the zone of the support team.

    Args:
        holidays: the public holidays in that time; the playbook's `closed_on` is added here.
    """
    zone = ZoneInfo(support.timezone)
    opens, closes = _of_day(support.open_from), _of_day(support.open_until)
    closed = {*holidays, *map(date.fromisoformat, support.closed_on)}
    work_days = frozenset(support.work_days)
    found = [
        stretch
        for number in range(first.toordinal(), last.toordinal() + 1)
        if (day := date.fromordinal(number)).isoweekday() in work_days and day not in closed
        for stretch in _stretches(day, zone, opens, closes)
    ]
    return OpenHours(sorted(found), to_micros(datetime.combine(last, time(), UTC)))


def to_micros(at: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(at: int) -> datetime:
    """Return the moment of microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND


def _of_day(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return (int(hours) * 3600 + int(minutes) * 60) * _SECOND


def _stretches(day: date, zone: ZoneInfo, opens: int, closes: int) -> Iterator[tuple[int, int]]:
    """Compute when the wall clock shows that day and an hour from `opens` to before `closes`: one
    period, or two if the clocks change at an end of it or forward within it.
    """
    midnight = to_micros(datetime.combine(day, time(), UTC))  # as if the zone were UTC
    near = midnight - _offset(zone, midnight)
    low, high = near - _AROUND, near + 24 * 3600 * _SECOND + _AROUND
    before, after = _offset(zone, low), _offset(zone, high)
    if before == after:
        yield midnight + opens - before, midnight + closes - before
        return
    change = _change(zone, low, high, before)
    for start, end in (
        (midnight + opens - before, min(midnight + closes - before, change)),
        (max(midnight + opens - after, change), midnight + closes - after),
    ):
        if start < end:
            yield start, end


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = from_micros(at).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // _MICROSECOND


def _change(zone: ZoneInfo, low: int, high: int, before: int) -> int:
    """Find the moment, to the second, from which the offset is no longer `before`."""
    low, high = low // _SECOND, high // _SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle * _SECOND) == before:
            low = middle
        else:
            high = middle
    return high * _SECOND
