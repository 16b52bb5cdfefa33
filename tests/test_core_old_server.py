"""Every command refuses a PostgreSQL that is too old, with one line."""

import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from everafter.core.db import MIN_VERSION

EVERAFTER = str(Path(sys.executable).with_name("everafter"))


class OldServer(threading.Thread):
    """As much of PostgreSQL 15's end of the wire as it takes to be connected to."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://somebody@127.0.0.1:{self.listener.getsockname()[1]}/platform"

    def run(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                self._greet(conn)

    @staticmethod
    def _greet(conn: socket.socket) -> None:
        def message(kind: bytes, body: bytes) -> bytes:
            return kind + struct.pack("!i", len(body) + 4) + body

        while len(head := conn.recv(8, socket.MSG_WAITALL)) == 8:
            size, code = struct.unpack("!ii", head)
            if code in (80877103, 80877104):  # asks for encryption, of either kind
                conn.sendall(b"N")
                continue
            conn.recv(size - 8, socket.MSG_WAITALL)
            reported = {
                "server_version": "15.18 (Debian 15.18-0+deb12u1)",
                "client_encoding": "UTF8",
                "TimeZone": "UTC",
            }
            status = b"".join(
                message(b"S", f"{name}\0{value}\0".encode()) for name, value in reported.items()
            )
            conn.sendall(message(b"R", struct.pack("!i", 0)) + status + message(b"Z", b"I"))
            conn.recv(65536)
            return


@pytest.fixture(scope="module")
def reported() -> Iterator[str]:
    server = OldServer()
    server.start()
    yield server.url
    server.listener.close()


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    """A PostgreSQL 15 as Debian brings it, where it is installed."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not (programs / "initdb").exists():
        pytest.skip("no PostgreSQL 15 is installed here; the one above speaks as it does")
    folder = Path(tempfile.mkdtemp(prefix="everafter-old-"))
    user = None
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(folder, user, -1)
    try:
        command = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust"]
        subprocess.run(command, user=user, check=True, capture_output=True, cwd=folder)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        start = [
            programs / "pg_ctl",
            "-D",
            folder / "data",
            "-w",
            "-l",
            folder / "log",
            "-o",
            options,
            "start",
        ]
        subprocess.run(start, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        yield f"postgresql://postgres@/postgres?host={folder}"
        stop = [programs / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop"]
        subprocess.run(stop, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def call(url: str, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"],
        "EVERAFTER_DATA": str(tmp_path),
        "EVERAFTER_DATABASE_URL": url,
    }
    return subprocess.run(
        [EVERAFTER, *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "words", [("migrate",), ("serve", "--port", "0"), ("work", "--once"), ("run",), ("key", "list")]
)
def test_an_old_server_is_refused_with_one_line(
    reported: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = call(reported, tmp_path, *words)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert (
        line.startswith("error: PostgreSQL 15.18 ")
        and f"needs PostgreSQL {MIN_VERSION} or newer" in line
    )


def test_doctor_says_what_to_do_about_an_old_server(reported: str, tmp_path: Path) -> None:
    done = call(reported, tmp_path, "doctor")
    said = " ".join(done.stdout.split())
    assert (
        done.returncode == 1
        and "PostgreSQL 15.18" in said
        and "move the database to PostgreSQL 16 or newer" in said
    )
    assert "playbook" in said and not done.stderr


def test_a_real_old_server_is_refused(real: str, tmp_path: Path) -> None:
    for words in (("migrate",), ("run",)):
        done = call(real, tmp_path, *words)
        assert (
            done.returncode == 4
            and done.stderr.count("\n") == 1
            and "error: PostgreSQL 15." in done.stderr
        )
    assert "needs PostgreSQL 16" in " ".join(call(real, tmp_path, "doctor").stdout.split())
