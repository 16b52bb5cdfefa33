"""Store events exactly once, and read them."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, LiteralString

import polars as pl
from psycopg import AsyncCursor, errors

from everafter.core.db import Connection, copy_frame
from everafter.core.errors import OverloadedError
from everafter.core.gauges import Gauge
from everafter.events import model
from everafter.events.model import StoredCounts
from everafter.events.rules import read_waiting

# Stores what is in `sent`. One statement: message ids decide which events are new, and new ones go
# to events and events_pending together. Ids are inserted in order, so that overlapping batches wait
# for each other instead of deadlocking. DISTINCT ON keeps the first of a message sent twice in one
# batch.
_STORE_SENT: LiteralString = """
incoming AS MATERIALIZED (
  SELECT DISTINCT ON (supplier_id, message_hash) *
  FROM (
    SELECT
      supplier_id,
      md5(message_id)::uuid AS message_hash,
      message_id,
      type,
      occurred_at,
      received_at,
      properties,
      position
    FROM sent
  ) AS hashed
  ORDER BY supplier_id, message_hash, position
), fresh AS (
  INSERT INTO event_ids (supplier_id, message_hash)
  SELECT supplier_id, message_hash
  FROM incoming
  ORDER BY supplier_id, message_hash
  ON CONFLICT DO NOTHING
  RETURNING supplier_id, message_hash
), new AS MATERIALIZED (
  SELECT
    supplier_id,
    message_id,
    type,
    occurred_at,
    received_at,
    properties::jsonb AS properties,
    position
  FROM incoming
  JOIN fresh USING (supplier_id, message_hash)
  WHERE type IS NOT NULL
), stored AS (
  INSERT INTO events (supplier_id, message_id, type, occurred_at, received_at, properties)
  SELECT supplier_id, message_id, type, occurred_at, received_at, properties
  FROM new
  ORDER BY position
), pending AS (
  INSERT INTO events_pending (supplier_id, type, occurred_at, received_at, properties)
  SELECT supplier_id, type, occurred_at, received_at, properties
  FROM new
  ORDER BY position
)
SELECT count(*) FROM fresh
"""

_STORE: LiteralString = f"""
WITH sent AS (
  SELECT supplier_id, message_id, type, occurred_at, received_at, properties, position
  FROM unnest(
    %s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[]
  ) WITH ORDINALITY
    AS arrays (supplier_id, message_id, type, occurred_at, received_at, properties, position)
), {_STORE_SENT}
"""

_STORE_COPIED: LiteralString = f"""
WITH sent AS (
  SELECT supplier_id, message_id, type, occurred_at, received_at, properties, position
  FROM incoming_events
), {_STORE_SENT}
"""


async def store_events(conn: Connection, frame: pl.DataFrame) -> StoredCounts:
    """Store the events that are new, for batches of up to a few thousand.

    Args:
        conn: in a transaction, which the caller commits.
        frame: STORED_SCHEMA; of a message with a null `type` only the id is stored.
    """
    if frame.is_empty():
        return StoredCounts(0, 0)
    columns = frame.select(
        "supplier_id",
        "message_id",
        "type",
        _as_text("occurred_at"),
        _as_text("received_at"),
        "properties",
    )
    values = [column.to_list() for column in columns.iter_columns()]
    new = await _count_new(conn, lambda: conn.execute(_STORE, values))
    return StoredCounts(new, frame.height - new)


async def list_stored(conn: Connection, messages: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The messages among these, as (supplier id, message id), that were stored before."""
    cursor = await conn.execute(
        """
        SELECT supplier_id::text, message_id
        FROM unnest(%s::uuid[], %s::text[]) AS sent (supplier_id, message_id)
        JOIN event_ids USING (supplier_id)
        WHERE message_hash = md5(message_id)::uuid
        """,
        [[supplier_id for supplier_id, _ in messages], [message_id for _, message_id in messages]],
    )
    return {(supplier_id, message_id) for supplier_id, message_id in await cursor.fetchall()}


_MAX_RETRIES = 50


