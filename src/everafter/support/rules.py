"""When calls can take place: working hours, the 15-minute grid, busy times. Pure.

All arithmetic uses UTC instants. Instants are converted to wall-clock time, never the reverse, so
that daylight saving needs no special case. The UTC grid is also the local one, because all current
offsets are multiples of 15 minutes. slot_rules.py computes the same for many times at once.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from uuid import UUID

from everafter.core.errors import UnprocessableError
from everafter.core.formatting import format_utc
from everafter.core.zones import find_zone, list_zones
from everafter.support.model import HORIZON_DAYS, LEAD, QUARTER, CallType, Csm, Diary, Refusal

QUARTER_SECONDS = 900
_LAST_SECOND = QUARTER - timedelta(seconds=1)


# ── time zones ────────────────────────────────────────────────────────────────────────────────


def unknown_zone(name: str | None) -> str | None:
    """The name if it is not a known time zone, else null. Null means UTC and is known."""
    return name if name and find_zone(name).key != name else None


def suggest_zones(name: str) -> str:
    """Similar time zone names as the end of a sentence, such as `; did you mean Europe/Berlin?`"""
    return suggest(name, sorted(list_zones()))


def suggest(text: str, known: Sequence[str]) -> str:
    """Similar names from `known` as the end of a sentence; empty: none is similar.

    >>> suggest("Europe/Berln", ["Europe/Berlin", "Asia/Tokyo"])
    '; did you mean Europe/Berlin?'
    >>> suggest("berlin", ["Europe/Berlin"]), suggest("q", ["Asia/Tokyo"])
    ('; did you mean Europe/Berlin?', '')
    """
    word = text.strip().lower().replace(" ", "_")[:64]
    whole = {name.lower(): name for name in known}
    last = {name.lower().rpartition("/")[2]: name for name in known}
    near = [last[part] for part in get_close_matches(word, last, 2, 0.75)]
    near += [whole[name] for name in get_close_matches(word, whole, 3, 0.75)]
    return f"; did you mean {' or '.join(list(dict.fromkeys(near))[:3])}?" if near else ""


# ── one time ──────────────────────────────────────────────────────────────────────────────────


def is_open(diary: Diary, quarter: datetime) -> bool:
    """Whether a quarter of an hour is within the CSM's working hours."""
    zone = find_zone(diary.csm.timezone)
    return all(
        _works_at(diary, instant.astimezone(zone)) for instant in (quarter, quarter + _LAST_SECOND)
    )


def is_free(diary: Diary, starts_at: datetime, call: CallType) -> bool:
    """Whether the CSM has no other call and no busy time during the call and the buffer after
    it."""
    numbers = [number_quarter(quarter) for quarter in held_quarters(diary.csm, starts_at, call)]
    away = any(begin < numbers[-1] + 1 and end > numbers[0] for begin, end in diary.away)
    return not away and not any(number in diary.booked for number in numbers)


def works_through(diary: Diary, starts_at: datetime, call: CallType) -> bool:
    """Whether the call is within the CSM's working hours; the buffer may extend beyond."""
    return all(
        is_open(diary, quarter) for quarter in list_quarters(starts_at, starts_at + call.length)
    )


def held_quarters(csm: Csm, starts_at: datetime, call: CallType) -> list[datetime]:
    """The quarters of the call and its buffer, ascending."""
    return list(list_quarters(starts_at, starts_at + call.length + csm.buffer))


def rank_diaries(diaries: Sequence[Diary], known: UUID | None) -> list[Diary]:
    """CSMs in the order in which they take a call: the one that the supplier knows (`known`), then
    the least booked, then by address."""
    return sorted(
        diaries, key=lambda diary: (diary.csm.id != known, len(diary.booked), diary.csm.email)
    )


