"""Compute the busy times of calendar events. Pure.

`normalize` converts the properties of an event, with all their types, zones and spellings, to
moments, spans and rules. If a calendar is ambiguous, the interpretation with more busy time counts.
If a part is invalid, the event is busy for the valid part, and `doubts` has the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from urllib.parse import unquote

from everafter.support.calendar_text_rules import Component, Property
from everafter.support.calendar_value_rules import (
    MOST_REPEATS,
    Moment,
    Rule,
    Span,
    TooOftenError,
    is_within,
    list_times,
    read_day,
    read_moment,
    read_rule,
    read_span,
    split_values,
    without_hours,
)
from everafter.support.calendar_zone_rules import Zone, add, add_wall, midnight

_NOTHING = timedelta()
_A_DAY = timedelta(days=1)
_DEFAULT_LENGTH = timedelta(hours=1)
"""Length of an event without a valid one."""
_SUB_DAILY = 4  # dateutil's HOURLY; higher frequencies have higher numbers
_LONGEST_LOOK_BACK = timedelta(days=3 * 366)

FindZone = Callable[[str], tuple[Zone, str | None]]
"""The zone of a TZID, and what is doubtful about it, or null."""


class Length(NamedTuple):
    """The length of an event: nominal time in its zone, then exact time. at_least: exact time from
    the start."""

    nominal: timedelta
    then: timedelta = _NOTHING
    at_least: timedelta = _NOTHING


@dataclass(frozen=True, slots=True)
class Event:
    """A normalized VEVENT.

    sequence: null: invalid. start: null: unknown. replaces: the occurrence of a series that this
    event changes (RECURRENCE-ID); from_then_on: and all later ones. repeats: it recurs, possibly by
    an invalid rule. doubts: what is invalid; empty if the event is not busy.
    """

    uid: str
    sequence: int | None
    start: Moment | None
    lengths: tuple[Length, ...]
    rules: tuple[Rule, ...]
    dates: tuple[tuple[Moment, Length | None], ...]
    except_rules: tuple[Rule, ...]
    except_dates: tuple[Moment, ...]
    replaces: Moment | None
    from_then_on: bool
    busy: bool
    repeats: bool
    doubts: tuple[str, ...]


class Taken(NamedTuple):
    """A busy time."""

    begins: datetime
    ends: datetime


# ── normalizing ───────────────────────────────────────────────────────────────────────────────


def normalize(event: Component, find_zone: FindZone, own: Zone, email: str) -> Event:
    """Normalize a VEVENT.

    Args:
        own: the owner's zone, for dates and times without a zone.
        email: the owner's address in lower case.
    """
    reading = _Reading(find_zone, own)
    starts = reading.moments(event.all("DTSTART"), "start")
    replaced = reading.moments(event.all("RECURRENCE-ID")[:1], "RECURRENCE-ID")
    start, lengths = _place(event, starts, replaced, reading)
    if event.all("RECURRENCE-ID") and not replaced and start:
        replaced = [start]  # it changes an unknown occurrence; only its own time counts
    of_days = start is not None and start.is_day
    rules = reading.rules(event.all("RRULE"), of_days=of_days)
    dates = [
        *reading.periods(event.all("RDATE"), "RDATE"),
        *((one, None) for one in starts[1:] if one != start),
    ]
    sequence = event.text("SEQUENCE") or "0"
    busy = is_busy(event, email)
    ranges = [one.parameters.get("RANGE", "").upper() for one in event.all("RECURRENCE-ID")]
    return Event(
        uid=event.text("UID"),
        sequence=int(sequence)
        if sequence.isascii() and sequence.isdigit() and len(sequence) < 10
        else None,
        start=start,
        lengths=lengths,
        rules=rules,
        dates=tuple(dates),
        except_rules=reading.rules(event.all("EXRULE"), of_days=of_days, strict=True),
        except_dates=tuple(reading.moments(event.all("EXDATE"), "EXDATE")),
        replaces=replaced[0] if replaced else None,
        from_then_on="THISANDFUTURE" in ranges,
        busy=busy,
        repeats=bool(dates) or any(one.value.strip() for one in event.all("RRULE")),
        doubts=tuple(dict.fromkeys(reading.doubts)) if busy else (),
    )


def is_busy(event: Component, email: str) -> bool:
    """Whether the owner is busy.

    Not if the event is cancelled, declined by the owner, or marked as free without another property
    that contradicts. Repeated properties only count if they agree.
    """
    if _values(event, "STATUS") == {"CANCELLED"}:
        return False
    own = [guest for guest in event.all("ATTENDEE") if email and _attendee_email(guest) == email]
    if own and all(guest.parameters.get("PARTSTAT", "").upper() == "DECLINED" for guest in own):
        return False
    transp, status = _values(event, "TRANSP"), _values(event, "X-MICROSOFT-CDO-BUSYSTATUS")
    if "TRANSPARENT" in transp and "OPAQUE" not in transp:
        return bool(status - {"FREE"})
    return status != {"FREE"} or "OPAQUE" in transp


def _values(event: Component, name: str) -> set[str]:
    """The values of the properties with this name, in upper case."""
    return {value for one in event.all(name) if (value := one.value.strip().upper())}


def _attendee_email(guest: Property) -> str:
    """The address of an attendee, in lower case."""
    return unquote(guest.value.strip().lower().removeprefix("mailto:").strip())


class _Reading:
    """Parses the values of one event, and collects doubts."""

    def __init__(self, find_zone: FindZone, own: Zone) -> None:
        self.doubts: list[str] = []
        self.own = own
        self._find_zone = find_zone

    def moment(self, text: str, line: Property, what: str) -> Moment | None:
        moment = read_moment(text, None)
        if moment is None:
            self.doubts.append(f"its {what} {text[:40]!r} cannot be read")
            return read_day(text) if what == "start" else None
        if (tzid := line.parameters.get("TZID")) and moment.zone is None and not moment.is_day:
            zone, doubt = self._find_zone(tzid)
            if doubt:
                self.doubts.append(doubt)
            moment = moment._replace(zone=zone)
        if (
            line.parameters.get("VALUE", "").upper() == "DATE"
            and moment.wall == midnight(moment.wall.date())
            and not moment.zone
        ):
            return Moment(moment.wall, None, True)
        return moment

    def moments(self, found: Sequence[Property], what: str) -> list[Moment]:
        """All valid values of these properties."""
        read = [
            self.moment(text, line, what) for line in found for text in split_values([line.value])
        ]
        return [one for one in read if one]

    def periods(self, found: Sequence[Property], what: str) -> list[tuple[Moment, Length | None]]:
        """Times, with lengths for those that have an end."""
        read: list[tuple[Moment, Length | None]] = []
        for line in found:
            for text in split_values([line.value]):
                begin, slash, end = text.partition("/")
                start = self.moment(begin, line, what)
                if start:
                    length = self.length_until(start, end, line, what) if slash else None
                    read.append((start, length))
        return read

    def length_until(self, start: Moment, end: str, line: Property, what: str) -> Length:
        span = read_span(end)
        if span:
            return Length(span.days, span.exact)
        until = self.moment(end, line, what)
        return length_between(start, until, self.own) if until else Length(_DEFAULT_LENGTH)

    def rules(
        self, found: Sequence[Property], *, of_days: bool, strict: bool = False
    ) -> tuple[Rule, ...]:
        """Parse rules.

        Args:
            of_days: the event is an all-day event.
            strict: skip rules with invalid parts, for exceptions.
        """
        rules: list[Rule] = []
        for line in found:
            before = len(self.doubts)
            rule = read_rule(line.value, self.doubts) if line.value.strip() else None
            if rule and not (strict and len(self.doubts) > before):
                rules.append(without_hours(rule) if of_days else rule)
        return tuple(rules)


def _place(
    event: Component, starts: list[Moment], replaced: list[Moment], reading: _Reading
) -> tuple[Moment | None, tuple[Length, ...]]:
    """The start of an event, and its lengths by each property that has one."""
    ends = reading.moments(event.all("DTEND"), "end")
    durations = [one.value for one in event.all("DURATION")]
    spans = [read_span(one) for one in durations]
    invalid = [one for one, span in zip(durations, spans, strict=True) if one.strip() and not span]
    reading.doubts += [f"its duration {one[:40]!r} cannot be read" for one in invalid]
    start = starts[0] if starts else None
    if len(set(starts)) > 1:
        reading.doubts.append("it has more than one start")
    if start is None and ends and not replaced:
        reading.doubts.append("it has no valid start")
        span = next((one for one in spans if one), None) or Span(_NOTHING, _DEFAULT_LENGTH)
        back = -(span.days + span.exact)
        return ends[0]._replace(wall=add_wall(ends[0].wall, back), is_day=False), (
            Length(span.days, span.exact),
        )
    if start is None and replaced:
        reading.doubts.append("it has no valid start")
        start = replaced[0]
    if start is None:
        reading.doubts.append("it has no time")
        return None, ()
    lengths = [length_between(start, end, reading.own) for end in ends]
    lengths += [Length(span.days, span.exact) for span in spans if span]
    unknown_end = bool(event.all("DTEND") or durations) and not lengths
    if unknown_end and not start.is_day:
        reading.doubts.append("its end cannot be read")
    backward = [one for one in lengths if _sum(one) < _NOTHING and one.at_least <= _NOTHING]
    if start.is_day:
        lengths = [one if _sum(one) > _NOTHING else Length(_A_DAY) for one in lengths] or [
            Length(_A_DAY)
        ]
    elif unknown_end:
        lengths = [Length(_NOTHING, _DEFAULT_LENGTH)]
    if not backward:
        return start, tuple(lengths)
    reading.doubts.append("it ends before it starts")
    if start.is_day:
        return start, tuple(lengths)
    span = -min(map(_sum, backward))
    if span > _A_DAY:
        forward = (one for one in lengths if one not in backward)
        return start, (*forward, Length(_NOTHING, _DEFAULT_LENGTH))
    # start and end are swapped
    return start._replace(wall=add_wall(start.wall, -span)), (Length(span),)


def length_between(start: Moment, end: Moment, own: Zone) -> Length:
    """The time between two moments: nominal in the zone of the start, and exact. Between dates it
    is only nominal."""
    if start.is_day and end.is_day:
        return Length(end.wall - start.wall)
    begins = start.instant(own)
    if end.is_day and end.wall <= start.wall:
        end = end._replace(wall=add_wall(end.wall, _A_DAY))
    ends = end.instant(own)
    if ends <= begins < end.instant(own, 1):
        ends = end.instant(own, 1)  # in the hour that is repeated
    zone = start.zone or own
    wall = end.wall if (end.zone or own) == zone else zone.wall(ends)
    return Length(wall - start.wall, at_least=ends - begins)


def _sum(length: Length) -> timedelta:
    return length.nominal + length.then


# ── busy times ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Window:
    """The period to compute, and the owner's zone."""

    start: datetime
    until: datetime
    own: Zone


