"""`everafter playbook check | show | path`."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from everafter.core.settings import load_settings
from everafter.playbook.loading import (
    find_file_mistakes,
    find_mistakes,
    load_playbook,
    playbook_path,
    read_playbook,
)
from everafter.playbook.model import DIMENSIONS, Mistake, Playbook
from everafter.playbook.rules import to_playbook

_TAB_WIDTH = 4


def register(app: typer.Typer) -> None:
    commands = typer.Typer(
        name="playbook",
        help="The policy: what is in force, and whether it can be followed.",
        no_args_is_help=True,
    )
    app.add_typer(commands)

    @commands.command("check")
    def check_command(
        path: Annotated[
            Path | None, typer.Argument(help="A playbook; without it the one in force.")
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="One JSON object instead of text.")
        ] = False,
    ) -> None:
        """Name every mistake of a playbook with its place. Exit code 2 when it cannot be followed,
        else 0."""
        file = path or playbook_path(load_settings())
        text = read_playbook(file)
        mistakes = find_mistakes(text)
        if not any(mistake.level == "error" for mistake in mistakes):
            mistakes += find_file_mistakes(file, text, to_playbook(text))
        errors = sum(mistake.level == "error" for mistake in mistakes)
        if as_json:
            found = [msgspec.to_builtins(mistake) for mistake in mistakes]
            typer.echo(
                json.dumps(
                    {"file": str(file), "valid": not errors, "mistakes": found}, ensure_ascii=False
                )
            )
        else:
            print_mistakes(Console(highlight=False, soft_wrap=True), str(file), text, mistakes)
        raise typer.Exit(2 if errors else 0)

    @commands.command("show")
    def show_command(
        as_json: Annotated[
            bool, typer.Option("--json", help="The whole playbook as JSON, defaults filled in.")
        ] = False,
    ) -> None:
        """Show the playbook in force."""
        playbook = load_playbook(load_settings())
        if as_json:
            typer.echo(msgspec.json.encode(playbook).decode())
        else:
            print_playbook(Console(highlight=False), playbook)

    @commands.command("path")
    def path_command() -> None:
        """Print where the playbook in force lies; copy that file to begin your own."""
        typer.echo(str(playbook_path(load_settings())))


def print_mistakes(console: Console, file: str, text: str, mistakes: list[Mistake]) -> None:
    """Each mistake as file:line:column and what is wrong, the line itself with a caret under it,
    and what was meant."""
    own_lines = text.replace("\r\n", "\n").split("\n")
    for mistake in mistakes:
        lines = _lines_of(mistake.file) if mistake.file else own_lines
        warning = mistake.level == "warning"
        place = Text(f"{mistake.file or file}:{mistake.line}:{mistake.column}: ", style="bold")
        kind = Text(
            "warning: " if warning else "error: ", style="yellow" if warning else "bold red"
        )
        console.print(place + kind + Text(mistake.message))
        line = lines[mistake.line - 1] if mistake.line <= len(lines) else ""
        before = line[: mistake.column - 1].expandtabs(_TAB_WIDTH)
        number = f"{mistake.line:>5}"
        console.print(Text(f"{number} │ ", style="dim") + Text(line.expandtabs(_TAB_WIDTH)))
        caret = " " * len(before) + "^" * mistake.width
        console.print(
            Text(" " * len(number) + " │ ", style="dim")
            + Text(caret, style="yellow" if warning else "red")
        )
        if mistake.hint:
            console.print(
                Text(" " * len(number) + " = ", style="dim") + Text(mistake.hint, style="cyan")
            )
        console.print()
    errors = sum(mistake.level == "error" for mistake in mistakes)
    warnings = len(mistakes) - errors
    counts = [
        _count(errors, "mistake") if errors else "",
        _count(warnings, "warning") if warnings else "",
    ]
    summary = " and ".join(count for count in counts if count)
    console.print(
        f"{file}: {summary or 'nothing to mend'}",
        style="bold red" if errors else "bold" if warnings else "green",
    )


def _lines_of(file: str) -> list[str]:
    """The lines of a file beside the playbook, as far as they can be shown."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(100_000).decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    except OSError:
        return []


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def print_playbook(console: Console, playbook: Playbook) -> None:
    """The policy as tables: segments, triggers by priority, onboarding, milestones,
    recommendations, and the numbers."""
    console.print(Text(playbook.name, style="bold"))
    for table in (
        _segments(playbook),
        _triggers(playbook),
        _onboarding(playbook),
        _achievements(playbook),
        _numbers(playbook),
    ):
        console.print(table)


def _segments(playbook: Playbook) -> Table:
    table = Table("segment", title="Segments", title_justify="left")
    for dimension in DIMENSIONS:
        table.add_column(dimension.replace("_", " "), justify="right")
    table.add_column("login days")
    table.add_column("key features")
    for name, segment in playbook.segments.items():
        weights = [getattr(segment.weights, dimension) for dimension in DIMENSIONS]
        points = [f"{100 * weight / sum(weights):.3g}" for weight in weights]
        days = " ".join(f"{day:g}" for day in segment.login_days)
        table.add_row(name, *points, days, ", ".join(segment.key_features))
    return table


def _triggers(playbook: Playbook) -> Table:
    table = Table(
        "trigger",
        "does",
        "by",
        "when",
        title="Triggers, the most important first",
        title_justify="left",
    )
    for heading in ("prio", "cooldown", "in the holdout"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, trigger in sorted(playbook.triggers.items(), key=lambda item: -item[1].priority):
        by = f"{trigger.channel}: {trigger.template}" if trigger.template else trigger.channel
        held = "never" if trigger.essential else f"{trigger.holdout:.0%}"
        style = "" if trigger.enabled else "dim strike"
        row = (
            name,
            trigger.action,
            by,
            Text(trigger.when),
            str(trigger.priority),
            f"{trigger.cooldown_days} d",
            held,
        )
        table.add_row(*row, style=style)
    return table


def _onboarding(playbook: Playbook) -> Table:
    table = Table(
        "day", "step", "expected", "if missed", title="Onboarding path", title_justify="left"
    )
    for step in sorted(playbook.onboarding.values(), key=lambda step: step.day):
        table.add_row(str(step.day), step.title, ", ".join(step.actions), step.if_missed or "")
    return table


def _achievements(playbook: Playbook) -> Table:
    table = Table(
        "", "name", "when", "says", title="Milestones and recommendations", title_justify="left"
    )
    for name, milestone in playbook.milestones.items():
        table.add_row(
            "milestone", name, Text(milestone.when or "its own event"), Text(milestone.celebration)
        )
    for name, recommendations in playbook.recommendations.items():
        table.add_row(
            "recommendations", name, Text(recommendations.when), Text(recommendations.title)
        )
    return table


def _numbers(playbook: Playbook) -> Table:
    table = Table("table", "key", "value", title="Numbers", title_justify="left")
    for group in ("health", "season", "churn", "messaging", "holdout"):
        for key, value in msgspec.to_builtins(getattr(playbook, group)).items():
            shown = (
                str(value).lower()
                if isinstance(value, bool)
                else f"{value:g}"
                if isinstance(value, float)
                else str(value)
            )
            table.add_row(group, key, shown)
    return table
