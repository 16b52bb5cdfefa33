"""`everafter migrate`, and the database connection of other commands."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from everafter.core.db import Connection, connection, database_url, migrate
from everafter.core.schema import read_fresh_schema
from everafter.core.settings import load_settings

T = TypeVar("T")


def run_with_connection(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Migrate the database, and run `work` in a transaction, which is committed at its end."""

    async def run() -> T:
        url = database_url(load_settings())
        await migrate(url)
        async with connection(url) as conn:
            return await work(conn)

    return asyncio.run(run())


def register(app: typer.Typer) -> None:
    @app.command("migrate")
    def migrate_command(
        print_schema: Annotated[
            bool,
            typer.Option(
                "--print-schema",
                help="Print the schema that the migrations create; your database is not used.",
            ),
        ] = False,
    ) -> None:
        """Update the database's schema to this version."""
        if print_schema:
            typer.echo(asyncio.run(read_fresh_schema()), nl=False)
            return
        applied = asyncio.run(migrate(database_url(load_settings())))
        typer.echo(
            "\n".join(f"applied {name}" for name in applied)
            or "nothing to do: the schema is up to date"
        )