class _Repeat(NamedTuple):
    """An occurrence. wall: local time of the series. lengths: its own, or those of the event."""

    wall: datetime
    begins: datetime
    lengths: tuple[Length, ...]


def take_series(events: Sequence[Event], window: Window) -> Iterator[Taken]:
    """The times of all events with one UID that can overlap the window.

    Of several events without a RECURRENCE-ID, those with the highest SEQUENCE count. Events with
    one replace an occurrence of the series, whether it exists or not.

    Raises:
        TooOftenError, ValueError: a rule cannot be computed.
    """
    masters = _newest([event for event in events if event.replaces is None])
    changed = [event for event in events if event.replaces is not None]
    latest: list[Event] = []
    for key in dict.fromkeys((one.replaces, one.from_then_on) for one in changed):
        latest += _newest([one for one in changed if (one.replaces, one.from_then_on) == key])
    for master in masters:
        yield from _take_master(master, latest, window)
    for event in latest:
        lengths = event.lengths or (masters[0].lengths if masters else ())
        if event.busy and event.start:
            yield from _take(
                event.start, event.start.wall, event.start.instant(window.own), lengths, window
            )
            if event.rules or event.dates:
                yield from _take_master(event, [], window)


def take_once(event: Event, window: Window) -> Iterator[Taken]:
    """The first time of an event whose repetitions cannot be computed."""
    if event.busy and event.start:
        yield from _take(
            event.start, event.start.wall, event.start.instant(window.own), event.lengths, window
        )


