"""What is wrong with [support], beyond types: hours that never open, days that are none, promises
out of order. Pure."""

from collections.abc import Callable, Iterator
from datetime import date
from difflib import get_close_matches
from typing import Any

from everafter.core.zones import list_zones
from everafter.playbook.findings import Found as _Found
from everafter.playbook.model import Clocks, Support
from everafter.playbook.places import Path

_DEFAULT = Support()


def check_support(
    support: dict[str, Any],
    knows_holidays: Callable[[str], bool] | None,
    bad: frozenset[Path] = frozenset(),
) -> Iterator[_Found]:
    """Every mistake in the table [support]; what is of the wrong type is passed over, for
    `check_shape` has named it.

    Args:
        knows_holidays: whether holidays are known for an ISO 3166 code; null: not checked.
        bad: what is of the wrong type or out of range, which is not held against anything else.
    """
    yield from _zone(support.get("timezone"))
    yield from _hours(support)
    days = support.get("work_days")
    if days == []:
        yield (
            ("support", "work_days"),
            None,
            "work_days is empty, so support never opens",
            "for example [1, 2, 3, 4, 5]",
            "error",
        )
    elif isinstance(days, list):
        for index, day in enumerate(days):
            if ("support", "work_days", index) not in bad and day in days[:index]:
                yield (
                    ("support", "work_days", index),
                    None,
                    f"{day!r} is named twice",
                    "leave one out",
                    "error",
                )
    code = support.get("holidays")
    if isinstance(code, str) and knows_holidays is not None and not knows_holidays(code):
        hint = 'an ISO 3166 code in capitals, such as "GB" or with a subdivision "GB-ENG"; leave it out to keep none'
        yield (
            ("support", "holidays"),
            None,
            f"no holidays are known for {code[:60]!r}",
            hint,
            "error",
        )
    yield from _closed(support.get("closed_on"))
    yield from _clocks(support.get("clocks"), bad)


def _zone(name: Any) -> Iterator[_Found]:
    if not isinstance(name, str):
        return
    if name not in list_zones():
        near = get_close_matches(name[:60], sorted(list_zones()), n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else 'an IANA name such as "Europe/London"'
        yield ("support", "timezone"), None, f"there is no time zone {name[:60]!r}", hint, "error"


def _hours(support: dict[str, Any]) -> Iterator[_Found]:
    opens, closes = (
        support.get(key, getattr(_DEFAULT, key)) for key in ("open_from", "open_until")
    )
    if (
        isinstance(opens, str)
        and isinstance(closes, str)
        and len(opens) == len(closes) == 5
        and opens >= closes
    ):
        key = "open_from" if "open_from" in support else "open_until"
        hint = 'both are of one day; open_until = "24:00" is midnight at its end'
        yield (
            ("support", key),
            None,
            f"open_from ({opens}) must be before open_until ({closes})",
            hint,
            "error",
        )


def _closed(days: Any) -> Iterator[_Found]:
    for index, day in enumerate(days if isinstance(days, list) else []):
        path = ("support", "closed_on", index)
        if not isinstance(day, str) or len(day) != 10:
            continue
        try:
            date.fromisoformat(day)
        except ValueError:
            yield (
                path,
                None,
                f"{day} is no day of any calendar",
                "year-month-day, such as 2026-12-24",
                "error",
            )
            continue
        if day in days[:index]:
            yield path, None, f"{day} is named twice", "leave one out", "warning"


def _clocks(clocks: Any, bad: frozenset[Path]) -> Iterator[_Found]:
    if not isinstance(clocks, dict):
        return
    if "normal" not in clocks:
        hint = "it times every ticket whose priority has no clocks of its own"
        yield ("support", "clocks"), None, "there are no clocks for 'normal'", hint, "error"
    for name, limits in clocks.items():
        path = ("support", "clocks", name)
        hours = (
            {key: limits.get(key) for key in Clocks.__struct_fields__}
            if isinstance(limits, dict)
            else {}
        )
        numbers = {
            key: value
            for key, value in hours.items()
            if value is not None and (*path, key) not in bad
        }
        if (
            len(numbers) == 2
            and path not in bad
            and numbers["reply_hours"] > numbers["resolve_hours"]
        ):
            message = f"a solution is promised within {numbers['resolve_hours']:g} hours, an answer only within "
            message += f"{numbers['reply_hours']:g}"
            yield (*path, "reply_hours"), None, message, "the answer comes first", "warning"
