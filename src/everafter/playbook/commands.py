"""`everafter playbook check | show | path`."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from everafter.core.formatting import plural
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.playbook.loading import (
    find_file_mistakes,
    find_mistakes,
    find_template_mistakes,
    load_playbook,
    playbook_path,
    read_playbook,
)
from everafter.playbook.model import DIMENSIONS, Mistake, Playbook
from everafter.playbook.rules import to_playbook

_TAB_WIDTH = 4
_LONGEST_LINE = 300
"""Characters that are shown of a line of the file."""
_LONGEST_BEFORE = 100
"""Of those, how many before the mistake."""


def register(app: typer.Typer) -> None:
    commands = typer.Typer(
        name="playbook",
        help="Check a playbook, show it, and print its path.",
        no_args_is_help=True,
    )
    app.add_typer(commands)

    @commands.command("check")
    def check_command(
        path: Annotated[
            Path | None, typer.Argument(help="A playbook; default: the one in use.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Report every mistake in a playbook with its place. The exit code is 2 when there are
        errors, else 0."""
        file = path or playbook_path(load_settings(make=False))
        text = read_playbook(file)
        mistakes = find_mistakes(text)
        if any(mistake.level == "error" for mistake in mistakes):
            mistakes += find_template_mistakes(file)
        else:
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
            bool, typer.Option("--json", help="Print the whole playbook as JSON, with defaults.")
        ] = False,
    ) -> None:
        """Show the playbook in use."""
        playbook = load_playbook(load_settings(make=False))
        if as_json:
            typer.echo(msgspec.json.encode(playbook).decode())
        else:
            print_playbook(make_console(), playbook)

    @commands.command("path")
    def path_command() -> None:
        """Print the path of the playbook in use; copy that file to write your own."""
        typer.echo(str(playbook_path(load_settings(make=False))))


def print_mistakes(console: Console, file: str, text: str, mistakes: list[Mistake]) -> None:
    """Print each mistake as file:line:column and message, with its line, a caret and the hint."""
    own_lines = text.replace("\r\n", "\n").split("\n")
    for mistake in mistakes:
        lines = _lines_of(mistake.file) if mistake.file else own_lines
        _print_mistake(console, mistake.file or file, lines, mistake)
    errors = sum(mistake.level == "error" for mistake in mistakes)
    warnings = len(mistakes) - errors
    counts = [
        plural(errors, "mistake") if errors else "",
        plural(warnings, "warning") if warnings else "",
    ]
    summary = " and ".join(count for count in counts if count)
    style = "bold red" if errors else "bold" if warnings else "green"
    console.print(f"{file}: {summary or 'nothing to fix'}", style=style)


def _print_mistake(console: Console, file: str, lines: list[str], mistake: Mistake) -> None:
    is_warning = mistake.level == "warning"
    place = Text(f"{file}:{mistake.line}:{mistake.column}: ", style="bold")
    level = Text(f"{mistake.level}: ", style="yellow" if is_warning else "bold red")
    console.print(place + level + Text(mistake.message))
    line = lines[mistake.line - 1] if mistake.line <= len(lines) else ""
    start = max(0, mistake.column - 1 - _LONGEST_BEFORE) if len(line) > _LONGEST_LINE else 0
    before = line[start : mistake.column - 1].expandtabs(_TAB_WIDTH)
    line = line[start : start + _LONGEST_LINE].replace("\r", " ")
    number = f"{mistake.line:>5}"
    margin = " " * len(number)
    caret = Text(
        " " * len(before) + "^" * min(mistake.width, _LONGEST_LINE),
        style="yellow" if is_warning else "red",
    )
    console.print(Text(f"{number} │ ", style="dim") + Text(line.expandtabs(_TAB_WIDTH)))
    console.print(Text(f"{margin} │ ", style="dim") + caret)
    if mistake.hint:
        console.print(Text(f"{margin} = ", style="dim") + Text(mistake.hint, style="cyan"))
    console.print()


def _lines_of(file: str) -> list[str]:
    """The lines of a file beside the playbook; none when it cannot be read."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(100_000).decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    except OSError:
        return []


def print_playbook(console: Console, playbook: Playbook) -> None:
    """Print a playbook as tables."""
    console.print(Text(playbook.name, style="bold"))
    for table in (
        _segment_table(playbook),
        _trigger_table(playbook),
        _onboarding_table(playbook),
        _text_table(playbook),
        _number_table(playbook),
    ):
        print_table(console, table)


def _segment_table(playbook: Playbook) -> Table:
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


def _trigger_table(playbook: Playbook) -> Table:
    table = Table(
        "trigger", "action", "channel", "when", title="Triggers by priority", title_justify="left"
    )
    for heading in ("priority", "cooldown", "holdout"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, trigger in sorted(playbook.triggers.items(), key=lambda item: -item[1].priority):
        channel = f"{trigger.channel}: {trigger.template}" if trigger.template else trigger.channel
        table.add_row(
            name,
            trigger.action,
            channel,
            Text(trigger.when),
            str(trigger.priority),
            f"{trigger.cooldown_days} d",
            "none" if trigger.essential else f"{trigger.holdout:.0%}",
            style="" if trigger.enabled else "dim strike",
        )
    return table


def _onboarding_table(playbook: Playbook) -> Table:
    table = Table(
        "day", "step", "actions", "if missed", title="Onboarding path", title_justify="left"
    )
    for step in sorted(playbook.onboarding.values(), key=lambda step: step.day):
        table.add_row(str(step.day), step.title, ", ".join(step.actions), step.if_missed or "")
    return table


def _text_table(playbook: Playbook) -> Table:
    title = "Milestones and recommendations"
    table = Table("", "name", "when", "text", title=title, title_justify="left")
    for name, milestone in playbook.milestones.items():
        when = milestone.when or "its own event"
        table.add_row("milestone", name, Text(when), Text(milestone.celebration))
    for name, one in playbook.recommendations.items():
        table.add_row("recommendation", name, Text(one.when), Text(one.title))
    return table


def _number_table(playbook: Playbook) -> Table:
    table = Table("table", "key", "value", title="Numbers", title_justify="left")
    for group in ("health", "season", "churn", "messaging", "holdout"):
        for key, value in msgspec.to_builtins(getattr(playbook, group)).items():
            table.add_row(group, key, _format_number(value))
    return table


def _format_number(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
