"""When the owner of a calendar is busy: RFC 5545 in, times out. Run as a program (`python -m`) by feeds.py, with bounds on its
memory and time, because what comes from elsewhere decides how much work it is."""

import re
import signal
import sys
import threading
import time as clock
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import icalendar
import msgspec
import recurring_ical_events

from everafter.support.calendar_rules import merge_times
from everafter.support.model import BusyTime, FeedTask, FeedTimes

MOST_TIMES = 20_000
MOST_REPEATS = 5_000
"""So many times one repeated event may come in the time ahead: twice an hour, day and night."""
_MEMORY_BYTES = 1 << 30
_CPU_SECONDS = 15
_EVENT_SECONDS = 2.0
_LOST_SECONDS = 6.0
_LEAST_SECONDS = 0.05
_TOO_OFTEN = {"SECONDLY", "MINUTELY"}
_A_DAY = timedelta(days=1)
_BEGINS = re.compile(rb"^BEGIN:(?:VEVENT|VFREEBUSY)\s*$", re.MULTILINE | re.IGNORECASE)


def read_busy_times(task: FeedTask) -> FeedTimes:
    """Busy times of a calendar that touch [start, until), merged, by their beginning.

    Repeated events are expanded with their exceptions; days without a time and times without a zone are the owner's; events that
    are transparent, cancelled or declined by the owner are not busy. An event that cannot be understood is counted and left out.
    """
    body = task.body.strip()
    if not body[:400].removeprefix(b"\xef\xbb\xbf").lstrip().upper().startswith(b"BEGIN:VCALENDAR"):
        return FeedTimes(failure=f"it is no calendar: it begins with {_beginning(body)}" if body else "it is empty")
    if not body.upper().endswith(b"END:VCALENDAR"):
        return FeedTimes(failure="it ends in the middle")
    try:
        calendars = icalendar.Calendar.from_ical(body.decode("utf-8-sig", "replace"), multiple=True)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:  # what its parser raises on nonsense
        return FeedTimes(
            failure=f"it is no calendar that can be read: {str(error).splitlines()[0][:200] if str(error) else error!r}"
        )
    zone = ZoneInfo(task.timezone)
    series: dict[str, list[Any]] = defaultdict(list)
    for calendar in calendars:
        for event in (*calendar.walk("VEVENT"), *calendar.walk("VFREEBUSY")):
            series[f"{event.name} {event.get('UID') or id(event)}"].append(event)
    events = sum(map(len, series.values()))
    if events < len(_BEGINS.findall(body)):
        return FeedTimes(failure="its events are not closed: part of it is missing")
    found: list[BusyTime] = []
    unread, left = 0, _LOST_SECONDS
    for group in series.values():
        began = clock.process_time()
        try:
            # Every event that never ends shortens what the next may take: the others' turn has to come.
            with _at_most(max(min(_EVENT_SECONDS, left / 3), _LEAST_SECONDS)):
                times = list(_clip(_times_of(group, task, zone), task))
            found += times
        except Exception:
            unread += len(group)
            left = max(left - (clock.process_time() - began), 0.0)
        if len(found) > MOST_TIMES:
            return FeedTimes(failure=f"it has more than {MOST_TIMES:,} busy times in the time ahead")
    return FeedTimes(merge_times(found), events, unread)


def _times_of(group: list[Any], task: FeedTask, zone: ZoneInfo) -> Iterator[BusyTime]:
    """The busy times of all events of one UID: one, or a series with what was changed in it."""
    if group[0].name == "VFREEBUSY":
        for block in group:
            yield from _free_busy(block, zone)
        return
    if len(group) == 1 and not any(name in group[0] for name in ("RRULE", "RDATE", "RECURRENCE-ID")):
        occurrences: Iterable[Any] = group
    else:
        for event in group:
            _check_rules(event)
        calendar = icalendar.Calendar()
        for event in group:
            calendar.add_component(event)
        # A day more on either side: what has no zone of its own is only placed afterwards.
        occurrences = recurring_ical_events.of(calendar).between(task.start - _A_DAY, task.until + _A_DAY)
        if len(occurrences) > MOST_REPEATS:
            raise ValueError("it repeats more often than meetings do")
    for event in occurrences:
        if _is_busy(event, task.email):
            yield from _span(event, zone)


def _check_rules(event: Any) -> None:
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if _TOO_OFTEN & {str(word).upper() for word in rule.get("FREQ", [])}:
            raise ValueError("it repeats more often than meetings do")
        if not rule.get("FREQ"):
            raise ValueError("it repeats, but does not say how often")
        if any(step < 1 for step in rule.get("INTERVAL", [])):
            raise ValueError("it repeats without ever going on")


def _is_busy(event: Any, email: str) -> bool:
    if str(event.get("TRANSP", "")).upper() == "TRANSPARENT" or str(event.get("STATUS", "")).upper() == "CANCELLED":
        return False
    if str(event.get("X-MICROSOFT-CDO-BUSYSTATUS", "")).upper() == "FREE":
        return False
    guests = event.get("ATTENDEE") or []
    for guest in guests if isinstance(guests, list) else [guests]:
        if str(guest).lower() == f"mailto:{email}" and str(guest.params.get("PARTSTAT", "")).upper() == "DECLINED":
            return False
    return True


def _span(event: Any, zone: ZoneInfo) -> Iterator[BusyTime]:
    start = event["DTSTART"].dt
    whole_days = not isinstance(start, datetime)
    if "DTEND" in event:
        end = event["DTEND"].dt
    elif "DURATION" in event:
        end = start + event["DURATION"].dt
    else:
        end = start + _A_DAY if whole_days else start
    if whole_days and end <= start:  # as some write a single day
        end = start + _A_DAY
    begins, ends = _instant(start, zone), _instant(end, zone)
    if ends > begins:
        yield BusyTime(begins, ends, _own_uid(str(event.get("UID", ""))))


def _instant(value: date | datetime, zone: ZoneInfo) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), zone).astimezone(UTC)
    return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)


def _own_uid(uid: str) -> UUID | None:
    """Our calls are `<uuid>@<host>`; whether it is one is for the database to say."""
    name, at, _ = uid.partition("@")
    try:
        return UUID(name) if at and len(name) == 36 else None
    except ValueError:
        return None


def _free_busy(block: Any, zone: ZoneInfo) -> Iterator[BusyTime]:
    """What a calendar that tells no events says of itself."""
    periods = block.get("FREEBUSY") or []
    for period in periods if isinstance(periods, list) else [periods]:
        if str(period.params.get("FBTYPE", "BUSY")).upper() == "FREE":
            continue
        start, end = period.dt
        begins = _instant(start, zone)
        ends = begins + end if isinstance(end, timedelta) else _instant(end, zone)
        if ends > begins:
            yield BusyTime(begins, ends)


def _clip(times: Iterable[BusyTime], task: FeedTask) -> Iterator[BusyTime]:
    for one in times:
        if one.ends_at > task.start and one.starts_at < task.until:
            yield BusyTime(max(one.starts_at, task.start), min(one.ends_at, task.until), one.uid)


def _beginning(body: bytes) -> str:
    return repr(" ".join(body[:60].decode("utf-8", "replace").split())[:40])


class _TooLongError(Exception):
    """An event takes more time than one may."""


@contextmanager
def _at_most(seconds: float) -> Generator[None, None, None]:
    """Break off what takes more processor time than that, where the system can: a rule may be searched for ever."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
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
