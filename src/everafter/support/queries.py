"""Calls and interactions in the database. Nothing here commits."""

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


async def get_contact(conn: Connection, supplier_id: UUID) -> Contact:
    """Whom a call is with.

    Raises:
        NotFoundError: no such supplier.
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
    """Everyone who takes calls, by address, with what of their time is taken in [start, until).

    One statement with arrays: measured with 20 CSMs and a month of calls 3 ms, where rows of
    quarters took 20.

    Args:
        moving: a call whose own quarters count as free, because it is about to leave them.
    """
    cursor = await conn.execute(
        """
        SELECT u.id, u.name, u.email, u.timezone, u.work_from, u.work_until, u.work_days,
          u.buffer_minutes, u.holidays,
          ARRAY(SELECT (extract(epoch FROM q.starts_at) / 900)::integer FROM booked_quarters q
                WHERE q.csm_id = u.id AND q.starts_at >= %(start)s AND q.starts_at < %(until)s
                  AND q.interaction_id IS DISTINCT FROM %(moving)s::uuid),
          ARRAY(SELECT ARRAY[floor(extract(epoch FROM greatest(b.starts_at,
            %(start)s)) / 900)::integer,
                             ceil(extract(epoch FROM least(b.ends_at, %(until)s)) / 900)::integer]
                FROM busy_times b WHERE b.user_id = u.id AND b.starts_at < %(until)s
                  AND b.ends_at > %(start)s
                UNION ALL
                -- further on nothing is known of a calendar that cannot be read any more
                SELECT ARRAY[floor(extract(epoch FROM greatest(f.worked_out_at + %(reach)s,
                  %(start)s)) / 900)::integer,
                             ceil(extract(epoch FROM %(until)s::timestamptz) / 900)::integer]
                FROM calendar_feeds f WHERE f.user_id = u.id
                  AND f.worked_out_at + %(reach)s < %(until)s),
          ARRAY(SELECT d.day FROM days_off d WHERE d.user_id = u.id
                AND d.day BETWEEN %(start)s::date - 2 AND %(until)s::date + 2)
        FROM users u WHERE u.takes_calls ORDER BY u.email
        """,
        {"start": start, "until": until, "moving": moving, "reach": CALENDAR_REACH},
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
    """Who had this supplier's last call that was not cancelled, or null."""
    cursor = await conn.execute(
        "SELECT csm_id FROM support_interactions WHERE supplier_id = %s AND csm_id IS NOT NULL"
        " AND outcome IS DISTINCT FROM 'cancelled' ORDER BY created_at DESC, id DESC LIMIT 1",
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
    """When a call of this supplier begins that overlaps [start, until), or null; `moving` does not
    count."""
    cursor = await conn.execute(
        "SELECT starts_at FROM support_interactions WHERE supplier_id = %s AND starts_at < %s AND"
        " ends_at > %s"
        " AND outcome IS DISTINCT FROM 'cancelled' AND id IS DISTINCT FROM %s::uuid ORDER BY"
        " starts_at LIMIT 1",
        [supplier_id, until, start, moving],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def count_coming_calls(conn: Connection, supplier_id: UUID, now: datetime) -> int:
    """How many calls of this supplier are still ahead."""
    cursor = await conn.execute(
        "SELECT count(*) FROM support_interactions WHERE supplier_id = %s AND starts_at > %s"
        " AND outcome IS DISTINCT FROM 'cancelled'",
        [supplier_id, now],
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def lock_supplier_calls(conn: Connection, supplier_id: UUID) -> None:
    """One change of a supplier's calls at a time, until the end of the transaction: a double click
    is not two calls."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"calls {supplier_id}"]
    )


async def reach_for_quarters(conn: Connection, csm_id: UUID, quarters: list[datetime]) -> bool:
    """Whether nobody else is reaching for any of these at this moment; if so nobody will until the
    end of the transaction.

    For those who take the first free time: they would all reach for the same one, and wait for one
    another. Who is late looks at the next time instead. It promises nothing to who names a time:
    the key of booked_quarters decides."""
    cursor = await conn.execute(
        "SELECT bool_and(pg_try_advisory_xact_lock(hashtextextended(%s || ' ' || extract(epoch"
        " FROM quarter), 2)))"
        " FROM unnest(%s::timestamptz[]) AS quarter",
        [str(csm_id), quarters],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def hold_quarters(
    conn: Connection, csm_id: UUID, call_id: UUID, quarters: list[datetime]
) -> bool:
    """Take all these quarters of the CSM for the call, or none and say false when one is already
    held.

    The primary key decides, so it holds against every other server and client: where another is
    about to take one of them, this waits for its end. Ascending, so that two that overlap wait in
    one direction only."""
    async with conn.transaction() as savepoint:
        cursor = await conn.execute(
            "INSERT INTO booked_quarters (csm_id, starts_at, interaction_id)"
            " SELECT %s, quarter, %s FROM unnest(%s::timestamptz[]) AS quarter ORDER BY quarter"
            " ON CONFLICT (csm_id, starts_at) DO NOTHING RETURNING starts_at",
            [csm_id, call_id, quarters],
        )
        # counted by what comes back: on Citus the count of INSERT … SELECT … ON CONFLICT holds the
        # rows left out too
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
    """The row of a booked call."""
    await conn.execute(
        "INSERT INTO support_interactions (supplier_id, id, type, topic, starts_at, ends_at,"
        " csm_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [contact.id, call_id, type_name, topic, starts_at, ends_at, csm_id],
    )


async def get_booked_call(conn: Connection, supplier_id: UUID, call_id: UUID) -> BookedCall:
    """A call as it is.

    Raises:
        NotFoundError: no such call of this supplier.
    """
    cursor = await conn.execute(
        "SELECT i.id, i.type, i.topic, i.notes, i.outcome, i.created_at, i.starts_at, i.ends_at,"
        " i.sequence, i.changed_at,"
        " i.cancelled_at, i.closed_at, u.id, u.name, u.email, u.timezone, s.id, s.name, s.email,"
        " s.timezone, s.external_id"
        " FROM support_interactions i JOIN suppliers s ON s.id = i.supplier_id JOIN users u ON"
        " u.id = i.csm_id"
        " WHERE i.supplier_id = %s AND i.id = %s AND i.starts_at IS NOT NULL",
        [supplier_id, call_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no call {call_id} of this supplier")
    return BookedCall(row[0], Contact(*row[16:]), *row[1:16])


async def list_own_quarters(conn: Connection, call: BookedCall) -> list[datetime]:
    """The quarters a call holds of its CSM's time."""
    cursor = await conn.execute(
        "SELECT starts_at FROM booked_quarters WHERE csm_id = %s AND starts_at >= %s AND starts_at"
        " < %s AND interaction_id = %s",
        [call.csm_id, call.starts_at, call.ends_at + timedelta(days=1), call.id],
    )
    return [row[0] for row in await cursor.fetchall()]


async def free_quarters(
    conn: Connection, csm_id: UUID, call_id: UUID, quarters: list[datetime]
) -> None:
    """Let go of these quarters that a call holds."""
    await conn.execute(
        "DELETE FROM booked_quarters WHERE csm_id = %s AND starts_at = ANY (%s) AND interaction_id"
        " = %s",
        [csm_id, quarters, call_id],
    )


async def update_call_time(
    conn: Connection, call: BookedCall, starts_at: datetime, ends_at: datetime, csm_id: UUID
) -> None:
    """Move the row of a call and count the change."""
    await conn.execute(
        "UPDATE support_interactions SET starts_at = %s, ends_at = %s, csm_id = %s, sequence ="
        " sequence + 1, changed_at = now()"
        " WHERE supplier_id = %s AND id = %s",
        [starts_at, ends_at, csm_id, call.contact.id, call.id],
    )


async def update_call_cancelled(conn: Connection, call: BookedCall, notes: str | None) -> None:
    """Call it off and count the change."""
    await conn.execute(
        "UPDATE support_interactions SET outcome = 'cancelled', notes = %s, cancelled_at = now(),"
        " sequence = sequence + 1,"
        " changed_at = now() WHERE supplier_id = %s AND id = %s",
        [notes, call.contact.id, call.id],
    )


async def update_call_outcome(
    conn: Connection, call: BookedCall, outcome: str, notes: str | None
) -> None:
    """Write down what became of a call; by whom is not known when a program says it."""
    await conn.execute(
        "UPDATE support_interactions SET outcome = %s, notes = %s, closed_at = now(), closed_by ="
        " NULL"
        " WHERE supplier_id = %s AND id = %s",
        [outcome, notes, call.contact.id, call.id],
    )


_INTERACTIONS: LiteralString = """
SELECT i.id, i.supplier_id, s.external_id, i.type, i.topic, i.notes, i.outcome, i.created_at,
  i.starts_at, i.ends_at,
  u.name, u.email, i.cancelled_at, i.closed_at
FROM support_interactions i
  LEFT JOIN suppliers s ON s.id = i.supplier_id
  LEFT JOIN users u ON u.id = i.csm_id
"""


async def get_interaction(conn: Connection, supplier_id: UUID, interaction_id: UUID) -> Interaction:
    """One interaction, as the list shows it.

    Raises:
        NotFoundError: no such interaction of this supplier.
    """
    cursor = await conn.execute(
        _INTERACTIONS + " WHERE i.supplier_id = %s AND i.id = %s",
        [supplier_id, interaction_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no interaction {interaction_id} of this supplier")
    return _interaction(row)


async def list_interactions(
    conn: Connection, supplier_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Interaction]:
    """A supplier's interactions, newest first, from just after `before` (created_at, id) of an
    earlier page."""
    cursor = await conn.execute(
        _INTERACTIONS + " WHERE i.supplier_id = %(supplier)s"
        " AND (%(at)s::timestamptz IS NULL OR (i.created_at, i.id) < (%(at)s, %(id)s::uuid))"
        " ORDER BY i.created_at DESC, i.id DESC LIMIT %(limit)s",
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
