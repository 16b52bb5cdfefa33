"""`everafter import`."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from everafter.core.db import connection, database_url, migrate
from everafter.core.formatting import plural
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.events.files import Source
from everafter.events.importing import FileSummary, Importer, ImportSummary, find_files
from everafter.folding import fold_events
from everafter.playbook.loading import load_playbook


def register(app: typer.Typer) -> None:
    @app.command("import")
    def import_command(
        paths: Annotated[
            list[Path], typer.Argument(metavar="PATH…", help="Files, or folders with files.")
        ],
        json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Import a platform's export: suppliers, clients and events as CSV, CSV.GZ or Parquet.

        Safe to repeat: existing rows are not changed. Rejected rows go to a rejects file with their
        line and the reason. Exit code 0 when every row was imported, 1 when some were rejected, 2
        when a file could not be read to its end.
        """
        summary = asyncio.run(_import(find_files(paths), show_progress=not json))
        if json:
            typer.echo(msgspec.json.encode(summary))
        else:
            print_summary(summary)
        for file in summary.files:
            if file.error:
                Console(stderr=True, highlight=False).print(
                    f"[red]error:[/red] {escape(file.error)}", soft_wrap=True
                )
        if any(file.error for file in summary.files):
            raise typer.Exit(2)
        if any(file.rejected or file.bad_values for file in summary.files):
            raise typer.Exit(1)


async def _import(paths: list[Path], *, show_progress: bool) -> ImportSummary:
    settings = load_settings()
    playbook = load_playbook(settings)
    url = database_url(settings)
    await migrate(url)
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not (show_progress and console.is_terminal),
    )
    tasks: dict[Path, TaskID] = {}

    def report(source: Source, summary: FileSummary) -> None:
        if source.path not in tasks:
            tasks[source.path] = bars.add_task(
                escape(source.path.name), total=max(source.size, 1), rows=plural(0, "row")
            )
        rows = plural(summary.rows, "row")
        bars.update(tasks[source.path], completed=source.position, rows=rows)

    async with connection(url, autocommit=True) as conn:
        importer = Importer(
            conn, settings.data / "rejects", playbook.event_names, report, fold_events
        )
        with bars:
            return await importer.run(paths)


def print_summary(summary: ImportSummary) -> None:
    """Print a summary for people."""
    table = Table("file", box=None, pad_edge=False)
    for name in ("rows", "new", "changed", "already there", "rejected"):
        table.add_column(name, justify="right")
    for file in summary.files:
        counts = (file.rows, file.new, file.changed, file.already_there, file.rejected)
        table.add_row(escape(Path(file.file).name), *(f"{count:,}" for count in counts))
    console = make_console()
    print_table(console, table)
    for file in summary.files:
        notes: list[str] = []
        if file.ignored_columns:
            notes.append(f"ignored columns: {', '.join(file.ignored_columns)}")
        if file.kept_columns:
            notes.append(f"columns stored as traits: {', '.join(file.kept_columns)}")
        if file.kind == "clients" and file.already_there:
            already = plural(file.already_there, "client was", "clients were")
            notes.append(
                f"{already} known already, from events (which are imported first) or an earlier"
                " import"
            )
        if file.bad_values:
            notes.append(
                plural(
                    file.bad_values,
                    "value could not be used; its row was imported without it",
                    "values could not be used; their rows were imported without them",
                )
            )
        if file.rejects_file:
            notes.append(f"rejected rows, with the reasons: {file.rejects_file}")
        for note in notes:
            console.print(f"{file.file}: {note}", soft_wrap=True, markup=False)
    if summary.waited:
        stored = plural(
            summary.waited,
            "event that had waited for its supplier was stored",
            "events that had waited for their supplier were stored",
        )
        console.print(stored)
    console.print(f"{plural(summary.folded, 'event')} folded; {summary.seconds:.1f} s")
