"""Parse times, durations and recurrence rules of calendars. Pure."""

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
"""Maximum repetitions of one event in the period: twice an hour, day and night."""
_MOST_INTERVAL = 100_000_000
_A_DAY = timedelta(days=1)
_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ]?(?:(\d\d):?(\d\d)?:?(\d\d)?(?:[.,]\d+)?)?\s*(Z|[+\-]\d\d:?(?:\d\d)?)?)?",
    re.IGNORECASE,
)
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
_SPAN = re.compile(
    r"([+\-])?P(?:(\d+)W)?(?:(\d+)D)?"
    r"(?:T(?:(\d+(?:[.,]\d+)?)H)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)S)?)?",
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
    """A date or time of a calendar. wall: local time, naive. zone: null for dates, and for times
    without a zone, which are in the owner's zone."""

    wall: datetime
    zone: Zone | None = None
    is_day: bool = False

    def instant(self, own: Zone, fold: int = 0) -> datetime:
        return (self.zone or own).instant(self.wall, fold)


class Span(NamedTuple):
    """A duration: nominal days, then exact time (RFC 5545, 3.3.6)."""

    days: timedelta
    exact: timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """A recurrence rule. parts: further arguments of dateutil's rrule."""

    frequency: _Frequency
    interval: int = 1
    count: int | None = None
    until: Moment | None = None
    parts: dict[str, Any] = field(default_factory=dict[str, Any])


class TooOftenError(ValueError):
    """A rule repeats too often for a meeting."""


def read_moment(text: str, zone: Zone | None) -> Moment | None:
    """Parse a date or time; null: invalid. A final Z or offset takes precedence over `zone` (RFC
    5545, 3.2.19).

    Also accepts the extended format (`2026-12-01T10:00:00Z`), missing seconds or minutes, 24:00 and
    leap seconds.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, end = found.groups()
    try:
        begin = datetime(int(year), int(month), int(day))  # noqa: DTZ001 a local time
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
    """Parse the date at the start of a text; null: none."""
    found = _DAY.match(text.strip())
    try:
        return Moment(midnight(date(*map(int, found.groups()))), None, True) if found else None
    except ValueError:
        return None


def read_span(text: str) -> Span | None:
    """Parse a duration such as `P1D`, `PT1H30M`, `-PT15M`, `P1W`; null: invalid."""
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
    """Parse a recurrence rule; null: it has no valid frequency.

    Invalid parts are ignored, which can only add repetitions, and are added to `doubts`.
    """
    text = re.sub(r"^\s*RRULE:", "", text, flags=re.IGNORECASE)
    values = dict[str, str]()
    for piece in text.upper().split(";"):
        name, equals, value = piece.partition("=")
        if piece.strip():
            values[name.strip()] = value.strip() if equals else ""
    frequency = _FREQUENCIES.get(values.get("FREQ", ""))
    if frequency is None:
        doubts.append(f"its rule {_short(text)} has no valid frequency")
        return None
    if values.get("RSCALE", "GREGORIAN") != "GREGORIAN":
        doubts.append(f"it repeats by the calendar {_short(values['RSCALE'])}")
        return None
    odd = [name for name in values if name not in _KNOWN and not name.startswith("X-")]
    odd += ["SKIP"] if values.get("SKIP", "OMIT") != "OMIT" else []
    interval = _whole(values, "INTERVAL", 1, odd) or 1
    until = None
    if "UNTIL" in values:
        until = read_moment(values["UNTIL"], None)
        odd += [] if until else ["UNTIL"]
    count = _whole(values, "COUNT", 1, odd)
    if count is not None and until is not None:
        count, odd = None, [*odd, "COUNT"]
    parts = {"wkst": _WEEKDAYS.index(values["WKST"])} if values.get("WKST") in _WEEKDAYS else {}
    parts |= _read_lists(values, odd)
    doubts += [f"{name} of its rule {_short(text)} cannot be read" for name in odd]
    return Rule(frequency, min(interval, _MOST_INTERVAL), count, until, parts)


def without_hours(rule: Rule) -> Rule:
    """The rule for all-day events, which ignores hours, minutes and seconds (RFC 5545, 3.3.10)."""
    return replace(
        rule, parts={name: value for name, value in rule.parts.items() if name not in _OF_CLOCKS}
    )


def list_times(rule: Rule, start: datetime, low: datetime, high: datetime) -> Iterator[datetime]:
    """The repetitions of an event that started at `start` in [low, high]; naive. UNTIL is ignored.

    Raises:
        TooOftenError: more than `MOST_REPEATS` repetitions.
        ValueError: dateutil rejects the rule.
    """
    step = _STEPS.get(rule.frequency)
    begin = start
    if step and rule.count is None and start < low:
        # skip whole periods before the window instead of iterating over years of days or seconds
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
                raise TooOftenError("it repeats too often for a meeting")
            yield wall


def is_within(rule: Rule, wall: datetime, is_day: bool, zone: Zone, own: Zone) -> bool:
    """Whether a repetition at `wall` is before UNTIL. If types or zones differ, the interpretation
    with the later end counts.

    Args:
        is_day: the event is an all-day event.
        zone: the zone of `wall`.
        own: the owner's zone.
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
    """Split comma-separated values; empty ones are removed."""
    return [piece.strip() for value in values for piece in value.split(",") if piece.strip()]


def _short(text: str) -> str:
    return repr(text[:40])


def _whole(values: dict[str, str], name: str, least: int, odd: list[str]) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\+?\d{1,9}", text) or int(text) < least:
        odd.append(name)
        return None
    return int(text)


def _read_lists(values: dict[str, str], odd: list[str]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, (argument, least, most) in _LISTS.items():
        if name not in values:
            continue
        numbers = [
            int(one) for one in split_values([values[name]]) if re.fullmatch(r"[+\-]?\d{1,4}", one)
        ]
        good = [one for one in numbers if least <= one <= most and (one or least == 0)]
        if len(good) != len(split_values([values[name]])) or not good:
            odd.append(name)
        elif good:
            parts[argument] = sorted(set(good))
    if "BYDAY" in values:
        days = [_WEEKDAY.fullmatch(one) for one in split_values([values["BYDAY"]])]
        if not days or any(day is None or int(day[1] or 1) == 0 for day in days):
            odd.append("BYDAY")
        else:
            parts["byweekday"] = [
                on_weekday(_WEEKDAYS.index(day[2]), int(day[1]) if day[1] else None)
                for day in days
                if day
            ]
    if "bysetpos" in parts and len(parts) == 1 + ("wkst" in parts):
        del parts["bysetpos"]  # it selects from the results of other parts
    return parts
