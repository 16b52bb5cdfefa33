"""`everafter migrate`, and the database connection of other commands."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from everafter.core.db import Connection, connection, database_url, migrate
from everafter.core.embedded import has_embedded
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.schema import read_fresh_schema
from everafter.core.settings import Settings, load_settings

T = TypeVar("T")


def run_with_connection(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Migrate the database, and run `work` in a transaction, which is committed at its end."""
    return _run_at(database_url(load_settings()), work)


def read_with_connection(work: Callable[[Connection], Awaitable[T]]) -> T:
    """The same for a command that only reads, which creates neither a database nor a secret.

    Raises:
        DatabaseUnavailableError: there is no database yet.
    """
    return _run_at(existing_database_url(load_settings(make=False)), work)


def existing_database_url(settings: Settings) -> str:
    """The URL to connect to; starts the embedded server if it has a database.

    Raises:
        DatabaseUnavailableError: there is no database yet.
    """
    if settings.database_url is None and not has_embedded(settings.data):
        raise DatabaseUnavailableError(
            f"there is no database in {settings.data}: set EVERAFTER_DATABASE_URL, or"
            " EVERAFTER_DATA if it is in another folder; `everafter demo` creates one with sample"
            " data, `everafter migrate` an empty one"
        )
    return database_url(settings)


def _run_at(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
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
