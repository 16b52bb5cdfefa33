"""`everafter run`."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from everafter.core.db import database_url, migrate
from everafter.core.errors import InputError
from everafter.core.formatting import plural
from everafter.core.settings import Settings, load_settings
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.loading import load_playbook

_LIVE_FOR = timedelta(hours=24)


def register(app: typer.Typer) -> None:
    @app.command("run")
    def run_command(
        as_of: Annotated[
            str | None,
            typer.Option(
                metavar="DATE",
                help="Score as of this day or moment (2026-08-01, 2026-08-01T06:00Z); default: now.",
            ),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Write nothing; show what would happen.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Score every supplier, decide, and put what was decided on its way."""
        settings = load_settings()
        summary = asyncio.run(_run(settings, parse_moment(as_of), dry_run=dry_run, quiet=as_json))
        if as_json:
            typer.echo(msgspec.json.encode(summary).decode())
        else:
            print_summary(summary)


async def _run(
    settings: Settings, as_of: datetime | None, *, dry_run: bool, quiet: bool
) -> RunSummary:
    playbook = load_playbook(settings)
    url = database_url(settings)
    await migrate(url)
    replay = as_of is not None and as_of < datetime.now(UTC) - _LIVE_FOR
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("suppliers"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task("Scoring", total=None)
        return await run_day(
            url,
            playbook,
            as_of,
            replay=replay,
            dry_run=dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def parse_moment(text: str | None) -> datetime | None:
    """A day (its first moment, UTC) or a moment; one without a zone is UTC.

    Raises:
        InputError: it is neither.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--as-of {text!r}: expected a date such as 2026-08-01 or a moment such as 2026-08-01T06:00Z"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def print_summary(summary: RunSummary, console: Console | None = None) -> None:
    """The summary as people read it."""
    console = console or Console()
    would = " (dry run: nothing was written)" if summary.dry_run else ""
    past = ", a past day: its messages are recorded and not sent" if summary.replay else ""
    average = "" if summary.average_score is None else f", average score {summary.average_score}"
    console.print(
        f"[bold]{plural(summary.suppliers, 'supplier')}[/bold] scored as of {summary.as_of:%Y-%m-%d %H:%M} UTC"
        f" in {summary.seconds:.1f} s{average}{past}{would}"
    )
    if not summary.suppliers:
        console.print(
            "No suppliers yet: `everafter import PATH` brings an export in, or send `identify` to /v1/identify."
        )
        return
    bands = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for title in ("health", "suppliers", "share", "", "churn", "suppliers"):
        bands.add_column(title, justify="right" if title in {"suppliers", "share"} else "left")
    for (risk, count), (level, leaving) in zip(
        summary.by_risk.items(), summary.by_churn.items(), strict=True
    ):
        share = count / summary.suppliers
        bands.add_row(
            risk.replace("_", " "),
            f"{count:,}",
            f"{share:.0%}",
            "█" * round(24 * share),
            level,
            f"{leaving:,}",
        )
    if summary.unscored:
        bands.add_row(
            "not known yet",
            f"{summary.unscored:,}",
            f"{summary.unscored / summary.suppliers:.0%}",
            "",
            "",
            "",
        )
    console.print(bands)
    results = summary.interventions
    console.print(
        f"\n[bold]{results.triggered:,}[/bold] interventions decided, {results.holdout:,} in the holdout,"
        f" {sum(results.skipped.values()):,} skipped"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for trigger, count in sorted(results.by_trigger.items(), key=lambda item: -item[1]):
        table.add_row("triggered", f"{count:,}", trigger)
    for reason, count in sorted(results.skipped.items(), key=lambda item: -item[1]):
        table.add_row(
            "[dim]skipped[/dim]", f"{count:,}", f"[dim]{SKIP_REASONS.get(reason, reason)}[/dim]"
        )
    console.print(table)
