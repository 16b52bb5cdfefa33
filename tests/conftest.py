"""Real PostgreSQL for every test: one embedded server, a migrated template, a clone of it per test."""

import asyncio
import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest

from everafter.core.db import migrate
from everafter.core.embedded import start_embedded
from everafter.core.settings import Settings

# Nothing is timed, because a machine may have other things to do. Each run tries the same examples, so that a change
# is not refused for what it did not touch; with EVERAFTER_TEST_EXPLORE=1 each run tries others.
hypothesis.settings.register_profile(
    "ours",
    deadline=None,
    derandomize=os.environ.get("EVERAFTER_TEST_EXPLORE") != "1",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ours")
pytest.register_assert_rewrite("helpers_pages", "helpers_visit")
from helpers_server import server as server  # noqa: E402

ROOT = Path(__file__).parent.parent


_FOLDER = "EVERAFTER_TEST_FOLDER"


def pytest_configure(config: pytest.Config) -> None:
    """A folder for the tests' PostgreSQL, made before the workers start; not pytest's own, which later sessions clear away.

    What is registered first is done last: the folder goes when the server has ended with the last of its users.
    """
    if not hasattr(config, "workerinput"):
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="everafter-tests-")
        atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def server_url() -> str:
    """One PostgreSQL for all workers (EVERAFTER_TEST_DATABASE_URL names another)."""
    if given := os.environ.get("EVERAFTER_TEST_DATABASE_URL"):
        return given
    url = start_embedded(Path(os.environ[_FOLDER]))
    with psycopg.connect(url, autocommit=True) as conn:
        # tests kill processes, never the machine, and what a process has written survives that
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("ALTER SYSTEM SET full_page_writes = off")
        conn.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated database that only this worker clones."""
    name = f"template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    asyncio.run(migrate(with_database(server_url, name)))
    return name


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[str]:
    """The URL of a fresh, migrated, empty database."""
    with copy_database(server_url, template) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(server_url: str, template: str) -> Iterator[str]:
    """The same, for all tests of a module that only look at what its fixtures put there."""
    with copy_database(server_url, template) as url:
        yield url


@contextmanager
def copy_database(server_url: str, template: str) -> Generator[str]:
    """The URL of a copy of a database, which is dropped afterwards. Nobody may be connected to the original."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')
    try:
        yield with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    """Settings over that database, with no mail server."""
    return _settings(database, tmp_path)


@pytest.fixture(scope="module")
def module_settings(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The same over the module's database."""
    return _settings(module_database, tmp_path_factory.mktemp("data"))


def _settings(database: str, data: Path) -> Settings:
    return Settings(
        database_url=database,
        data=data,
        playbook=None,
        smtp_url=None,
        base_url="http://testserver",
        secret="a-secret-for-tests-and-for-nothing-else",
    )


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return psycopg.conninfo.make_conninfo(**{**parts, "dbname": name})
