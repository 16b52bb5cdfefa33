"""The embedded PostgreSQL is killed, or its disk is full, while `serve` and `work` run: it is restarted, or they exit with the reason."""

import asyncio
import atexit
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from everafter.accounts.keys import create_key
from everafter.core.db import connection
from everafter.core.embedded import start_embedded
from helpers_mail import wait_until

SECRET = "of the watched server, long enough for it"
PATIENCE = 90
"""Seconds after which a test gives up; nothing is measured by them."""


class Process:
    """`everafter …` with its stderr read, over a data folder of its own."""

    def __init__(self, data: Path, *words: str, give_up: float = 60) -> None:
        script = (
            "import sys, everafter.core.embedded as e; e.GIVE_UP_SECONDS = float(sys.argv.pop(1));"
            "from everafter.cli import main; main()"
        )
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("EVERAFTER_")
        }
        env |= {"EVERAFTER_DATA": str(data), "EVERAFTER_SECRET": SECRET}
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(give_up), *words],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> str:
        """What the first group of the pattern matched in what was said."""
        found: list[str] = []

        def look() -> bool:
            assert self.process.poll() is None, (
                f"it ended with {self.process.returncode}:\n{self.said}"
            )
            found.extend(re.findall(pattern, self.said)[:1])
            return bool(found)

        wait_until(look, PATIENCE)
        return found[0]

    def end(self) -> int:
        """Stop it with a signal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self.close()
        return code

    def close(self) -> None:
        self._reading.join(10)
        assert self.process.stderr
        self.process.stderr.close()


@contextmanager
def everafter(data: Path, *words: str, give_up: float = 60) -> Iterator[Process]:
    process = Process(data, *words, give_up=give_up)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.ended()


@contextmanager
def serving(data: Path, give_up: float = 60) -> Iterator[tuple[Process, httpx.Client]]:
    with everafter(data, "serve", "--port", "0", give_up=give_up) as process:
        url = process.wait_for(r"answers at (http://\S+)")
        with httpx.Client(base_url=url, timeout=30) as client:
            wait_until(lambda: is_ready(client), PATIENCE)
            yield process, client


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def postmaster(data: Path) -> int:
    """The server's process id; 0 while it has not yet written its file."""
    written = (data / "postgres" / "postmaster.pid").read_text().split()
    return int(written[0]) if written else 0


def kill(data: Path) -> int:
    """Its pid, once it is dead."""
    pid = postmaster(data)
    os.kill(pid, signal.SIGKILL)
    return pid


def has_stopped(data: Path) -> bool:
    return not (data / "postgres" / "postmaster.pid").exists()


