"""`/livez`, `/readyz` and `/metrics`: the state of the program."""

import asyncio
from collections import defaultdict
from typing import Any, Literal

import msgspec
import psycopg
from litestar import Response, get
from litestar.datastructures import State
from psycopg_pool import PoolClosed, PoolTimeout

from everafter.core.db import Pool, list_migrations
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.gauges import Gauge
from everafter.core.single_flight import SingleFlight

READY_SECONDS = 3.0

UP = Gauge("everafter_up", "whether the database answers", "SELECT '', 1")


class Counters:
    """Counters since the start of this process, by name and labels."""

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
    """A sample with all digits of its value: a rounded counter would jump and stand still.

    >>> _line("a_total", "", 1234567.0), _line("b", 'kind="x"', 0.25)
    ('a_total 1234567', 'b{kind="x"} 0.25')
    """
    number = str(int(value)) if float(value).is_integer() else repr(value)
    return f"{name}{{{labels}}} {number}" if labels else f"{name} {number}"


class Alive(msgspec.Struct):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct):
    """schema: the number of the latest migration."""

    status: Literal["ready"]
    schema: int


@get(
    "/livez",
    operation_id="isAlive",
    summary="Liveness probe",
    tags=["program"],
    sync_to_thread=False,
)
def livez() -> Alive:
    """Whether the process answers. Does not check the database."""
    return Alive()


@get("/readyz", operation_id="isReady", summary="Readiness probe", tags=["program"])
async def readyz(state: State) -> Ready:
    """Whether requests can be handled: the database answers and has this program's schema."""
    shared: SingleFlight = state.single_flight
    return await shared.run("ready", lambda: _check_ready(state.pool))


async def _check_ready(pool: Pool) -> Ready:
    try:
        async with asyncio.timeout(READY_SECONDS), pool.connection(timeout=READY_SECONDS) as conn:
            cursor = await conn.execute("SELECT max(version) FROM migrations")
            row = await cursor.fetchone()
    except (TimeoutError, PoolTimeout, PoolClosed, psycopg.Error) as error:
        raise DatabaseUnavailableError("the database does not answer") from error
    version, needed = row[0] if row else None, list_migrations()[-1][0]
    if version != needed:
        raise DatabaseUnavailableError(
            f"the schema is at {version}, this program needs {needed}: run `everafter migrate`"
        )
    return Ready("ready", needed)


@get("/metrics", include_in_schema=False)
async def metrics(state: State) -> Response[str]:
    """Counters and gauges in the Prometheus text format."""
    counters: Counters = state.counters
    shared: SingleFlight = state.single_flight
    lines = counters.lines() + await shared.run(
        "gauges", lambda: _read_gauges(state.pool, (UP, *state.gauges))
    )
    text = "\n".join(lines) + "\n"
    return Response(text, media_type="text/plain; version=0.0.4")


async def _read_gauges(pool: Pool, gauges: tuple[Gauge, ...]) -> list[str]:
    lines: list[str] = []
    try:
        async with asyncio.timeout(READY_SECONDS), pool.connection(timeout=READY_SECONDS) as conn:
            for gauge in gauges:
                cursor = await conn.execute(gauge.statement)
                lines += [f"# HELP {gauge.name} {gauge.help}", f"# TYPE {gauge.name} gauge"]
                lines += [
                    _line(gauge.name, labels, float(value))
                    for labels, value in await cursor.fetchall()
                ]
    except (TimeoutError, PoolTimeout, PoolClosed, psycopg.Error):
        lines += [f"# TYPE {UP.name} gauge", f"{UP.name} 0"]
    return lines


handlers: list[Any] = [livez, readyz, metrics]
