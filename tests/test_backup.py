"""The drill of docs/operations.md: dump, restore elsewhere, and find every row as it was."""

import asyncio
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from benchmarks.population import load

from conftest import with_database
from everafter.core.db import migrate
from everafter.core.settings import load_settings
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook


@pytest.fixture
def elsewhere(server_url: str) -> Iterator[str]:
    """The URL of an empty database to restore into."""
    name = f"restored_{datetime.now(UTC):%H%M%S%f}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    yield with_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


def hashes(url: str) -> dict[str, tuple[int, str | None]]:
    """Of each table the number of rows, and a hash of all of them in a fixed order."""
    with psycopg.connect(url, options="-c search_path=everafter -c timezone=UTC") as conn:
        tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'everafter'::regnamespace AND relkind = 'r' ORDER BY 1"
        ).fetchall()
        found: dict[str, tuple[int, str | None]] = {}
        for (table,) in tables:
            row = conn.execute(
                f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{table}\" t"  # type: ignore[arg-type]
            ).fetchone()
            assert row
            found[table] = (row[0], row[1])
        return found


def test_what_is_restored_is_what_was_dumped(database: str, elsewhere: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    asyncio.run(load(database, 60, now - timedelta(hours=1)))
    playbook = load_playbook(load_settings({"EVERAFTER_DATA": str(tmp_path)}))
    asyncio.run(run_day(database, playbook))
    before = hashes(database)
    assert before["customer_health"][0] and before["outbox"][0], "there is something to lose"

    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    tools = Path(row[0]) if row else tmp_path
    if not (tools / "pg_restore").exists():
        pytest.skip("the server's tools are not on this machine")
    dump = tmp_path / "everafter.dump"
    subprocess.run([tools / "pg_dump", "-Fc", "-n", "everafter", "-f", dump, database], check=True)
    subprocess.run(
        [tools / "pg_restore", "--no-owner", "--exit-on-error", "-d", elsewhere, dump], check=True
    )

    assert hashes(elsewhere) == before
    assert asyncio.run(migrate(elsewhere)) == []
    with psycopg.connect(elsewhere, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO playbook_versions (sha256, source) VALUES ('new', '{}')"
        )  # its number goes on
