"""The metrics API."""

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter

from everafter.core.db import Connection
from everafter.core.openapi import problems
from everafter.core.web import scope
from everafter.metrics import benchmark_api
from everafter.metrics.measure import answer_metrics
from everafter.metrics.model import BYS, HORIZONS, METRICS, MetricsAnswer
from everafter.metrics.rules import read_by, read_metrics, read_period


@get(
    "/api/metrics",
    guards=[scope("read")],
    tags=["Metrics"],
    operation_id="getMetrics",
    summary="Get the six success metrics",
    responses=problems(
        bad_request=(
            "unknown metric or grouping (`did_you_mean` has similar names), or invalid period"
        )
    ),
)
async def get_metrics(
    conn: NamedDependency[Connection],
    state: State,
    metric: Annotated[
        list[str] | None,
        QueryParameter(
            description=f"One or several of {', '.join(METRICS)}; default: all six.",
            schema_extra={"items": Schema(type=OpenAPIType.STRING, enum=list(METRICS))},
        ),
    ] = None,
    by: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            description=f"{', '.join(BYS)}; default: each metric's own.",
            schema_extra={"enum": list(BYS)},
        ),
    ] = None,
    start: Annotated[
        str | None,
        QueryParameter(
            name="from",
            min_length=1,
            description="The first day, UTC; default: the last 90 days.",
            schema_extra={"format": "date", "examples": ["2026-08-01"]},
        ),
    ] = None,
    until: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            description="The last day, UTC; default: today.",
            schema_extra={"format": "date"},
        ),
    ] = None,
    horizon: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            description=(
                f"Horizon of churn predictions in days: {', '.join(map(str, HORIZONS))}."
                f" Default: {HORIZONS[0]}."
            ),
            schema_extra={"enum": [str(days) for days in HORIZONS]},
        ),
    ] = None,
) -> MetricsAnswer:
    """Return each metric as `all`, `rows` by group, and the data of its chart.

    `value` is the metric's main number and `n` the number of observations; null means that it
    cannot be computed. docs/methods.md defines every number.
    """
    now = datetime.now(UTC)
    period = read_period(start, until, now.date(), horizon)
    return await answer_metrics(
        conn, period, now, state.playbook, read_metrics(metric or []), read_by(by)
    )


handlers = [get_metrics, *benchmark_api.routes]
