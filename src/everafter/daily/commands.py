"""`everafter run`."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from everafter.core.db import database_url, migrate
from everafter.core.errors import InputError
from everafter.core.formatting import plural
from everafter.core.settings import Settings, load_settings
from everafter.core.tables import make_console, print_table
from everafter.daily.model import InterventionCounts, RunSummary
from everafter.daily.run import run_day
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.loading import load_playbook

_REPLAY_AFTER = timedelta(hours=24)


def register(app: typer.Typer) -> None:
    @app.command("run")
    def run_command(
        as_of: Annotated[
            str | None,
            typer.Option(
                metavar="DATE",
                help="Score as of this date or moment (2026-08-01, 2026-08-01T06:00Z); default:"
                " now.",
            ),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Write nothing; show what would happen.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Score all suppliers, evaluate the triggers, and queue emails and tasks: the daily run."""
        settings = load_settings()
        summary = asyncio.run(
            _run(settings, parse_moment(as_of), dry_run=dry_run, show_progress=not as_json)
        )
        if as_json:
            typer.echo(msgspec.json.encode(summary).decode())
        else:
            print_summary(summary)


async def _run(
    settings: Settings, as_of: datetime | None, *, dry_run: bool, show_progress: bool
) -> RunSummary:
    playbook = load_playbook(settings)
    url = database_url(settings)
    await migrate(url)
    replay = as_of is not None and is_replay(as_of, datetime.now(UTC))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("suppliers"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not show_progress or not sys.stderr.isatty(),
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


def is_replay(as_of: datetime, now: datetime) -> bool:
    """Whether a run as of that moment is a replay of a past day, which sends nothing."""
    return as_of < now - _REPLAY_AFTER


def parse_moment(text: str | None) -> datetime | None:
    """Read a date (its first moment, UTC) or a moment (UTC where it has no time zone); null stays
    null.

    Raises:
        InputError: it is neither.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--as-of {text!r}: expected a date such as 2026-08-01 or a moment such as"
            " 2026-08-01T06:00Z"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def print_summary(summary: RunSummary, console: Console | None = None) -> None:
    """Print a summary for people."""
    console = console or make_console()
    dry = " (dry run: nothing was written)" if summary.dry_run else ""
    past = ", a past day: messages are recorded and not sent" if summary.replay else ""
    average = "" if summary.average_score is None else f", average score {summary.average_score}"
    console.print(
        f"[bold]{plural(summary.suppliers, 'supplier')}[/bold] scored as of"
        f" {summary.as_of:%Y-%m-%d %H:%M} UTC in {summary.seconds:.1f} s{average}{past}{dry}"
    )
    if not summary.suppliers:
        console.print(
            "No suppliers yet. Import an export with `everafter import PATH`, or send `identify`"
            " calls to /v1/identify."
        )
        return
    for feed in summary.feeds:
        console.print(
            f"[yellow]{escape(feed.notice)}[/yellow]" if feed.until is None else feed.notice
        )
    print_table(console, _band_table(summary))
    counts = summary.interventions
    console.print(
        f"\n[bold]{plural(counts.triggered, 'intervention')}[/bold] triggered,"
        f" {counts.holdout:,} in the holdout, {sum(counts.skipped.values()):,} skipped"
    )
    print_table(console, _intervention_table(counts))


def _band_table(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for title in ("health", "suppliers", "share", "", "churn risk", "suppliers"):
        table.add_column(title, justify="right" if title in {"suppliers", "share"} else "left")
    for (risk, count), (level, by_level) in zip(
        summary.by_risk.items(), summary.by_churn.items(), strict=True
    ):
        share = count / summary.suppliers
        bar = "█" * round(24 * share)
        table.add_row(
            risk.replace("_", " "), f"{count:,}", f"{share:.0%}", bar, level, f"{by_level:,}"
        )
    if summary.unscored:
        share = summary.unscored / summary.suppliers
        table.add_row("unknown", f"{summary.unscored:,}", f"{share:.0%}", "", "", "")
    return table


def _intervention_table(counts: InterventionCounts) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for trigger, count in sorted(counts.by_trigger.items(), key=lambda item: -item[1]):
        table.add_row("triggered", f"{count:,}", trigger)
    for reason, count in sorted(counts.skipped.items(), key=lambda item: -item[1]):
        text = SKIP_REASONS.get(reason, reason)
        table.add_row("[dim]skipped[/dim]", f"{count:,}", f"[dim]{text}[/dim]")
    return table
