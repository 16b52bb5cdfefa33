"""Housekeeping of events, beside the web server: partitions of coming months, waiting events, old
rows."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from everafter.core.db import DATABASE_ERRORS, Connection, Pool
from everafter.core.errors import first_line
from everafter.core.idempotency import delete_idempotency_keys
from everafter.events.ingest import take_in_waiting
from everafter.events.queries import (
    delete_old_rejects,
    ensure_months,
    forget_rare_types,
    list_waiting_suppliers,
)

log = logging.getLogger("everafter.housekeeping")

HOUSEKEEPING_SECONDS = 60.0
IDEMPOTENCY_HOURS = 7 * 24
MONTHS_AHEAD = 2
REJECTS_DAYS = 90
MAX_TYPES = 5_000


async def prepare_months(pool: Pool) -> None:
    """Make the partitions of this month and the next before the first event comes; without a
    database `housekeep` does it later.

    A partition that is attached while a row is on its way to events_other makes that insert be
    tried again."""
    try:
        async with pool.connection() as conn:
            await conn.set_autocommit(True)
            try:
                now = datetime.now(UTC)
                await ensure_months(
                    conn, [now + timedelta(days=31 * ahead) for ahead in range(MONTHS_AHEAD + 1)]
                )
            finally:
                await conn.set_autocommit(False)
    except Exception:
        log.exception(
            "the months of events could not be prepared; it is tried again in %.0f s",
            HOUSEKEEPING_SECONDS,
        )


async def housekeep(pool: Pool, fold: Callable[[], None]) -> None:
    """Until cancelled, once a minute: partitions for the months to come, events whose supplier is
    known by now, what is old.

    Events of a supplier who is identified over HTTP or imported come in with that; this is for
    suppliers the platform writes into the table by itself, and for an event and its supplier's
    identify that crossed each other."""
    while True:
        try:
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                try:
                    if await run_housekeeping(conn, datetime.now(UTC)):
                        fold()
                finally:
                    await conn.set_autocommit(False)
        except DATABASE_ERRORS as error:
            log.warning("housekeeping waits for the database: %s", first_line(error))
        except Exception:
            log.exception("housekeeping failed; it is tried again in %.0f s", HOUSEKEEPING_SECONDS)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def run_housekeeping(conn: Connection, now: datetime) -> int:
    """One round of `housekeep`; `conn` in autocommit. Returns how many waiting events were taken
    in."""
    await ensure_months(
        conn, [now + timedelta(days=31 * ahead) for ahead in range(MONTHS_AHEAD + 1)]
    )
    taken = 0
    waiting = sorted(await list_waiting_suppliers(conn))
    for start in range(0, len(waiting), 1000):
        async with conn.transaction():
            taken += await take_in_waiting(conn, waiting[start : start + 1000])
    await delete_old_rejects(conn, REJECTS_DAYS)
    await forget_rare_types(conn, MAX_TYPES)
    await delete_idempotency_keys(conn, now - timedelta(hours=IDEMPOTENCY_HOURS))
    return taken
