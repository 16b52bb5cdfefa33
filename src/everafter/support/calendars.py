"""Compute the busy times of a calendar (RFC 5545). feeds.py runs this as a program (`python -m`)
with limits of memory and CPU time, because untrusted input decides how expensive it is.

Text → components (calendar_text_rules) → normalized events (`normalize` in calendar_event_rules) →
busy times.
"""

import signal
import sys
import threading
import time as clock
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from everafter.support.calendar_event_rules import (
    Event,
    Taken,
    Window,
    may_touch,
    normalize,
    take_once,
    take_series,
)
from everafter.support.calendar_rules import merge_times
from everafter.support.calendar_text_rules import CalendarTextError, Component, parse_calendar, walk
from everafter.support.calendar_value_rules import (
    TooOftenError,
    list_times,
    read_moment,
    read_rule,
    read_span,
    split_values,
)
from everafter.support.calendar_zone_rules import (
    NamedZone,
    WrittenZone,
    Zone,
    add,
    displayed_offset,
    find_named_zone,
    list_changes,
    read_offset,
    standard_offset,
)
from everafter.support.model import BusyTime, FeedTask, FeedTimes

MOST_TIMES = 20_000
_MOST_REASONS = 5
_MEMORY_BYTES = 1 << 30
_CPU_SECONDS = 15
_EVENT_SECONDS = 1.0
_ABORTED_SECONDS = 3.0
_LEAST_SECONDS = 0.05
_WINDOWS = {name.lower(): zone for name, zone in WINDOWS_TO_OLSON.items()}
_TOO_LONG = "its repetitions take too long to compute"
_TOO_OFTEN = "it repeats too often for a meeting"


def read_busy_times(task: FeedTask) -> FeedTimes:
    """The busy times of a calendar that overlap [start, until), merged and sorted.

    Recurring events are expanded with their exceptions. Dates, and times without a zone, are in the
    owner's time zone. Transparent and cancelled events, and those that the owner declined, are not
    busy. Ambiguous input counts as busy. Events that can only be parsed in part count as busy for
    that part, and are counted as unread.
    """
    try:
        calendars = parse_calendar(task.body)
    except CalendarTextError as error:
        return FeedTimes(failure=str(error))
    zones = Zones(calendars, NamedZone(ZoneInfo(task.timezone)), task)
    window = Window(task.start, task.until, zones.own)
    found: list[BusyTime] = []
    doubtful = Counter[str]()
    unread, left = 0, _ABORTED_SECONDS
    series: dict[str, list[Component]] = defaultdict(list)
    blocks: list[Component] = []
    for calendar in calendars:
        blocks += walk(calendar, "VFREEBUSY")
        for event in walk(calendar, "VEVENT"):
            series[event.text("UID") or f" {id(event)}"].append(event)
    for uid, group in series.items():
        began = clock.process_time()
        # aborted events reduce the time of the following ones, so that all get their turn
        taken, doubts = _read_series(
            group, zones, window, task.email, max(min(_EVENT_SECONDS, left / 3), _LEAST_SECONDS)
        )
        if _TOO_LONG in doubts:
            left = max(left - (clock.process_time() - began), 0.0)
        found += _clip(taken, task, _own_uid(uid))
        unread += len(doubts)
        doubtful.update(doubts)
        if len(found) > MOST_TIMES:
            return FeedTimes(
                failure=f"it has more than {MOST_TIMES:,} busy times in the next 100 days"
            )
    for block in blocks:
        taken, odd = _free_busy(block, zones)
        found += _clip(taken, task, None)
        unread += bool(odd)
        doubtful.update(odd[:1])
    events = sum(map(len, series.values())) + len(blocks)
    return FeedTimes(merge_times(found), events, unread, reasons=_reasons(doubtful))


def _read_series(
    group: Sequence[Component], zones: "Zones", window: Window, email: str, seconds: float
) -> tuple[list[Taken], list[str]]:
    """The times of all events with one UID, and the first doubt of each doubtful event."""
    events: list[Event] = []
    try:
        with _time_limit(seconds):
            events += (normalize(component, zones.find, zones.own, email) for component in group)
            taken = list(take_series(events, window))
            return taken, [
                event.doubts[0] for event in events if event.doubts and may_touch(event, window)
            ]
    except _TooLongError:
        reason = _TOO_LONG
    except TooOftenError:
        reason = _TOO_OFTEN
    except (ValueError, OverflowError, TypeError) as error:  # of dateutil, for unusual rules
        reason = f"its rule cannot be computed: {str(error)[:80]}"
    doubts = [event.doubts[0] if event.doubts else reason for event in events if event.busy]
    doubts += [reason] * (len(group) - len(events))
    return [one for event in events for one in take_once(event, window)], doubts or [reason]


def _reasons(doubtful: Counter[str]) -> list[str]:
    """The reasons, the most frequent first, with the numbers of events."""
    return [
        f"{reason} ({count:,} events)" if count > 1 else reason
        for reason, count in doubtful.most_common(_MOST_REASONS)
    ]


def _clip(times: Iterable[Taken], task: FeedTask, uid: UUID | None) -> Iterator[BusyTime]:
    for one in times:
        if one.ends > task.start and one.begins < task.until:
            yield BusyTime(max(one.begins, task.start), min(one.ends, task.until), uid)


def _own_uid(uid: str) -> UUID | None:
    """The id in a UID like `<uuid>@<host>`, which can be one of our calls; null: another UID."""
    name, at, _ = uid.partition("@")
    try:
        return UUID(name) if at and len(name) == 36 else None
    except ValueError:
        return None