def may_touch(event: Event, window: Window) -> bool:
    """Whether a doubtful event matters in the window: it recurs, is near it, or has no known
    time."""
    if event.start is None or event.repeats:
        return True
    begins = event.start.instant(window.own)
    longest = max(map(_longest, event.lengths), default=_NOTHING)
    return (
        begins < add(window.until, 2 * _A_DAY) and add(begins, longest + 2 * _A_DAY) > window.start
    )


def _newest(events: Sequence[Event]) -> list[Event]:
    """Those with the highest SEQUENCE; all of them if one is invalid."""
    if any(event.sequence is None for event in events):
        return list(events)
    highest = max((event.sequence or 0 for event in events), default=0)
    return [event for event in events if event.sequence == highest]


def _take_master(master: Event, changed: Sequence[Event], window: Window) -> Iterator[Taken]:
    if master.start is None:
        return
    singly = _Keys(master, [one.replaces for one in changed if one.replaces], window.own)
    onward = sorted(
        (
            (_in_series(one.replaces, master, window.own), one)
            for one in changed
            if one.from_then_on and one.replaces
        ),
        key=lambda pair: pair[0],
    )
    furthest = max(
        (abs(_shift(at, one, master, window.own)) for at, one in onward), default=_NOTHING
    )
    for repeat in _repeats(master, window, min(furthest, _LONGEST_LOOK_BACK)):
        if singly.holds(repeat):
            continue
        begun = [pair for pair in onward if pair[0] <= repeat.wall]
        if not begun:
            if master.busy:
                yield from _take(master.start, repeat.wall, repeat.begins, repeat.lengths, window)
            continue
        at, event = begun[-1]
        if event.busy and event.start:
            wall = add_wall(repeat.wall, _shift(at, event, master, window.own))
            zone = master.start.zone or window.own
            yield from _take(
                event.start._replace(zone=zone),
                wall,
                zone.instant(wall),
                event.lengths or repeat.lengths,
                window,
            )


