"""SQL of the feeds: hourly totals, types sent, recorded outages. Nothing here commits."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import polars as pl
from psycopg.rows import class_row

from everafter.activity.model import HOURS_DAYS
from everafter.core.db import Connection, FrameReader, read_copy
from everafter.core.gauges import Gauge
from everafter.core.locks import Lock
from everafter.events.model import CANONICAL
from everafter.feeds.hour_rules import subtract_pending, window_start
from everafter.feeds.model import HOURS_SCHEMA, Feeds, Outage, make_feeds
from everafter.feeds.outage_rules import known_at, lasting


async def read_hours(conn: Connection) -> pl.DataFrame:
    """The hourly totals that the fold keeps, in HOURS_SCHEMA."""
    return await read_copy(
        conn,
        """
        SELECT
          type,
          hour,
          events,
          first_seen_at
        FROM event_hours
        WHERE hour >= (SELECT max(hour) FROM event_hours) - make_interval(days => {days})
        """,
        HOURS_SCHEMA,
        {"days": HOURS_DAYS},
    )


async def read_past_hours(conn: Connection, as_of: datetime) -> pl.DataFrame:
    """The hourly totals of the events before a past moment, in HOURS_SCHEMA, without arrivals."""
    hours = await _count_events(conn, as_of - timedelta(days=HOURS_DAYS), as_of)
    return hours.with_columns(pl.lit(None, HOURS_SCHEMA["first_seen_at"]).alias("first_seen_at"))


async def _count_events(conn: Connection, since: datetime, before: datetime) -> pl.DataFrame:
    """HOURS_SCHEMA from the stored events; `since` is rounded down to its hour."""
    return await read_copy(
        conn,
        """
        SELECT
          CASE WHEN type = ANY ({canonical}::text[]) THEN type ELSE 'other' END AS kind,
          date_trunc('hour', occurred_at, 'UTC') AS hour,
          count(*),
          min(received_at)
        FROM events
        WHERE occurred_at >= date_trunc('hour', {since}::timestamptz, 'UTC')
          AND occurred_at < {before}
        GROUP BY 1, 2
        """,
        HOURS_SCHEMA,
        {"canonical": list(CANONICAL), "since": since, "before": before},
    )


async def fill_hours(conn: Connection) -> bool:
    """Fill the hourly totals from the stored events, once: an installation that is older than they
    are has none.

    Args:
        conn: in a transaction; takes the fold's lock.

    Returns:
        Whether that was done now.
    """
    if not await _is_fill_due(conn):
        return False
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FOLD])
    cursor = await conn.execute("SELECT max(last_at) FROM event_types")
    row = await cursor.fetchone()
    if row and row[0]:
        since, until = window_start(row[0]), row[0] + timedelta(microseconds=1)
        stored = await _count_events(conn, since, until)
        pending = await read_copy(
            conn,
            """
            SELECT
              CASE WHEN type = ANY ({canonical}::text[]) THEN type ELSE 'other' END AS kind,
              date_trunc('hour', occurred_at, 'UTC') AS hour,
              count(*),
              min(received_at)
            FROM events_pending
            GROUP BY 1, 2
            """,
            HOURS_SCHEMA,
            {"canonical": list(CANONICAL)},
        )
        await _replace_hours(conn, subtract_pending(stored, pending))
    await conn.execute("UPDATE event_hours_fill SET filled_at = clock_timestamp() WHERE id = 1")
    return True


async def _is_fill_due(conn: Connection) -> bool:
    cursor = await conn.execute("SELECT 1 FROM event_hours_fill WHERE filled_at IS NULL")
    return await cursor.fetchone() is not None


async def _replace_hours(conn: Connection, hours: pl.DataFrame) -> None:
    await conn.execute("DELETE FROM event_hours")
    await conn.execute(
        """
        INSERT INTO event_hours (type, hour, events, first_seen_at)
        SELECT *
        FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[], %s::timestamptz[])
        """,
        [hours[name].to_list() for name in ("type", "hour", "events", "first_seen_at")],
    )


async def is_folding_late(conn: Connection, now: datetime) -> bool:
    """Whether events that were received wait to be folded for more than some minutes: then the
    totals lack them."""
    cursor = await conn.execute(
        """
        SELECT 1
        FROM events_pending
        WHERE received_at < %s
        LIMIT 1
        """,
        [now - timedelta(minutes=5)],
    )
    return await cursor.fetchone() is not None


_SENT: LiteralString = """
SELECT type
FROM event_types
WHERE first_at <= {as_of}
"""


async def list_sent(conn: Connection, as_of: datetime) -> list[str]:
    """The types of which an event had occurred by then."""
    found = await read_copy(conn, _SENT, {"type": pl.String()}, {"as_of": as_of})
    return found["type"].to_list()


async def list_outages(conn: Connection) -> list[Outage]:
    """All recorded outages, the earliest first."""
    async with conn.cursor(row_factory=class_row(Outage)) as cursor:
        await cursor.execute(
            """
            SELECT
              type,
              kind,
              since,
              noticed_at,
              ended_at,
              expected,
              seen
            FROM feed_outages
            ORDER BY
              since,
              type,
              kind
            """
        )
        return await cursor.fetchall()


async def save_outages(conn: Connection, outages: Iterable[Outage]) -> None:
    """Record these outages, or what has changed of them."""
    rows = list(outages)
    await conn.execute(
        """
        INSERT INTO feed_outages (type, kind, since, noticed_at, ended_at, expected, seen)
        SELECT *
        FROM unnest(
          %s::text[],
          %s::text[],
          %s::timestamptz[],
          %s::timestamptz[],
          %s::timestamptz[],
          %s::float8[],
          %s::float8[]
        )
        ON CONFLICT (type, kind, since) DO UPDATE SET
          noticed_at = excluded.noticed_at,
          ended_at = excluded.ended_at,
          seen = excluded.seen
        """,
        [
            [getattr(outage, name) for outage in rows]
            for name in ("type", "kind", "since", "noticed_at", "ended_at", "expected", "seen")
        ],
    )


def read_feeds(reader: FrameReader, as_of: datetime) -> Feeds:
    """The feeds as of a moment, from the outages that the runs before it recorded. Blocks; call it
    in a thread."""
    sent = reader.read(_SENT, as_of=as_of)
    outages = reader.read(
        """
        SELECT
          type,
          kind,
          since,
          noticed_at,
          ended_at,
          expected,
          seen
        FROM feed_outages
        WHERE noticed_at <= {as_of}
          AND (ended_at IS NULL OR ended_at > {as_of})
        """,
        as_of=as_of,
    )
    rows: list[dict[str, Any]] = list(outages.iter_rows(named=True))
    known = known_at((Outage(**row) for row in rows), as_of.astimezone(UTC))
    return make_feeds(sent["type"].to_list(), lasting(known), as_of)


GAUGES = (
    Gauge(
        "everafter_feed_stopped",
        "whether events of this type have stopped arriving",
        """
        SELECT
          'type="' || CASE type WHEN '*' THEN 'all' ELSE type END || '"',
          max(CASE WHEN ended_at IS NULL THEN 1 ELSE 0 END)
        FROM feed_outages
        WHERE kind = 'stopped'
        GROUP BY type
        """,
    ),
    Gauge(
        "everafter_feed_halved",
        "whether about half of the events of this type are missing",
        """
        SELECT
          'type="' || CASE type WHEN '*' THEN 'all' ELSE type END || '"',
          max(CASE WHEN ended_at IS NULL THEN 1 ELSE 0 END)
        FROM feed_outages
        WHERE kind = 'halved'
        GROUP BY type
        """,
    ),
)
