"""Times, spans and rules of repetition as calendars write them. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal, NamedTuple

from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, SECONDLY, WEEKLY, YEARLY, rrule
from dateutil.rrule import weekday as on_weekday

from everafter.support.calendar_zone_rules import (
    COORDINATED,
    NamedZone,
    Zone,
    add_wall,
    midnight,
    read_offset,
)

MOST_REPEATS = 5_000
"""So many times one repeated event may come in the time ahead: twice an hour, day and night."""
_MOST_INTERVAL = 100_000_000
_A_DAY = timedelta(days=1)
_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T"
    r" ]?(?:(\d\d):?(\d\d)?:?(\d\d)?(?:[.,]\d+)?)?\s*(Z|[+\-]\d\d:?(?:\d\d)?)?)?",
    re.IGNORECASE,
)
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
_SPAN = re.compile(
    r"([+\-])?P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+(?:[.,]\d+)?)H)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)S)?)?",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(r"([+\-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_Frequency = Literal[0, 1, 2, 3, 4, 5, 6]
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_FREQUENCIES: dict[str, _Frequency] = {
    "SECONDLY": SECONDLY,
    "MINUTELY": MINUTELY,
    "HOURLY": HOURLY,
    "DAILY": DAILY,
    "WEEKLY": WEEKLY,
    "MONTHLY": MONTHLY,
    "YEARLY": YEARLY,
}
_STEPS = {
    SECONDLY: timedelta(seconds=1),
    MINUTELY: timedelta(minutes=1),
    HOURLY: timedelta(hours=1),
    DAILY: _A_DAY,
    WEEKLY: timedelta(weeks=1),
}
_LISTS = {
    "BYSECOND": ("bysecond", 0, 59),
    "BYMINUTE": ("byminute", 0, 59),
    "BYHOUR": ("byhour", 0, 23),
    "BYMONTHDAY": ("bymonthday", -31, 31),
    "BYYEARDAY": ("byyearday", -366, 366),
    "BYWEEKNO": ("byweekno", -53, 53),
    "BYMONTH": ("bymonth", 1, 12),
    "BYSETPOS": ("bysetpos", -366, 366),
}
_OF_CLOCKS = frozenset({"byhour", "byminute", "bysecond"})
_KNOWN = frozenset(
    {*_LISTS, "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST", "RSCALE", "SKIP"}
)


class Moment(NamedTuple):
    """A time as it is written. wall: naive. zone: null where it has none of its own: a day, or a
    time of the reader's clocks."""

    wall: datetime
    zone: Zone | None = None
    is_day: bool = False

    def instant(self, own: Zone, fold: int = 0) -> datetime:
        return (self.zone or own).instant(self.wall, fold)


class Span(NamedTuple):
    """How long something takes: days by the clocks of its place, then exact time (RFC 5545
    3.3.6)."""

    days: timedelta
    exact: timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of repetition. parts: what dateutil's rrule takes beyond its start."""

    frequency: _Frequency
    interval: int = 1
    count: int | None = None
    until: Moment | None = None
    parts: dict[str, Any] = field(default_factory=dict[str, Any])


class TooOftenError(ValueError):
    """A rule gives more times than meetings have."""


def read_moment(text: str, zone: Zone | None) -> Moment | None:
    """A day or a time; null when it is none. A Z or an offset at its end goes before `zone` (RFC
    5545 3.2.19).

    Read besides the basic form: the extended one (`2026-12-01T10:00:00Z`), without seconds or
    minutes, 24:00, a leap second."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, end = found.groups()
    try:
        begin = datetime(int(year), int(month), int(day))  # noqa: DTZ001 a wall clock's
    except ValueError:
        return None
    if hour is None:
        return None if end else Moment(begin, None, True)
    clock = (int(hour), int(minute or 0), int(second or 0))
    if clock > (24, 0, 0) or clock[1] > 59 or clock[2] > 60:
        return None
    wall = add_wall(begin, timedelta(hours=clock[0], minutes=clock[1], seconds=min(clock[2], 59)))
    if end:
        offset = None if end in "zZ" else read_offset(end)
        zone = NamedZone(timezone(offset)) if offset else COORDINATED
    return Moment(wall, zone)


def read_day(text: str) -> Moment | None:
    """The day that a text begins with, whatever follows; null when there is none."""
    found = _DAY.match(text.strip())
    try:
        return Moment(midnight(date(*map(int, found.groups()))), None, True) if found else None
    except ValueError:
        return None


def read_span(text: str) -> Span | None:
    """`P1D`, `PT1H30M`, `-PT15M`, `P1W`; null when it is none."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or not any(found.groups()[1:]):
        return None
    sign = -1 if found[1] == "-" else 1
    weeks, days, hours, minutes, seconds = (
        float((part or "0").replace(",", ".")) for part in found.groups()[1:]
    )
    try:
        nominal = timedelta(weeks=weeks, days=days)
        exact = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        return None
    return Span(sign * nominal, sign * exact)


