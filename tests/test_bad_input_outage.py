"""The connection pool reconnects soon after a database outage."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolTimeout

from everafter.core.db import make_pool

AWAY_SECONDS = 9
FOUND_SECONDS = 4.5  # a pool of psycopg's own making sleeps for 8 s by then


@asynccontextmanager
async def forwarded(port: int, path: Path) -> AsyncGenerator[None]:
    """PostgreSQL's socket, reachable at a loopback port."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    handled: list[asyncio.Task[object]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            handled.append(task)
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    async with server:
        yield
        await asyncio.gather(*handled)


def test_the_pool_finds_a_database_that_is_back(database: str) -> None:
    parts = conninfo_to_dict(database)
    path = Path(str(parts["host"])) / f".s.PGSQL.{parts.get('port', 5432)}"
    if not path.is_socket():
        pytest.skip("the tests' PostgreSQL listens at no socket")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    url = make_conninfo(database, host="127.0.0.1", port=str(port))

    async def check() -> float:
        async with make_pool(url, size=2) as pool:
            began = time.monotonic()
            while time.monotonic() - began < AWAY_SECONDS:
                with pytest.raises(PoolTimeout):
                    await pool.getconn(timeout=0.5)
            async with forwarded(port, path):
                back = time.monotonic()
                async with pool.connection(timeout=30) as conn:
                    await conn.execute("SELECT 1")
                found = time.monotonic() - back
                await pool.close()
            return found

    assert asyncio.run(check()) < FOUND_SECONDS