def _free_busy(block: Component, zones: "Zones") -> tuple[list[Taken], list[str]]:
    """The busy times of a VFREEBUSY component, and the doubts."""
    taken: list[Taken] = []
    odd: list[str] = []
    for line in block.all("FREEBUSY"):
        if line.parameters.get("FBTYPE", "").upper() == "FREE":
            continue
        zone, doubt = zones.find(tzid) if (tzid := line.parameters.get("TZID")) else (None, None)
        odd += [doubt] if doubt else []
        for text in split_values([line.value]):
            begin, _, end = text.partition("/")
            start, until, span = read_moment(begin, zone), read_moment(end, zone), read_span(end)
            begins = start.instant(zones.own) if start else None
            ends = until.instant(zones.own) if until else None
            if begins and span:
                ends = add(add(begins, span.days), span.exact)
            if begins is None or ends is None:
                odd.append(f"its busy time {text[:40]!r} cannot be read")
                continue
            if ends < begins:
                odd.append(f"its busy time {text[:40]!r} ends before it starts")
            if ends != begins:
                taken.append(Taken(min(begins, ends), max(begins, ends)))
    return taken, odd


class Zones:
    """The time zones of one file: known ones, those that the file defines, else the owner's.

    Names with a place (`Europe/Berlin`) are known zones first; other names are searched in the file
    first.
    """

    def __init__(self, calendars: Sequence[Component], own: NamedZone, task: FeedTask) -> None:
        self.own = own
        self._task = task
        self._written: dict[str, list[Component]] = defaultdict(list)
        for calendar in calendars:
            for component in walk(calendar, "VTIMEZONE"):
                self._written[_tidy(component.text("TZID"))].append(component)
        self._found: dict[str, tuple[Zone, str | None]] = {}

    def find(self, tzid: str) -> tuple[Zone, str | None]:
        """The zone with this name, and what is doubtful about it, or null."""
        name = _tidy(tzid)
        if name not in self._found:
            # set first, so that a zone that takes too long is not tried twice
            self._found[name] = (
                self.own,
                f"the time zone {tzid[:60]!r} is unknown; the owner's was used",
            )
            self._found[name] = self._look(tzid, name) or self._found[name]
        return self._found[name]

    def _look(self, tzid: str, name: str) -> tuple[Zone, str | None] | None:
        named = find_named_zone(tzid, _WINDOWS)
        if named and "/" in tzid:
            return named, None
        for component in self._written.get(name, []):
            if (written := self._write(component)) is not None:
                return written, None
        if named:
            return named, None
        for component in self._written.get(name, []):
            located = component.text("X-LIC-LOCATION") or component.text("X-MICROSOFT-CDO-TZID")
            if located and (place := find_named_zone(located, _WINDOWS)):
                return place, None
        offset = displayed_offset(tzid)
        if offset is None:
            return None
        if standard_offset(self.own.clocks) == offset:
            doubt = f"the time zone {tzid[:60]!r} is unknown; the owner's has the same offset"
            return self.own, doubt
        doubt = f"the time zone {tzid[:60]!r} is unknown; its offset was used without summer time"
        return NamedZone(timezone(offset)), doubt

    def _write(self, component: Component) -> WrittenZone | None:
        """The zone that a VTIMEZONE defines; null: it defines none."""
        parts: list[tuple[list[datetime], timedelta, timedelta]] = []
        for part in (one for one in component.inside if one.name in {"STANDARD", "DAYLIGHT"}):
            start, then = (
                read_moment(part.text("DTSTART"), None),
                read_offset(part.text("TZOFFSETTO")),
            )
            if start is None or then is None:
                return None
            before = read_offset(part.text("TZOFFSETFROM"))
            before = then if before is None else before
            parts.append((self._onsets(part, start.wall, before), before, then))
        changes = list_changes(parts)
        return WrittenZone(changes) if changes else None

    def _onsets(self, part: Component, start: datetime, before: timedelta) -> list[datetime]:
        """The onsets in the period, in local time before the change."""
        onsets = {start}
        high = self._task.until.replace(tzinfo=None) + timedelta(days=366)
        for line in part.all("RRULE"):
            rule = read_rule(line.value, [])
            until = rule and rule.until
            last = (
                until.wall + (before if until.zone else timedelta(days=until.is_day))
                if until
                else high
            )
            if rule:
                onsets.update(one for one in list_times(rule, start, start, min(high, last)))
        for text in split_values([line.value for line in part.all("RDATE")]):
            moment = read_moment(text.partition("/")[0], None)
            if moment:
                onsets.add(moment.wall + (before if moment.zone else timedelta()))
        return sorted(onsets)


def _tidy(tzid: str) -> str:
    """A zone name for comparison. Commas are escaped in definitions, and not in references."""
    return " ".join(tzid.replace("\\", "").strip().strip("\"'").split()).lower()


class _TooLongError(Exception):
    """An event takes too long."""


@contextmanager
def _time_limit(seconds: float) -> Generator[None, None, None]:
    """Abort after this much CPU time, if the system supports it: the search for repetitions of a
    rule can run for ever."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def abort(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, abort)
    # repeatedly, because a library can catch the first exception
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _limit_resources() -> None:
    """Limit memory and CPU time, if the system supports it."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    except (ImportError, ValueError, OSError):
        return  # the parent still limits the wall-clock time


def main() -> None:
    """Read a task from stdin and write its times to stdout, both as JSON."""
    _limit_resources()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=FeedTask)
    sys.stdout.buffer.write(msgspec.json.encode(read_busy_times(task)))


if __name__ == "__main__":
    main()
