"""`everafter key …`."""

from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Column, Table

from everafter.accounts import keys
from everafter.core.commands import run_with_connection
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls


class KeyScope(StrEnum):
    ingest = "ingest"
    read = "read"
    write = "write"
    coach = "coach"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Manage keys for the API.", no_args_is_help=True)
    app.add_typer(group, name="key")

    @group.command("create")
    def create_command(
        scope: Annotated[KeyScope, typer.Option(help="What the key may do.")],
        name: Annotated[str, typer.Option(help="A name to recognize it.")] = "",
    ) -> None:
        """Create a key and print it. It cannot be shown again."""
        secret = load_settings().secret
        typer.echo(
            run_with_connection(
                lambda conn: keys.create_key(conn, scope.value, name, secret=secret)
            )
        )

    @group.command("list")
    def list_command(
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List all keys, without their secret part."""
        found = run_with_connection(keys.list_keys)
        if json:
            typer.echo(msgspec.json.encode(found))
            return
        table = Table(
            Column("id", no_wrap=True), "scope", "name", "created", "last used", "revoked", box=None
        )
        for key in found:
            times = (key.created_at, key.last_used_at, key.revoked_at)
            table.add_row(
                str(key.id),
                key.scope,
                escape(show_controls(key.name)),
                *(f"{at:%Y-%m-%d %H:%M}" if at else "" for at in times),
            )
        if found:
            print_table(make_console(), table)
        else:
            typer.echo("no keys; create one with `everafter key create --scope ingest`")

    @group.command("revoke")
    def revoke_command(which: Annotated[str, typer.Argument(help="The key's id or name.")]) -> None:
        """Revoke a key. Running servers stop accepting it within five seconds."""
        key = run_with_connection(lambda conn: keys.revoke_key(conn, which))
        name = f", {show_controls(key.name)}" if key.name else ""
        typer.echo(f"revoked {key.id} ({key.scope}{name})")
