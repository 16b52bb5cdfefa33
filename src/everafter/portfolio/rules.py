"""Parse the portfolio's query string, build it again, and write the portfolio as CSV. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

from everafter.core.csv import write_csv
from everafter.core.errors import InputError
from everafter.core.formatting import humanize, sentence
from everafter.core.ids import MAX_ID_CHARACTERS
from everafter.portfolio.model import (
    ASCENDING_FIRST,
    BAND_LABELS,
    BANDS,
    CHANGE_DAYS,
    COMPARED_WITHIN_DAYS,
    LEVELS,
    PAGE_ROWS,
    REASON_LABELS,
    REASONS,
    SORTS,
    SPARK_DAYS,
    SPARK_POINTS,
    BandCount,
    Calendar,
    Portfolio,
    Row,
    Share,
    Sort,
    View,
)

T = TypeVar("T", bound=str)

_MOST_PAGES = 100_000


def parse_view(params: Mapping[str, str]) -> View:
    """Parse the query parameters; empty and unknown parameters are ignored.

    Raises:
        InputError: a filter or a sort column has a value that does not exist; the message lists the
            valid ones.
    """
    sort = _one_of("sort", params.get("sort", ""), SORTS) or "score"
    direction = _one_of("dir", params.get("dir", ""), ("asc", "desc"))
    page = params.get("page", "") or "1"
    if not page.isascii() or not page.isdigit() or not 1 <= int(page) <= _MOST_PAGES:
        raise InputError(f"page: {page[:20]!r} is not a page number")
    return View(
        q=params.get("q", "").replace("\0", "").strip()[:MAX_ID_CHARACTERS],
        band=_one_of("band", params.get("band", ""), BANDS),
        vendor=params.get("vendor", "").replace("\0", "").strip()[:100],
        reason=_one_of("reason", params.get("reason", ""), REASONS),
        churn=_one_of("churn", params.get("churn", ""), LEVELS),
        churned=bool(params.get("churned", "")),
        sort=sort,
        descending=direction == "desc" if direction else sort not in ASCENDING_FIRST,
        page=int(page),
    )


def _one_of(name: str, value: str, allowed: tuple[T, ...]) -> Any:
    if value and value not in allowed:
        raise InputError(f"{name}: {value[:40]!r} is not one of {', '.join(allowed)}")
    return value


def view_query(view: View, **changes: Any) -> str:
    """Build the query string of a view with some fields changed, leaving defaults out.

    A changed filter starts at the first page.

    >>> view_query(View(band="critical", page=3), sort="mrr", descending=True)
    'band=critical&sort=mrr'
    """
    changed = replace(view, **({"page": 1} | changes))
    default = View(sort=changed.sort, descending=changed.sort not in ASCENDING_FIRST)
    query: dict[str, str] = {}
    for field in fields(View):
        value = getattr(changed, field.name)
        if field.name == "sort":
            if value != View().sort:
                query["sort"] = value
        elif value != getattr(default, field.name):
            query["dir" if field.name == "descending" else field.name] = _in_query(
                field.name, value
            )
    return urlencode(query)


def _in_query(name: str, value: Any) -> str:
    if name == "descending":
        return "desc" if value else "asc"
    return "1" if value is True else str(value)


def sort_query(view: View, sort: Sort) -> str:
    """Build the query string of a column's header link.

    The first click sorts in the column's default direction, the next one reverses it.
    """
    descending = not view.descending if view.sort == sort else sort not in ASCENDING_FIRST
    return view_query(view, sort=sort, descending=descending)


def choose_days(latest: date, scored: Sequence[date]) -> Calendar:
    """Choose the days that a page shows, out of the scored ones.

    Args:
        scored: in any order; if empty, every day counts as scored.
    """
    back = [latest - timedelta(days=days) for days in range(SPARK_DAYS + 1)]
    days = sorted({day for day in scored if day <= latest} | {latest}) if scored else back[::-1]
    due = latest - timedelta(days=CHANGE_DAYS)
    near = [day for day in days if due - timedelta(days=COMPARED_WITHIN_DAYS) <= day <= due]
    recent = [day for day in days if day >= back[-1]]
    step = -(-len(recent) // SPARK_POINTS)
    return Calendar(latest, near[-1] if near else None, recent[::-step][::-1])


def spark_places(days: Calendar) -> list[float]:
    """Return the position of each sparkline day within its 90 days, 0–1."""
    return [1 - (days.latest - day).days / SPARK_DAYS for day in days.spark]


def last_page(portfolio: Portfolio) -> int:
    """Return the number of the last page with rows; 1 if there are none."""
    return max(1, -(-portfolio.matches // PAGE_ROWS))


def describe_reason(main_reason: str | None) -> str:
    """Return the label of the main reason for the lost points; "–" if null."""
    known = {str(name): words for name, words in REASON_LABELS.items()}
    return "–" if main_reason is None else known.get(main_reason) or sentence(humanize(main_reason))


def shares(bands: list[BandCount]) -> list[Share]:
    """Lay out the distribution as segments of a bar 1000 units wide.

    A band with at least one supplier is wide enough to be seen and clicked.
    """
    total = sum(count.suppliers for count in bands) or 1
    sizes = [
        max(6.0, 1000 * count.suppliers / total) if count.suppliers else 0.0 for count in bands
    ]
    scale = 1000 / (sum(sizes) or 1)
    stretches: list[Share] = []
    start = 0.0
    for count, size in zip(bands, sizes, strict=True):
        stretches.append(Share(count.band, start, size * scale))
        start += size * scale
    return stretches


def all_bands(bands: list[BandCount]) -> list[BandCount]:
    """Return every band, worst first, including empty ones; "not scored" only if not empty."""
    found = {count.band: count for count in bands}
    return [
        found.get(band, BandCount(band, 0, 0))
        for band in BANDS
        if band != "unknown" or band in found
    ]


CSV_COLUMNS = (
    "id",
    "external_id",
    "name",
    "vendor_type",
    "plan",
    "subscription",
    "band",
    "health_score",
    "change_14d",
    "main_reason",
    "coverage",
    "season_index",
    "last_login_at",
    "clients_active",
    "clients_total",
    "weddings_90d",
    "tickets_open",
    "payment_past_due",
    "churn_level",
    "churn_risk",
    "mrr_minor",
)


def portfolio_csv(rows: Iterable[Row]) -> str:
    """Write the rows as CSV."""
    return write_csv(CSV_COLUMNS, map(_csv_row, rows))


def _csv_row(row: Row) -> tuple[Any, ...]:
    return (
        str(row.id),
        row.external_id,
        row.name,
        row.vendor_type,
        row.plan,
        row.subscription,
        BAND_LABELS[row.band],
        row.health_score,
        None if row.change is None else round(row.change, 1),
        row.main_reason,
        None if row.coverage is None else round(row.coverage, 2),
        None if row.season_index is None else round(row.season_index, 2),
        row.last_login_at.isoformat() if row.last_login_at else None,
        row.clients_active,
        row.clients_total,
        row.weddings_90d,
        row.tickets_open,
        "yes" if row.past_due else "no",
        row.churn_level,
        None if row.churn_risk is None else round(row.churn_risk, 2),
        row.mrr_minor,
    )
