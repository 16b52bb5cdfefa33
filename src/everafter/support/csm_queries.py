"""SQL of CSMs and their working hours. Nothing here commits."""

from datetime import date, datetime, time
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.support.model import CsmLine

_LINES: LiteralString = """
SELECT
  u.id,
  u.email,
  u.name,
  u.takes_calls,
  u.timezone,
  u.work_from,
  u.work_until,
  u.work_days,
  u.buffer_minutes,
  u.holidays,
  ARRAY(
    SELECT d.day
    FROM days_off d
    WHERE d.user_id = u.id AND d.day >= now()::date - 1
    ORDER BY d.day
  ) AS days_off,
  f.url AS calendar_url,
  f.read_at,
  f.unread,
  coalesce(f.unread_reasons, '{}') AS unread_reasons,
  f.failure,
  (
    SELECT count(DISTINCT q.interaction_id)
    FROM booked_quarters q
    WHERE q.csm_id = u.id AND q.starts_at > now()
  ) AS calls_ahead
FROM users u
LEFT JOIN calendar_feeds f ON f.user_id = u.id
"""

_CSM_LINES: LiteralString = f"""
{_LINES}
WHERE u.takes_calls
  OR f.user_id IS NOT NULL
  OR u.id IN (SELECT d.user_id FROM days_off d)
ORDER BY u.email
"""

_LINE_BY_EMAIL: LiteralString = f"""
{_LINES}
WHERE u.email = %s
"""


async def list_csm_lines(conn: Connection) -> list[CsmLine]:
    """Users who take calls or have a calendar or days off, by address."""
    async with conn.cursor(row_factory=class_row(CsmLine)) as cursor:
        await cursor.execute(_CSM_LINES)
        return await cursor.fetchall()


async def find_csm_line(conn: Connection, email: str) -> CsmLine | None:
    """The user with this address, whether they take calls or not; null: there is none."""
    async with conn.cursor(row_factory=class_row(CsmLine)) as cursor:
        await cursor.execute(_LINE_BY_EMAIL, [email])
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
    """Change when a CSM takes calls. Booked calls do not change."""
    await conn.execute(
        """
        UPDATE users
        SET
          takes_calls = %s,
          timezone = %s,
          work_from = %s,
          work_until = %s,
          work_days = %s,
          buffer_minutes = %s,
          holidays = %s
        WHERE id = %s
        """,
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
    """Add days without calls, in the CSM's time zone. The last reason for a day is kept."""
    await conn.execute(
        """
        INSERT INTO days_off (user_id, day, reason)
        SELECT %s, day, %s
        FROM unnest(%s::date[]) AS day
        ON CONFLICT (user_id, day) DO UPDATE
        SET reason = excluded.reason
        """,
        [user_id, reason, days],
    )


async def delete_days_off(conn: Connection, user_id: UUID, days: list[date]) -> int:
    """Remove days off; return how many there were."""
    cursor = await conn.execute(
        "DELETE FROM days_off WHERE user_id = %s AND day = ANY (%s)", [user_id, days]
    )
    return cursor.rowcount


async def list_calls_between(
    conn: Connection, user_id: UUID, start: datetime, until: datetime
) -> list[datetime]:
    """The start times of a CSM's calls in [start, until)."""
    cursor = await conn.execute(
        """
        SELECT starts_at
        FROM support_interactions
        WHERE csm_id = %s
          AND starts_at >= %s
          AND starts_at < %s
          AND outcome IS DISTINCT FROM 'cancelled'
        ORDER BY starts_at
        """,
        [user_id, start, until],
    )
    return [row[0] for row in await cursor.fetchall()]
