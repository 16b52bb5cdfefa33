"""Checks of [support], beyond types: opening hours, work days, holidays, clocks. Pure."""

from collections.abc import Callable, Iterator
from datetime import date
from difflib import get_close_matches
from typing import Any

from everafter.core.formatting import noun
from everafter.core.zones import list_zones
from everafter.playbook.findings import Finding, texts_in
from everafter.playbook.model import Clocks, Support
from everafter.playbook.places import Path

_DEFAULT = Support()
_LONGEST_SHOWN = 60


def check_support(
    support: dict[str, Any],
    knows_holidays: Callable[[str], bool] | None,
    bad: frozenset[Path] = frozenset(),
) -> Iterator[Finding]:
    """Check the table [support].

    Args:
        support: values of a wrong type are passed over; `check_shape` reports them.
        knows_holidays: whether the holidays of an ISO 3166 code are known; null: not checked.
        bad: values of a wrong type or out of range, which are not compared with others.
    """
    yield from _zone(support.get("timezone"))
    yield from _hours(support)
    yield from _work_days(support.get("work_days"), bad)
    yield from _holidays(support.get("holidays"), knows_holidays)
    yield from _closed_on(support.get("closed_on"))
    yield from _clocks(support.get("clocks"), bad)


def _zone(name: Any) -> Iterator[Finding]:
    if isinstance(name, str) and name not in list_zones():
        shown = name[:_LONGEST_SHOWN]
        near = get_close_matches(shown, sorted(list_zones()), n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else 'an IANA name such as "Europe/London"'
        yield Finding(("support", "timezone"), f"there is no time zone {shown!r}", hint)


def _hours(support: dict[str, Any]) -> Iterator[Finding]:
    opens, closes = (
        support.get(key, getattr(_DEFAULT, key)) for key in ("open_from", "open_until")
    )
    if not isinstance(opens, str) or not isinstance(closes, str):
        return
    if len(opens) == len(closes) == len("09:00") and opens >= closes:
        key = "open_from" if "open_from" in support else "open_until"
        message = f"open_from ({opens}) must be before open_until ({closes})"
        hint = 'both are times of one day; open_until = "24:00" is midnight at its end'
        yield Finding(("support", key), message, hint)


def _work_days(days: Any, bad: frozenset[Path]) -> Iterator[Finding]:
    path = ("support", "work_days")
    if not isinstance(days, list):
        return
    if not days:
        message = "work_days is empty, so support is never open"
        yield Finding(path, message, "for example [1, 2, 3, 4, 5]")
    for index, day in enumerate(days):
        if (*path, index) not in bad and day in days[:index]:
            yield Finding((*path, index), f"{day!r} is listed twice", "remove one")


def _holidays(code: Any, knows_holidays: Callable[[str], bool] | None) -> Iterator[Finding]:
    if isinstance(code, str) and knows_holidays is not None and not knows_holidays(code):
        message = f"no holidays are known for {code[:_LONGEST_SHOWN]!r}"
        hint = (
            'an ISO 3166 code in capitals, such as "GB", or "GB-ENG" with a subdivision; leave it'
            " out for no holidays"
        )
        yield Finding(("support", "holidays"), message, hint)


def _closed_on(days: Any) -> Iterator[Finding]:
    for index, day in texts_in(days):
        path = ("support", "closed_on", index)
        if len(day) != len("2026-12-24"):
            continue  # check_shape reports it
        try:
            date.fromisoformat(day)
        except ValueError:
            hint = "year-month-day, such as 2026-12-24"
            yield Finding(path, f"{day} is not in the calendar", hint)
            continue
        if day in days[:index]:
            yield Finding(path, f"{day} is listed twice", "remove one", "warning")


def _clocks(clocks: Any, bad: frozenset[Path]) -> Iterator[Finding]:
    if not isinstance(clocks, dict):
        return
    if "normal" not in clocks:
        hint = "they apply to tickets whose priority has no clocks of its own"
        yield Finding(("support", "clocks"), "there are no clocks for 'normal'", hint)
    for name, limits in clocks.items():
        path = ("support", "clocks", name)
        if not isinstance(limits, dict) or path in bad:
            continue
        hours = {
            key: limits[key]
            for key in Clocks.__struct_fields__
            if limits.get(key) is not None and (*path, key) not in bad
        }
        if len(hours) == 2 and hours["reply_hours"] > hours["resolve_hours"]:
            reply = hours["reply_hours"]
            message = (
                f"a reply is promised within {reply:g} {noun(reply, 'hour')}, later than a"
                f" solution ({hours['resolve_hours']:g})"
            )
            hint = "make reply_hours the smaller one"
            yield Finding((*path, "reply_hours"), message, hint, "warning")
