"""The command line. A command's module is imported when the command is used."""

import os
import re
import sys
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from everafter import __version__
from everafter.core.errors import DatabaseUnavailableError, EverafterError, InputError


class Command(NamedTuple):
    """A command. module: its `register(app)` adds the command. help: the first paragraph of the
    command's docstring."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command(
        "demo",
        "everafter.demo.commands",
        "Generate a year of sample data, score it and serve the dashboard. Takes about half a"
        " minute.",
    ),
    Command(
        "doctor",
        "everafter.doctor",
        "Check the installation and say what to do. Exit code 1 when something is bad, else 0.",
    ),
    Command("migrate", "everafter.core.commands", "Update the database's schema to this version."),
    Command(
        "serve",
        "everafter.server",
        "Serve the API, the dashboard and the coach. Migrates the database first.",
    ),
    Command(
        "work",
        "everafter.worker",
        "Send mail from the outbox, and run the periodic jobs: the daily run, bounces, calendars,"
        " ticket tasks.",
    ),
    Command(
        "import",
        "everafter.importer",
        "Import a platform's export: suppliers, clients and events as CSV, CSV.GZ or Parquet.",
    ),
    Command(
        "run",
        "everafter.daily.commands",
        "Score all suppliers, evaluate the triggers, and queue emails and tasks: the daily run.",
    ),
    Command(
        "explain",
        "everafter.scoring.commands",
        "Explain a supplier's score, and what changed since a day.",
    ),
    Command(
        "metrics",
        "everafter.metrics.commands",
        "Print the six success metrics, with the number of observations behind each.",
    ),
    Command(
        "signals",
        "everafter.signals.commands",
        "List the signals: every column that a condition in the playbook may name.",
    ),
    Command(
        "playbook",
        "everafter.playbook.commands",
        "Check a playbook, show it, and print its path.",
    ),
    Command(
        "mail",
        "everafter.mail.commands",
        "Inspect the outbox, and resolve messages in doubt.",
    ),
    Command("key", "everafter.accounts.commands", "Manage keys for the API."),
    Command("user", "everafter.accounts.user_commands", "Manage who can sign in to the dashboard."),
    Command(
        "csm",
        "everafter.support.commands",
        "Manage who takes calls with suppliers, and when.",
    ),
)


class LazyGroup(TyperGroup):
    """Lists the commands without importing their modules."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({one.name: TyperCommand(one.name, help=one.help) for one in COMMANDS})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(name or ""), rest


def load_command(name: str) -> Any:
    """Import a command with its arguments, options and subcommands."""
    (found,) = [one for one in COMMANDS if one.name == name]
    part = typer.Typer(rich_markup_mode="rich")
    import_module(found.module).register(part)
    return _unwrap(typer.main.get_group(part).commands[name])


def _unwrap(command: Any) -> Any:
    """Join the lines of each paragraph of the help, which are as long as those of the source."""
    command.help = command.help and re.sub(r"(?<!\n)\n(?=\S)(?![-*] )", " ", cleandoc(command.help))
    for below in getattr(command, "commands", {}).values():
        _unwrap(below)
    return command


def load_commands() -> dict[str, Any]:
    """Import all commands, by name."""
    return {one.name: load_command(one.name) for one in COMMANDS}


app = typer.Typer(
    cls=LazyGroup,
    name="everafter",
    help="Customer success for wedding suppliers, in your own PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"everafter {__version__}")
        raise typer.Exit


@app.callback()
def check_environment(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Warn about unknown EVERAFTER_ environment variables."""
    if any(name.startswith("EVERAFTER_") for name in os.environ):
        from everafter.core.unknown_settings import describe_unknown

        for sentence in describe_unknown(os.environ):
            typer.echo(f"warning: {sentence}", err=True)


def main() -> None:
    """Run the command line. An EverafterError is printed as one line and sets the exit code."""
    try:
        app()
    except EverafterError as error:
        _end(error)
    except UnicodeEncodeError as error:
        if error.reason != _SURROGATES:
            raise
        _end(InputError(f"{error.object!r} is not UTF-8 (an argument or a setting)"))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _is_database_error(error):
            raise
        _end(DatabaseUnavailableError(f"the database refused: {str(error).strip()}"))


_SURROGATES = "surrogates not allowed"
"""The reason of the error for arguments that are not UTF-8, which Python decodes to surrogates."""


def _is_database_error(error: Exception) -> bool:
    """Return whether the database is unreachable, read-only, or lacks a permission or schema."""
    import psycopg

    return isinstance(
        error,
        psycopg.OperationalError
        | psycopg.InterfaceError
        | psycopg.errors.InsufficientPrivilege
        | psycopg.errors.ReadOnlySqlTransaction
        | psycopg.errors.InvalidSchemaName,
    )


def _end(error: EverafterError) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    # not parsed as markup: names and paths may contain brackets
    line = Text.assemble(("error:", "red"), " ", error.message.encode(errors="replace").decode())
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)
    sys.exit(error.exit_code)
