"""Time zones in calendars: find them by their names, or build them from their definitions. Pure."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from everafter.core.zones import list_zones

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(microsecond=0, tzinfo=UTC)
_NOTHING = timedelta()
_A_DAY = timedelta(days=1)
_MOST_OFFSET = timedelta(hours=24)
_OFFSET = re.compile(
    r"(?:\(?(?:UTC|GMT)\)?)?\s*([+\-\u2212])?(\d{1,2})(?:[:.]?(\d\d))?(?:[:.]?(\d\d))?\)?",
    re.IGNORECASE,
)
_OFFSET_NAME = re.compile(r"\(?(?:UTC|GMT)|[+\-\u2212]", re.IGNORECASE)
# display names of Windows: "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna"
_DISPLAY = re.compile(
    r"\((?:UTC|GMT)\s*([+\-\u2212]\d{1,2}[:.]?\d\d)?\)\s*(.*)", re.IGNORECASE | re.DOTALL
)
_COORDINATED = frozenset(
    {
        "z",
        "utc",
        "gmt",
        "coordinated universal time",
        "greenwich mean time",
        "tzone://microsoft/utc",
    }
)


class Zone(Protocol):
    """A time zone."""

    def instant(self, wall: datetime, fold: int = 0) -> datetime:
        """The instant in UTC of a local time.

        Skipped times have the offset from before the change. Repeated times are the first one (RFC
        5545, 3.3.5), or the second with `fold`.
        """
        ...

    def wall(self, instant: datetime) -> datetime:
        """The local time of an instant, naive."""
        ...


@dataclass(frozen=True, slots=True)
class NamedZone:
    """A zone of the IANA database, or a fixed offset."""

    clocks: tzinfo

    def instant(self, wall: datetime, fold: int = 0) -> datetime:
        try:
            offset = wall.replace(tzinfo=self.clocks, fold=fold).utcoffset() or _NOTHING
        except OverflowError:
            offset = _NOTHING
        return add(wall.replace(tzinfo=UTC), -offset)

    def wall(self, instant: datetime) -> datetime:
        try:
            return instant.astimezone(self.clocks).replace(tzinfo=None, fold=0)
        except OverflowError:
            return instant.replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class WrittenZone:
    """A zone that a calendar defines with VTIMEZONE.

    changes: onset in local time before the change, offset before, offset after; sorted, never
    empty.
    """

    changes: tuple[tuple[datetime, timedelta, timedelta], ...]

    def offset(self, wall: datetime, fold: int = 0) -> timedelta:
        after = bisect_right(self.changes, add_wall(wall, _A_DAY), key=lambda change: change[0])
        for onset, before, then in reversed(self.changes[:after]):
            step = then - before
            if wall >= onset + (min(step, _NOTHING) if fold else max(step, _NOTHING)):
                return then
        return self.changes[0][1]

    def instant(self, wall: datetime, fold: int = 0) -> datetime:
        return add(wall.replace(tzinfo=UTC), -self.offset(wall, fold))

    def wall(self, instant: datetime) -> datetime:
        for offset in {offset for _, before, then in self.changes for offset in (before, then)}:
            wall = add(instant, offset).replace(tzinfo=None)
            if instant in (self.instant(wall), self.instant(wall, 1)):
                return wall
        return instant.replace(tzinfo=None)  # no local time maps to it


COORDINATED = NamedZone(UTC)


def add(instant: datetime, span: timedelta) -> datetime:
    """Add a span; results outside the years 1 to 9999 are clamped."""
    try:
        return instant + span
    except OverflowError:
        return LATEST if span > _NOTHING else EARLIEST


def add_wall(wall: datetime, span: timedelta) -> datetime:
    """`add` for naive times."""
    return add(wall.replace(tzinfo=UTC), span).replace(tzinfo=None)


def find_named_zone(tzid: str, windows: Mapping[str, str]) -> Zone | None:
    """Find a time zone by a name used in calendars; null: unknown.

    Known are IANA names in any case, with a vendor's prefix, or with spaces for underscores; names
    and display names of Windows; UTC and offsets from it.

    Args:
        windows: IANA names by the names of Windows in lower case, from CLDR.
    """
    name = " ".join(tzid.strip().strip("\"'").split())
    lower = name.lower()
    if lower in _COORDINATED:
        return COORDINATED
    found = _iana(lower) or windows.get(lower) or windows.get(re.sub(r"\s\d$", "", lower))
    if found:
        return NamedZone(ZoneInfo(found))
    if _OFFSET_NAME.match(name) and (offset := read_offset(name)) is not None:
        return NamedZone(timezone(offset))
    return _displayed(name, windows)


def read_offset(text: str) -> timedelta | None:
    """Parse a UTC offset such as `+0100`, `-05:30`, `UTC+2`, `+013020`; null: invalid."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        return None
    sign, hours, minutes, seconds = found.groups()
    span = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    if span >= _MOST_OFFSET:
        return None
    return -span if sign in ("-", "\u2212") else span


def standard_offset(clocks: tzinfo, year: int = 2026) -> timedelta:
    """The UTC offset outside summer time."""
    return min(datetime(year, month, 1, tzinfo=clocks).utcoffset() or _NOTHING for month in (1, 7))


@lru_cache(1)
def _zones_by_lower() -> dict[str, str]:
    return {name.lower(): name for name in list_zones()}


@lru_cache(1)
def _zones_by_city() -> dict[str, list[str]]:
    cities: dict[str, list[str]] = {}
    for name in sorted(list_zones()):
        if "/" in name and not name.startswith("Etc/"):
            cities.setdefault(name.rpartition("/")[2].lower().replace("_", " "), []).append(name)
    return cities


def _iana(lower: str) -> str | None:
    """`europe/berlin`, `america/new york`, `/citadel.org/20070227_1/Europe/Berlin`."""
    names = _zones_by_lower()
    parts = lower.replace(" ", "_").strip("/").split("/")
    for count in (len(parts), 3, 2):
        if count <= len(parts) and (found := names.get("/".join(parts[-count:]))):
            return found
    return None


def _displayed(name: str, windows: Mapping[str, str]) -> Zone | None:
    """Find a zone by a display name of Windows: by its name, or by a city with the same offset."""
    shown = _DISPLAY.fullmatch(name)
    offset = read_offset(shown[1]) if shown and shown[1] else _NOTHING
    places = shown[2] if shown else name
    if shown and places.strip().lower() in _COORDINATED:
        return COORDINATED
    bare = re.sub(r"\(.*?\)", "", places).strip().lower()
    for guess in (bare, f"{bare} standard time", re.sub(r"\btime\b", "standard time", bare)):
        if guess in windows:
            return NamedZone(ZoneInfo(windows[guess]))
    if shown is None:
        return None
    for city in re.split(r"[,;/&]", places):
        for zone in _zones_by_city().get(city.strip().lower(), []):
            if standard_offset(ZoneInfo(zone)) == offset:
                return NamedZone(ZoneInfo(zone))
    return None


def displayed_offset(name: str) -> timedelta | None:
    """The offset in a display name of Windows; null: none."""
    shown = _DISPLAY.match(name.strip())
    return read_offset(shown[1]) if shown and shown[1] else None


def list_changes(
    onsets: Iterable[tuple[Iterable[datetime], timedelta, timedelta]],
) -> tuple[tuple[datetime, timedelta, timedelta], ...]:
    """The sorted changes of a `WrittenZone` from the onsets of its parts."""
    return tuple(sorted((onset, before, then) for each, before, then in onsets for onset in each))


def midnight(day: date) -> datetime:
    """The start of a day, naive."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 a local time
