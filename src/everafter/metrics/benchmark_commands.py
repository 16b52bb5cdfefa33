"""`everafter benchmarks`."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from everafter.core.commands import read_with_connection
from everafter.core.db import Connection
from everafter.core.errors import InputError
from everafter.core.formatting import day, percent, sentence
from everafter.core.formatting import month as format_month
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls
from everafter.metrics.benchmark_model import MIN_SUPPLIERS, Benchmark, BenchmarkMonth
from everafter.metrics.benchmark_rules import describe_merged, name_group, parse_month
from everafter.metrics.benchmarks import answer_benchmarks, list_months, measure_months


def register(app: typer.Typer) -> None:
    @app.command("benchmarks")
    def benchmarks_command(
        month: Annotated[
            str | None,
            typer.Option(
                metavar="MONTH",
                help="A month such as 2026-08. Default: the last one; with --json, the last 13.",
            ),
        ] = None,
        as_json: Annotated[
            bool,
            typer.Option(
                "--json", help="Print one JSON object, as GET /api/metrics/benchmarks gives it."
            ),
        ] = False,
    ) -> None:
        """Print how the suppliers of each vendor type and region did, month by month."""
        now, wanted = datetime.now(UTC), parse_month(month or "")
        if as_json:
            answer = read_with_connection(lambda conn: answer_benchmarks(conn, now, wanted))
            typer.echo(msgspec.json.encode(answer).decode())
            return
        found = read_with_connection(lambda conn: _read_month(conn, now, wanted))
        if found is None:
            raise InputError(f"there is no daily run{f' in {wanted}' if wanted else ''}")
        _print(make_console(), found)


async def _read_month(conn: Connection, now: datetime, month: str | None) -> BenchmarkMonth | None:
    runs = [
        run for run in await list_months(conn, now) if month is None or f"{run[0]:%Y-%m}" == month
    ]
    months = await measure_months(conn, runs[:1], now)
    return months[0] if months else None


def _print(console: Console, found: BenchmarkMonth) -> None:
    console.print(f"{format_month(found.month)}: scores of {day(found.day)}")
    if not found.benchmarks:
        console.print(f"Fewer than {MIN_SUPPLIERS} suppliers were scored.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "suppliers", "median", "middle half", "healthy", "login days", "features"):
        table.add_column(title, justify="right" if title else "left")
    table.add_column("churned in 45 days", justify="right")
    for one in found.benchmarks:
        table.add_row(
            show_controls(sentence(name_group(one.vendor_type, one.region))), *_cells(one)
        )
    print_table(console, table)
    for text in describe_merged(found.merged):
        console.print(f"[dim]{show_controls(text)}.[/dim]")
    if found.benchmarks[0].churned_45d is None:
        console.print(f"[dim]Who churned is known on {day(found.churn_known_on)}.[/dim]")


def _cells(one: Benchmark) -> list[str]:
    return [
        f"{one.suppliers:,}",
        f"{one.median:g}",
        f"{one.lower_quartile:.0f}–{one.upper_quartile:.0f}",
        percent(one.healthy),
        "–" if one.login_days is None else f"{one.login_days:g}",
        percent(one.feature_adoption),
        "–" if one.churned_45d is None else f"{100 * one.churned_45d:.1f} %",
    ]
