"""CSMs' calendars in the database. Nothing here commits."""

from uuid import UUID

from psycopg.rows import TupleRow

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.gauges import Gauge
from everafter.support.model import BusyTime, Feed, FeedTimes

_FEED = """
  SELECT f.user_id, u.email, u.timezone, f.url, f.allow_private, f.etag, f.last_modified,
    f.worked_out_at
  FROM calendar_feeds f JOIN users u ON u.id = f.user_id
"""


async def claim_due_feeds(conn: Connection, every_seconds: float) -> list[Feed]:
    """The calendars not tried for so long, marked as tried now: of several workers one gets
    each."""
    cursor = await conn.execute(
        """ UPDATE calendar_feeds f SET tried_at = now() FROM users u WHERE u.id = f.user_id AND
        (f.tried_at IS NULL OR f.tried_at < now() - %s * interval '1 second') RETURNING f.user_id,
        u.email, u.timezone, f.url, f.allow_private, f.etag, f.last_modified, f.worked_out_at """,
        [every_seconds],
    )
    return [_feed(row) for row in await cursor.fetchall()]


async def get_feed(conn: Connection, email: str) -> Feed:
    """The calendar of the CSM with this address, marked as tried now.

    Raises:
        NotFoundError: nobody has set one for them.
    """
    cursor = await conn.execute(_FEED + " WHERE u.email = %s", [email])
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(
            f"no calendar is set for {email}; `everafter CSM calendar {email} URL` sets one"
        )
    await conn.execute("UPDATE calendar_feeds SET tried_at = now() WHERE user_id = %s", [row[0]])
    return _feed(row)


async def upsert_feed(conn: Connection, user_id: UUID, url: str, *, allow_private: bool) -> None:
    """Set where a CSM's calendar is; what another address said before is forgotten."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    await conn.execute(
        "INSERT INTO calendar_feeds (user_id, url, allow_private) VALUES (%s, %s, %s) ON CONFLICT"
        " (user_id) DO UPDATE SET"
        " (url, allow_private, etag, last_modified, tried_at, read_at, worked_out_at, unread,"
        " unread_reasons, failure)"
        " = ROW (excluded.url, excluded.allow_private, NULL, NULL, NULL, NULL, NULL, 0, '{}',"
        " NULL)",
        [user_id, url, allow_private],
    )


async def delete_feed(conn: Connection, user_id: UUID) -> bool:
    """Read the calendar no more and forget what it said; false when there was none."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    cursor = await conn.execute("DELETE FROM calendar_feeds WHERE user_id = %s", [user_id])
    return cursor.rowcount > 0


async def forget_reading(conn: Connection, user_id: UUID) -> None:
    """Have the calendar read again: its owner's time zone changed, and with it the times that have
    none."""
    await conn.execute(
        "UPDATE calendar_feeds SET etag = NULL, last_modified = NULL, tried_at = NULL,"
        " worked_out_at = NULL WHERE user_id = %s",
        [user_id],
    )


async def mark_failed(conn: Connection, feed: Feed, failure: str) -> bool:
    """Note why it could not be read; true when that was not said before. What is known of it
    stays."""
    cursor = await conn.execute(
        "UPDATE calendar_feeds new SET failure = %s FROM calendar_feeds old"
        " WHERE new.user_id = %s AND new.url = %s AND old.user_id = new.user_id RETURNING"
        " old.failure",
        [failure, feed.user_id, feed.url],
    )
    row = await cursor.fetchone()
    return row is not None and row[0] != failure


async def mark_unchanged(conn: Connection, feed: Feed) -> None:
    """It was asked and is as it was."""
    await conn.execute(
        "UPDATE calendar_feeds SET read_at = now(), failure = NULL WHERE user_id = %s AND url = %s",
        [feed.user_id, feed.url],
    )


async def mark_read(
    conn: Connection, feed: Feed, etag: str | None, last_modified: str | None, times: FeedTimes
) -> bool:
    """It was read; false when the CSM's calendar is another by now, and this one counts no more."""
    cursor = await conn.execute(
        """
        UPDATE calendar_feeds
        SET etag = %s,
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
    """Which of these are calls booked here, whatever became of them."""
    if not interaction_ids:
        return set()
    cursor = await conn.execute(
        "SELECT id FROM support_interactions WHERE id = ANY (%s) AND starts_at IS NOT NULL",
        [interaction_ids],
    )
    return {row[0] for row in await cursor.fetchall()}


async def replace_busy_times(conn: Connection, user_id: UUID, times: list[BusyTime]) -> None:
    """What the CSM's calendar says now, instead of all that it said before."""
    await conn.execute("DELETE FROM busy_times WHERE user_id = %s", [user_id])
    await conn.execute(
        "INSERT INTO busy_times (user_id, starts_at, ends_at)"
        " SELECT %s, * FROM unnest(%s::timestamptz[], %s::timestamptz[]) ON CONFLICT DO NOTHING",
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
