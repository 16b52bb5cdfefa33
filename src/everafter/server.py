"""`everafter serve`: the web application under uvicorn."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer
import uvicorn
from litestar import Litestar
from rich.console import Console

from everafter.app import create_app
from everafter.core.connections import guard
from everafter.core.db import database_url, migrate
from everafter.core.embedded import supervised
from everafter.core.errors import DatabaseUnavailableError, EverafterError, InputError
from everafter.core.limits import Limits
from everafter.core.probes import Counters
from everafter.core.settings import DEFAULT_BASE_URL, Settings, load_settings
from everafter.playbook.loading import load_playbook

log = logging.getLogger("everafter.server")

_OTHER_FILES = 200
"""Open files other than client connections: database, program, child processes."""
STOP_SECONDS = 15
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep idle connections (usually a minute). With 5 seconds some of 200 busy
clients lost a response."""


def register(app: typer.Typer) -> None:
    @app.command("serve")
    def serve_command(
        host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8000,
    ) -> None:
        """Serve the API, the dashboard and the coach. Migrates the database first."""
        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        logging.getLogger("everafter").setLevel(logging.INFO)
        # uvicorn logs a warning for each invalid request
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        # uvicorn raises the signal again when it has stopped; without a handler that would end the
        # process before the embedded PostgreSQL is stopped
        signal.signal(signal.SIGTERM, _end)
        settings = load_settings()
        load_playbook(settings)  # before the database is changed
        url = database_url(settings)
        asyncio.run(migrate(url))
        with contextlib.closing(bind(host, port)) as listener:
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listener.getsockname()[1]}"
            is_any = host in {"0.0.0.0", "::"}  # noqa: S104 compared, not bound
            if settings.base_url == DEFAULT_BASE_URL and not is_any:
                settings = replace(settings, base_url=address)
            application = create_app(settings, url)
            # exclude the objects of the start from garbage collection: a full collection paused
            # requests for 54 ms
            gc.collect()
            gc.freeze()
            server = make_server(application, fitting(settings.limits), lambda: _announce(address))
            run_server(server, listener, settings, application)


def _announce(address: str) -> None:
    Console(stderr=True, highlight=False).print(
        f"Everafter answers at {address} (Ctrl+C stops it)", soft_wrap=True
    )


def run_server(
    server: uvicorn.Server, listener: socket.socket, settings: Settings, application: Litestar
) -> None:
    """Serve until stopped by a signal, and restart the embedded PostgreSQL, if used, when it exits.

    Raises:
        DatabaseUnavailableError: the embedded PostgreSQL stopped and cannot be restarted.
        EverafterError: the application did not start.
    """
    failures: list[DatabaseUnavailableError] = []

    def fail(error: DatabaseUnavailableError) -> None:
        failures.append(error)
        server.should_exit = True

    def recheck_database() -> None:
        if recheck := getattr(application.state, "recheck", None):
            recheck()

    with supervised(None if settings.database_url else settings.data, fail, recheck_database):
        server.run(sockets=[listener])
    if failures:
        raise failures[0]
    if not server.started:
        raise EverafterError("the application did not start; see the lines above")


def _end(*_: object) -> None:
    sys.exit(0)


def bind(host: str, port: int) -> socket.socket:
    """Create a listening socket.

    Raises:
        InputError: this machine does not have the address, or the port is in use.
    """
    listener: socket.socket | None = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)  # connections wait here until the application starts
    except (OSError, UnicodeError) as error:  # UnicodeError: invalid host name
        if listener:
            listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        is_in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "; choose another port with --port" if is_in_use else ""
        raise InputError(f"cannot listen on {host} port {port}: {reason}{hint}") from error
    return listener


def fitting(limits: Limits) -> Limits:
    """Return the limits with connections reduced to what the limit of open files allows.

    Raises the soft limit of open files first, as far as needed and allowed.
    """
    needed = limits.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return limits
    most = max(soft - _OTHER_FILES, soft // 2)
    log.warning(
        "only %d files may be open, so at most %d connections are served; raise LimitNOFILE to %d",
        soft,
        most,
        needed,
    )
    return replace(limits, connections=most)


class _Server(uvicorn.Server):
    """A server that calls `on_started` when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_started:
            self._on_started()


def make_server(
    application: Litestar,
    limits: Limits | None = None,
    on_started: Callable[[], None] | None = None,
) -> uvicorn.Server:
    """Create a uvicorn server. On SIGTERM, running requests have `STOP_SECONDS` to finish."""
    limits = limits or Limits()
    return _Server(
        uvicorn.Config(
            application,
            loop="uvloop",
            http=guard(limits, application.state.get("counters") or Counters()),
            forwarded_allow_ips=[str(network) for network in limits.trusted_proxies],
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ),
        on_started,
    )
