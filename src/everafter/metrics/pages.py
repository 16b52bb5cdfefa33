"""The metrics page, and each table as CSV."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.errors import InputError
from everafter.core.formatting import humanize, sentence
from everafter.core.pages import download, page
from everafter.core.web import AnyRequest
from everafter.metrics import benchmark_pages, charts, view_rules
from everafter.metrics.measure import measure, open_question
from everafter.metrics.model import (
    BY_LABELS,
    BYS,
    DEFAULT_BY,
    HORIZONS,
    METRICS,
    AdoptionMetric,
    By,
    ChurnMetric,
    FirstValueMetric,
    HealthMetric,
    Measured,
    Metric,
    SuccessMetric,
    TicketMetric,
)
from everafter.metrics.rules import (
    cell,
    describe_group,
    format_cell,
    metric_csv,
    read_metrics,
    table_of,
    triggers_csv,
)
from everafter.metrics.text_model import METRIC_TEXTS
from everafter.metrics.text_rules import describe, has_anything, headline
from everafter.playbook.model import Playbook

ROWS_SHOWN = 12
_WIDTHS = (640, 340)


@get("/insights")
async def show_insights(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the six metrics for the period and grouping of the query string."""
    now = datetime.now(UTC)
    view = view_rules.parse_view(request.query_params, now.date())
    question = await open_question(conn, view.period, now, state.playbook)
    measured = await measure(conn, question, METRICS, view.by) if question.suppliers else {}
    return page(
        request,
        "metrics/templates/insights.html",
        viewer=viewer,
        view=view,
        question=question,
        sections=[
            _section(metric, found, view.by, state.playbook) for metric, found in measured.items()
        ],
        presets=view_rules.PRESETS,
        bys=BYS,
        by_labels=BY_LABELS,
        horizons=HORIZONS,
        today=now.date(),
        view_query=view_rules.view_query,
        describe_trigger=_describe_trigger,
        cell=cell,
        format_cell=format_cell,
        strip=charts.strip,
        rows_shown=ROWS_SHOWN,
    )


def _describe_trigger(name: str) -> str:
    return sentence(humanize(name))


def _section(
    metric: Metric, measured: Measured, chosen: By | None, playbook: Playbook
) -> dict[str, Any]:
    """Collect what the template needs for one metric."""
    by = chosen or DEFAULT_BY[metric]
    titles = {name: segment.title for name, segment in playbook.segments.items()}
    triggers = measured.triggers if isinstance(measured, SuccessMetric) else []
    return {
        "metric": metric,
        "by": by,
        "measured": measured,
        "text": METRIC_TEXTS[metric],
        "columns": [column for column in table_of(metric) if column.on_page],
        "any": has_anything(measured),
        "headline": headline(measured),
        "description": describe(measured),
        "rows": [(describe_group(by, row.group, titles), row) for row in measured.rows],
        "scale": charts.scale_of(measured.rows),
        "triggers": triggers,
        "trigger_scale": charts.scale_of(triggers),
        "charts": [_chart(measured, playbook, width) for width in _WIDTHS],
    }


def _chart(measured: Measured, playbook: Playbook, width: int) -> Any:
    match measured:
        case HealthMetric():
            return charts.health_trend(measured, playbook, width)
        case FirstValueMetric():
            last = max(14, min(60, int(measured.curve[-1].days) + 1)) if measured.curve else 14
            return charts.step_curve(measured.curve, measured.all.value, last, width)
        case AdoptionMetric():
            return charts.strip(measured.all, charts.scale_of([measured.all]))
        case TicketMetric():
            return charts.ticket_columns(measured.spread, width)
        case ChurnMetric():
            return charts.level_columns(measured, width)
        case SuccessMetric():
            return None


@get("/insights.csv")
async def get_insights_file(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[bytes]:
    """Download a metric's table as CSV; `table=triggers` for the table by trigger."""
    now = datetime.now(UTC)
    view = view_rules.parse_view(request.query_params, now.date())
    metrics = read_metrics([request.query_params.get("metric", "")])
    if len(metrics) != 1:
        raise InputError(f"metric: expected one of {', '.join(METRICS)}")
    metric = metrics[0]
    question = await open_question(conn, view.period, now, state.playbook)
    measured = (await measure(conn, question, metrics, view.by))[metric]
    days = f"{view.period.first}-{view.period.last}"
    if request.query_params.get("table") == "triggers" and isinstance(measured, SuccessMetric):
        return download(triggers_csv(measured.triggers), f"{metric}-triggers-{days}.csv")
    by = view.by or DEFAULT_BY[metric]
    return download(
        metric_csv(metric, by, measured.rows, measured.all), f"{metric}-by-{by}-{days}.csv"
    )


handlers = [
    Router(
        path="/",
        route_handlers=[show_insights, get_insights_file, *benchmark_pages.routes],
        include_in_schema=False,
    )
]
