"""The live score when the database restarts or is unavailable."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from helpers_server import Server

SUPPLIER = "00000000-0000-4000-8000-000000000001"


@contextmanager
def all_connections_lost(server: Server, *, back: bool) -> Generator[None]:
    """End every connection, as when the server restarts; `back`: allow new ones."""
    name = server.sql("SELECT current_database()")[0][0]
    with psycopg.connect(
        psycopg.conninfo.make_conninfo(server.database, dbname="postgres"), autocommit=True
    ) as conn:
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {"true" if back else "false"}')
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_a_restart_fails_no_request_and_an_unavailable_database_returns_503(server: Server) -> None:
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Rosa Flowers')", SUPPLIER)
    with server.client("read") as client:
        address = f"/api/health/score/{SUPPLIER}"
        assert client.get(address).status_code == 200
        with all_connections_lost(server, back=True):
            assert client.get(address).status_code == 200
        with all_connections_lost(server, back=False):
            for _ in range(2):
                refused = client.get(address)
                assert (refused.status_code, refused.json()["code"]) == (
                    503,
                    "database_unavailable",
                ), refused.text
                assert "retry-after" in refused.headers and "host=" not in refused.text
        assert client.get(address).status_code == 200
