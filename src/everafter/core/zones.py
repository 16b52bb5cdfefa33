"""Time zones by their IANA names, the same on every machine."""

from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

# Files beside the zones: this machine's own zone, a default for POSIX rules, and no zone.
_NOT_ZONES = frozenset({"localtime", "posixrules", "Factory"})


@lru_cache(1)
def list_zones() -> frozenset[str]:
    """The IANA names that may be used; without `posix/…` and `right/…`, which count leap seconds
    differently."""
    return frozenset(
        name
        for name in available_timezones()
        if name not in _NOT_ZONES and not name.startswith(("posix/", "right/"))
    )


@lru_cache(1024)
def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of an IANA name; UTC when the name is null or unknown."""
    return ZoneInfo(name if name in list_zones() else "UTC")
