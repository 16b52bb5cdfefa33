"""The command line. A command's module is imported when the command is used."""

import contextlib
import errno
import io
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
from everafter.core.texts import show_controls


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
        "changes",
        "everafter.portfolio.commands",
        "List the suppliers whose score or churn risk changed since an earlier run, and why.",
    ),
    Command(
        "metrics",
        "everafter.metrics.commands",
        "Print the six success metrics, with the number of observations behind each.",
    ),
    Command(
        "benchmarks",
        "everafter.metrics.benchmark_commands",
        "Print how the suppliers of each vendor type and region did, month by month.",
    ),
    Command(
        "season",
        "everafter.seasonality.commands",
        "Print how active the suppliers of each vendor type are, as a share of their usual.",
    ),
    Command(
        "churn",
        "everafter.daily.churn_commands",
        "Learn from who churned: which model is in use, training, past snapshots.",
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
    """Lists the commands without importing their modules. A usage error is one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({one.name: TyperCommand(one.name, help=one.help) for one in COMMANDS})

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for param in params:
            _name_value(param)
        return params

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(name or ""), rest

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except typer.TyperException as error:
            if type(error).__name__ != "NoArgsIsHelpError":  # the help has been printed
                _print_error(describe_usage_error(error))
            code = error.exit_code
        except typer.Abort:
            _print_error("aborted")
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


def load_command(name: str) -> Any:
    """Import a command with its arguments, options and subcommands."""
    (found,) = [one for one in COMMANDS if one.name == name]
    part = typer.Typer(rich_markup_mode="rich")
    import_module(found.module).register(part)
    return _refuse_empty(_tidy(typer.main.get_group(part).commands[name]))


def _tidy(command: Any) -> Any:
    """Join the lines of each paragraph of the help, which are as long as those of the source, and
    name the values of arguments and options."""
    command.help = command.help and re.sub(r"(?<!\n)\n(?=\S)(?![-*] )", " ", cleandoc(command.help))
    _name_values(command)
    for below in getattr(command, "commands", {}).values():
        _tidy(below)
    return command


_HELP_OPTIONS = ["-h", "--help"]


def _name_values(command: Any) -> None:
    """Set what usage and help show for a value: SUPPLIER, NUMBER, read|write; nothing for flags."""
    help_option = command.get_help_option(typer.Context(command, help_option_names=_HELP_OPTIONS))
    for param in (*command.params, help_option):
        _name_value(param)


def _name_value(param: Any) -> None:
    kind = param.type_descriptor
    if param.metavar is None:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        elif kind.is_choice:
            param.metavar = "|".join(str(one) for one in kind.choices)
        else:
            is_number = kind.annotation is int and param.param_type_name == "option"
            param.metavar = "NUMBER" if is_number else param.name.upper()
    if param.param_type_name == "argument":

        def usage_pieces(_: Any) -> list[str]:
            return [argument_usage(param)]

        def no_type(ctx: Any) -> None:  # the name says enough
            return None

        param.get_usage_pieces, param.display_type_rich = usage_pieces, no_type


def argument_usage(param: Any) -> str:
    """An argument in the usage: `SUPPLIER`, or `[PATH]` if it may be left out."""
    return param.metavar if param.required else f"[{param.metavar}]"


def describe_usage_error(error: Any) -> str:
    """A mistake in the arguments on one line, with the command that shows what they are."""
    param, cause = getattr(error, "param", None), error.__cause__
    if param is not None and cause is not None and hasattr(cause, "errors"):
        text = f"{param.get_error_hint().replace(chr(39), '')}: {_describe_value(cause)}"
    else:
        text = error.format_message().rstrip(".")
    text, context = " ".join(text.split()), getattr(error, "ctx", None)
    return text if context is None else f"{text}; see `{context.command_path} -h`"


def _describe_value(error: Any) -> str:
    """What is wrong with a value, from the error of the library that converts it."""
    found = error.errors()[0]
    given = f"{found['input']!s:.50}"
    match found["type"]:
        case "int_parsing":
            return f"{given!r} is not a whole number"
        case "int_parsing_size":
            return f"{given!r} is too large"
        case "greater_than_equal":
            return f"{given} is less than {found['ctx']['ge']}"
        case "less_than_equal":
            return f"{given} is more than {found['ctx']['le']}"
        case _:
            return str(found["msg"]).removeprefix("Value error, ").rstrip(".")


def _refuse_empty(command: Any) -> Any:
    """Refuse empty arguments and options, which are usually unset shell variables. Options whose
    default is empty may be empty."""
    for parameter in command.params:
        if parameter.default != "":
            _refuse_empty_values(parameter)
    for below in getattr(command, "commands", {}).values():
        _refuse_empty(below)
    return command


def _refuse_empty_values(parameter: Any) -> None:
    consume = parameter.consume_value
    is_option = parameter.param_type_name == "option"
    name = parameter.opts[0] if is_option else parameter.metavar or parameter.name.upper()

    def consume_value(ctx: Any, opts: Any) -> Any:
        value, source = consume(ctx, opts)
        values: Any = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, str) and not one.strip() for one in values):
            raise InputError(f"{name}: the value is empty")
        return value, source

    parameter.consume_value = consume_value


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
    context_settings={"help_option_names": _HELP_OPTIONS},
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


_BROKEN_PIPE = 128 + 13
"""The exit code that shells show for programs that SIGPIPE ended."""
_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def main() -> None:
    """Run the command line. An EverafterError is printed as one line and sets the exit code.

    A reader of the output that stops early, as `head` does, ends the program without a message.
    """
    _prepare_output()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(_BROKEN_PIPE)
    except SystemExit as ended:
        # typer and rich exit with 1
        if isinstance(ended.__context__, BrokenPipeError):
            _discard_output()
            sys.exit(_BROKEN_PIPE)
        raise
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        _discard_output()
        place = f" {error.filename}" if error.filename else " the output"
        _end(EverafterError(f"cannot write{place}: {error.strerror}"))


def _prepare_output() -> None:
    """Discard the output if it is closed, and replace characters that it cannot encode."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    encoding = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "")
    if not encoding.startswith("utf") and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _discard_output() -> None:
    """Discard what is not written yet, which Python would write again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> None:
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
    _print_error(error.message)
    sys.exit(error.exit_code)


def _print_error(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    # not parsed as markup: names and paths may contain brackets
    shown = show_controls(message.encode(errors="replace").decode())
    line = Text.assemble(("error:", "red"), " ", shown)
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)