def _shift(at: datetime, event: Event, master: Event, own: Zone) -> timedelta:
    """The offset from the series of an event that changes all later occurrences."""
    return _in_series(event.start, master, own) - at if event.start else _NOTHING


def _repeats(master: Event, window: Window, more: timedelta) -> Iterator[_Repeat]:
    """All occurrences of a series near the window, without exceptions."""
    assert master.start is not None  # noqa: S101 checked by the caller
    start, zone = master.start, master.start.zone or window.own
    excepted = _Keys(master, master.except_dates, window.own)
    longest = max(
        map(_longest, [*master.lengths, *(length for _, length in master.dates if length)]),
        default=_NOTHING,
    )
    back = min(longest, _LONGEST_LOOK_BACK) + more + 2 * _A_DAY
    low = add_wall(window.start.replace(tzinfo=None), -back)
    high = add_wall(window.until.replace(tzinfo=None), more + 2 * _A_DAY)
    out = {
        wall
        for rule in master.except_rules
        for wall in list_times(rule, start.wall, low, high)
        if is_within(rule, wall, start.is_day, zone, window.own)
    }
    seen: set[tuple[datetime, tuple[Length, ...]]] = set()
    for repeat in _all_times(master, low, high, zone, window.own):
        if (repeat.begins, repeat.lengths) in seen or repeat.wall in out or excepted.holds(repeat):
            continue
        seen.add((repeat.begins, repeat.lengths))
        if len(seen) > MOST_REPEATS:
            raise TooOftenError("it repeats too often for a meeting")
        yield repeat


