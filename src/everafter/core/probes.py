"""`/livez`, `/readyz`, `/metrics`: how the program itself is doing."""

import asyncio
from collections import defaultdict
from typing import Any, Literal, LiteralString

import msgspec
import psycopg
from litestar import Response, get
from litestar.datastructures import State
from psycopg_pool import PoolClosed, PoolTimeout

from everafter.core.db import Pool, list_migrations
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.shared import Shared

READY_SECONDS = 3.0

# name, help, statement: rows of (labels as text, value). Each must stay cheap with millions of rows
# behind it.
GAUGES: tuple[tuple[str, str, LiteralString], ...] = (
    ("everafter_up", "whether the database answers", "SELECT '', 1"),
    (
        "everafter_ingest_pending_events",
        "events stored and not yet folded",
        "SELECT '', coalesce(max(seq) - min(seq) + 1, 0) FROM events_pending",
    ),
    (
        "everafter_ingest_lag_seconds",
        "age of the oldest event that is stored and not yet folded",
        "SELECT '', coalesce(extract(epoch FROM clock_timestamp() -"
        " (SELECT received_at FROM events_pending ORDER BY seq LIMIT 1)), 0)::float8",
    ),
    (
        "everafter_rejects",
        "events refused and kept for a person to see",
        "SELECT format('code=\"%s\"', code), count(*) FROM rejects GROUP BY code",
    ),
    (
        "everafter_event_types",
        "names of events seen; the rarest are forgotten beyond some thousand",
        "SELECT '', count(*) FROM event_types",
    ),
    (
        "everafter_suppliers_beyond_features",
        "suppliers who used more features than their row keeps, of those that no playbook names",
        "SELECT '', count(*) FROM supplier_activity WHERE features_beyond",
    ),
    (
        "everafter_outbox_messages",
        "messages not yet handed over, by state, and those nobody can be sure of",
        "SELECT format('status=\"%s\"', status), count(*) FROM outbox"
        " WHERE status IN ('queued', 'claimed', 'handing', 'in_doubt', 'dead') GROUP BY status",
    ),
    (
        "everafter_mail_refused_seconds",
        "how long the mail server has refused our mail as a whole; 0 while it takes it",
        "SELECT '', coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 FROM mail_trouble",
    ),
    (
        "everafter_mail_events",
        "what was reported of messages after they were handed over, by type",
        "SELECT format('type=\"%s\"', type), count(*) FROM mail_events GROUP BY type",
    ),
    (
        "everafter_suppressed_addresses",
        "addresses that get no mail, or none of a topic, by who says so",
        "SELECT format('source=\"%s\"', source), count(*) FROM suppressions GROUP BY source",
    ),
    (
        "everafter_outbox_oldest_due_seconds",
        "age of the oldest message that could have been sent",
        "SELECT '', coalesce(extract(epoch FROM clock_timestamp() - min(send_after)), 0)::float8 FROM outbox"
        " WHERE status IN ('queued', 'claimed', 'handing') AND send_after <= now()",
    ),
    (
        "everafter_calendar_unread_events",
        "events in CSMs' calendars that could not be read in full",
        "SELECT '', coalesce(sum(unread), 0) FROM calendar_feeds",
    ),
    (
        "everafter_calendars_failing",
        "CSMs' calendars that could not be read at the last try",
        "SELECT '', count(*) FROM calendar_feeds WHERE failure IS NOT NULL",
    ),
)


class Counters:
    """Counts since the start of this process: name and labels → number."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], float] = defaultdict(float)

    def add(self, name: str, amount: float = 1, labels: str = "") -> None:
        self._values[name, labels] += amount

    def lines(self) -> list[str]:
        out: list[str] = []
        for name in sorted({name for name, _ in self._values}):
            out.append(f"# TYPE {name} counter")
            out += [
                _line(name, labels, value)
                for (key, labels), value in sorted(self._values.items())
                if key == name
            ]
        return out


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}"


class Alive(msgspec.Struct):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct):
    """schema: the newest migration of the database."""

    status: Literal["ready"]
    schema: int


@get("/livez", operation_id="isAlive", tags=["program"], sync_to_thread=False)
def livez() -> Alive:
    """Whether the process answers; says nothing of the database."""
    return Alive()


@get("/readyz", operation_id="isReady", tags=["program"])
async def readyz(state: State) -> Ready:
    """Whether work can be done: the database answers and has this program's schema."""
    shared: Shared = state.shared
    return await shared.run("ready", lambda: _look_ready(state.pool))


async def _look_ready(pool: Pool) -> Ready:
    try:
        async with asyncio.timeout(READY_SECONDS), pool.connection(timeout=READY_SECONDS) as conn:
            cursor = await conn.execute("SELECT max(version) FROM migrations")
            row = await cursor.fetchone()
    except (TimeoutError, PoolTimeout, PoolClosed, psycopg.Error) as error:
        raise DatabaseUnavailableError("the database does not answer") from error
    version, needed = row[0] if row else None, list_migrations()[-1][0]
    if version != needed:
        raise DatabaseUnavailableError(
            f"the schema is at {version}, this program needs {needed}: `everafter migrate`"
        )
    return Ready("ready", needed)


@get("/metrics", include_in_schema=False)
async def metrics(state: State) -> Response[str]:
    """Counts and ages in the Prometheus text format."""
    counters: Counters = state.counters
    shared: Shared = state.shared
    lines = counters.lines() + await shared.run("gauges", lambda: _read_gauges(state.pool))
    text = "\n".join(lines) + "\n"
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _read_gauges(pool: Pool) -> list[str]:
    lines: list[str] = []
    try:
        async with asyncio.timeout(READY_SECONDS), pool.connection(timeout=READY_SECONDS) as conn:
            for name, meaning, statement in GAUGES:
                cursor = await conn.execute(statement)
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
                lines += [
                    _line(name, labels, float(value)) for labels, value in await cursor.fetchall()
                ]
    except (TimeoutError, PoolTimeout, PoolClosed, psycopg.Error):
        lines += ["# TYPE everafter_up gauge", "everafter_up 0"]
    return lines


handlers: list[Any] = [livez, readyz, metrics]
