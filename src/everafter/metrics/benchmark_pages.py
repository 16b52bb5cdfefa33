"""The benchmarks page: all groups in one month, or one group month by month."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.formatting import sentence
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.metrics import benchmark_rules
from everafter.metrics.benchmark_model import (
    CHURN_DAYS,
    LOGIN_DAYS,
    MIN_SUPPLIERS,
    REGION_LABELS,
    Benchmark,
    BenchmarkMonth,
)
from everafter.metrics.benchmarks import list_months, measure_months
from everafter.metrics.charts import Piece, Scale, Strip

_SCALE = Scale(0, 100)


@get("/insights/benchmarks")
async def show_benchmarks(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the benchmarks of a month, or those of one group in all months (`vendor`, `region`)."""
    now = datetime.now(UTC)
    group = benchmark_rules.parse_group(request.query_params)
    asked = benchmark_rules.parse_month(request.query_params.get("month", ""))
    runs = await list_months(conn, now)
    names = [f"{day:%Y-%m}" for day, _ in runs]
    chosen = asked or (names[0] if names else None)
    wanted = [run for run in runs if group or f"{run[0]:%Y-%m}" == chosen]
    months = await measure_months(conn, wanted, now)
    return page(
        request,
        "metrics/templates/benchmarks.html",
        viewer=viewer,
        names=names,
        chosen=None if group else chosen,
        group=sentence(benchmark_rules.name_group(*group)) if group else "",
        rows=_history(months, group) if group else _groups(months),
        month=months[0] if months and not group else None,
        merged=benchmark_rules.describe_merged(months[0].merged) if months and not group else [],
        min_suppliers=MIN_SUPPLIERS,
        churn_days=CHURN_DAYS,
        login_days=LOGIN_DAYS,
    )


def _groups(months: Sequence[BenchmarkMonth]) -> list[dict[str, Any]]:
    """The rows of one month."""
    return [
        _row(
            one,
            REGION_LABELS[one.region]
            if one.region
            else sentence(benchmark_rules.name_group(one.vendor_type, None)),
            benchmark_rules.group_query(one.vendor_type, one.region),
            sentence(benchmark_rules.name_group(one.vendor_type, None)) if one.region else "",
        )
        for one in (months[0].benchmarks if months else [])
    ]


def _history(
    months: Sequence[BenchmarkMonth], group: benchmark_rules.Group
) -> list[dict[str, Any]]:
    """A row for each month; a month without enough suppliers has none to show."""
    return [
        _row(found, each.month, f"month={each.month}")
        for each, found in zip(months, benchmark_rules.as_rows(months, group), strict=True)
    ]


def _row(one: Benchmark | None, title: str, query: str, whole: str = "") -> dict[str, Any]:
    """whole: the vendor type, where the title is a region."""
    return {
        "benchmark": one,
        "title": title,
        "whole": whole,
        "query": query,
        "strip": _strip(one) if one else Strip([], []),
    }


def _strip(one: Benchmark) -> Strip:
    low, high = _SCALE.place(one.lower_quartile), _SCALE.place(one.upper_quartile)
    return Strip([Piece(low, max(0.5, high - low), "range")], [(_SCALE.place(one.median), "now")])


routes = [show_benchmarks]
