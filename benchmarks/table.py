"""The table that `make bench` prints."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: what was measured, on what, the value, its target, and whether it was reached."""

    name: str
    on: str
    figure: str
    aim: str
    reached: bool


def print_table(rows: list[Row]) -> None:
    """Print one line per figure."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("", "measured on", "figure", "target", ""):
        table.add_column(
            title,
            justify="right" if title in {"figure", "target"} else "left",
            no_wrap=title != "measured on",
        )
    for row in rows:
        table.add_row(
            row.name,
            row.on,
            f"[bold]{row.figure}[/bold]",
            row.aim,
            "[green]reached[/green]" if row.reached else "[red]missed[/red]",
        )
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(table)  # for logs
