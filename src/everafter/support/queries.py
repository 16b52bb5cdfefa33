"""SQL of calls and other contacts. Nothing here commits."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from psycopg import Rollback
from psycopg.rows import TupleRow

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.support.model import (
    CALENDAR_REACH,
    BookedCall,
    Contact,
    Csm,
    CsmAnswer,
    Diary,
    Interaction,
)

_DIARIES: LiteralString = """
SELECT
  u.id,
  u.name,
  u.email,
  u.timezone,
  u.work_from,
  u.work_until,
  u.work_days,
  u.buffer_minutes,
  u.holidays,
  ARRAY(
    SELECT (extract(epoch FROM q.starts_at) / 900)::integer
    FROM booked_quarters q
    WHERE q.csm_id = u.id
      AND q.starts_at >= %(start)s
      AND q.starts_at < %(until)s
      AND q.interaction_id IS DISTINCT FROM %(moving)s::uuid
  ),
  ARRAY(
    SELECT ARRAY[
      floor(extract(epoch FROM greatest(b.starts_at, %(start)s)) / 900)::integer,
      ceil(extract(epoch FROM least(b.ends_at, %(until)s)) / 900)::integer
    ]
    FROM busy_times b
    WHERE b.user_id = u.id
      AND b.starts_at < %(until)s
      AND b.ends_at > %(start)s
    UNION ALL
    -- busy times are only known up to here; later times count as busy
    SELECT ARRAY[
      floor(extract(epoch FROM greatest(f.worked_out_at + %(reach)s, %(start)s)) / 900)::integer,
      ceil(extract(epoch FROM %(until)s::timestamptz) / 900)::integer
    ]
    FROM calendar_feeds f
    WHERE f.user_id = u.id
      AND f.worked_out_at + %(reach)s < %(until)s
  ),
  ARRAY(
    SELECT d.day
    FROM days_off d
    WHERE d.user_id = u.id
      AND d.day BETWEEN %(start)s::date - 2 AND %(until)s::date + 2
  )
FROM users u
WHERE u.takes_calls
ORDER BY u.email
"""

_INTERACTIONS: LiteralString = """
SELECT
  i.id,
  i.supplier_id,
  s.external_id,
  i.type,
  i.topic,
  i.notes,
  i.outcome,
  i.created_at,
  i.starts_at,
  i.ends_at,
  u.name,
  u.email,
  i.cancelled_at,
  i.closed_at
FROM support_interactions i
LEFT JOIN suppliers s ON s.id = i.supplier_id
LEFT JOIN users u ON u.id = i.csm_id
"""

_INTERACTION: LiteralString = f"""
{_INTERACTIONS}
WHERE i.supplier_id = %s AND i.id = %s
"""

_INTERACTIONS_PAGE: LiteralString = f"""
{_INTERACTIONS}
WHERE i.supplier_id = %(supplier)s
  AND (%(at)s::timestamptz IS NULL OR (i.created_at, i.id) < (%(at)s, %(id)s::uuid))
