"""`everafter changes`."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everafter.core.commands import read_with_connection
from everafter.core.errors import InputError
from everafter.core.formatting import day, sentence, signed
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls
from everafter.playbook.labels import DIMENSION_LABELS
from everafter.portfolio.change_model import ChangesAnswer, ChangeTotals, ChangeView, SupplierChange
from everafter.portfolio.change_rules import (
    describe_missing,
    describe_totals,
    draw_contributions,
)
from everafter.portfolio.change_view_rules import read_since
from everafter.portfolio.changes import answer_changes
from everafter.portfolio.model import BAND_LABELS

_SHOWN = 20
_MOST = 200


def register(app: typer.Typer) -> None:
    @app.command("changes")
    def changes_command(
        since: Annotated[
            str | None,
            typer.Option(
                metavar="DATE",
                help="Compare with the last run on or before this day; default: 7 days before the"
                " last run.",
            ),
        ] = None,
        limit: Annotated[
            int, typer.Option(min=1, max=_MOST, help="Maximum number of suppliers.")
        ] = _SHOWN,
        as_json: Annotated[
            bool,
            typer.Option(
                "--json", help="Print one JSON object, as GET /api/suppliers/changes gives it."
            ),
        ] = False,
    ) -> None:
        """List the suppliers whose score or churn risk changed since an earlier run, and why."""
        view = ChangeView(since=read_since("--since", since or ""))
        answer, runs = read_with_connection(lambda conn: answer_changes(conn, view, None, limit))
        if as_json:
            typer.echo(msgspec.json.encode(answer).decode())
        elif answer.totals is None:
            raise InputError(describe_missing(runs, view).rstrip("."))
        else:
            _print(make_console(), answer, answer.totals)


def _print(console: Console, answer: ChangesAnswer, totals: ChangeTotals) -> None:
    console.print(f"{day(answer.latest)} compared with {day(answer.compared_with)}")
    for text in describe_totals(totals):
        console.print(f"{sentence(text)}.")
    for move in totals.bands:
        if move.entered or move.exited:
            console.print(
                f"[dim]{BAND_LABELS[move.band]}: {move.before:,} → {move.after:,}"
                f" ({move.entered:,} entered, {move.exited:,} left)[/dim]"
            )
    if totals.average_before is not None and totals.average_after is not None:
        parts = ", ".join(
            f"{DIMENSION_LABELS[bar.dimension].lower()} {signed(bar.by, 1)}"
            for bar in draw_contributions(totals)
            if bar.by
        )
        console.print(
            f"[dim]Average score {totals.average_before:.1f} → {totals.average_after:.1f}"
            f"{': ' + parts if parts else ''}[/dim]"
        )
    if not answer.changes:
        return
    console.print()
    print_table(console, _table(answer.changes))
    if answer.next_cursor:
        console.print(f"[dim]The first {len(answer.changes)}; --limit shows more.[/dim]")


def _table(changes: list[SupplierChange]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("supplier", "score", "churn risk", "why"):
        table.add_column(title)
    for change in changes:
        score, churn = change.score, change.churn
        table.add_row(
            escape(show_controls(change.name or change.external_id or str(change.supplier_id))),
            f"{int(score.before)} → {int(score.after)}",
            f"{churn.before:.2f} → {churn.after:.2f}" if churn else "–",
            escape(change.description),
        )
    return table
