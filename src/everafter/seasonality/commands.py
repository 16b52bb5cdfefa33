"""`everafter season`."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from everafter.core.commands import read_with_connection
from everafter.core.db import Connection
from everafter.core.errors import InputError
from everafter.core.formatting import day, percent, plural, sentence
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.playbook.loading import load_playbook
from everafter.seasonality.queries import read_view
from everafter.seasonality.view_model import SOURCE_LABELS, SeasonAnswer
from everafter.seasonality.view_rules import describe_season, describe_stopped

_STOPPED_SHOWN = 5


def register(app: typer.Typer) -> None:
    @app.command("season")
    def season_command(
        as_json: Annotated[
            bool, typer.Option("--json", help="Print one JSON object, with 57 weeks of each group.")
        ] = False,
    ) -> None:
        """Print how active the suppliers of each vendor type are, as a share of their usual."""
        below = load_playbook(load_settings(make=False)).season.off_season_below
        answer = read_with_connection(lambda conn: _read(conn, below))
        if as_json:
            typer.echo(msgspec.json.encode(answer).decode())
        elif answer.measured_until is None:
            raise InputError("no day is measured yet; `everafter run` measures it")
        else:
            _print(make_console(), answer)


async def _read(conn: Connection, off_season_below: float) -> SeasonAnswer:
    return describe_season(await read_view(conn), off_season_below)


def _print(console: Console, answer: SeasonAnswer) -> None:
    since = f", measured since {day(answer.measured_from)}" if answer.measured_from else ""
    console.print(f"Activity as a share of the usual, up to {day(answer.measured_until)}{since}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "logins last week", "feature uses", "season index", "", "source"):
        numeric = title in {"logins last week", "feature uses", "season index"}
        table.add_column(title, justify="right" if numeric else "left")
    for group in answer.groups:
        table.add_row(
            sentence(group.name),
            percent(group.logins_last_week),
            percent(group.uses_last_week),
            percent(group.season_index),
            {True: "off season", False: "in season", None: ""}[group.off_season],
            SOURCE_LABELS[group.source],
        )
    print_table(console, table)
    stopped = describe_stopped(answer.stopped)
    for on, text in stopped[:_STOPPED_SHOWN]:
        console.print(f"[dim]{day(on)}: {text} did not arrive[/dim]")
    if (earlier := len(stopped) - _STOPPED_SHOWN) > 0:
        console.print(f"[dim]and {plural(earlier, 'earlier day')}[/dim]")
