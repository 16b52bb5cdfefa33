"""The page of one call: its time, and free times by day, in the supplier's time zone. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from everafter.core.formatting import format_utc
from everafter.core.i18n import format_clock, format_weekday
from everafter.support.model import BookedCall, Slot

SHOWN_DAYS = 7
MANY_TIMES = 16
"""A day with more free times only shows those on the hour and half hour."""


class FreeTime(Struct, frozen=True):
    """A time to choose. label: the local time; value: the instant in ISO 8601, UTC."""

    label: str
    value: str
    with_whom: str


class FreeDay(Struct, frozen=True):
    """A day with free times."""

    title: str
    day: date
    times: list[FreeTime]


def list_free_days(
    slots: Sequence[Slot], zone: ZoneInfo, known: str
) -> tuple[list[FreeDay], date | None]:
    """The first days with free times, and the day from which `slots` has more; null: no more.

    When the clocks go back, times that occur twice get the abbreviation of the zone. with_whom is
    empty for the CSM whose address is `known`.
    """
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
                format_utc(slot.starts_at),
                "" if slot.csm.email == known else slot.csm.name,
            )
            for local, slot in found
        ]
        shown.append(FreeDay(format_weekday(day), day, times))
    more = list(days)[SHOWN_DAYS] if len(days) > SHOWN_DAYS else None
    return shown, more


def describe_state(call: BookedCall, now: datetime) -> str:
    """`cancelled`, `over` or `coming`."""
    return "cancelled" if call.cancelled else "over" if call.starts_at <= now else "coming"
