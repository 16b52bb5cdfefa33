"""`everafter metrics`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everafter.core.commands import read_with_connection
from everafter.core.errors import InputError
from everafter.core.formatting import day, humanize, plural, sentence
from everafter.core.options import refuse_together
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.metrics.measure import answer_metrics
from everafter.metrics.model import (
    BY_LABELS,
    BYS,
    HORIZONS,
    METRICS,
    By,
    Metric,
    MetricsAnswer,
    SuccessMetric,
)
from everafter.metrics.rules import (
    cell,
    describe_group,
    format_cell,
    metric_csv,
    read_by,
    read_metrics,
    read_period,
    table_of,
)
from everafter.metrics.text_model import METRIC_TEXTS
from everafter.playbook.loading import load_playbook


def register(app: typer.Typer) -> None:
    @app.command("metrics")
    def metrics_command(
        metric: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME", help=f"{', '.join(METRICS)}; may be repeated. Default: all six."
            ),
        ] = None,
        by: Annotated[
            str | None,
            typer.Option(metavar="GROUP", help=f"{', '.join(BYS)}; default: each metric's own."),
        ] = None,
        first: Annotated[
            str | None,
            typer.Option(
                "--from", metavar="DATE", help="First day, UTC. Default: the last 90 days."
            ),
        ] = None,
        until: Annotated[
            str | None, typer.Option(metavar="DATE", help="Last day, UTC. Default: today.")
        ] = None,
        horizon: Annotated[
            str | None,
            typer.Option(
                metavar="DAYS",
                help=f"Horizon of churn predictions: {', '.join(map(str, HORIZONS))}. Default: 30.",
            ),
        ] = None,
        as_json: Annotated[
            bool,
            typer.Option("--json", help="Print one JSON object, as GET /api/metrics gives it."),
        ] = False,
        as_csv: Annotated[
            bool, typer.Option("--csv", help="Print one metric's table as CSV.")
        ] = False,
    ) -> None:
        """Print the six success metrics, with the number of observations behind each."""
        refuse_together(json=as_json, csv=as_csv)
        now = datetime.now(UTC)
        wanted, grouped = read_metrics(metric or []), read_by(by)
        period = read_period(first, until, now.date(), horizon)
        if as_csv and len(wanted) != 1:
            raise InputError("--csv prints one metric: choose one with --metric")
        playbook = load_playbook(load_settings(make=False))
        answer = read_with_connection(
            lambda conn: answer_metrics(conn, period, now, playbook, wanted, grouped)
        )
        if as_json:
            typer.echo(msgspec.json.encode(answer).decode())
        elif as_csv:
            measured: Any = getattr(answer.metrics, wanted[0])
            typer.echo(
                metric_csv(wanted[0], answer.by[wanted[0]], measured.rows, measured.all), nl=False
            )
        else:
            titles = {name: one.title for name, one in playbook.segments.items()}
            _print(answer, wanted, titles)


def _print(answer: MetricsAnswer, metrics: tuple[Metric, ...], titles: Mapping[str, str]) -> None:
    console = make_console()
    days = (answer.until - answer.first).days + 1
    scored = (
        f"; scored until {day(answer.scored_until)}" if answer.scored_until else "; no scored days"
    )
    console.print(f"{day(answer.first)} to {day(answer.until)}, {plural(days, 'day')}{scored}")
    for metric in metrics:
        measured: Any = getattr(answer.metrics, metric)
        by = answer.by[metric]
        console.print(f"\n[bold]{METRIC_TEXTS[metric].title}[/bold] [dim]by {BY_LABELS[by]}[/dim]")
        _print_table(console, metric, by, measured, titles)
        if isinstance(measured, SuccessMetric) and measured.triggers:
            console.print()
            _print_rows(
                console,
                metric,
                "trigger",
                [(sentence(humanize(row.group or "")), row) for row in measured.triggers],
            )
        console.print(f"[dim]{METRIC_TEXTS[metric].rests_on}[/dim]")


def _print_table(
    console: Console, metric: Metric, by: By, measured: Any, titles: Mapping[str, str]
) -> None:
    groups = [(describe_group(by, row.group, titles), row) for row in measured.rows]
    rows = [("all", measured.all), *groups]
    _print_rows(console, metric, BY_LABELS[by], rows)


def _print_rows(console: Console, metric: Metric, head: str, rows: list[tuple[str, Any]]) -> None:
    columns = table_of(metric)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(head)
    for column in columns:
        table.add_column(column.head.lower(), justify="left" if column.kind == "text" else "right")
    for name, row in rows:
        table.add_row(escape(name), *(format_cell(cell(row, column), column) for column in columns))
    print_table(console, table)
