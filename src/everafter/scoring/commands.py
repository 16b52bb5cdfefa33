"""`everafter explain`."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everafter.core.commands import existing_database_url
from everafter.core.db import FrameReader, connection, migrate
from everafter.core.errors import InputError
from everafter.core.formatting import plural
from everafter.core.i18n import format_short_date
from everafter.core.settings import Settings, load_settings
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls
from everafter.interventions.log_model import LogEntry
from everafter.interventions.log_queries import list_of_supplier
from everafter.interventions.model import SKIP_REASONS
from everafter.learning.text_rules import describe_chance
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import DIMENSIONS, Dimension
from everafter.scoring.explain import (
    Snapshot,
    compare,
    compare_churn,
    describe_causes,
    take_snapshot,
)
from everafter.scoring.model import ChurnCause
from everafter.scoring.queries import Found, find_supplier
from everafter.signals.text import format_value

_SHOWN_INTERVENTIONS = 15
_DEFAULT_PERIOD = timedelta(days=30)
_NAMES: dict[Dimension, str] = {
    "login": "logins",
    "feature_adoption": "feature adoption",
    "client_activity": "active clients",
    "form_completion": "forms completed",
    "journey_performance": "journey emails opened",
}
_COLOURS = {"healthy": "green", "at_risk": "yellow", "critical": "red"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the command prints. before, changes: null without --from."""

    supplier: Found
    now: Snapshot
    before: Snapshot | None
    changes: dict[Dimension, float] | None
    churn_changes: dict[ChurnCause, float] | None
    interventions: list[LogEntry]