async def _count_new(conn: Connection, store: Callable[[], Awaitable[AsyncCursor[Any]]]) -> int:
    """Run `store` and return how many events were new.

    Inserting a row into events_other fails when another session attaches the partition of its month
    at that moment; the retry inserts it there. Each retry needs another new month, so few are
    needed.
    """
    retries = 0
    while True:
        # not conn.transaction(): without an open transaction, that would commit
        await conn.execute("SAVEPOINT storing")
        try:
            row = await (await store()).fetchone()
            await conn.execute("RELEASE SAVEPOINT storing")
            return int(row[0]) if row else 0
        except errors.CheckViolation as error:
            await conn.execute("ROLLBACK TO SAVEPOINT storing")
            retries += 1
            if retries == _MAX_RETRIES:
                raise OverloadedError(
                    "partitions for these events are being created; send them again",
                    retry_after=1,
                ) from error


def _as_text(name: str) -> pl.Expr:
    return pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


async def store_events_in_bulk(conn: Connection, frame: pl.DataFrame) -> StoredCounts:
    """`store_events` for tens of thousands of events, with COPY into a temporary table.

    Measured in ms, arrays against COPY: 100 rows 9 and 22, 1,000 rows 58 and 41, 10,000 rows 530
    and 300, 50,000 rows 2,700 and 1,900. An ANALYZE of the temporary table made 50,000 rows slower
    by a third.
    """
    if frame.is_empty():
        return StoredCounts(0, 0)
    await conn.execute(
        """
        CREATE TEMP TABLE IF NOT EXISTS incoming_events (
          position bigint,
          supplier_id uuid,
          message_id text,
          type text,
          occurred_at timestamptz,
          received_at timestamptz,
          properties jsonb
        ) ON COMMIT DELETE ROWS
        """
    )
    await copy_frame(
        conn, "incoming_events", frame.select(list(model.STORED_SCHEMA)).with_row_index("position")
    )
    new = await _count_new(conn, lambda: conn.execute(_STORE_COPIED))
    await conn.execute("TRUNCATE incoming_events")
    return StoredCounts(new, frame.height - new)


async def ensure_months(conn: Connection, moments: list[datetime]) -> None:
    """Create the partitions for these moments, each in its own short transaction.

    Args:
        conn: in autocommit, so that locks are released after each partition.
    """
    for month in sorted({(at.year, at.month): at for at in moments}.values()):
        try:
            async with conn.transaction():
                await conn.execute("SET LOCAL lock_timeout = '5s'")
                await conn.execute("SELECT ensure_event_month(%s)", [month])
        except (errors.LockNotAvailable, errors.CheckViolation):
            # busy, or events_other has a row of that month by now: events of the month go there
            continue


# ── rejects ───────────────────────────────────────────────────────────────────────────────────────


async def insert_rejects(conn: Connection, rejects: pl.DataFrame, source: str) -> None:
    """Store rejected events. One that waits for its supplier is stored once, however often it is
    sent.

    Args:
        rejects: REJECT_SCHEMA.
        source: 'http', or the name of the file.
    """
    if rejects.is_empty():
        return
    columns = ("code", "reason", "supplier_id", "external_id", "message_id", "payload")
    await conn.execute(
        """
        INSERT INTO rejects (
          source, code, reason, supplier_id, external_id, message_id, payload
        )
        SELECT %s, code, reason, supplier_id, external_id, message_id, payload::jsonb
        FROM unnest(
          %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
        ) AS new (code, reason, supplier_id, external_id, message_id, payload)
        WHERE code <> 'unknown_supplier'
          OR NOT EXISTS (
            SELECT 1
            FROM rejects AS stored
            WHERE stored.code = 'unknown_supplier'
              AND stored.supplier_id = new.supplier_id
              AND stored.message_id = new.message_id
          )
        """,
        [source, *(rejects[name].to_list() for name in columns)],
    )


async def pop_waiting(conn: Connection, supplier_ids: list[str]) -> pl.DataFrame:
    """Delete and return the events that wait for these suppliers, to be stored in the same
    transaction.

    Returns:
        STORED_SCHEMA, in order of arrival.
    """
    if not supplier_ids:
        return pl.DataFrame(schema=model.STORED_SCHEMA)
    cursor = await conn.execute(
        """
        WITH waiting AS (
          DELETE FROM rejects
          WHERE code = 'unknown_supplier'
            AND supplier_id = ANY (%s)
            AND payload IS NOT NULL
          RETURNING id, payload
        )
        SELECT payload::text
        FROM waiting
        ORDER BY id
        """,
        [supplier_ids],
    )
    return read_waiting([payload for (payload,) in await cursor.fetchall()])


