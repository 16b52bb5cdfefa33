"""Compute all free times of a period for all CSMs with arrays of quarters of an hour. Pure.

The results equal those of rules.py.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from everafter.core.zones import find_zone
from everafter.support.model import (
    AWAKE_FROM,
    AWAKE_UNTIL,
    HORIZON_DAYS,
    LEAD,
    MOST_BUFFER,
    QUARTER,
    CallType,
    Diary,
    Slot,
)
from everafter.support.rules import QUARTER_SECONDS, next_quarter, number_quarter

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_DAY_SECONDS = 86_400
_DAY_QUARTERS = _DAY_SECONDS // QUARTER_SECONDS
_EPOCH = date(1970, 1, 1)
_MOST_BUFFER_QUARTERS = MOST_BUFFER // QUARTER


def list_slots(
    diaries: Sequence[Diary],
    call: CallType,
    start: datetime,
    days: int,
    now: datetime,
    *,
    limit: int | None = None,
    awake_in: str | None = None,
) -> list[Slot]:
    """The free times that start in [start, start + days), in order, each with the first free CSM.

    A time is free if `works_through` and `is_free` of rules.py hold. A month of 20 CSMs in ten time
    zones takes 5 ms; calling these functions for each quarter took 200 ms.

    Args:
        diaries: CSMs in order of preference, with their busy times until at least the longest call
            and buffer after the period.
        start, now: aware. No slot starts before now + LEAD or after now + HORIZON_DAYS.
        awake_in: the supplier's time zone, whose night is left out unless nothing else is free;
            null: no hours are left out.
    """
    first = next_quarter(max(start, now + LEAD).astimezone(UTC))
    last = min(start + timedelta(days=days), now + timedelta(days=HORIZON_DAYS)).astimezone(UTC)
    count = -((first - last) // QUARTER)
    if count <= 0:
        return []
    origin, span = number_quarter(first), call.length
    length = span // QUARTER
    quarters = np.arange(origin, origin + count + length + _MOST_BUFFER_QUARTERS, dtype=np.int64)
    clocks: dict[str, tuple[Numbers, Numbers]] = {}
    opened: dict[tuple[object, ...], Flags] = {}
    taker = np.full(count, -1, dtype=np.int16)
    for place, diary in enumerate(diaries):
        csm = diary.csm
        if csm.timezone not in clocks:
            clocks[csm.timezone] = _local_clock(csm.timezone, quarters)
        # CSMs with the same hours share the result
        key = (csm.timezone, csm.work_from, csm.work_until, csm.work_days, diary.closed)
        if key not in opened:
            opened[key] = _runs(_open_quarters(diary, *clocks[csm.timezone]), length)[:count]
        held = length + csm.buffer // QUARTER
        free = opened[key] & _runs(_free_quarters(diary, quarters), held)[:count] & (taker < 0)
        taker[free] = place
    free_at_all = taker >= 0
    if awake_in is not None:
        awake = free_at_all & _is_awake(awake_in, quarters, length)[:count]
        free_at_all = awake if awake.any() else free_at_all
    found = np.flatnonzero(free_at_all)[:limit]
    takers = taker[found].tolist()
    slots: list[Slot] = []
    for step, place in zip(found.tolist(), takers, strict=True):
        starts_at = first + step * QUARTER
        slots.append(Slot(starts_at, starts_at + span, diaries[place].csm))
    return slots


def _is_awake(zone: str, quarters: Numbers, length: int) -> Flags:
    _, clock = _local_clock(zone, quarters)
    begin, end = _seconds(AWAKE_FROM), _seconds(AWAKE_UNTIL)
    return _runs((clock >= begin) & (clock + (QUARTER_SECONDS - 1) < end), length)


def _runs(flags: Flags, length: int) -> Flags:
    """Where runs of `length` true values start; shorter than `flags` by length - 1."""
    sums = np.concatenate(([0], np.cumsum(flags)))
    return (sums[length:] - sums[:-length]) == length


def _free_quarters(diary: Diary, quarters: Numbers) -> Flags:
    free = np.ones(quarters.size, dtype=np.bool_)
    origin = int(quarters[0])
    booked = np.array(diary.booked, dtype=np.int64) - origin
    free[booked[(booked >= 0) & (booked < quarters.size)]] = False
    for begin, end in diary.away:
        free[max(begin - origin, 0) : max(end - origin, 0)] = False
    return free


def _local_clock(zone: str, quarters: Numbers) -> tuple[Numbers, Numbers]:
    """The local day (since 1970) of each quarter, and the second of that day at which it starts."""
    local = quarters * QUARTER_SECONDS + _offsets(zone, int(quarters[0]), quarters.size)
    day = local // _DAY_SECONDS
    return day, local - day * _DAY_SECONDS


def _open_quarters(diary: Diary, day: Numbers, clock: Numbers) -> Flags:
    """The quarters within the CSM's working hours, at their first and their last second, which are
    on the same local day."""
    csm = diary.csm
    begin, end = _seconds(csm.work_from), _seconds(csm.work_until)
    before = int(day[0]) - 1
    dates = [_EPOCH + timedelta(days=number) for number in range(before, int(day[-1]) + 2)]
    working = np.array(
        [date.isoweekday() in csm.work_days and date not in diary.closed for date in dates],
        dtype=np.bool_,
    )
    today = working[day - before]
    if begin < end:
        return (clock >= begin) & (clock + (QUARTER_SECONDS - 1) < end) & today
    yesterday = working[day - before - 1]  # a night belongs to the day it starts on
    flags = np.ones(day.size, dtype=np.bool_)
    for second in (clock, clock + (QUARTER_SECONDS - 1)):
        evening = second >= begin
        flags &= (evening & today) | (~evening & (second < end) & yesterday)
    return flags


def _seconds(clock: time) -> float:
    return clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1_000_000


def _offsets(zone: str, origin: int, count: int) -> Numbers:
    """The UTC offset in seconds of each quarter from number `origin`."""
    first, last = origin // _DAY_QUARTERS, (origin + count - 1) // _DAY_QUARTERS
    whole = np.concatenate(
        [np.asarray(_offsets_of_day(zone, day), dtype=np.int64) for day in range(first, last + 1)]
    )
    return whole[origin - first * _DAY_QUARTERS :][:count]


@lru_cache(20_000)  # two years of days in 27 zones
def _offsets_of_day(zone: str, day: int) -> tuple[int, ...]:
    """The 96 offsets of one UTC day. They are computed one by one only if the offsets at the ends
    of the day differ, because no zone changes twice a day."""
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    if _offset(zone, start) == _offset(zone, start + timedelta(days=1)):
        return (_offset(zone, start),) * _DAY_QUARTERS
    return tuple(_offset(zone, start + QUARTER * step) for step in range(_DAY_QUARTERS))


def _offset(zone: str, instant: datetime) -> int:
    offset = instant.astimezone(find_zone(zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
