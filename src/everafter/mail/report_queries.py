"""SQL of delivery reports and complaints."""

import uuid

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.mail.model import Key, MailEvent, Recipient


async def find_recipient(conn: Connection, key: Key) -> Recipient | None:
    """The recipient of a message; null: it does not exist or was never sent."""
    async with conn.cursor(row_factory=class_row(Recipient)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id, to_email, topic
            FROM outbox
            WHERE supplier_id = %s
              AND id = %s
              AND status IN ('handing', 'accepted', 'bounced', 'in_doubt')
            """,
            [key.supplier_id, key.id],
        )
        return await cursor.fetchone()


async def find_sent(conn: Connection, id: uuid.UUID, email: str) -> Recipient | None:  # noqa: A002
    """The sent message with this id and recipient; null: there is none."""
    async with conn.cursor(row_factory=class_row(Recipient)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id, to_email, topic
            FROM outbox
            WHERE id = %s
              AND lower(to_email) = lower(%s)
              AND status IN ('handing', 'accepted', 'bounced', 'in_doubt')
            LIMIT 1
            """,
            [id, email],
        )
        return await cursor.fetchone()


async def add_event(conn: Connection, event: MailEvent) -> bool:
    """Store an event. False: it is stored already."""
    cursor = await conn.execute(
        """
        INSERT INTO mail_events (supplier_id, outbox_id, id, type, source, code, reason, at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (supplier_id, id) DO NOTHING
        """,
        [
            event.supplier_id,
            event.outbox_id,
            event.id,
            event.type,
            event.source,
            event.code,
            event.reason,
            event.at,
        ],
    )
    return cursor.rowcount == 1


async def mark_bounced(conn: Connection, key: Key, reason: str) -> bool:
    """Record that a sent message could not be delivered. False: it was never sent."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'bounced',
          status_reason = %s,
          lease_until = NULL,
          accepted_at = coalesce(accepted_at, clock.now)
        FROM (SELECT now() AS now) AS clock
        WHERE supplier_id = %s
          AND id = %s
          AND status IN ('handing', 'accepted', 'in_doubt')
        """,
        [reason, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1


async def resolve_by_report(conn: Connection, key: Key, reason: str) -> bool:
    """Mark a message in doubt as accepted, because a report proves it. False: it is not in
    doubt."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'accepted',
          status_reason = %s,
          lease_until = NULL,
          accepted_at = now()
        WHERE supplier_id = %s AND id = %s AND status = 'in_doubt'
        """,
        [reason, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1
