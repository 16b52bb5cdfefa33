"""What the page of one call shows: its own time, and free ones by day, on the supplier's clocks.
Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from everafter.core.i18n import format_clock, format_clocks, format_weekday
from everafter.support.model import BookedCall, Slot

SHOWN_DAYS = 7
MANY_TIMES = 16
"""A day with more shows only its whole and half hours: forty times side by side are no help."""


class FreeTime(Struct, frozen=True):
    """One time to choose: how the clock shows it, and the instant (ISO 8601 in UTC)."""

    label: str
    value: str
    with_whom: str


class FreeDay(Struct, frozen=True):
    """A day with times to choose."""

    title: str
    day: date
    times: list[FreeTime]


def list_free_days(
    slots: Sequence[Slot], zone: ZoneInfo, known: str
) -> tuple[list[FreeDay], date | None]:
    """The first days that have free times, and from which day on there are more (null: no more
    among `slots`).

    A clock time that comes twice on a day, as the clocks go back, is told apart by the zone's
    abbreviation. with_whom is empty for the CSM whose address is `known`."""
    days: dict[date, list[tuple[datetime, Slot]]] = {}
    for slot in slots:
        local = slot.starts_at.astimezone(zone)
        days.setdefault(local.date(), []).append((local, slot))
    shown: list[FreeDay] = []
    for day, free in list(days.items())[:SHOWN_DAYS]:
        found = [one for one in free if len(free) <= MANY_TIMES or one[0].minute % 30 == 0]
        twice = Counter(format_clock(local) for local, _ in found)
        times = [
            FreeTime(
                format_clock(local) + (f" {local:%Z}" if twice[format_clock(local)] > 1 else ""),
                utc(slot.starts_at),
                "" if slot.csm.email == known else slot.csm.name,
            )
            for local, slot in found
        ]
        shown.append(FreeDay(format_weekday(day), day, times))
    more = list(days)[SHOWN_DAYS] if len(days) > SHOWN_DAYS else None
    return shown, more


def describe_state(call: BookedCall, now: datetime) -> str:
    """`cancelled`, `over`, or `coming`."""
    return "cancelled" if call.cancelled else "over" if call.starts_at <= now else "coming"


def format_span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """`Tuesday 24 November 2026, 14:30–14:45`."""
    begin, until = start.astimezone(zone), end.astimezone(zone)
    return f"{format_weekday(begin, year=True)}, {format_clocks(begin, until)}"


def format_zone(zone: ZoneInfo, at: datetime) -> str:
    """`Europe/Berlin, UTC+1`; UTC alone for itself."""
    offset = at.astimezone(zone).utcoffset() or timedelta()
    minutes = int(offset.total_seconds() // 60)
    if zone.key == "UTC":
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return (
        f"{zone.key.replace('_', ' ')},"
        f" UTC{'−' if minutes < 0 else '+'}{hours}{f':{rest:02d}' if rest else ''}"
    )


def utc(instant: datetime) -> str:
    """`2026-11-24T14:30:00Z`."""
    return instant.isoformat().replace("+00:00", "Z")