ORDER BY i.created_at DESC, i.id DESC
LIMIT %(limit)s
"""


async def get_contact(conn: Connection, supplier_id: UUID) -> Contact:
    """The supplier as a contact.

    Raises:
        NotFoundError: unknown supplier.
    """
    cursor = await conn.execute(
        "SELECT id, name, email, timezone, external_id FROM suppliers WHERE id = %s", [supplier_id]
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")
    return Contact(*row)


async def list_diaries(
    conn: Connection, start: datetime, until: datetime, moving: UUID | None = None
) -> list[Diary]:
    """All CSMs who take calls, by address, with their busy times in [start, until).

    One statement with arrays takes 3 ms for 20 CSMs and a month of calls; one row per quarter took
    20 ms.

    Args:
        moving: a call whose own quarters count as free.
    """
    cursor = await conn.execute(
        _DIARIES, {"start": start, "until": until, "moving": moving, "reach": CALENDAR_REACH}
    )
    return [
        Diary(
            Csm(
                *row[:6], work_days=tuple(row[6]), buffer=timedelta(minutes=row[7]), holidays=row[8]
            ),
            booked=tuple(row[9]),
            away=tuple((begin, end) for begin, end in row[10]),
            closed=frozenset(row[11]),
        )
        for row in await cursor.fetchall()
    ]


async def find_known_csm(conn: Connection, supplier_id: UUID) -> UUID | None:
    """The CSM of the supplier's last call that was not cancelled; null: there is none."""
    cursor = await conn.execute(
        """
        SELECT csm_id
        FROM support_interactions
        WHERE supplier_id = %s
          AND csm_id IS NOT NULL
          AND outcome IS DISTINCT FROM 'cancelled'
        ORDER BY created_at DESC, id DESC
        LIMIT 1
        """,
        [supplier_id],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def find_own_call(
    conn: Connection,
    supplier_id: UUID,
    start: datetime,
    until: datetime,
    moving: UUID | None = None,
) -> datetime | None:
    """The start of a call of this supplier, other than `moving`, that overlaps [start, until);
    null: there is none."""
    cursor = await conn.execute(
        """
        SELECT starts_at
        FROM support_interactions
        WHERE supplier_id = %s
          AND starts_at < %s
          AND ends_at > %s
          AND outcome IS DISTINCT FROM 'cancelled'
          AND id IS DISTINCT FROM %s::uuid
        ORDER BY starts_at
        LIMIT 1
        """,
        [supplier_id, until, start, moving],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def count_coming_calls(conn: Connection, supplier_id: UUID, now: datetime) -> int:
    """The number of upcoming calls of this supplier."""
    cursor = await conn.execute(
        """
        SELECT count(*)
        FROM support_interactions
        WHERE supplier_id = %s
          AND starts_at > %s
          AND outcome IS DISTINCT FROM 'cancelled'
        """,
        [supplier_id, now],
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def lock_supplier_calls(conn: Connection, supplier_id: UUID) -> None:
    """Serialize changes of a supplier's calls until the end of the transaction, so that a double
    click does not book two calls."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"calls {supplier_id}"]
    )


async def reserve_quarters(conn: Connection, csm_id: UUID, quarters: list[datetime]) -> bool:
    """Reserve quarters until the end of the transaction; false: another transaction has reserved
    one of them.

    Only for bookings of the first free time: without it, they would all wait for the same time.
    With it, a booking that comes second tries the next time. A booking of a given time is not
    affected: the primary key of booked_quarters decides.
    """
    cursor = await conn.execute(
        """
        SELECT bool_and(
          pg_try_advisory_xact_lock(
            hashtextextended(%s || ' ' || extract(epoch FROM quarter), 2)
          )
        )
        FROM unnest(%s::timestamptz[]) AS quarter
        """,
        [str(csm_id), quarters],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def hold_quarters(
    conn: Connection, csm_id: UUID, call_id: UUID, quarters: list[datetime]
) -> bool:
    """Take all quarters for the call; false: one of them is taken, and none was changed.

    The primary key decides, also between several servers: this waits for concurrent transactions
    that take one of the quarters. They are taken in ascending order, so that two overlapping
    bookings cannot deadlock.
    """
    async with conn.transaction() as savepoint:
        cursor = await conn.execute(
            """
            INSERT INTO booked_quarters (csm_id, starts_at, interaction_id)
            SELECT %s, quarter, %s
            FROM unnest(%s::timestamptz[]) AS quarter
            ORDER BY quarter
            ON CONFLICT (csm_id, starts_at) DO NOTHING
            RETURNING starts_at
            """,
            [csm_id, call_id, quarters],
        )
        # count the returned rows: on Citus, rowcount of INSERT … SELECT … ON CONFLICT includes
        # skipped rows
        if len(await cursor.fetchall()) == len(quarters):
            return True
        raise Rollback(savepoint)
    return False


async def insert_call(
    conn: Connection,
    contact: Contact,
    call_id: UUID,
    type_name: str,
    topic: str | None,
    starts_at: datetime,
    ends_at: datetime,
    csm_id: UUID,
) -> None:
    """Insert a booked call."""
    await conn.execute(
        """
        INSERT INTO support_interactions (
          supplier_id,
          id,
          type,
          topic,
          starts_at,
          ends_at,
          csm_id
        )
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [contact.id, call_id, type_name, topic, starts_at, ends_at, csm_id],
    )


async def get_booked_call(conn: Connection, supplier_id: UUID, call_id: UUID) -> BookedCall:
    """The current state of a call.

    Raises:
        NotFoundError: this supplier has no such call.
    """
    cursor = await conn.execute(
        """
        SELECT
          i.id,
          i.type,
          i.topic,
          i.notes,
          i.outcome,
          i.created_at,
          i.starts_at,
          i.ends_at,
          i.sequence,
          i.changed_at,
          i.cancelled_at,
          i.closed_at,
          u.id,
          u.name,
          u.email,
          u.timezone,
          s.id,
          s.name,
          s.email,
          s.timezone,
          s.external_id
        FROM support_interactions i
        JOIN suppliers s ON s.id = i.supplier_id
        JOIN users u ON u.id = i.csm_id
        WHERE i.supplier_id = %s
          AND i.id = %s
          AND i.starts_at IS NOT NULL
        """,
        [supplier_id, call_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"this supplier has no call {call_id}")
    return BookedCall(row[0], Contact(*row[16:]), *row[1:16])


async def list_own_quarters(conn: Connection, call: BookedCall) -> list[datetime]:
    """The quarters that a call holds."""
    cursor = await conn.execute(
        """
        SELECT starts_at
        FROM booked_quarters
        WHERE csm_id = %s
          AND starts_at >= %s
          AND starts_at < %s
          AND interaction_id = %s
        """,
        [call.csm_id, call.starts_at, call.ends_at + timedelta(days=1), call.id],
    )
    return [row[0] for row in await cursor.fetchall()]


async def free_quarters(
    conn: Connection, csm_id: UUID, call_id: UUID, quarters: list[datetime]
) -> None:
    """Release quarters of a call."""
    await conn.execute(
        """
        DELETE FROM booked_quarters
        WHERE csm_id = %s
          AND starts_at = ANY (%s)
          AND interaction_id = %s
        """,
        [csm_id, quarters, call_id],
    )


async def update_call_time(
    conn: Connection, call: BookedCall, starts_at: datetime, ends_at: datetime, csm_id: UUID
) -> None:
    """Change the time and the CSM of a call, and count the change."""
    await conn.execute(
        """
        UPDATE support_interactions
        SET
          starts_at = %s,
          ends_at = %s,
          csm_id = %s,
          sequence = sequence + 1,
          changed_at = now()
        WHERE supplier_id = %s AND id = %s
        """,
        [starts_at, ends_at, csm_id, call.contact.id, call.id],
    )


async def update_call_cancelled(conn: Connection, call: BookedCall, notes: str | None) -> None:
    """Cancel a call, and count the change."""
    await conn.execute(
        """
        UPDATE support_interactions
        SET
          outcome = 'cancelled',
          notes = %s,
          cancelled_at = now(),
          sequence = sequence + 1,
          changed_at = now()
        WHERE supplier_id = %s AND id = %s
        """,
        [notes, call.contact.id, call.id],
    )


async def update_call_outcome(
    conn: Connection, call: BookedCall, outcome: str, notes: str | None
) -> None:
    """Record the outcome of a call. closed_by is null, because the API does not know the person."""
    await conn.execute(
        """
        UPDATE support_interactions
        SET
          outcome = %s,
          notes = %s,
          closed_at = now(),
          closed_by = NULL
        WHERE supplier_id = %s AND id = %s
        """,
        [outcome, notes, call.contact.id, call.id],
    )


async def get_interaction(conn: Connection, supplier_id: UUID, interaction_id: UUID) -> Interaction:
    """One interaction.

    Raises:
        NotFoundError: this supplier has no such interaction.
    """
    cursor = await conn.execute(_INTERACTION, [supplier_id, interaction_id])
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"this supplier has no interaction {interaction_id}")
    return _interaction(row)


async def list_interactions(
    conn: Connection, supplier_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Interaction]:
    """A supplier's interactions, newest first.

    Args:
        before: (created_at, id) of the last one on the previous page; null: from the newest.
    """
    cursor = await conn.execute(
        _INTERACTIONS_PAGE,
        {
            "supplier": supplier_id,
            "at": before[0] if before else None,
            "id": before[1] if before else None,
            "limit": limit,
        },
    )
    return [_interaction(row) for row in await cursor.fetchall()]


def _interaction(row: TupleRow) -> Interaction:
    csm = None if row[10] is None else CsmAnswer(row[10], row[11])
    return Interaction(*row[:10], csm=csm, cancelled_at=row[12], closed_at=row[13])
