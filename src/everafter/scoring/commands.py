"""`everafter explain`."""

import asyncio
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everafter.core.db import FrameReader, connection, database_url, migrate
from everafter.core.errors import InputError
from everafter.core.settings import Settings, load_settings
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import DIMENSIONS
from everafter.scoring import queries
from everafter.scoring.explain import Standing, changes, stand_at
from everafter.signals.text import format_value

_NAMES = {
    "login": "logins",
    "feature_adoption": "feature adoption",
    "client_activity": "active clients",
    "form_completion": "forms completed",
    "journey_performance": "journey emails opened",
}
_COLOURS = {"healthy": "green", "at_risk": "yellow", "critical": "red"}


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
        """Why a supplier's score is what it is, and what changed since a day."""
        start, end = parse_day("--from", from_day), parse_day("--to", to_day)
        if start and start >= (end or datetime.now(UTC).date() + timedelta(days=1)):
            raise InputError(f"--from {start} must lie before --to {end or 'today'}")
        reported = asyncio.run(_explain(load_settings(), supplier, start, end))
        if as_json:
            typer.echo(msgspec.json.encode(reported).decode())
        else:
            _print(reported)


def parse_day(option: str, text: str | None) -> date | None:
    """A day, or null.

    Raises:
        InputError: it is none, or lies in the future.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text!r}: expected a day such as 2026-08-01") from error
    if day > datetime.now(UTC).date():
        raise InputError(f"{option} {day}: that day has not come yet")
    return day


async def _explain(
    settings: Settings, words: str, start: date | None, end: date | None
) -> dict[str, Any]:
    playbook = load_playbook(settings)
    url = database_url(settings)
    await migrate(url)
    reader = FrameReader(url)
    try:
        async with connection(url) as conn:
            supplier_id, external_id, name = await queries.find_supplier(conn, words)
            now = await stand_at(conn, reader, playbook, supplier_id, end)
            then = await stand_at(conn, reader, playbook, supplier_id, start) if start else None
            since = start or now.as_of.date() - timedelta(days=30)
            results = await queries.list_interventions(conn, supplier_id, since, now.as_of)
    finally:
        reader.close()
    return {
        "supplier_id": supplier_id,
        "external_id": external_id,
        "name": name,
        "standing": asdict(now),
        "since": asdict(then) if then else None,
        "changes": changes(then, now) if then else None,
        "interventions": results,
    }


def _print(reported: dict[str, Any]) -> None:
    console = Console()
    now = Standing(**reported["standing"])
    then = Standing(**reported["since"]) if reported["since"] else None
    shown = reported["external_id"] or reported["supplier_id"]
    console.print(f"[bold]{escape(reported['name'] or shown)}[/bold]  [dim]{escape(shown)}[/dim]")
    console.print(_headline(now))
    if now.recorded_differs is not None:
        console.print(
            f"[dim]recorded then; events that came later, or today's playbook, would make it {now.recorded_differs:.1f}[/dim]"
        )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "points", "of", "measured"):
        table.add_column(title, justify="right" if title in {"points", "of"} else "left")
    if then:
        table.add_column(f"on {then.as_of:%d %b %Y}", justify="right")
        table.add_column("change", justify="right")
    for d in DIMENSIONS:
        points = now.points[d]
        row = [
            _NAMES[d],
            "–" if points is None else f"{points:.1f}",
            f"{now.most[d]:.0f}",
            _measured(d, now),
        ]
        if then and reported["changes"]:
            before = then.points[d]
            row += ["–" if before is None else f"{before:.1f}", f"{reported['changes'][d]:+.1f}"]
        table.add_row(*row)
    if then and now.score is not None and then.score is not None:
        table.add_row(
            "[bold]score[/bold]",
            f"[bold]{now.score:.1f}[/bold]",
            "100",
            "",
            f"{then.score:.1f}",
            f"[bold]{now.score - then.score:+.1f}[/bold]",
        )
    console.print(table)
    parts = ", ".join(
        f"{name.replace('_', ' ')} {value:.2f}" for name, value in now.churn.items() if value
    )
    console.print(
        f"\nChurn risk [bold]{now.churn_risk:.2f}[/bold] ({now.churn_level}){': ' + parts if parts else ''}"
    )
    _print_interventions(console, reported["interventions"])


def _headline(now: Standing) -> str:
    if now.score is None:
        return "No score: nothing is known of this supplier yet."
    colour = _COLOURS[now.risk or "healthy"]
    season = "" if now.season_index >= 0.995 else f", season's season index {now.season_index:.0%}"
    version = f", playbook version {now.playbook_version}" if now.playbook_version else ""
    return (
        f"Score [bold {colour}]{int(now.score)}[/] ([{colour}]{(now.risk or '').replace('_', ' ')}[/]) as of"
        f" {now.as_of:%Y-%m-%d %H:%M} UTC, {now.coverage:.0%} of its weights known{season}{version}"
    )


def _measured(dimension: str, now: Standing) -> str:
    facts = now.inputs
    if now.points[dimension] is None:
        return "[dim]unknown, left out[/dim]"
    if dimension == "login":
        silent = f"{facts['days_since_login']:.1f} days since the last"
        return (
            silent
            if now.season_index >= 0.995
            else f"{silent}; the season counts {facts['days_inactive']:.1f}"
        )
    if dimension == "client_activity":
        return f"{facts['clients_active_30d']} of {facts['clients_total']} in 30 days"
    if dimension == "form_completion":
        return f"{facts['forms_answered_13w']} of {facts['forms_sent_13w']} in 13 weeks"
    if dimension == "feature_adoption":
        return f"{facts['features_adopted']} key features, {format_value(dimension, now.values[dimension])}"
    return f"{format_value('journey_open_rate', now.values[dimension])} of {facts['journey_emails_13w']} in 13 weeks"


def _print_interventions(console: Console, results: list[dict[str, Any]]) -> None:
    if not results:
        console.print("[dim]No trigger fired in this time.[/dim]")
        return
    console.print()
    table = Table(box=None, pad_edge=False, show_header=False)
    for v in results[:15]:
        reason = SKIP_REASONS.get(v["reason"], v["reason"])
        table.add_row(
            f"{v['evaluated_on']}",
            v["status"].replace("_", " "),
            v["trigger"],
            f"[dim]{reason}[/dim]",
        )
    console.print(table)
