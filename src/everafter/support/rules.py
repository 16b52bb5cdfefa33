"""When a call can be: working hours, the grid, what is taken. Pure; `now` is passed in.

All arithmetic is on UTC instants. Wall-clock hours are read off an instant, never turned into one: an hour that a zone skips
has no instant and an hour that it repeats has two, so daylight saving needs no case of its own. The UTC grid of quarters is also
the local one, because every present offset is a multiple of 15 minutes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from everafter.support.model import (
    BUFFER,
    HORIZON_DAYS,
    LEAD,
    QUARTER,
    Advisor,
    Busy,
    CallType,
    Refusal,
    Slot,
)

_LAST_SECOND = QUARTER - timedelta(seconds=1)


@lru_cache(1024)
def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of that IANA name; UTC when there is none, or no such."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder of the time zone data
        return ZoneInfo("UTC")


def list_slots(
    advisors: Sequence[Advisor],
    busy: Busy,
    call: CallType,
    start: datetime,
    days: int,
    now: datetime,
    *,
    limit: int | None = None,
) -> list[Slot]:
    """The free times that begin in [start, start + days), in order; the first free advisor in the given order has each.

    Args:
        busy: quarters held by booked calls, their buffers included, over at least that span.
        start, now: aware; nothing begins before now + LEAD or after now + HORIZON_DAYS.
    """
    first = _next_quarter(max(start, now + LEAD).astimezone(UTC))
    last = min(start + timedelta(days=days), now + timedelta(days=HORIZON_DAYS)).astimezone(UTC)
    opened: dict[tuple[object, datetime], bool] = {}

    def works(advisor: Advisor, quarter: datetime) -> bool:
        # Colleagues share their hours, and a quarter lies in several calls: each is asked once.
        key = _hours(advisor), quarter
        if key not in opened:
            opened[key] = is_open(advisor, quarter)
        return opened[key]

    found: list[Slot] = []
    for starts_at in _quarters(first, last):
        inside = list(_quarters(starts_at, starts_at + call.length))
        for advisor in advisors:
            if all(works(advisor, quarter) for quarter in inside) and is_free(advisor, busy, starts_at, call):
                found.append(Slot(starts_at, starts_at + call.length, advisor))
                break
        if limit is not None and len(found) >= limit:
            break
    return found


def is_open(advisor: Advisor, quarter: datetime) -> bool:
    """Whether the advisor works for the whole of this quarter of an hour, by their own wall clock."""
    zone = find_zone(advisor.timezone)
    return all(_works_at(advisor, instant.astimezone(zone)) for instant in (quarter, quarter + _LAST_SECOND))


def is_free(advisor: Advisor, busy: Busy, starts_at: datetime, call: CallType) -> bool:
    """Whether no quarter of the call or of the buffer after it is held."""
    return not any((advisor.id, quarter) in busy for quarter in held_quarters(starts_at, call))


def works_through(advisor: Advisor, starts_at: datetime, call: CallType) -> bool:
    """Whether the whole call lies in the advisor's working hours (the buffer need not)."""
    return all(is_open(advisor, quarter) for quarter in _quarters(starts_at, starts_at + call.length))


def held_quarters(starts_at: datetime, call: CallType) -> list[datetime]:
    """The quarters that booking this call takes from the advisor: its own and the buffer's, ascending."""
    return list(_quarters(starts_at, starts_at + call.length + BUFFER))


def rank_advisors(advisors: Sequence[Advisor], busy: Busy, known: UUID | None) -> list[Advisor]:
    """Who should take a call: the one the supplier has talked to (`known`), then the least booked, then by address."""
    load = Counter(advisor_id for advisor_id, _ in busy)
    return sorted(advisors, key=lambda advisor: (advisor.id != known, load[advisor.id], advisor.email))


def resolve_start(starts_at: datetime, timezone: str | None) -> datetime | Refusal:
    """The UTC instant of a requested time; without an offset it is wall-clock time in `timezone`.

    A wall-clock time that the zone skips or repeats is refused: guessing would put the call an hour away from what was meant.
    """
    if starts_at.tzinfo is not None:
        try:
            return starts_at.astimezone(UTC)
        except OverflowError:
            return _outside_calendar(starts_at)
    zone = find_zone(timezone)
    if not 2 <= starts_at.year <= 9998:
        return _outside_calendar(starts_at)
    readings = {starts_at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    real = sorted(instant for instant in readings if instant.astimezone(zone).replace(tzinfo=None) == starts_at)
    if not real:
        return Refusal("dst_gap", f"{starts_at.isoformat()} does not exist in {zone.key}: the clocks go forward over it")
    if len(real) > 1:
        return Refusal(
            "dst_overlap",
            f"{starts_at.isoformat()} comes twice in {zone.key}, as the clocks go back; send it with an offset",
        )
    return real[0]


def refuse_start(advisors: Sequence[Advisor], call: CallType, starts_at: datetime, now: datetime) -> Refusal | None:
    """Why no call can ever begin then, or null when it could if someone is free. `starts_at` in UTC."""
    said = starts_at.isoformat().replace("+00:00", "Z")
    if starts_at <= now:
        return Refusal("past", f"{said} is in the past")
    if starts_at < now + LEAD:
        return Refusal("too_soon", f"{said} is too soon: book at least {LEAD.seconds // 3600} hours ahead")
    if starts_at >= now + timedelta(days=HORIZON_DAYS):
        return Refusal("too_far", f"{said} is too far off: book at most {HORIZON_DAYS} days ahead")
    if starts_at != _next_quarter(starts_at):
        return Refusal("off_grid", f"{said} is not on the grid: calls begin at :00, :15, :30 and :45")
    if not any(works_through(advisor, starts_at, call) for advisor in advisors):
        return Refusal("outside_hours", f"{said} for {call.minutes} minutes is outside everyone's working hours")
    return None


def _outside_calendar(starts_at: datetime) -> Refusal:
    return Refusal("past" if starts_at.year < 2 else "too_far", f"{starts_at.isoformat()} is outside the calendar")


def _works_at(advisor: Advisor, local: datetime) -> bool:
    clock, weekday = local.time(), local.isoweekday()
    if advisor.work_from < advisor.work_until:
        return advisor.work_from <= clock < advisor.work_until and weekday in advisor.work_days
    if clock >= advisor.work_from:
        return weekday in advisor.work_days
    return clock < advisor.work_until and (weekday - 2) % 7 + 1 in advisor.work_days


def _hours(advisor: Advisor) -> tuple[str, time, time, tuple[int, ...]]:
    return advisor.timezone, advisor.work_from, advisor.work_until, advisor.work_days


def _next_quarter(instant: datetime) -> datetime:
    over = timedelta(minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond)
    return instant if not over else instant - over + QUARTER


def _quarters(start: datetime, until: datetime) -> Iterator[datetime]:
    while start < until:
        yield start
        start += QUARTER
