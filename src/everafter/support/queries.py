"""Calls and interactions in the database. Nothing here commits."""

from datetime import datetime
from uuid import UUID

from psycopg import Rollback
from psycopg.types.json import Jsonb

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.support.model import Advisor, Call, Contact, CsmAnswer, Interaction


async def get_contact(conn: Connection, supplier_id: UUID) -> Contact:
    """Whom a call is with.

    Raises:
        NotFoundError: no such supplier.
    """
    cursor = await conn.execute("SELECT id, name, email, timezone FROM suppliers WHERE id = %s", [supplier_id])
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no supplier {supplier_id}")
    return Contact(*row)


async def list_advisors(conn: Connection) -> list[Advisor]:
    """Everyone who takes calls, by address."""
    cursor = await conn.execute(
        "SELECT id, name, email, timezone, work_from, work_until, work_days FROM users WHERE takes_calls ORDER BY email"
    )
    return [Advisor(*row[:6], work_days=tuple(row[6])) for row in await cursor.fetchall()]


async def list_busy(conn: Connection, start: datetime, until: datetime) -> set[tuple[UUID, datetime]]:
    """The quarters held in [start, until): (advisor, UTC start)."""
    cursor = await conn.execute(
        "SELECT csm_id, starts_at FROM booked_quarters WHERE starts_at >= %s AND starts_at < %s", [start, until]
    )
    return {(row[0], row[1]) for row in await cursor.fetchall()}


async def find_known_advisor(conn: Connection, supplier_id: UUID) -> UUID | None:
    """Who had this supplier's last call, or null."""
    cursor = await conn.execute(
        "SELECT csm_id FROM support_interactions WHERE supplier_id = %s AND csm_id IS NOT NULL"
        " ORDER BY created_at DESC, id DESC LIMIT 1",
        [supplier_id],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def find_own_call(conn: Connection, supplier_id: UUID, start: datetime, until: datetime) -> datetime | None:
    """When a call of this supplier begins that overlaps [start, until), or null."""
    cursor = await conn.execute(
        "SELECT starts_at FROM support_interactions WHERE supplier_id = %s AND starts_at < %s AND ends_at > %s"
        " AND outcome IS DISTINCT FROM 'cancelled' ORDER BY starts_at LIMIT 1",
        [supplier_id, until, start],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def lock_supplier_calls(conn: Connection, supplier_id: UUID) -> None:
    """One booking of a supplier at a time, until the end of the transaction: a double click is not two calls."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"calls {supplier_id}"])


async def lock_first_free(conn: Connection) -> None:
    """One "first free time" at a time, until the end of the transaction: they would all reach for the same one."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('first free call', 1))")


async def hold_quarters(conn: Connection, advisor_id: UUID, call_id: UUID, quarters: list[datetime]) -> bool:
    """Take all these quarters of the advisor for the call, or none and say false when one is already held.

    The primary key decides, so it holds against every other server and client: where another is about to take one of them, this
    waits for its end. Ascending, so that two that overlap wait in one direction only.
    """
    async with conn.transaction() as savepoint:
        cursor = await conn.execute(
            "INSERT INTO booked_quarters (csm_id, starts_at, interaction_id)"
            " SELECT %s, quarter, %s FROM unnest(%s::timestamptz[]) AS quarter ORDER BY quarter"
            " ON CONFLICT (csm_id, starts_at) DO NOTHING",
            [advisor_id, call_id, quarters],
        )
        if cursor.rowcount == len(quarters):
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
    advisor_id: UUID,
) -> datetime:
    """The row of a booked call; gives when it was made."""
    cursor = await conn.execute(
        "INSERT INTO support_interactions (supplier_id, id, type, topic, starts_at, ends_at, csm_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING created_at",
        [contact.id, call_id, type_name, topic, starts_at, ends_at, advisor_id],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 RETURNING of one inserted row
    return row[0]


async def insert_confirmation(
    conn: Connection, contact: Contact, call_id: UUID, facts: dict[str, object], expires_at: datetime
) -> None:
    """The confirmation in the outbox, under the call's own id: one a call. Worthless once the call has begun."""
    await conn.execute(
        "INSERT INTO outbox (supplier_id, id, template, topic, to_email, to_name, facts, expires_at)"
        " VALUES (%s, %s, 'call_booked', 'transactional', %s, %s, %s, %s)",
        [contact.id, call_id, contact.email, contact.name, Jsonb(facts), expires_at],
    )


async def get_call(conn: Connection, supplier_id: UUID, call_id: UUID) -> Call:
    """A booked call with the names on its invitation.

    Raises:
        NotFoundError: no such call of this supplier.
    """
    cursor = await conn.execute(
        "SELECT i.id, i.type, i.topic, i.starts_at, i.ends_at, i.created_at, u.name, u.email, s.name, s.email"
        " FROM support_interactions i JOIN suppliers s ON s.id = i.supplier_id JOIN users u ON u.id = i.csm_id"
        " WHERE i.supplier_id = %s AND i.id = %s AND i.starts_at IS NOT NULL",
        [supplier_id, call_id],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no call {call_id}")
    return Call(*row)


async def list_interactions(
    conn: Connection, supplier_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Interaction]:
    """A supplier's interactions, newest first, from just after `before` (created_at, id) of an earlier page."""
    cursor = await conn.execute(
        "SELECT i.id, i.supplier_id, i.type, i.topic, i.notes, i.outcome, i.created_at, i.starts_at, i.ends_at,"
        " u.name, u.email FROM support_interactions i LEFT JOIN users u ON u.id = i.csm_id"
        " WHERE i.supplier_id = %(supplier)s"
        " AND (%(at)s::timestamptz IS NULL OR (i.created_at, i.id) < (%(at)s, %(id)s::uuid))"
        " ORDER BY i.created_at DESC, i.id DESC LIMIT %(limit)s",
        {
            "supplier": supplier_id,
            "at": before[0] if before else None,
            "id": before[1] if before else None,
            "limit": limit,
        },
    )
    return [Interaction(*row[:9], csm=None if row[9] is None else CsmAnswer(row[9], row[10])) for row in await cursor.fetchall()]
