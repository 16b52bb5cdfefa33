"""The command line: each slice's `commands.py` adds its own."""

import sys

import typer
from rich.console import Console

from everafter import doctor, server
from everafter.accounts import commands as accounts_commands
from everafter.accounts import user_commands
from everafter.core import commands as core_commands
from everafter.core.errors import EverafterError
from everafter.daily import commands as daily_commands
from everafter.daily.jobs import run_when_due
from everafter.demo import commands as demo_commands
from everafter.events import commands as events_commands
from everafter.health import commands as health_commands
from everafter.mail import commands as mail_commands
from everafter.mail.jobs import DUTIES, Duty
from everafter.playbook import commands as playbook_commands
from everafter.signals import commands as signals_commands

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
    accounts_commands,
    events_commands,
    user_commands,
    daily_commands,
    health_commands,
    demo_commands,
    mail_commands,
    playbook_commands,
    signals_commands,
):
    module.register(app)

DUTIES.append(Duty("daily run", 60, lambda work: run_when_due(work.url, work.settings)))


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and an exit code."""
    try:
        app()
    except EverafterError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {error.message}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