async def list_waiting_suppliers(conn: Connection) -> list[str]:
    """The ids of suppliers that events wait for."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT supplier_id
        FROM rejects
        WHERE code = 'unknown_supplier'
        """
    )
    return [supplier_id for (supplier_id,) in await cursor.fetchall()]


async def delete_old_rejects(conn: Connection, days: int) -> int:
    """Delete rejects older than so many days; returns how many."""
    cursor = await conn.execute(
        "DELETE FROM rejects WHERE received_at < now() - make_interval(days => %s)", [days]
    )
    return cursor.rowcount


# ── reading ───────────────────────────────────────────────────────────────────────────────────


async def list_events(
    conn: Connection,
    supplier_id: str,
    kind: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """A supplier's events, latest first, before a (moment, message id)."""
    cursor = await conn.execute(
        """
        SELECT message_id, type, occurred_at, received_at, properties
        FROM events
        WHERE supplier_id = %(supplier_id)s
          AND (%(kind)s::text IS NULL OR type = %(kind)s)
          AND (
            %(at)s::timestamptz IS NULL
            OR (occurred_at, message_id) < (%(at)s, %(message)s)
          )
        ORDER BY occurred_at DESC, message_id DESC
        LIMIT %(limit)s
        """,
        {
            "supplier_id": supplier_id,
            "kind": kind,
            "at": before[0] if before else None,
            "message": before[1] if before else None,
            "limit": limit,
        },
    )
    names = ("message_id", "type", "occurred_at", "received_at", "properties")
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def list_rejects(
    conn: Connection, code: str | None, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Rejects, latest first, before an id."""
    cursor = await conn.execute(
        """
        SELECT
          id,
          received_at,
          source,
          code,
          reason,
          supplier_id,
          external_id,
          message_id,
          payload
        FROM rejects
        WHERE (%(code)s::text IS NULL OR code = %(code)s)
          AND (%(before)s::bigint IS NULL OR id < %(before)s)
        ORDER BY id DESC
        LIMIT %(limit)s
        """,
        {"code": code, "before": before, "limit": limit},
    )
    names = (
        "id",
        "received_at",
        "source",
        "code",
        "reason",
        "supplier_id",
        "external_id",
        "message_id",
        "payload",
    )
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def delete_rare_types(conn: Connection, keep: int) -> int:
    """Delete the rarest types beyond so many, except canonical ones; returns how many.

    A client may send any number of names. Rare names are deleted, not old ones, so that a thousand
    new names do not displace one in use.
    """
    cursor = await conn.execute(
        """
        DELETE FROM event_types
        WHERE type IN (
          SELECT type
          FROM event_types
          WHERE type <> ALL (%s::text[])
          ORDER BY events DESC, type
          OFFSET %s
        )
        """,
        [list(model.CANONICAL), keep],
    )
    return cursor.rowcount


async def list_event_types(conn: Connection) -> list[dict[str, Any]]:
    """Event types, most frequent first."""
    cursor = await conn.execute(
        """
        SELECT type, events, first_at, last_at
        FROM event_types
        ORDER BY events DESC, type
        LIMIT 1000
        """
    )
    names = ("type", "events", "first_at", "last_at")
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


GAUGES = (
    Gauge(
        "everafter_ingest_pending_events",
        "events stored and not yet folded",
        """
        SELECT '', coalesce(max(seq) - min(seq) + 1, 0)
        FROM events_pending
        """,
    ),
    Gauge(
        "everafter_ingest_lag_seconds",
        "age of the oldest event that is stored and not yet folded",
        """
        SELECT '', coalesce(extract(epoch FROM clock_timestamp() - (
          SELECT received_at FROM events_pending ORDER BY seq LIMIT 1
        )), 0)::float8
        """,
    ),
    Gauge(
        "everafter_rejects",
        "rejected events that are stored, by code",
        """
        SELECT format('code="%s"', code), count(*)
        FROM rejects
        GROUP BY code
        """,
    ),
    Gauge(
        "everafter_event_types",
        "event names seen; beyond some thousand the rarest are dropped",
        """
        SELECT '', count(*)
        FROM event_types
        """,
    ),
)
