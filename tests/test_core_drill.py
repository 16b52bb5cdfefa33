"""A hostile client in a separate process holds connections on loopback, and the server continues to answer."""

import asyncio
import json
import uuid
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from benchmarks.attack import hostile
from benchmarks.serving import serve

from conftest import with_database
from everafter.core.db import migrate


@pytest.fixture(scope="module")
def served(server_url: str) -> Iterator[tuple[int, str]]:
    """(port, ingest key) of `everafter serve` in a process of its own, with as many files as usual."""
    name = f"drill_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    url = with_database(server_url, name)
    asyncio.run(migrate(url))
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        conn.execute("INSERT INTO suppliers (id, name) VALUES (%s, 'Known')", [uuid.UUID(int=7)])
    with serve(url, files=1024) as (port, key, _):
        yield port, key
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize(
    ("kind", "count"), [("bodies", 64), ("headers", 2_000), ("bodies", 2_000), ("idle", 2_000)]
)
def test_ingest_and_probes_continue_under_attack(
    served: tuple[int, str], kind: str, count: int
) -> None:
    port, key = served
    here = f"http://127.0.0.1:{port}"
    event = {"type": "track", "userId": str(uuid.UUID(int=7)), "event": "login"}

    def send(client: httpx.Client, **more: str) -> None:
        answer = client.post("/v1/batch", content=json.dumps({"batch": [event], **more}))
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)

    with hostile(port, kind, count):
        with httpx.Client(
            base_url=here, headers={"Authorization": f"Bearer {key}"}, timeout=20
        ) as client:
            for _ in range(40):
                send(client)
        for _ in range(10):  # each over a connection of its own
            with httpx.Client(base_url=here, timeout=20, verify=False) as client:
                assert client.get("/livez").status_code == 200
                send(client, writeKey=key)
