"""SQL of CSMs' calendars. Nothing here commits."""

from typing import LiteralString
from uuid import UUID

from psycopg.rows import TupleRow

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.gauges import Gauge
from everafter.support.model import BusyTime, Feed, FeedTimes

_COLUMNS: LiteralString = """
  f.user_id,
  u.email,
  u.timezone,
  f.url,
  f.allow_private,
  f.etag,
  f.last_modified,
  f.worked_out_at
"""

_FEED: LiteralString = f"""
SELECT {_COLUMNS}
FROM calendar_feeds f
JOIN users u ON u.id = f.user_id
WHERE u.email = %s
"""


async def claim_due_feeds(conn: Connection, every_seconds: float) -> list[Feed]:
    """Claim the calendars whose last attempt is at least `every_seconds` ago. Each is returned to
    one of several workers."""
    cursor = await conn.execute(
        f"""
        UPDATE calendar_feeds f
        SET tried_at = now()
        FROM users u
        WHERE u.id = f.user_id
          AND (f.tried_at IS NULL OR f.tried_at < now() - %s * interval '1 second')
        RETURNING {_COLUMNS}
        """,
        [every_seconds],
    )
    return [_feed(row) for row in await cursor.fetchall()]


async def get_feed(conn: Connection, email: str) -> Feed:
    """The calendar of the CSM with this address; claims it.

    Raises:
        NotFoundError: the CSM has no calendar.
    """
    cursor = await conn.execute(_FEED, [email])
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(
            f"{email} has no calendar; set one with `everafter csm calendar {email} URL`"
        )
    await conn.execute("UPDATE calendar_feeds SET tried_at = now() WHERE user_id = %s", [row[0]])
    return _feed(row)


async def upsert_feed(conn: Connection, user_id: UUID, url: str, *, allow_private: bool) -> None:
    """Set the calendar of a CSM, and delete the busy times of the previous one."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    await conn.execute(
        """
        INSERT INTO calendar_feeds (user_id, url, allow_private)
        VALUES (%s, %s, %s)
        ON CONFLICT (user_id) DO UPDATE
        SET
          url = excluded.url,
          allow_private = excluded.allow_private,
          etag = NULL,
          last_modified = NULL,
          tried_at = NULL,
          read_at = NULL,
          worked_out_at = NULL,
          unread = 0,
          unread_reasons = '{}',
          failure = NULL
        """,
        [user_id, url, allow_private],
    )


async def delete_feed(conn: Connection, user_id: UUID) -> bool:
    """Delete the calendar of a CSM and its busy times. False: there was none."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    cursor = await conn.execute("DELETE FROM calendar_feeds WHERE user_id = %s", [user_id])
    return cursor.rowcount > 0


async def reset_feed(conn: Connection, user_id: UUID) -> None:
    """Make the next read unconditional, because the CSM's time zone changed, and with it times
    without a zone."""
    await conn.execute(
        """
        UPDATE calendar_feeds
        SET
          etag = NULL,
          last_modified = NULL,
          tried_at = NULL,
          worked_out_at = NULL
        WHERE user_id = %s
        """,
        [user_id],
    )


async def mark_failed(conn: Connection, feed: Feed, failure: str) -> bool:
    """Record why a read failed; true: the reason is new. Busy times are kept."""
    cursor = await conn.execute(
        """
        UPDATE calendar_feeds new
        SET failure = %s
        FROM calendar_feeds old
        WHERE new.user_id = %s
          AND new.url = %s
          AND old.user_id = new.user_id
        RETURNING old.failure
        """,
        [failure, feed.user_id, feed.url],
    )
    row = await cursor.fetchone()
    return row is not None and row[0] != failure


async def mark_unchanged(conn: Connection, feed: Feed) -> None:
    """Record that the calendar was read and did not change."""
    await conn.execute(
        """
        UPDATE calendar_feeds
        SET read_at = now(), failure = NULL
        WHERE user_id = %s AND url = %s
        """,
        [feed.user_id, feed.url],
    )


async def mark_read(
    conn: Connection, feed: Feed, etag: str | None, last_modified: str | None, times: FeedTimes
) -> bool:
    """Record a read. False: the CSM has another calendar by now, and this one must be ignored."""
    cursor = await conn.execute(
        """
        UPDATE calendar_feeds
        SET
          etag = %s,
          last_modified = %s,
          unread = %s,
          unread_reasons = %s,
          read_at = now(),
          worked_out_at = now(),
          failure = NULL
        WHERE user_id = %s AND url = %s
        """,
        [etag, last_modified, times.unread, times.reasons, feed.user_id, feed.url],
    )
    return cursor.rowcount > 0


async def list_own_calls(conn: Connection, interaction_ids: list[UUID]) -> set[UUID]:
    """Those of the ids that are booked calls, also cancelled ones."""
    if not interaction_ids:
        return set()
    cursor = await conn.execute(
        """
        SELECT id
        FROM support_interactions
        WHERE id = ANY (%s) AND starts_at IS NOT NULL
        """,
        [interaction_ids],
    )
    return {row[0] for row in await cursor.fetchall()}


async def replace_busy_times(conn: Connection, user_id: UUID, times: list[BusyTime]) -> None:
    """Replace all busy times of a CSM."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    await conn.execute(
        """
        INSERT INTO busy_times (user_id, starts_at, ends_at)
        SELECT %s, *
        FROM unnest(%s::timestamptz[], %s::timestamptz[])
        ON CONFLICT DO NOTHING
        """,
        [user_id, [one.starts_at for one in times], [one.ends_at for one in times]],
    )


def _feed(row: TupleRow) -> Feed:
    return Feed(*row)


GAUGES = (
    Gauge(
        "everafter_calendar_unread_events",
        "events in CSMs' calendars that could not be read in full",
        """
        SELECT '', coalesce(sum(unread), 0)
        FROM calendar_feeds
        """,
    ),
    Gauge(
        "everafter_calendars_failing",
        "CSMs' calendars that could not be read at the last attempt",
        """
        SELECT '', count(*)
        FROM calendar_feeds
        WHERE failure IS NOT NULL
        """,
    ),
)
