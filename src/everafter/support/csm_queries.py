"""Who takes calls and when, in the database. Nothing here commits."""

from datetime import date, datetime, time
from uuid import UUID

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.support.model import CsmLine

_LINE = """
  SELECT u.id, u.email, u.name, u.takes_calls, u.timezone, u.work_from, u.work_until, u.work_days,
    u.buffer_minutes, u.holidays,
    ARRAY(SELECT d.day FROM days_off d WHERE d.user_id = u.id
      AND d.day >= now()::date - 1 ORDER BY d.day) AS days_off,
    f.url AS calendar_url, f.read_at, f.unread, coalesce(f.unread_reasons,
      '{}') AS unread_reasons, f.failure,
    (SELECT count(DISTINCT q.interaction_id) FROM booked_quarters q WHERE q.csm_id = u.id
      AND q.starts_at > now()) AS calls_ahead
  FROM users u LEFT JOIN calendar_feeds f ON f.user_id = u.id
"""


async def list_csm_lines(conn: Connection) -> list[CsmLine]:
    """Everyone who takes calls, or of whom a calendar or days off are kept, by address."""
    async with conn.cursor(row_factory=class_row(CsmLine)) as cursor:
        await cursor.execute(
            _LINE
            + """
            WHERE u.takes_calls
              OR f.user_id IS NOT NULL
              OR u.id IN (SELECT d.user_id FROM days_off d)
            ORDER BY u.email
            """
        )
        return await cursor.fetchall()


async def find_csm_line(conn: Connection, email: str) -> CsmLine | None:
    """The user with this address, whether they take calls or not; null when there is none."""
    async with conn.cursor(row_factory=class_row(CsmLine)) as cursor:
        await cursor.execute(_LINE + " WHERE u.email = %s", [email])
        return await cursor.fetchone()


async def update_csm(
    conn: Connection,
    user_id: UUID,
    *,
    takes_calls: bool,
    timezone: str,
    work_from: time,
    work_until: time,
    work_days: list[int],
    buffer_minutes: int,
    holidays: str | None,
) -> None:
    """When somebody takes calls. Calls that are booked stay as they are."""
    await conn.execute(
        "UPDATE users SET (takes_calls, timezone, work_from, work_until, work_days,"
        " buffer_minutes, holidays)"
        " = ROW (%s, %s, %s, %s, %s, %s, %s) WHERE id = %s",
        [
            takes_calls,
            timezone,
            work_from,
            work_until,
            work_days,
            buffer_minutes,
            holidays,
            user_id,
        ],
    )


async def insert_days_off(conn: Connection, user_id: UUID, days: list[date], reason: str) -> None:
    """Days without calls, in the CSM's own time zone; the later reason counts."""
    await conn.execute(
        "INSERT INTO days_off (user_id, day, reason) SELECT %s, day, %s FROM unnest(%s::date[]) AS"
        " day"
        " ON CONFLICT (user_id, day) DO UPDATE SET reason = excluded.reason",
        [user_id, reason, days],
    )


async def delete_days_off(conn: Connection, user_id: UUID, days: list[date]) -> int:
    """Days that are worked after all; gives how many had been off."""
    cursor = await conn.execute(
        "DELETE FROM days_off WHERE user_id = %s AND day = ANY (%s)", [user_id, days]
    )
    return cursor.rowcount


async def list_calls_between(
    conn: Connection, user_id: UUID, start: datetime, until: datetime
) -> list[datetime]:
    """When this CSM's calls begin in [start, until)."""
    cursor = await conn.execute(
        "SELECT starts_at FROM support_interactions WHERE csm_id = %s AND starts_at >= %s AND"
        " starts_at < %s"
        " AND outcome IS DISTINCT FROM 'cancelled' ORDER BY starts_at",
        [user_id, start, until],
    )
    return [row[0] for row in await cursor.fetchall()]
