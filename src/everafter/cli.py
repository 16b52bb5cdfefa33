"""The command line: each slice's `commands.py` adds its own."""

import sys
from typing import NoReturn

import psycopg
import typer
from rich.console import Console
from rich.text import Text

from everafter import doctor, server, worker
from everafter.accounts import commands as accounts_commands
from everafter.accounts import user_commands
from everafter.core import commands as core_commands
from everafter.core.errors import DatabaseUnavailableError, EverafterError, InputError
from everafter.daily import commands as daily_commands
from everafter.demo import commands as demo_commands
from everafter.events import commands as events_commands
from everafter.mail import commands as mail_commands
from everafter.metrics import commands as metrics_commands
from everafter.playbook import commands as playbook_commands
from everafter.scoring import commands as scoring_commands
from everafter.signals import commands as signals_commands
from everafter.support import commands as support_commands

app = typer.Typer(
    name="everafter",
    help="Customer success for wedding suppliers, in your own PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (
    core_commands,
    doctor,
    server,
    worker,
    accounts_commands,
    events_commands,
    user_commands,
    daily_commands,
    scoring_commands,
    demo_commands,
    mail_commands,
    metrics_commands,
    playbook_commands,
    signals_commands,
    support_commands,
):
    module.register(app)


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and an exit code."""
    try:
        app()
    except EverafterError as error:
        _end(error)
    except (psycopg.OperationalError, *_REFUSALS) as error:
        _end(DatabaseUnavailableError(f"the database did not do it: {str(error).strip()}"))
    except UnicodeEncodeError as error:
        if error.reason != _SURROGATES:
            raise
        _end(InputError(f"{error.object!r} is not UTF-8: in an argument or a setting"))
    except KeyboardInterrupt:
        sys.exit(130)


# What a database says that answers but may not, or cannot, write: its place and its reason are the
# operator's to fix.
_REFUSALS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InvalidSchemaName,
    psycopg.InterfaceError,
)
_SURROGATES = (
    "surrogates not allowed"  # how Python carries bytes of the command line that are not UTF-8
)


def _end(error: EverafterError) -> NoReturn:
    # as it is, not as markup: names and paths may hold brackets
    line = Text.assemble(("error:", "red"), " ", error.message.encode(errors="replace").decode())
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)
    sys.exit(error.exit_code)
