"""`everafter migrate`."""

import asyncio
from typing import Annotated

import typer

from everafter.core.db import database_url, migrate
from everafter.core.schema import read_fresh_schema
from everafter.core.settings import load_settings


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
        """Bring the database's schema to this version."""
        if print_schema:
            typer.echo(asyncio.run(read_fresh_schema()), nl=False)
            return
        applied = asyncio.run(migrate(database_url(load_settings())))
        typer.echo(
            "\n".join(f"applied {name}" for name in applied)
            or "nothing to do: the schema is up to date"
        )
