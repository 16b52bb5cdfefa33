"""`everafter user …`."""

import sys
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from everafter.accounts import passwords, queries, rules
from everafter.core.commands import run_with_connection
from everafter.core.errors import ConflictError, InputError, NotFoundError
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls

_Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


def register(app: typer.Typer) -> None:
    user = typer.Typer(help="Manage who can sign in to the dashboard.", no_args_is_help=True)
    app.add_typer(user, name="user")
    user.command("create")(create)
    user.command("list")(show)
    user.command("password")(change_password)


def create(
    email: Annotated[str, typer.Argument(help="The address to sign in with.")],
    name: Annotated[str, typer.Option(help="The name that colleagues and suppliers see.")],
    role: Annotated[str, typer.Option(help="admin, lead, member or observer.")] = "member",
    password_stdin: _Stdin = False,
) -> None:
    """Add a user. Without --password-stdin, a password is generated and printed alone on standard
    output."""
    address, checked_role = rules.clean_email(email), rules.clean_role(role)
    if not name.strip():
        raise InputError("--name: the name is empty")
    password = _password(address, password_stdin)
    password_hash = passwords.hash_password(password)
    made = run_with_connection(
        lambda conn: queries.insert_user(conn, address, name.strip(), checked_role, password_hash)
    )
    if made is None:
        raise ConflictError(
            f"{address} is already a user; `everafter user password {address}` sets a new password"
        )
    _report(f"{address} can sign in as {checked_role}", password, password_stdin)


def change_password(
    email: Annotated[str, typer.Argument(help="The user's address.")],
    password_stdin: _Stdin = False,
) -> None:
    """Set a new password and end the user's sessions."""
    address = rules.clean_email(email)
    password = _password(address, password_stdin)
    password_hash = passwords.hash_password(password)
    if not run_with_connection(lambda conn: queries.update_password(conn, address, password_hash)):
        raise NotFoundError(f"there is no user {address}; `everafter user list` lists all")
    _report(f"{address} has a new password and was signed out everywhere", password, password_stdin)


def show(json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """List all users, and when they last used the dashboard."""
    users = run_with_connection(queries.list_users)
    if json:
        typer.echo(msgspec.json.encode(users).decode())
        return
    table = Table(
        "email", "name", "role", "can sign in", "last seen (UTC)", box=None, pad_edge=False
    )
    for user in users:
        seen = f"{user.last_seen_at:%Y-%m-%d %H:%M}" if user.last_seen_at else "–"
        table.add_row(
            escape(user.email),
            escape(show_controls(user.name)),
            user.role,
            "yes" if user.can_sign_in else "no",
            seen,
        )
    print_table(make_console(), table)


def _password(email: str, from_stdin: bool) -> str:
    if not from_stdin:
        return passwords.generate_password()
    password = sys.stdin.readline().rstrip("\r\n")
    rules.check_password(password, email)
    return password


def _report(done: str, password: str, from_stdin: bool) -> None:
    typer.echo(f"{done}." if from_stdin else f"{done}; the password:", err=True)
    if not from_stdin:
        typer.echo(password)