def _all_times(
    master: Event, low: datetime, high: datetime, zone: Zone, own: Zone
) -> Iterator[_Repeat]:
    start = master.start
    assert start is not None  # noqa: S101 checked by the caller
    if not master.rules or any(
        is_within(rule, start.wall, start.is_day, zone, own) for rule in master.rules
    ):
        yield _Repeat(start.wall, zone.instant(start.wall), master.lengths)
    for rule in master.rules:
        for wall in list_times(rule, start.wall, low, high):
            if not is_within(rule, wall, start.is_day, zone, own):
                break
            yield _Repeat(wall, zone.instant(wall), master.lengths)
            if rule.frequency >= _SUB_DAILY and (again := zone.instant(wall, 1)) > zone.instant(
                wall
            ):
                yield _Repeat(wall, again, master.lengths)
    for moment, length in master.dates:
        wall = _in_series(moment, master, own)
        begins = moment.instant(own) if moment.zone else zone.instant(wall)
        yield _Repeat(wall, begins, (length,) if length else master.lengths)


def _in_series(moment: Moment | None, master: Event, own: Zone) -> datetime:
    """A moment as local time of a series: a date for all-day events; for a date in a timed series
    the usual time of day."""
    start = master.start
    if moment is None or start is None:
        return datetime.min  # noqa: DTZ901 sorts first
    if start.is_day:
        return midnight(_as_day(moment, own))
    if moment.is_day:
        return datetime.combine(moment.wall.date(), start.wall.time())
    return (
        moment.wall
        if moment.zone is None
        else (start.zone or own).wall(moment.zone.instant(moment.wall))
    )


def _as_day(moment: Moment, own: Zone) -> date:
    """The day of a moment: the owner's day if it is midnight there, else the day as written."""
    if moment.is_day or moment.zone is None:
        return moment.wall.date()
    local = own.wall(moment.zone.instant(moment.wall))
    return local.date() if local == midnight(local.date()) else moment.wall.date()


class _Keys:
    """Moments that identify occurrences of a series: by instant, local time or day."""

    def __init__(self, master: Event, moments: Sequence[Moment], own: Zone) -> None:
        of_days = master.start is not None and master.start.is_day
        self._days = {_as_day(one, own) for one in moments if of_days or one.is_day}
        timed = [one for one in moments if not (of_days or one.is_day)]
        self._walls = {one.wall for one in timed if one.zone is None}
        self._instants = {one.instant(own) for one in timed if one.zone is not None}

    def holds(self, repeat: _Repeat) -> bool:
        return (
            repeat.begins in self._instants
            or repeat.wall in self._walls
            or repeat.wall.date() in self._days
        )


def _longest(length: Length) -> timedelta:
    return max(_sum(length), length.at_least)


def _take(
    start: Moment, wall: datetime, begins: datetime, lengths: Sequence[Length], window: Window
) -> Iterator[Taken]:
    """The busy time of one occurrence, unless its length is zero."""
    zone = start.zone or window.own
    ends = max((_end(zone, wall, begins, length) for length in lengths), default=begins)
    if ends > begins:
        yield Taken(begins, ends)


def _end(zone: Zone, wall: datetime, begins: datetime, length: Length) -> datetime:
    turned = zone.instant(add_wall(wall, length.nominal)) if length.nominal else begins
    ends = add(turned, length.then)
    ends = max(ends, add(begins, length.at_least))
    # an occurrence at a skipped local time keeps its length
    return ends if ends > begins else max(ends, add(begins, _sum(length)))
