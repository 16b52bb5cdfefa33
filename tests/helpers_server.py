"""A real server for tests: the application under uvicorn on a free loopback port, in a thread."""

import asyncio
import socket
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import psycopg
import pytest

from everafter.accounts.keys import Scope, create_key
from everafter.app import create_app
from everafter.coach.tokens import KeyRing
from everafter.core.db import connection
from everafter.core.settings import Settings
from everafter.server import make_server


class _Patient(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        for _ in range(12):
            if response.status_code != 503:
                break
            response.close()
            time.sleep(float(response.headers["Retry-After"]))
            response = super().handle_request(request)
        return response


@dataclass(frozen=True)
class Server:
    """Where it listens, and the database behind it."""

    base_url: str
    database: str
    settings: Settings
    app: Any

    def key(self, scope: Scope, name: str = "") -> str:
        """A new API key of that scope."""

        async def make() -> str:
            async with connection(self.database) as conn:
                return await create_key(conn, scope, name, secret=self.settings.secret)

        # in a thread: Playwright's synchronous API keeps a loop running in this one
        with ThreadPoolExecutor(1) as thread:
            key = thread.submit(asyncio.run, make()).result()
        if scope == "coach":
            time.sleep(
                KeyRing.UNKNOWN_SECONDS
            )  # a server that has just read its keys does not read again sooner
        return key

    def client(self, scope: Scope | None = None, *, patient: bool = False) -> httpx.Client:
        """A client; with a scope, it sends a new key of it as Bearer.

        Args:
            patient: sends a request again when the answer is 503, after the seconds that the
                answer asks for: for crowds, which wait for connections on a busy machine.
        """
        headers = {"Authorization": f"Bearer {self.key(scope)}"} if scope else {}
        transport = _Patient() if patient else None
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=30, transport=transport
        )

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement (none for one that returns none), committed."""
        with psycopg.connect(
            self.database, options="-c search_path=everafter,public -c timezone=UTC"
        ) as conn:
            cursor = conn.execute(statement, values)  # pyright: ignore
            return cursor.fetchall() if cursor.description else []

    def wait_folded(self, seconds: float = 10) -> None:
        """Return once nothing is pending."""
        deadline = time.monotonic() + seconds
        while self.sql("SELECT EXISTS (SELECT 1 FROM events_pending)")[0][0]:
            assert time.monotonic() < deadline, "events are still pending"
            time.sleep(0.02)


@contextmanager
def serving(settings: Settings, *, own_address: bool = False) -> Generator[Server]:
    """Serve the application over `settings.database_url` until the block ends; with `own_address` its base URL is where it listens."""
    assert settings.database_url
    listener = socket.create_server(("127.0.0.1", 0))
    if own_address:
        settings = replace(settings, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    app = create_app(settings, settings.database_url)
    uvicorn_server = make_server(app, settings.limits)
    thread = threading.Thread(
        target=uvicorn_server.run, kwargs={"sockets": [listener]}, daemon=True
    )
    thread.start()
    deadline = time.monotonic() + 15
    while not uvicorn_server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield Server(
            f"http://127.0.0.1:{listener.getsockname()[1]}", settings.database_url, settings, app
        )
    finally:
        uvicorn_server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    """The application, served over a fresh database."""
    with serving(settings) as running:
        yield running
