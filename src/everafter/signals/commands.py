"""`everafter signals`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from everafter.core.options import refuse_together
from everafter.core.tables import make_console, print_table
from everafter.signals.model import SIGNALS, signals_page


def register(app: typer.Typer) -> None:
    @app.command("signals")
    def signals_command(
        markdown: Annotated[
            bool, typer.Option("--markdown", help="Print the documentation page.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    ) -> None:
        """List the signals: every column that a condition in the playbook may name."""
        refuse_together(markdown=markdown, json=as_json)
        if markdown:
            typer.echo(signals_page(), nl=False)
        elif as_json:
            rows = [
                {
                    "name": signal.name,
                    "group": signal.group,
                    "type": type(signal.dtype).__name__,
                    "unit": signal.unit,
                    "meaning": signal.meaning,
                    "null": signal.null,
                    "source": signal.source,
                }
                for signal in SIGNALS
            ]
            typer.echo(json.dumps(rows, ensure_ascii=False))
        else:
            table = Table("signal", "type", "unit", "meaning", "null")
            group = ""
            for signal in SIGNALS:
                if signal.group != group:
                    table.add_section()
                    group = signal.group
                table.add_row(
                    signal.name,
                    type(signal.dtype).__name__,
                    signal.unit,
                    signal.meaning,
                    signal.null,
                )
            print_table(make_console(), table)
