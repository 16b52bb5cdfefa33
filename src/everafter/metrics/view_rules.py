"""Parse the query string of the metrics page, and build it again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from everafter.core.errors import InputError
from everafter.metrics.model import DEFAULT_DAYS, HORIZONS, By, Period
from everafter.metrics.rules import read_by, read_period

PRESETS = (30, 90, 180, 365)


@dataclass(frozen=True, slots=True)
class View:
    """Period and grouping. by: null: each metric's default. preset: length of the period in days if
    it ends today, else null.
    """

    period: Period
    by: By | None
    preset: int | None


def parse_view(params: Mapping[str, str], today: date) -> View:
    """Parse the query parameters. `days`: a period that ends today; `from`, `until` override it.

    Raises:
        InputError: `days` is not one of `PRESETS`; see also `read_period` and `read_by`.
    """
    first, last = params.get("from", "").strip(), params.get("until", "").strip()
    days = params.get("days", "").strip()
    if days and days not in {str(preset) for preset in PRESETS}:
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, PRESETS))}")
    if days and not first and not last:
        first = (today - timedelta(days=int(days) - 1)).isoformat()
    period = read_period(first or None, last or None, today, params.get("horizon") or None)
    ends_today = period.last == today and period.days in PRESETS
    return View(period, read_by(params.get("by", "").strip()), period.days if ends_today else None)


def view_query(view: View, **changes: Any) -> str:
    """Build the query string with some fields changed (days, by, horizon, metric, table), leaving
    defaults out.

    >>> view_query(View(Period(date(2026, 1, 1), date(2026, 1, 31)), None, None), by="plan")
    'from=2026-01-01&until=2026-01-31&by=plan'
    >>> view_query(View(Period(date(2026, 1, 1), date(2026, 1, 30)), "plan", 30), days=90)
    'by=plan'
    """
    days = changes.pop("days", view.preset)
    query: dict[str, Any] = {}
    if days is None:
        query = {"from": view.period.first.isoformat(), "until": view.period.last.isoformat()}
    elif days != DEFAULT_DAYS:
        query = {"days": days}
    horizon = changes.pop("horizon", view.period.horizon)
    asked = {
        "by": changes.pop("by", view.by),
        "horizon": None if horizon == HORIZONS[0] else horizon,
        **changes,
    }
    return urlencode(query | {name: value for name, value in asked.items() if value})