def resolve_start(starts_at: datetime, timezone: str | None) -> datetime | Refusal:
    """The UTC instant of a requested time. Without an offset it is wall-clock time in `timezone`;
    null: UTC.

    Times that the zone skips or repeats are refused, because a guess could be wrong by an hour. So
    are times in unknown zones.
    """
    if starts_at.tzinfo is not None:
        try:
            return starts_at.astimezone(UTC)
        except OverflowError:
            return _outside_calendar(starts_at)
    if unknown_zone(timezone):
        problem = f"the time zone {timezone!r} is unknown{suggest_zones(timezone or '')}"
        return Refusal("unknown_zone", f"{starts_at.isoformat()} has no offset, and {problem}")
    zone = find_zone(timezone)
    if not 2 <= starts_at.year <= 9998:
        return _outside_calendar(starts_at)
    readings = {starts_at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    real = sorted(
        instant
        for instant in readings
        if instant.astimezone(zone).replace(tzinfo=None) == starts_at
    )
    if not real:
        return Refusal(
            "dst_gap",
            f"{starts_at.isoformat()} does not exist in {zone.key}: the clocks go forward then",
        )
    if len(real) > 1:
        return Refusal(
            "dst_overlap",
            f"{starts_at.isoformat()} occurs twice in {zone.key}, because the clocks go back;"
            " send it with an offset",
        )
    return real[0]


def refuse_time(starts_at: datetime, now: datetime) -> Refusal | None:
    """Why no call can start at a time, whatever the working hours; null: it can.

    Check this before any arithmetic with the time: it may be at the end of the calendar.

    Args:
        starts_at: in UTC.
    """
    at = format_utc(starts_at)
    if starts_at <= now:
        return Refusal("past", f"{at} is in the past")
    if starts_at < now + LEAD:
        hours = LEAD.seconds // 3600
        return Refusal("too_soon", f"{at} is too soon: book at least {hours} hours ahead")
    if starts_at >= now + timedelta(days=HORIZON_DAYS):
        return Refusal("too_far", f"{at} is too far ahead: book at most {HORIZON_DAYS} days ahead")
    if starts_at != next_quarter(starts_at):
        return Refusal("off_grid", f"{at} is not on the grid: calls start at :00, :15, :30 and :45")
    return None


def refuse_start(
    diaries: Sequence[Diary], call: CallType, starts_at: datetime, now: datetime
) -> Refusal | None:
    """Why no call can start at a time (in UTC) even if every CSM is free; null: it can."""
    if refusal := refuse_time(starts_at, now):
        return refusal
    if not any(works_through(diary, starts_at, call) for diary in diaries):
        return Refusal(
            "outside_hours",
            f"{format_utc(starts_at)} for {call.minutes} minutes is outside all working hours",
        )
    return None


# ── input ─────────────────────────────────────────────────────────────────────────────────────

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read_days(text: str) -> list[int] | None:
    """Parse `mon-fri` or `mon,wed,sat-sun` as ISO weekdays, ascending; null: invalid.

    >>> read_days("mon-wed,fri"), read_days("sat-mon"), read_days("Montag")
    ([1, 2, 3, 5], [1, 6, 7], None)
    """
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            return None
        begin = WEEKDAYS.index(first)
        count = (WEEKDAYS.index(last) - begin) % 7 if dash else 0
        days.update((begin + step) % 7 + 1 for step in range(count + 1))
    return sorted(days)


def write_days(days: Collection[int]) -> str:
    """Format ISO weekdays for `read_days`.

    >>> write_days([1, 2, 3, 4, 5]), write_days([1, 3, 6, 7]), write_days([2])
    ('mon-fri', 'mon,wed,sat-sun', 'tue')
    """
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        WEEKDAYS[run[0] - 1] + (f"-{WEEKDAYS[run[-1] - 1]}" if len(run) > 1 else "") for run in runs
    )


def read_hours(text: str) -> tuple[time, time] | None:
    """Parse `09:00-17:00` (`22:00-02:00` ends after midnight); null: invalid."""
    found = re.fullmatch(r"\s*(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)\s*", text)
    if not found:
        return None
    begin, begin_minute, end, end_minute = map(int, found.groups())
    if begin > 23 or end > 24 or begin_minute > 59 or end_minute > 59 or (end == 24 and end_minute):
        return None
    return time(begin, begin_minute), time(end % 24, end_minute)


# ── quarters of an hour ───────────────────────────────────────────────────────────────────────


def number_quarter(instant: datetime) -> int:
    """The number of the quarter of an hour since 1970 (UTC) that contains an instant."""
    return int(instant.timestamp()) // QUARTER_SECONDS


def next_quarter(instant: datetime) -> datetime:
    """The first time on the grid at or after an instant."""
    over = timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )
    return instant if not over else instant - over + QUARTER


def list_quarters(start: datetime, until: datetime) -> Iterator[datetime]:
    """Times every 15 minutes in [start, until)."""
    while start < until:
        yield start
        start += QUARTER


def _outside_calendar(starts_at: datetime) -> Refusal:
    return Refusal(
        "past" if starts_at.year < 2 else "too_far",
        f"{starts_at.isoformat()} is outside the calendar",
    )


def _works_at(diary: Diary, local: datetime) -> bool:
    csm, clock, day = diary.csm, local.time(), local.date()
    if csm.work_from < csm.work_until:
        return csm.work_from <= clock < csm.work_until and _works_on(diary, day)
    if clock >= csm.work_from:
        return _works_on(diary, day)
    return clock < csm.work_until and _works_on(diary, day - timedelta(days=1))


def _works_on(diary: Diary, day: date) -> bool:
    return day.isoweekday() in diary.csm.work_days and day not in diary.closed


def read_from(text: str, timezone: str | None) -> datetime:
    """Parse `from`, a date or a time, as an instant. Without an offset it is in `timezone`; of
    repeated times the first.

    Raises:
        UnprocessableError: it is neither a date nor a time.
    """
    # an unescaped plus sign of an offset arrives as a space
    text = text.replace(" ", "+") if text.count(" ") == 1 and "T" in text.upper() else text
    try:
        value = (
            datetime.fromisoformat(text)
            if len(text) > 10
            else datetime.combine(date.fromisoformat(text), time())
        )
        return (value if value.tzinfo else value.replace(tzinfo=find_zone(timezone))).astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        raise UnprocessableError(
            f"from: {text!r} is not a date (2026-12-01) or a time (2026-12-01T09:00:00Z)"
        ) from None