def register(app: typer.Typer) -> None:
    @app.command("explain")
    def explain_command(
        supplier: Annotated[str, typer.Argument(help="Id, email address, or part of the name.")],
        from_day: Annotated[
            str | None,
            typer.Option("--from", metavar="DATE", help="Show what changed since this day."),
        ] = None,
        to_day: Annotated[
            str | None, typer.Option("--to", metavar="DATE", help="Explain this day; default: now.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Explain a supplier's score, and what changed since a day."""
        start, end = parse_day("--from", from_day), parse_day("--to", to_day)
        if start and start >= (end or datetime.now(UTC).date() + timedelta(days=1)):
            raise InputError(f"--from {start} must be before --to {end or 'today'}")
        explanation = asyncio.run(_explain(load_settings(make=False), supplier, start, end))
        if as_json:
            typer.echo(msgspec.json.encode(_as_json(explanation)).decode())
        else:
            _print(explanation)


def parse_day(option: str, text: str | None) -> date | None:
    """Read a day; null stays null.

    Raises:
        InputError: it is not a date, or lies in the future.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text!r}: expected a date such as 2026-08-01") from error
    if day > datetime.now(UTC).date():
        raise InputError(f"{option} {day}: this day is in the future")
    return day


async def _explain(
    settings: Settings, text: str, start: date | None, end: date | None
) -> Explanation:
    playbook = load_playbook(settings)
    url = existing_database_url(settings)
    await migrate(url)
    reader = FrameReader(url)
    try:
        async with connection(url) as conn:
            found = await find_supplier(conn, text)
            supplier_id = found.supplier_id
            now = await take_snapshot(conn, reader, playbook, supplier_id, end)
            before = (
                await take_snapshot(conn, reader, playbook, supplier_id, start) if start else None
            )
            since = start or now.as_of.date() - _DEFAULT_PERIOD
            interventions = await list_of_supplier(
                conn, supplier_id, since=since, until=now.as_of, limit=None
            )
    finally:
        reader.close()
    changes = compare(before, now) if before else None
    churn_changes = compare_churn(before, now) if before else None
    return Explanation(found, now, before, changes, churn_changes, interventions)


def _as_json(explanation: Explanation) -> dict[str, Any]:
    supplier, before = explanation.supplier, explanation.before
    return {
        "supplier_id": supplier.supplier_id,
        "external_id": supplier.external_id,
        "name": supplier.name,
        "now": asdict(explanation.now),
        "before": asdict(before) if before else None,
        "changes": explanation.changes,
        "churn_changes": explanation.churn_changes,
        "interventions": [
            {
                "evaluated_on": entry.evaluated_on,
                "trigger": entry.trigger,
                "channel": entry.channel,
                "status": entry.status,
                "reason": entry.reason,
            }
            for entry in explanation.interventions
        ],
    }


def _print(explanation: Explanation) -> None:
    console = make_console()
    supplier, now, before = explanation.supplier, explanation.now, explanation.before
    shown = supplier.external_id or supplier.supplier_id
    shown, name = (escape(show_controls(one)) for one in (shown, supplier.name or shown))
    console.print(f"[bold]{name}[/bold]  [dim]{shown}[/dim]")
    console.print(_headline(now))
    if now.recomputed_score is not None:
        console.print(
            "[dim]As recorded by the daily run. With the events that arrived later and today's"
            f" playbook it would be {now.recomputed_score:.1f}.[/dim]"
        )
    print_table(console, _dimension_table(now, before, explanation.changes))
    console.print(
        f"\nChurn risk [bold]{now.churn_risk:.2f}[/bold] ({now.churn_level}):"
        f" {describe_causes(now.churn)}"
    )
    if before and explanation.churn_changes:
        change = now.churn_risk - before.churn_risk
        console.print(f"Changed by {change:+.2f}: {describe_causes(explanation.churn_changes)}")
    for one in now.churn_probabilities:
        console.print(f"[dim]{describe_chance(one.probability, one.base_rate, one.horizon)}[/dim]")
    _print_interventions(console, explanation.interventions)


def _headline(now: Snapshot) -> str:
    if now.score is None:
        return "No score: nothing is known of this supplier yet."
    colour = _COLOURS[now.risk or "healthy"]
    season = "" if now.season_index >= 0.995 else f", season index {now.season_index:.0%}"
    version = f", playbook version {now.playbook_version}" if now.playbook_version else ""
    risk = (now.risk or "").replace("_", " ")
    return (
        f"Score [bold {colour}]{int(now.score)}[/] ([{colour}]{risk}[/]) as of"
        f" {now.as_of:%Y-%m-%d %H:%M} UTC, data coverage {now.coverage:.0%}{season}{version}"
    )


def _dimension_table(
    now: Snapshot, before: Snapshot | None, changes: dict[Dimension, float] | None
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "points", "of", "measured"):
        table.add_column(title, justify="right" if title in {"points", "of"} else "left")
    if before:
        table.add_column(f"on {format_short_date(before.as_of)}", justify="right")
        table.add_column("change", justify="right")
    for name in DIMENSIONS:
        row = [
            _NAMES[name],
            _format_points(now.points[name]),
            f"{now.max[name]:.0f}",
            _measured(name, now) + _as_of(name, now),
        ]
        if before and changes:
            row += [_format_points(before.points[name]), f"{changes[name]:+.1f}"]
        table.add_row(*row)
    if before and now.score is not None and before.score is not None:
        table.add_row(
            "[bold]score[/bold]",
            f"[bold]{now.score:.1f}[/bold]",
            "100",
            "",
            f"{before.score:.1f}",
            f"[bold]{now.score - before.score:+.1f}[/bold]",
        )
    return table


def _format_points(points: float | None) -> str:
    return "–" if points is None else f"{points:.1f}"


def _as_of(dimension: Dimension, now: Snapshot) -> str:
    as_of = now.as_of_dates[dimension]
    return f"; as of {as_of}, when these events stopped arriving" if as_of else ""


def _measured(dimension: Dimension, now: Snapshot) -> str:
    note = now.notes.get(dimension)
    if now.points[dimension] is None:
        return f"[dim]{note or 'unknown'}, left out[/dim]"
    text = _figure(dimension, now)
    return f"{text}; {note}" if note else text


def _figure(dimension: Dimension, now: Snapshot) -> str:
    inputs = now.inputs
    match dimension:
        case "login":
            return f"{inputs['days_since_login']:.1f} days since the last"
        case "client_activity":
            return f"{inputs['clients_active_30d']} of {inputs['clients_total']} in 30 days"
        case "form_completion":
            return f"{inputs['forms_answered_13w']} of {inputs['forms_sent_13w']} in 13 weeks"
        case "feature_adoption":
            share = format_value(dimension, now.values[dimension])
            features = plural(int(inputs["features_adopted"] or 0), "key feature")
            return f"{features}, {share}"
        case "journey_performance":
            share = format_value("journey_open_rate", now.values[dimension])
            return f"{share} of {inputs['journey_emails_13w']} in 13 weeks"


def _print_interventions(console: Console, interventions: list[LogEntry]) -> None:
    if not interventions:
        console.print("[dim]No interventions in this period.[/dim]")
        return
    console.print()
    table = Table(box=None, pad_edge=False, show_header=False)
    for entry in interventions[:_SHOWN_INTERVENTIONS]:
        reason = SKIP_REASONS.get(entry.reason, entry.reason)
        table.add_row(
            f"{entry.evaluated_on}", entry.status, entry.trigger, f"[dim]{escape(reason)}[/dim]"
        )
    print_table(console, table)
