"""`everafter work`: sends the outbox and runs the periodic duties of every slice."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from everafter.core.db import DATABASE_ERRORS, Pool, database_url, make_pool, migrate
from everafter.core.embedded import supervised
from everafter.core.errors import DatabaseUnavailableError, EverafterError
from everafter.core.settings import Settings, load_settings
from everafter.daily.jobs import run_when_due
from everafter.feeds.jobs import WATCH_SECONDS, watch_feeds
from everafter.mail.jobs import read_bounces, send_due, sweep_outbox
from everafter.mail.model import Tally
from everafter.mail.smtp import mail_server
from everafter.playbook.loading import load_playbook
from everafter.recommendations.jobs import measure_when_due
from everafter.support.jobs import read_due_calendars
from everafter.tickets.jobs import watch_tickets

log = logging.getLogger("everafter.work")

GRACE_SECONDS = 20.0
"""Seconds that a worker has to finish after it is asked to stop. Service managers usually kill it
after 30 seconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every duty gets. `url` is the database's, for jobs that open their own connections."""

    pool: Pool
    settings: Settings
    url: str


@dataclass(frozen=True, slots=True)
class Duty:
    """A job that every worker runs every `seconds`; it must be safe to run twice at once.

    `run` returns a line for the log, or null when it had nothing to do. An error is logged and
    does not stop the other duties.
    """

    name: str
    seconds: float
    run: Callable[[Work], Awaitable[str | None]]


DUTIES = (
    Duty("outbox", 5, lambda work: sweep_outbox(work.pool)),
    Duty("bounces", 60, lambda work: read_bounces(work.pool, work.settings)),
    Duty("feeds", WATCH_SECONDS, lambda work: watch_feeds(work.pool)),
    Duty("daily run", 60, lambda work: run_when_due(work.url, work.settings)),
    Duty("recommendations", 3600, lambda work: measure_when_due(work.pool, work.settings)),
    Duty("calendars", 60, lambda work: read_due_calendars(work.pool)),
    Duty("tickets", 60, lambda work: watch_tickets(work.url, work.settings)),
)
"""All duties of the worker, besides sending."""


# ── the loop ──────────────────────────────────────────────────────────────────────────────────────


async def run_duty(work: Work, duty: Duty) -> None:
    """Run one duty once; log its result or its error."""
    try:
        if result := await duty.run(work):
            log.info("%s: %s", duty.name, result)
    except DATABASE_ERRORS as error:
        log.warning("%s: the database does not answer: %s", duty.name, error)
    except EverafterError as error:
        log.error("%s: %s; it will be tried again", duty.name, error.message)
    except Exception:
        log.exception("%s failed; it will be tried again", duty.name)


async def run_worker(work: Work, stop: asyncio.Event, *, senders: int = 4) -> Tally:
    """Send and run the duties until `stop` is set, then finish what has begun within
    `GRACE_SECONDS`.

    Without EVERAFTER_SMTP_URL only the duties run.
    """
    sending = asyncio.create_task(_send(work, stop, senders))
    tasks: list[asyncio.Task[Any]] = [
        sending,
        *(asyncio.create_task(_repeat(work, duty, stop)) for duty in DUTIES),
    ]
    # ends when asked to stop, or when sending fails for good
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return Tally() if sending.cancelled() else sending.result()


async def _send(work: Work, stop: asyncio.Event, senders: int) -> Tally:
    if work.settings.smtp_url:
        return await send_due(work.pool, work.settings, senders=senders, stop=stop)
    await stop.wait()
    return Tally()


async def _repeat(work: Work, duty: Duty, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await run_duty(work, duty)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), duty.seconds)


# ── the command ───────────────────────────────────────────────────────────────────────────────────


def register(app: typer.Typer) -> None:
    """Add `work`."""
    app.command("work")(work_command)


def work_command(
    once: Annotated[
        bool, typer.Option("--once", help="Run each duty once, send what is due, and exit.")
    ] = False,
    senders: Annotated[
        int, typer.Option(min=1, max=50, help="Connections to the mail server at once.")
    ] = 4,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for scripts.")
    ] = False,
) -> None:
    """Send mail from the outbox, and run the periodic jobs: the daily run, bounces, calendars,
    ticket tasks.

    Several workers may run at once, on several machines. SIGTERM stops a worker within 30 seconds,
    after it has finished the messages it was sending."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("everafter").setLevel(logging.INFO)
    settings = load_settings()
    load_playbook(settings)  # so that a worker with an invalid playbook does not start
    tally = asyncio.run(_work(settings, once=once, senders=senders))
    if as_json:
        sys.stdout.write(json.dumps(asdict(tally)) + "\n")
    elif once and settings.smtp_url:
        typer.echo(describe_tally(tally))


async def _work(settings: Settings, *, once: bool, senders: int) -> Tally:
    server = mail_server(settings)
    url = database_url(settings)
    await migrate(url)
    if server is None:
        log.warning("EVERAFTER_SMTP_URL is not set: mail stays in the outbox; other duties run")
    else:
        log.info("sending through %s as %s", server.place, server.sender)
    async with make_pool(url, size=senders + 2) as pool:
        work = Work(pool, settings, url)
        if not once:
            return await _run_until_stopped(work, senders)
        for duty in DUTIES:
            await run_duty(work, duty)
        return await send_due(pool, settings, senders=senders) if server else Tally()


async def _run_until_stopped(work: Work, senders: int) -> Tally:
    """Run the worker until SIGTERM or SIGINT; restart an embedded PostgreSQL that dies.

    Raises:
        DatabaseUnavailableError: the embedded PostgreSQL cannot be restarted.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    failures: list[DatabaseUnavailableError] = []

    def fail(error: DatabaseUnavailableError) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(stop.set)

    def reconnect() -> None:
        asyncio.run_coroutine_threadsafe(work.pool.check(), loop)

    data = None if work.settings.database_url else work.settings.data
    with supervised(data, fail, reconnect):
        tally = await run_worker(work, stop, senders=senders)
    if failures:
        raise failures[0]
    return tally


_OUTCOMES = {
    "accepted": "accepted by the mail server",
    "deferred": "deferred",
    "dead": "rejected permanently",
    "unknown": "handed over without an answer",
    "skipped": "skipped",
    "returned": "returned to the queue",
}


def describe_tally(tally: Tally) -> str:
    """What became of the messages, as one line.

    >>> describe_tally(Tally(accepted=2, dead=1))
    '2 accepted by the mail server, 1 rejected permanently'
    """
    parts = [f"{number} {_OUTCOMES[name]}" for name, number in asdict(tally).items() if number]
    return ", ".join(parts) or "nothing was due"
