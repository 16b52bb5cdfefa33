"""When a call can be: working hours, the grid, what is taken. Pure; `now` is passed in.

All arithmetic is on UTC instants. Wall-clock hours are read off an instant, never turned into one:
an hour that a zone skips has no instant and an hour that it repeats has two, so daylight saving
needs no case of its own. The UTC grid of quarters is also the local one, because every present
offset is a multiple of 15 minutes. What is said here of one time, slot_rules.py says of a month at
once."""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from uuid import UUID

from everafter.core.errors import UnprocessableError
from everafter.core.zones import find_zone, list_zones
from everafter.support.model import HORIZON_DAYS, LEAD, QUARTER, CallType, Csm, Diary, Refusal

QUARTER_SECONDS = 900
_LAST_SECOND = QUARTER - timedelta(seconds=1)


# ── time zones ────────────────────────────────────────────────────────────────────


def unknown_zone(name: str | None) -> str | None:
    """The name itself when no such time zone is known, else null (also for null, which means
    UTC)."""
    return name if name and find_zone(name).key != name else None


def suggest_zones(name: str) -> str:
    """Names of time zones that may have been meant, as the end of a sentence: `; did you mean
    Europe/Berlin?`"""
    return suggest(name, sorted(list_zones()))


def suggest(said: str, known: Sequence[str]) -> str:
    """Which of `known` may have been meant, as the end of a sentence; empty when none comes near.

    >>> suggest("Europe/Berln", ["Europe/Berlin", "Asia/Tokyo"])
    '; did you mean Europe/Berlin?'
    >>> suggest("berlin", ["Europe/Berlin"]), suggest("q", ["Asia/Tokyo"])
    ('; did you mean Europe/Berlin?', '')
    """
    word = said.strip().lower().replace(" ", "_")[:64]
    whole = {name.lower(): name for name in known}
    last = {name.lower().rpartition("/")[2]: name for name in known}
    near = [last[part] for part in get_close_matches(word, last, 2, 0.75)]
    near += [whole[name] for name in get_close_matches(word, whole, 3, 0.75)]
    return f"; did you mean {' or '.join(list(dict.fromkeys(near))[:3])}?" if near else ""


# ── one time ──────────────────────────────────────────────────────────────────────


def is_open(diary: Diary, quarter: datetime) -> bool:
    """Whether the CSM works for the whole of this quarter of an hour, by their own wall clock."""
    zone = find_zone(diary.csm.timezone)
    return all(
        _works_at(diary, instant.astimezone(zone)) for instant in (quarter, quarter + _LAST_SECOND)
    )


def is_free(diary: Diary, starts_at: datetime, call: CallType) -> bool:
    """Whether no quarter of the call or of the buffer after it is held by another call or busy in
    the CSM's calendar."""
    numbers = [number_quarter(quarter) for quarter in held_quarters(diary.csm, starts_at, call)]
    away = any(begin < numbers[-1] + 1 and end > numbers[0] for begin, end in diary.away)
    return not away and not any(number in diary.booked for number in numbers)


def works_through(diary: Diary, starts_at: datetime, call: CallType) -> bool:
    """Whether the whole call lies in the CSM's working hours (the buffer need not)."""
    return all(
        is_open(diary, quarter) for quarter in list_quarters(starts_at, starts_at + call.length)
    )


def held_quarters(csm: Csm, starts_at: datetime, call: CallType) -> list[datetime]:
    """The quarters that booking this call takes from the CSM: its own and the buffer's,
    ascending."""
    return list(list_quarters(starts_at, starts_at + call.length + csm.buffer))


def rank_diaries(diaries: Sequence[Diary], known: UUID | None) -> list[Diary]:
    """Who should take a call: the one the supplier has talked to (`known`), then the least booked,
    then by address."""
    return sorted(
        diaries, key=lambda diary: (diary.csm.id != known, len(diary.booked), diary.csm.email)
    )


