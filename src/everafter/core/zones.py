"""Which time zones there are: the names that mean a place's clocks, the same on every machine."""

from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

# Files beside the zones: this machine's own clocks, a default for rules, a zone that means none.
_NO_PLACE = frozenset({"localtime", "posixrules", "Factory"})


@lru_cache(1)
def list_zones() -> frozenset[str]:
    """The IANA names that may be used; without `posix/…` and `right/…`, which count seconds of
    their own."""
    return frozenset(
        name
        for name in available_timezones()
        if name not in _NO_PLACE and not name.startswith(("posix/", "right/"))
    )


@lru_cache(1024)
def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of that IANA name; UTC when there is none, or no such."""
    return ZoneInfo(name if name in list_zones() else "UTC")