def read_rule(text: str, doubts: list[str]) -> Rule | None:
    """A rule of repetition; null when it does not say how often.

    A part that cannot be read is left out, which only makes an event come more often, and is added
    to `doubts`."""
    text = re.sub(r"^\s*RRULE:", "", text, flags=re.IGNORECASE)
    said = dict[str, str]()
    for piece in text.upper().split(";"):
        name, equals, value = piece.partition("=")
        if piece.strip():
            said[name.strip()] = value.strip() if equals else ""
    frequency = _FREQUENCIES.get(said.get("FREQ", ""))
    if frequency is None:
        doubts.append(f"its rule {_short(text)} does not say how often it repeats")
        return None
    if said.get("RSCALE", "GREGORIAN") != "GREGORIAN":
        doubts.append(f"it repeats by the calendar {_short(said['RSCALE'])}")
        return None
    odd = [name for name in said if name not in _KNOWN and not name.startswith("X-")]
    odd += ["SKIP"] if said.get("SKIP", "OMIT") != "OMIT" else []
    interval = _whole(said, "INTERVAL", 1, odd) or 1
    until = None
    if "UNTIL" in said:
        until = read_moment(said["UNTIL"], None)
        odd += [] if until else ["UNTIL"]
    count = _whole(said, "COUNT", 1, odd)
    if count is not None and until is not None:
        count, odd = None, [*odd, "COUNT"]
    parts = {"wkst": _WEEKDAYS.index(said["WKST"])} if said.get("WKST") in _WEEKDAYS else {}
    parts |= _read_lists(said, odd)
    doubts += [f"{name} of its rule {_short(text)} cannot be read" for name in odd]
    return Rule(frequency, min(interval, _MOST_INTERVAL), count, until, parts)


def without_hours(rule: Rule) -> Rule:
    """The rule as it counts for whole days: hours, minutes and seconds are not heeded (RFC 5545
    3.3.10)."""
    return replace(
        rule, parts={name: value for name, value in rule.parts.items() if name not in _OF_CLOCKS}
    )


def list_times(rule: Rule, start: datetime, low: datetime, high: datetime) -> Iterator[datetime]:
    """When the rule repeats something that began at `start`, in [low, high]; all naive. UNTIL is
    not looked at.

    Raises:
        TooOftenError: more often than `MOST_REPEATS` times.
        ValueError: its parts give no rule.
    """
    step = _STEPS.get(rule.frequency)
    begin = start
    if step and rule.count is None and start < low:
        # As many whole periods further on as do not matter; years of days, or seconds, are not
        # counted through.
        stride = step * rule.interval
        begin = start + max((low - start) // stride - 1, 0) * stride
    found = 0
    for wall in rrule(
        rule.frequency, dtstart=begin, interval=rule.interval, count=rule.count, **rule.parts
    ):
        if wall > high:
            return
        if wall >= low:
            found += 1
            if found > MOST_REPEATS:
                raise TooOftenError("it repeats more often than meetings do")
            yield wall


def is_within(rule: Rule, wall: datetime, is_day: bool, zone: Zone, own: Zone) -> bool:
    """Whether UNTIL lets it repeat at `wall`; where types or zones differ, by the reading under
    which it goes on longer.

    Args:
        is_day: what repeats are whole days. zone: of `wall`. own: the reader's.
    """
    until = rule.until
    if until is None:
        return True
    if until.is_day:
        return wall.date() <= until.wall.date() or (
            not is_day and own.wall(zone.instant(wall)).date() <= until.wall.date()
        )
    if until.zone is None:
        return wall.date() <= until.wall.date() if is_day else wall <= until.wall
    if zone.instant(wall) <= until.zone.instant(until.wall):
        return True
    return is_day and wall.date() <= until.wall.date()


def split_values(values: Sequence[str]) -> list[str]:
    """The values of lists, without the empty ones."""
    return [piece.strip() for value in values for piece in value.split(",") if piece.strip()]


def _short(text: str) -> str:
    return repr(text[:40])


def _whole(said: dict[str, str], name: str, least: int, odd: list[str]) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\+?\d{1,9}", text) or int(text) < least:
        odd.append(name)
        return None
    return int(text)


def _read_lists(said: dict[str, str], odd: list[str]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, (argument, least, most) in _LISTS.items():
        if name not in said:
            continue
        numbers = [
            int(one) for one in split_values([said[name]]) if re.fullmatch(r"[+\-]?\d{1,4}", one)
        ]
        good = [one for one in numbers if least <= one <= most and (one or least == 0)]
        if len(good) != len(split_values([said[name]])) or not good:
            odd.append(name)
        elif good:
            parts[argument] = sorted(set(good))
    if "BYDAY" in said:
        days = [_WEEKDAY.fullmatch(one) for one in split_values([said["BYDAY"]])]
        if not days or any(day is None or int(day[1] or 1) == 0 for day in days):
            odd.append("BYDAY")
        else:
            parts["byweekday"] = [
                on_weekday(_WEEKDAYS.index(day[2]), int(day[1]) if day[1] else None)
                for day in days
                if day
            ]
    if "bysetpos" in parts and len(parts) == 1 + ("wkst" in parts):
        del parts["bysetpos"]  # it picks from what other parts give
    return parts
