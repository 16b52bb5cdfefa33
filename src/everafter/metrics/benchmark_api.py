"""The benchmarks API."""

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from everafter.core.db import Connection
from everafter.core.openapi import problems
from everafter.core.web import scope
from everafter.metrics.benchmark_model import BenchmarksAnswer
from everafter.metrics.benchmark_rules import parse_month
from everafter.metrics.benchmarks import answer_benchmarks


@get(
    "/api/metrics/benchmarks",
    guards=[scope("read")],
    tags=["Metrics"],
    operation_id="listBenchmarks",
    summary="List the benchmarks by vendor type, region and month",
    responses=problems(bad_request="not a month"),
)
async def list_benchmarks(
    conn: NamedDependency[Connection],
    month: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            description="One month; default: the last 13.",
            schema_extra={"examples": ["2026-08"]},
        ),
    ] = None,
) -> BenchmarksAnswer:
    """No figure rests on fewer than 20 suppliers: smaller groups are counted in their vendor type,
    or in all suppliers (`merged`)."""
    return await answer_benchmarks(conn, datetime.now(UTC), parse_month(month or ""))


routes = [list_benchmarks]
