"""`everafter migrate`."""

import asyncio

import typer

from everafter.core.db import database_url, migrate
from everafter.core.settings import load_settings


def register(app: typer.Typer) -> None:
    @app.command("migrate")
    def migrate_command() -> None:
        """Bring the database's schema to this version."""
        applied = asyncio.run(migrate(database_url(load_settings())))
        typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do: the schema is up to date")
