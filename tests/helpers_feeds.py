"""A web server with a scripted calendar, and the feed of a CSM."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from everafter.core.db import connection
from everafter.support.calendar_queries import get_feed, upsert_feed
from everafter.support.jobs import read_calendar
from everafter.support.model import FeedReport
from helpers_mail import sql
from test_support_calendars import calendar
from test_support_calls import working_day

CSM = "success@everafter.invalid"
EVENT = "DTSTART:{:%Y%m%dT%H%M%SZ}\nDURATION:PT1H"


class Site:
    """A scripted response (status, headers, body), and the received requests."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": "text/calendar"}, calendar()
        self.asked: list[dict[str, str]] = []
        self.wait = threading.Event()
        self.slow = self.cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/private-abc/basic.ics"


@contextmanager
def serve_site(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(
                {name.lower(): value for name, value in self.headers.items()} | {"path": self.path}
            )
            if (
                site.headers.get("ETag")
                and self.headers.get("If-None-Match") == site.headers["ETag"]
            ):
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(site.status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(site.body) + (50 if site.cut else 0)))
            self.end_headers()
            self.wfile.write(site.body[:10])
            self.wfile.flush()
            if site.slow:
                site.wait.wait(20)
            self.wfile.write(site.body[10:])

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def handle(self) -> None:
            with suppress(
                ConnectionError, ssl.SSLError
            ):  # who asks may hang up when it has heard enough
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield site
    finally:
        site.wait.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


def set_feed(database: str, url: str, *, allow_private: bool = True) -> None:
    async def run() -> None:
        async with connection(database) as conn:
            cursor = await conn.execute("SELECT id FROM users WHERE email = %s", [CSM])
            row = await cursor.fetchone()
            assert row
            await upsert_feed(conn, row[0], url, allow_private=allow_private)

    asyncio.run(run())


def read(database: str, now: datetime | None = None) -> FeedReport:
    async def run() -> FeedReport:
        async with connection(database) as conn:
            feed = await get_feed(conn, CSM)
        return await read_calendar(lambda: connection(database), feed, now)

    return asyncio.run(run())


def busy(database: str) -> list[tuple[datetime, datetime]]:
    return [
        (a, b) for a, b in sql(database, "SELECT starts_at, ends_at FROM busy_times ORDER BY 1")
    ]


def at(hour: float, days_ahead: int = 3) -> datetime:
    return working_day(days_ahead) + timedelta(hours=hour)
