"""An embedded PostgreSQL for a benchmark run, databases in it, and subprocesses that report JSON."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from everafter.core.db import migrate
from everafter.core.embedded import start_embedded

ROOT = Path(__file__).parent.parent


@contextmanager
def private_server() -> Iterator[str]:
    """Start an embedded PostgreSQL in a temporary folder, with the shipped settings; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="everafter-bench-"))
    try:
        yield start_embedded(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str, template: str | None = None) -> str:
    """Create a migrated database, or a copy of another; its URL."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    url = psycopg.conninfo.make_conninfo(
        **{**psycopg.conninfo.conninfo_to_dict(server), "dbname": name}
    )
    if not template:
        asyncio.run(migrate(url))
    return url


def in_subprocess(module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m module arguments…` and return the JSON of its last line of output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def settle(url: str) -> None:
    """Vacuum and checkpoint, so that measurements do not affect each other."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
