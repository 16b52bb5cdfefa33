"""Housekeeping of events in the web server: partitions for coming months, waiting events, old
rows."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from everafter.core.db import DATABASE_ERRORS, Connection, Pool
from everafter.core.errors import first_line
from everafter.core.idempotency import delete_idempotency_keys
from everafter.events.ingest import store_waiting
from everafter.events.queries import (
    delete_old_rejects,
    delete_rare_types,
    ensure_months,
    list_waiting_suppliers,
)

log = logging.getLogger("everafter.housekeeping")

HOUSEKEEPING_SECONDS = 60.0
IDEMPOTENCY_HOURS = 7 * 24
MONTHS_AHEAD = 2
REJECTS_DAYS = 90
MAX_TYPES = 5_000


async def prepare_months(pool: Pool) -> None:
    """Create the partitions of this and the coming months before the first event arrives. If the
    database is unavailable, `housekeep` does it later.

    Attaching a partition while a row is inserted into events_other makes that insert retry.
    """
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
            "partitions for events could not be created; retrying in %.0f s",
            HOUSEKEEPING_SECONDS,
        )


async def housekeep(pool: Pool, fold: Callable[[], None]) -> None:
    """Once a minute until cancelled: create partitions, store events whose supplier is known by
    now, delete old rows.

    Waiting events are also stored when their supplier is identified or imported. This handles
    suppliers that the platform writes into the table itself, and an event that crossed its
    supplier's identify call.
    """
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
            log.exception("housekeeping failed; retrying in %.0f s", HOUSEKEEPING_SECONDS)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def run_housekeeping(conn: Connection, now: datetime) -> int:
    """Run housekeeping once; `conn` is in autocommit. Returns how many waiting events were
    stored."""
    await ensure_months(
        conn, [now + timedelta(days=31 * ahead) for ahead in range(MONTHS_AHEAD + 1)]
    )
    stored = 0
    waiting = sorted(await list_waiting_suppliers(conn))
    for start in range(0, len(waiting), 1000):
        async with conn.transaction():
            stored += await store_waiting(conn, waiting[start : start + 1000])
    await delete_old_rejects(conn, REJECTS_DAYS)
    await delete_rare_types(conn, MAX_TYPES)
    await delete_idempotency_keys(conn, now - timedelta(hours=IDEMPOTENCY_HOURS))
    return stored