def starts(data: Path) -> int:
    return (data / "postgres" / "log").read_text().count("ready to accept connections")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Not pytest's own folder: another session of it takes the right to pass through away from the server's user."""
    path = Path(tempfile.mkdtemp(prefix="everafter-watched-"))
    atexit.register(
        shutil.rmtree, path, ignore_errors=True
    )  # after the server that this process joins has stopped
    yield path


@pytest.fixture(scope="module")
def data(place: Path) -> Path:
    """A data folder whose database is made and migrated, with nobody using it."""
    folder = place / "data"
    with everafter(folder, "migrate") as process:
        assert process.ended() == 0, process.said
    return folder


def send(client: httpx.Client, key: str, number: int) -> int:
    events: list[dict[str, Any]] = [
        {
            "type": "identify",
            "userId": "shop-1",
            "messageId": f"i{number}",
            "traits": {"name": "Shop"},
        },
        {"type": "track", "event": "login", "userId": "shop-1", "messageId": f"m{number}"},
    ]
    return client.post(
        "/v1/batch", json={"batch": events}, headers={"Authorization": f"Bearer {key}"}
    ).status_code


def test_a_killed_server_is_restarted_by_one_process_and_all_continue(data: Path) -> None:
    with serving(data) as (server, client), everafter(data, "work") as worker:
        worker.wait_for(r"(mail stays in the outbox)")
        url = start_embedded(data)  # this process joins them
        key = asyncio.run(_make_key(url))
        assert send(client, key, 0) == 200
        before = starts(data)
        for number in (1, 2):
            dead = kill(data)
            wait_until(
                lambda dead=dead: (
                    not has_stopped(data) and postmaster(data) not in (0, dead) and is_ready(client)
                ),
                PATIENCE,
            )
            wait_until(lambda number=number: send(client, key, number) == 200, PATIENCE)
            wait_until(lambda number=number: _folded(url, number + 1), PATIENCE)
            wait_until(lambda number=number: server.said.count("answers again") == number, PATIENCE)
            wait_until(lambda number=number: worker.said.count("answers again") == number, PATIENCE)
            assert starts(data) == before + number, "one process starts it, the others find it"
        with everafter(data, "doctor") as doctor:
            doctor.ended()
            assert "Traceback" not in doctor.said
        assert (server.end(), worker.end()) == (0, 0), server.said + worker.said
        for process in (server, worker):
            assert "Traceback" not in process.said, process.said
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,), "it serves this process still"


async def _make_key(url: str) -> str:
    async with connection(url) as conn:
        return await create_key(conn, "ingest", secret=SECRET)


def _folded(url: str, events: int) -> bool:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        row = conn.execute("SELECT sum(events_total) FROM supplier_activity").fetchone()
    return row == (events,)


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any of this."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def test_a_pid_file_of_a_stopped_server_is_ignored(
    place: Path, innocent: subprocess.Popen[bytes]
) -> None:
    """Its process id belongs to another program by now, or only half of it was written."""
    folder = place / "stale"
    with everafter(folder, "migrate") as process:
        assert process.ended() == 0, process.said
    where = folder / "postgres"
    for text in (f"{innocent.pid}\n{where}\n1700000000\n5432\n{where}\n\n  1 2\nready\n", "12"):
        (where / "postmaster.pid").write_text(text)
        (where / ".s.PGSQL.5432.lock").write_text(text)
        (where / ".handle_pids.json").write_text("[" + str(2**22 - 7))
        with everafter(folder, "migrate") as process:
            assert process.ended() == 0, process.said
        assert has_stopped(folder), "the last to end stops it, whoever died without a word"
    assert innocent.poll() is None


def test_a_process_that_reuses_the_pid_of_a_dead_server_is_not_stopped(
    place: Path, innocent: subprocess.Popen[bytes]
) -> None:
    """The server dies while a process does not watch it, and its id is reused before that process ends."""
    folder = place / "reused"
    script = "import sys; from pathlib import Path; from everafter.core.embedded import start_embedded as s; s(Path(sys.argv[1])); print(1, flush=True); sys.stdin.read()"  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "1\n"
    path = folder / "postgres" / "postmaster.pid"
    text = path.read_text()
    dead = kill(folder)
    wait_until(lambda: not _works_in(folder / "postgres"), PATIENCE)
    path.write_text(text.replace(str(dead), str(innocent.pid), 1))
    _, said = process.communicate("", timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in said, said
    assert innocent.poll() is None


def _works_in(folder: Path) -> bool:
    """Whether a process is at work there, buried or not."""
    for found in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if found.readlink() == folder:
                return True
    return False


def test_serve_and_work_exit_with_one_line_when_the_server_cannot_start(data: Path) -> None:
    conf = data / "postgres" / "postgresql.conf"
    good = conf.read_text()
    try:
        with serving(data, give_up=2) as (server, _), everafter(data, "work", give_up=2) as worker:
            worker.wait_for(r"(mail stays in the outbox)")
            conf.write_text(good + "\nshared_buffers = 'nonsense'\n")
            kill(data)
            for process in (server, worker):
                assert process.ended() == 4, process.said
                errors = [line for line in process.lines if line.startswith("error:")]
                assert (
                    len(errors) == 1
                    and "embedded PostgreSQL" in errors[0]
                    and "could not be restarted" in errors[0]
                )
                assert "configuration file" in errors[0], "the server's own reason is shown"
                assert process.lines[-1] == errors[0], process.said
    finally:
        conf.write_text(good)
    with everafter(data, "migrate") as process:
        assert process.ended() == 0, "fixed, it starts: " + process.said


def test_a_removed_data_folder_is_not_created_again(place: Path) -> None:
    folder = place / "emptied"
    with serving(folder, give_up=1) as (server, _):
        (folder / "postgres" / "PG_VERSION").rename(folder / "kept")
        kill(folder)
        assert server.ended() == 4
        assert "no longer contains a database" in server.lines[-1]


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 128 MB."""
    disk = Path(tempfile.mkdtemp(dir=place))
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(disk)],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets us mount no file system of a bounded size")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_the_server_restarts_when_a_full_disk_has_space_again(small_disk: Path) -> None:
    data, ballast = small_disk / "data", small_disk / "ballast"
    with serving(data) as (server, client):
        _fill(ballast)
        kill(data)
        server.wait_for(r"(PostgreSQL has stopped)")
        assert client.get("/readyz").status_code == 503 and client.get("/livez").status_code == 200
        ballast.unlink()
        wait_until(lambda: is_ready(client), PATIENCE)
        assert server.end() == 0, server.said
    assert has_stopped(data)


def test_a_disk_that_stays_full_ends_the_process(small_disk: Path) -> None:
    data = small_disk / "data"
    with serving(data, give_up=2) as (server, _):
        _fill(small_disk / "ballast")
        kill(data)
        assert server.ended() == 4, server.said
        assert "No space left on device" in server.lines[-1]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"\0")
        except OSError:
            pass
