"""Parse parameters, order groups, and format a metric as a table. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from difflib import get_close_matches
from functools import reduce
from typing import Any

from everafter.core.csv import write_csv
from everafter.core.errors import InputError
from everafter.core.formatting import humanize, month, sentence
from everafter.metrics.model import (
    BY_LABELS,
    BYS,
    CONCLUSION_LABELS,
    DEFAULT_DAYS,
    HORIZONS,
    METRICS,
    MOST_DAYS,
    By,
    Metric,
    Period,
    Row,
    SuccessRow,
)
from everafter.metrics.text_model import METRIC_TEXTS, Column, Kind

EARLIEST = date(2000, 1, 1)


# ── parameters ────────────────────────────────────────────────────────────────────


def read_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Parse metric names, in the order of METRICS; none means all.

    Raises:
        InputError: unknown metric; `did_you_mean` has similar names.
    """
    wanted = {_one_of("metric", name, METRICS) for name in names if name}
    return tuple(metric for metric in METRICS if metric in wanted) if wanted else METRICS


def read_by(name: str | None) -> By | None:
    """Parse the grouping; null: each metric's default.

    Raises:
        InputError: unknown grouping.
    """
    return _one_of("by", name, BYS) if name else None


def _one_of(what: str, name: str, known: Sequence[Any]) -> Any:
    if name in known:
        return name
    asked = name.lower().strip().replace("-", "_").replace(" ", "_")
    parts = [word for word in known if len(asked) > 2 and asked in word]
    near = list(dict.fromkeys([*parts, *get_close_matches(asked, known, 3, 0.5)]))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise InputError(f"{what}: there is no {name[:60]!r}; {hint}", did_you_mean=near)


def read_period(
    first: str | None, last: str | None, today: date, horizon: int | str | None = None
) -> Period:
    """Parse the period: by default the last DEFAULT_DAYS days; `first` and `last` limit it.

    Raises:
        InputError: a text that is not a date, a date in the future or long ago, an end before the
            beginning, more than MOST_DAYS days, or a horizon that is not one of HORIZONS.
    """
    until = _day("until", last) if last else today
    if until > today:
        raise InputError(f"until: {until} is in the future; today is {today} (UTC)")
    since = _day("from", first) if first else until - timedelta(days=DEFAULT_DAYS - 1)
    if since > until:
        raise InputError(f"from: {since} is after until, {until}")
    if (until - since).days >= MOST_DAYS:
        raise InputError(
            f"from {since} until {until} is {(until - since).days + 1:,} days;"
            f" the maximum is {MOST_DAYS:,}"
        )
    text = str(horizon or HORIZONS[0])
    if text not in map(str, HORIZONS):
        raise InputError(
            f"horizon: {text[:40]!r} is not one of {', '.join(map(str, HORIZONS))} days"
        )
    return Period(since, until, int(text))


def _day(what: str, text: str) -> date:
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{what}: {text[:40]!r} is not a date such as 2026-08-01") from None
    if day < EARLIEST:
        raise InputError(f"{what}: {day} is before {EARLIEST}")
    return day


# ── groups ────────────────────────────────────────────────────────────────────────


def order_groups(
    by: By, groups: Iterable[str | None], sizes: Mapping[str | None, int] | None = None
) -> list[str | None]:
    """Order the groups: cohorts latest first, others largest first; unknown last.

    >>> order_groups("cohort", ["2026-01", None, "2026-03"])
    ['2026-03', '2026-01', None]
    >>> order_groups("plan", ["a", "b"], {"a": 1, "b": 2})
    ['b', 'a']
    """
    known = sorted({group for group in groups if group is not None}, reverse=by == "cohort")
    if by != "cohort" and sizes is not None:
        known.sort(key=lambda group: -sizes.get(group, 0))
    return [*known, None] if None in set(groups) else [*known]


def describe_group(by: By, group: str | None, titles: Mapping[str, str] | None = None) -> str:
    """Format a group.

    Args:
        titles: of vendor types, from the playbook.

    >>> describe_group("cohort", "2026-08"), describe_group("vendor_type", "dj", {"dj": "DJ"})
    ('Aug 2026', 'DJ')
    >>> describe_group("plan", None)
    'Unknown plan'
    """
    if group is None:
        return f"Unknown {BY_LABELS[by]}"
    if by == "cohort":
        return month(group)
    return (titles or {}).get(group) or sentence(humanize(group))


# ── tables ────────────────────────────────────────────────────────────────────────


def cell(row: Row, column: Column) -> Any:
    """Return the value of a row in a column."""
    return reduce(getattr, column.field.split("."), row)


def table_of(metric: Metric) -> Sequence[Column]:
    """Return the columns of a metric's table."""
    return METRIC_TEXTS[metric].columns


def format_cell(value: float | str | None, column: Column) -> str:
    """Format the value of a cell."""
    return (
        CONCLUSION_LABELS.get(value, value)
        if isinstance(value, str)
        else format_value(value, column.kind)
    )


def format_value(value: float | str | None, kind: Kind) -> str:
    """Format a number; null is a dash.

    >>> format_value(0.123, "share"), format_value(-0.05, "share_change")
    ('12.3 %', '−5.0')
    >>> format_value(1234, "count")
    '1,234'
    >>> [format_value(days, "days") for days in (0.4, 6.25, None)]
    ['9.6 h', '6.2 days', '–']
    >>> [format_value(hours, "hours") for hours in (90.0, 7.0, 0.4)]
    ['3.8 days', '7.0 h', '24 min']
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    sign = "−" if value < 0 else "+" if value > 0 else ""
    match kind:
        case "count":
            return f"{value:,.0f}"
        case "points":
            return f"{value:.1f}"
        case "change":
            return f"{sign}{abs(value):.1f}"
        case "share":
            return f"{value * 100:.1f} %"
        case "share_change":
            return f"{sign}{abs(value) * 100:.1f}"
        case "days":
            return f"{value:.1f} days" if value >= 1 else _format_hours(value * 24)
        case "hours":
            return f"{value / 24:.1f} days" if value >= 72 else _format_hours(value)
        case _:
            return f"{value:.2f}"


def _format_hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def metric_csv(metric: Metric, by: By, rows: Sequence[Row], total: Row | None) -> str:
    """Write a metric's table as CSV, the total first."""
    columns = METRIC_TEXTS[metric].columns
    named = [
        *([("all", total)] if total else []),
        *((row.group or "", row) for row in rows),
    ]
    return write_csv(
        [by, *(column.field.replace(".", "_") for column in columns)],
        ([name, *(_plain(cell(row, column)) for column in columns)] for name, row in named),
    )


def triggers_csv(rows: Sequence[SuccessRow]) -> str:
    """Write the success of each trigger as CSV."""
    columns = METRIC_TEXTS["intervention_success"].columns
    return write_csv(
        ["trigger", *(column.field for column in columns)],
        ([row.group or "", *(_plain(cell(row, column)) for column in columns)] for row in rows),
    )


def _plain(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
