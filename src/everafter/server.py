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

log = logging.getLogger("everafter.server")

_OTHER_FILES = 200
"""Files besides connections: the database's, the program's own, and those of children."""
STOP_SECONDS = 15
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep a connection (a minute, as a rule): of two hundred busy clients some
lost an answer when it was 5."""


def register(app: typer.Typer) -> None:
    @app.command("serve")
    def serve_command(
        host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8000,
    ) -> None:
        """Serve the API, the dashboard and the coach; brings the schema up to date first."""
        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        logging.getLogger("everafter").setLevel(logging.INFO)
        logging.getLogger("uvicorn.error").setLevel(
            logging.ERROR
        )  # a line for each bad request would be a flood
        # uvicorn sends itself the signal again once it has stopped; without a handler that would
        # end the process before the embedded PostgreSQL is stopped too
        signal.signal(signal.SIGTERM, _end)
        settings = load_settings()
        url = database_url(settings)
        asyncio.run(migrate(url))
        with contextlib.closing(bind(host, port)) as listener:
            shown = f"[{host}]" if ":" in host else host
            here = f"http://{shown}:{listener.getsockname()[1]}"
            if settings.base_url == DEFAULT_BASE_URL and host not in {"0.0.0.0", "::"}:  # noqa: S104 compared, not bound
                settings = replace(
                    settings, base_url=here
                )  # links lead to where we listen, unless told otherwise
            Console(stderr=True, highlight=False).print(
                f"Everafter answers at {here} (Ctrl+C stops it)", soft_wrap=True
            )
            application = create_app(settings, url)
            # What is from the start is never looked through again: a full collection took 54 ms of
            # every request then in hand.
            gc.collect()
            gc.freeze()
            run_server(
                make_server(application, fitting(settings.limits)), listener, settings, application
            )


def run_server(
    server: uvicorn.Server, listener: socket.socket, settings: Settings, application: Litestar
) -> None:
    """Serve until told to stop, with the embedded PostgreSQL (where it is that) kept running
    beside.

    Raises:
        DatabaseUnavailableError: the embedded PostgreSQL is gone and cannot be started again.
        EverafterError: the application did not start.
    """
    failures: list[DatabaseUnavailableError] = []

    def fail(error: DatabaseUnavailableError) -> None:
        failures.append(error)
        server.should_exit = True

    def find_again() -> None:
        if recheck := getattr(application.state, "recheck", None):
            recheck()

    with supervised(None if settings.database_url else settings.data, fail, find_again):
        server.run(sockets=[listener])
    if failures:
        raise failures[0]
    if not server.started:
        raise EverafterError("the application did not start; the lines above say why")


def _end(*_: object) -> None:
    sys.exit(0)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the address is not ours, or the port is taken.
    """
    listener: socket.socket | None = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)  # who connects before the application is up waits for it
    except (OSError, UnicodeError) as error:  # the second: a name that cannot be one
        if listener:
            listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        cure = "; stop what listens there, or name another port with --port" if taken else ""
        raise InputError(f"cannot listen on {host} port {port}: {reason}{cure}") from error
    return listener


def fitting(limits: Limits) -> Limits:
    """The limits, with no more connections than this process may have files open.

    Raises the soft limit as far as is needed and allowed.
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
        soft, most, needed,
    )  # fmt: skip
    return replace(limits, connections=most)


def make_server(application: Litestar, limits: Limits | None = None) -> uvicorn.Server:
    """A uvicorn server for the application; SIGTERM lets requests in hand finish, for
    `STOP_SECONDS` at most."""
    limits = limits or Limits()
    return uvicorn.Server(
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
        )
    )
