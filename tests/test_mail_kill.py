"""The promise: handed to the mail server exactly once per decision, whatever happens to the worker.

EVERAFTER_TEST_MESSAGES and EVERAFTER_TEST_KILLS make the drill longer than a test run should be.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers_mail import Sink, add_messages, sink, sql, wait_until

MESSAGES = int(os.environ.get("EVERAFTER_TEST_MESSAGES", "150"))
KILLS = int(os.environ.get("EVERAFTER_TEST_KILLS", "5"))
LEASE = 2
# What a killed worker had claimed waits for its lease, two minutes; a test need not.
SHORTEN = "UPDATE outbox SET lease_until = least(lease_until, now() + interval '1 s') WHERE status = 'claimed'"
# One that was frozen in the midst of a transaction has its rows locked: who waited for them could not let it go on.
SHORTEN_UNLOCKED = (
    SHORTEN + " AND id IN (SELECT id FROM outbox WHERE status = 'claimed' FOR UPDATE SKIP LOCKED)"
)


class Worker:
    """`everafter work` as a process of its own; what it says goes to a file."""

    def __init__(self, database: str, inbox: Sink, log: Path, senders: int) -> None:
        environment = os.environ | {
            "EVERAFTER_DATABASE_URL": database,
            "EVERAFTER_DATA": str(log.parent),
            "EVERAFTER_SECRET": "a-secret-for-tests-and-for-nothing-else",
            "EVERAFTER_SMTP_URL": inbox.url(lease=LEASE, timeout=1),
        }
        command = [
            sys.executable,
            "-c",
            "from everafter.cli import main; main()",
            "work",
            "--senders",
            str(senders),
        ]
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Any]:
    """Starts workers, and ends those that are left."""
    workers: list[Worker] = []

    def begin(inbox: Sink, senders: int) -> Worker:
        workers.append(Worker(database, inbox, tmp_path / "work.log", senders))
        return workers[-1]

    yield begin
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait()
    print((tmp_path / "work.log").read_text(encoding="utf-8")[-4000:])


def by_status(database: str) -> dict[str, int]:
    return dict(sql(database, "SELECT status, count(*) FROM outbox GROUP BY status"))  # pyright: ignore


def settled(database: str) -> bool:
    return not sql(
        database, "SELECT 1 FROM outbox WHERE status IN ('queued', 'claimed', 'handing') LIMIT 1"
    )


def account_for(database: str, inbox: Sink, kills: int, senders: int) -> Counter[str]:
    """Every row has ended, and the sink agrees with each: accepted means one copy, in doubt means one or none."""
    copies = inbox.count()
    rows = sql(database, "SELECT id::text, status FROM outbox")
    doubled = [row for row, number in copies.items() if number > 1]
    assert doubled == [], "a message came twice"
    assert set(copies) <= {row for row, _ in rows}
    lost = [row for row, status in rows if status == "accepted" and not copies[row]]
    assert lost == [], "a message counts as accepted and never came"
    ends = Counter(status for _, status in rows)
    assert set(ends) <= {"accepted", "in_doubt"}, ends
    assert ends["in_doubt"] <= kills * senders, (
        "only what a killed worker had in the air may be in doubt"
    )
    came = sum(1 for row, status in rows if status == "in_doubt" and copies[row])
    assert sum(copies.values()) == ends["accepted"] + came
    print(
        f"{len(rows)} messages, {kills} kills, {senders} senders: {dict(ends)}, {came} of those in doubt had come"
    )
    return ends


@pytest.mark.parametrize("senders", [1, 4])
def test_a_killed_worker_sends_no_message_twice_and_loses_none(
    database: str, start: Any, senders: int
) -> None:
    dice, kills = random.Random(senders), 0
    add_messages(database, MESSAGES)
    with sink(delay=0.02) as inbox:
        worker = start(inbox, senders)
        for kill in range(KILLS):
            target = len(inbox.messages) + dice.randint(1, max(1, MESSAGES // (2 * KILLS)))
            wait_until(lambda target=target: len(inbox.messages) >= target or settled(database), 60)
            time.sleep(dice.random() * 0.08)
            if settled(database):
                break
            worker.signal(signal.SIGKILL)
            assert worker.process.wait() == -signal.SIGKILL
            kills = kill + 1
            sql(database, SHORTEN)
            worker = start(inbox, senders)
        wait_until(lambda: settled(database), 60)
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
        time.sleep(0.1)
        account_for(database, inbox, kills, senders)
    assert kills > KILLS // 2, "the messages must last for the kills"


def test_a_worker_suspended_beyond_its_lease_sends_nothing_twice(database: str, start: Any) -> None:
    """A worker stopped by SIGSTOP with messages in the air, and another that takes over; then the first goes on.

    The mail server waits 1 s for input and the lease is 2 s: what it wakes up with, nobody listens to any more.
    """
    dice = random.Random(3)
    add_messages(database, MESSAGES)

    def through() -> bool:
        """What lost its connection before the message was begun is put off by a minute; a test need not wait for it."""
        sql(
            database,
            "UPDATE outbox SET send_after = now() WHERE status = 'queued' AND send_after > now()",
        )
        return settled(database)

    with sink(delay=0.1, timeout=1) as inbox:
        first, second = start(inbox, 2), start(inbox, 2)
        for frozen in (first, second):
            target = len(inbox.messages) + dice.randint(5, 20)
            wait_until(lambda target=target: len(inbox.messages) >= target, 60)
            assert not settled(database), "the messages must last for the freezes"
            frozen.signal(signal.SIGSTOP)
            sql(database, SHORTEN_UNLOCKED)
            time.sleep(LEASE + 1.5)
            frozen.signal(signal.SIGCONT)
        wait_until(through, 60)
        for worker in (first, second):
            worker.signal(signal.SIGTERM)
            assert worker.process.wait(30) == 0
        account_for(database, inbox, 2, 2)


def test_sigterm_under_load_finishes_open_messages(database: str, start: Any) -> None:
    add_messages(database, MESSAGES)
    with sink(delay=0.3) as inbox:
        worker = start(inbox, 4)
        wait_until(lambda: len(inbox.messages) >= 10, 30)
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
        assert time.monotonic() - began < 10
        ends = by_status(database)
        assert set(ends) == {"accepted", "queued"}
        assert ends["accepted"] == len(inbox.messages)
        assert set(inbox.count().values()) == {1}


def test_results_survive_cut_database_connections(database: str, start: Any) -> None:
    """Every connection is cut again and again while messages travel: what was answered is written down all the same."""
    add_messages(database, MESSAGES)
    stop = threading.Event()
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        while not stop.wait(0.4):
            cuts += len(
                sql(
                    database,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
            )

    with sink(delay=0.02) as inbox:
        worker = start(inbox, 4)
        wait_until(lambda: len(inbox.messages) >= 5, 30)
        cutter = threading.Thread(target=cut)
        cutter.start()
        time.sleep(3)
        stop.set()
        cutter.join()
        wait_until(lambda: settled(database), 60)
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
        assert cuts >= 5
        # The worker lived, so it knows what became of every message but those whose `handing` it could not see committed.
        ends = account_for(database, inbox, 0, 4)
    assert ends["accepted"] == MESSAGES