def resolve_start(starts_at: datetime, timezone: str | None) -> datetime | Refusal:
    """The UTC instant of a requested time; without an offset it is wall-clock time in `timezone`,
    which null makes UTC.

    A wall-clock time that the zone skips or repeats is refused: guessing would put the call an hour
    away from what was meant. So is one in a zone that nobody knows."""
    if starts_at.tzinfo is not None:
        try:
            return starts_at.astimezone(UTC)
        except OverflowError:
            return _outside_calendar(starts_at)
    if unknown_zone(timezone):
        said = f"the time zone {timezone!r} is not known{suggest_zones(timezone or '')}"
        return Refusal("unknown_zone", f"{starts_at.isoformat()} has no offset, and {said}")
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
            f"{starts_at.isoformat()} does not exist in {zone.key}: the clocks go forward over it",
        )
    if len(real) > 1:
        return Refusal(
            "dst_overlap",
            f"{starts_at.isoformat()} comes twice in {zone.key}, as the clocks go back; send it"
            " with an offset",
        )
    return real[0]


def refuse_time(starts_at: datetime, now: datetime) -> Refusal | None:
    """Why no call of any kind can begin then, whoever works when, or null. `starts_at` in UTC.

    Asked before any reckoning with the time: a day later than the calendar's last there is none.
    """
    said = starts_at.isoformat().replace("+00:00", "Z")
    if starts_at <= now:
        return Refusal("past", f"{said} is in the past")
    if starts_at < now + LEAD:
        return Refusal(
            "too_soon", f"{said} is too soon: book at least {LEAD.seconds // 3600} hours ahead"
        )
    if starts_at >= now + timedelta(days=HORIZON_DAYS):
        return Refusal("too_far", f"{said} is too far off: book at most {HORIZON_DAYS} days ahead")
    if starts_at != next_quarter(starts_at):
        return Refusal(
            "off_grid", f"{said} is not on the grid: calls begin at :00, :15, :30 and :45"
        )
    return None


def refuse_start(
    diaries: Sequence[Diary], call: CallType, starts_at: datetime, now: datetime
) -> Refusal | None:
    """Why no call can ever begin then, or null when it could if someone is free. `starts_at` in
    UTC."""
    if refusal := refuse_time(starts_at, now):
        return refusal
    if not any(works_through(diary, starts_at, call) for diary in diaries):
        said = starts_at.isoformat().replace("+00:00", "Z")
        return Refusal(
            "outside_hours",
            f"{said} for {call.minutes} minutes is outside everyone's working hours",
        )
    return None


# ── what was typed ────────────────────────────────────────────────────────────────

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read_days(text: str) -> list[int] | None:
    """ISO weekdays of `mon-fri` or `mon,wed,sat-sun`, ascending; null when it cannot be read.

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
    """ISO weekdays as one types them.

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
    """The clock times of `09:00-17:00` (`22:00-02:00` runs past midnight); null when it cannot be
    read."""
    found = re.fullmatch(r"\s*(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)\s*", text)
    if not found:
        return None
    begin, begin_minute, end, end_minute = map(int, found.groups())
    if begin > 23 or end > 24 or begin_minute > 59 or end_minute > 59 or (end == 24 and end_minute):
        return None
    return time(begin, begin_minute), time(end % 24, end_minute)


# ── quarters ──────────────────────────────────────────────────────────────────────


def number_quarter(instant: datetime) -> int:
    """Which quarter of an hour since 1970 (UTC) an instant lies in."""
    return int(instant.timestamp()) // QUARTER_SECONDS


def next_quarter(instant: datetime) -> datetime:
    """The first moment of the grid at or after an instant."""
    over = timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )
    return instant if not over else instant - over + QUARTER


def list_quarters(start: datetime, until: datetime) -> Iterator[datetime]:
    """Every quarter's beginning in [start, until), from `start` on."""
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
    """The instant that a `from` names: a date or a time; without an offset on the zone's clocks,
    where what these skip or repeat is read as its first.

    Raises:
        UnprocessableError: it is neither.
    """
    # An offset's plus sign that was not escaped arrives as a space.
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
