"""The view of the changes: its parameters, and the cursor of a page. Pure."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from math import isfinite
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from everafter.core.cursor import write_cursor
from everafter.core.errors import InputError
from everafter.core.ids import MAX_ID_CHARACTERS
from everafter.portfolio.change_model import (
    DEFAULT_PERIOD,
    MOVED,
    ORDERS,
    PERIODS,
    SCORED_BANDS,
    ChangeView,
    Moves,
    Place,
    Runs,
)
from everafter.portfolio.model import LEVELS

T = TypeVar("T", bound=str)


def parse_change_view(params: Mapping[str, str]) -> ChangeView:
    """Parse the query parameters; empty and unknown ones are ignored.

    Raises:
        InputError: a value that does not exist; the message lists the valid ones.
    """
    days = params.get("days", "") or str(DEFAULT_PERIOD)
    if days not in map(str, PERIODS):
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, PERIODS))}")
    return ChangeView(
        days=int(days),
        since=read_since("since", params.get("since", "")),
        q=_text(params.get("q", ""), MAX_ID_CHARACTERS),
        vendor=_text(params.get("vendor", ""), 100),
        plan=_text(params.get("plan", ""), 100),
        band=one_of("band", params.get("band", ""), SCORED_BANDS),
        churn=one_of("churn", params.get("churn", ""), LEVELS),
        moved=one_of("moved", params.get("moved", ""), MOVED),
        sort=one_of("sort", params.get("sort", ""), ORDERS) or "fall",
    )


def _text(text: str, most: int) -> str:
    return text.replace("\0", "").strip()[:most]


def one_of(name: str, value: str, allowed: tuple[T, ...]) -> Any:
    """Return the value if it is allowed or empty.

    Raises:
        InputError: it is neither.
    """
    if value and value not in allowed:
        raise InputError(f"{name}: {value[:40]!r} is not one of {', '.join(allowed)}")
    return value


def read_since(name: str, text: str) -> date | None:
    """Parse a day; empty is null.

    Raises:
        InputError: it is not a date.
    """
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise InputError(f"{name}: {text[:40]!r} is not a date such as 2026-08-01") from None


def check_since(name: str, since: date | None, runs: Runs) -> None:
    """Check that a day is before the latest run.

    Raises:
        InputError: it is not, so there is nothing between.
    """
    if since and runs.latest and since >= runs.latest:
        raise InputError(f"{name}: expected a day before the last run, {runs.latest}, not {since}")


def change_query(view: ChangeView, **changes: Any) -> str:
    """Build the query string of a view with some fields changed, leaving defaults out.

    >>> change_query(ChangeView(band="critical", days=30), moved="band")
    'days=30&band=critical&moved=band'
    """
    changed, default = replace(view, **changes), ChangeView()
    values = {field.name: getattr(changed, field.name) for field in fields(ChangeView)}
    return urlencode(
        {
            name: str(value)
            for name, value in values.items()
            if value is not None and value != getattr(default, name)
        }
    )


def write_place(runs: tuple[date, date], last: Moves) -> str:
    """The cursor of the page after this row."""
    return write_cursor(*runs, last.key, last.supplier_id)


def read_place(text: str) -> Place:
    """Parse the cursor's fields, for `core.cursor.read_cursor`.

    Raises:
        ValueError: it is not a cursor of this list.
    """
    latest, before, key, supplier_id = text.split(" ")
    place = Place(
        date.fromisoformat(latest), date.fromisoformat(before), float(key), UUID(supplier_id)
    )
    if not isfinite(place.key):
        raise ValueError("not a number")
    return place
