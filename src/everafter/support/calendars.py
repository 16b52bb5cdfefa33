"""When the owner of a calendar is busy: RFC 5545 in, times out. Run as a program (`python -m`) by
feeds.py, with bounds on its memory and time, because what comes from elsewhere decides how much
work it is.

Text → components (calendar_text_rules) → events in one form (`normalise` in calendar_event_rules) →
the times they take."""

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
    normalise,
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
_LOST_SECONDS = 3.0
_LEAST_SECONDS = 0.05
_WINDOWS = {name.lower(): zone for name, zone in WINDOWS_TO_OLSON.items()}
_TOO_LONG = "it repeats in a way that cannot be worked out in time"
_TOO_OFTEN = "it repeats more often than meetings do"


def read_busy_times(task: FeedTask) -> FeedTimes:
    """Busy times of a calendar that touch [start, until), merged, by their beginning.

    Repeated events are expanded with their exceptions; days without a time and times without a zone
    are the owner's; events that are transparent, cancelled or declined by the owner are not busy.
    What can be read in two ways keeps its owner busy. An event of which something cannot be read is
    counted, and keeps its owner busy for what can be."""
    try:
        calendars = parse_calendar(task.body)
    except CalendarTextError as error:
        return FeedTimes(failure=str(error))
    zones = Zones(calendars, NamedZone(ZoneInfo(task.timezone)), task)
    window = Window(task.start, task.until, zones.own)
    found: list[BusyTime] = []
    doubtful = Counter[str]()
    unread, left = 0, _LOST_SECONDS
    series: dict[str, list[Component]] = defaultdict(list)
    blocks: list[Component] = []
    for calendar in calendars:
        blocks += walk(calendar, "VFREEBUSY")
        for event in walk(calendar, "VEVENT"):
            series[event.text("UID") or f" {id(event)}"].append(event)
    for uid, group in series.items():
        began = clock.process_time()
        # Every event that never ends shortens what the next may take: the others' turn has to come.
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
                failure=f"it has more than {MOST_TIMES:,} busy times in the time ahead"
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
    """The times of all events of one UID; and of each doubtful one among them, what is doubtful."""
    events: list[Event] = []
    try:
        with _at_most(seconds):
            events += (normalise(component, zones.find, zones.own, email) for component in group)
            taken = list(take_series(events, window))
            return taken, [
                event.doubts[0] for event in events if event.doubts and may_touch(event, window)
            ]
    except _TooLongError:
        reason = _TOO_LONG
    except TooOftenError:
        reason = _TOO_OFTEN
    except (
        ValueError,
        OverflowError,
        TypeError,
    ) as error:  # what a rule of odd parts makes its library raise
        reason = f"its rule cannot be worked out: {str(error)[:80]}"
    doubts = [event.doubts[0] if event.doubts else reason for event in events if event.busy]
    doubts += [reason] * (len(group) - len(events))
    return [one for event in events for one in take_once(event, window)], doubts or [reason]


def _reasons(doubtful: Counter[str]) -> list[str]:
    """The commonest first, with how many events each is said of."""
    return [
        f"{reason} ({count:,} events)" if count > 1 else reason
        for reason, count in doubtful.most_common(_MOST_REASONS)
    ]


def _clip(times: Iterable[Taken], task: FeedTask, uid: UUID | None) -> Iterator[BusyTime]:
    for one in times:
        if one.ends > task.start and one.begins < task.until:
            yield BusyTime(max(one.begins, task.start), min(one.ends, task.until), uid)


def _own_uid(uid: str) -> UUID | None:
    """Our calls are `<uuid>@<host>`; whether it is one is for the database to say."""
    name, at, _ = uid.partition("@")
    try:
        return UUID(name) if at and len(name) == 36 else None
    except ValueError:
        return None


def _free_busy(block: Component, zones: "Zones") -> tuple[list[Taken], list[str]]:
    """What a calendar that tells no events says of itself; and which of it cannot be read."""
    taken: list[Taken] = []
    odd: list[str] = []
    for said in block.all("FREEBUSY"):
        if said.parameters.get("FBTYPE", "").upper() == "FREE":
            continue
        zone, doubt = zones.find(tzid) if (tzid := said.parameters.get("TZID")) else (None, None)
        odd += [doubt] if doubt else []
        for text in split_values([said.value]):
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
                odd.append(f"its busy time {text[:40]!r} ends before it begins")
            if ends != begins:
                taken.append(Taken(min(begins, ends), max(begins, ends)))
    return taken, odd


class Zones:
    """What the names of zones in one file mean: known ones, those it defines itself, else the
    owner's own.

    A name with a place in it (`Europe/Berlin`) is that place's; any other is looked for in the file
    first."""

    def __init__(self, calendars: Sequence[Component], own: NamedZone, task: FeedTask) -> None:
        self.own = own
        self._task = task
        self._written: dict[str, list[Component]] = defaultdict(list)
        for calendar in calendars:
            for component in walk(calendar, "VTIMEZONE"):
                self._written[_tidy(component.text("TZID"))].append(component)
        self._found: dict[str, tuple[Zone, str | None]] = {}

    def find(self, tzid: str) -> tuple[Zone, str | None]:
        """The zone of that name; and what is doubtful about it, or null."""
        name = _tidy(tzid)
        if name not in self._found:
            # Set before it is looked for: what takes too long to work out is not tried twice.
            self._found[name] = (
                self.own,
                f"the time zone {tzid[:60]!r} is not known, and was read as its owner's",
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
            return (
                self.own,
                f"the time zone {tzid[:60]!r} is not known, and was read as its owner's, which has"
                " that offset",
            )
        return NamedZone(
            timezone(offset)
        ), f"the time zone {tzid[:60]!r} is not known, and was read without summer time"

    def _write(self, component: Component) -> WrittenZone | None:
        """The zone that a VTIMEZONE defines; null when it defines none."""
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
        """When its clocks are set, by the clock until then, as far as is asked for."""
        onsets = {start}
        high = self._task.until.replace(tzinfo=None) + timedelta(days=366)
        for said in part.all("RRULE"):
            rule = read_rule(said.value, [])
            until = rule and rule.until
            last = (
                until.wall + (before if until.zone else timedelta(days=until.is_day))
                if until
                else high
            )
            if rule:
                onsets.update(one for one in list_times(rule, start, start, min(high, last)))
        for text in split_values([said.value for said in part.all("RDATE")]):
            moment = read_moment(text.partition("/")[0], None)
            if moment:
                onsets.add(moment.wall + (before if moment.zone else timedelta()))
        return sorted(onsets)


def _tidy(tzid: str) -> str:
    """A name as it is compared: where a zone is defined its commas are escaped, where it is used
    they are not."""
    return " ".join(tzid.replace("\\", "").strip().strip("\"'").split()).lower()


class _TooLongError(Exception):
    """An event takes more time than one may."""


@contextmanager
def _at_most(seconds: float) -> Generator[None, None, None]:
    """Break off what takes more processor time than that, where the system can: a rule may be
    searched for ever."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def break_off(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, break_off)
    # Again and again: a library may take the first for an error of its own.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _bound() -> None:
    """Where the system can: no more memory and time than a calendar needs."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    except (ImportError, ValueError, OSError):
        return  # the parent's clock still bounds it


def main() -> None:
    """One task on standard input, its times on standard output, both JSON."""
    _bound()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=FeedTask)
    sys.stdout.buffer.write(msgspec.json.encode(read_busy_times(task)))


if __name__ == "__main__":
    main()
