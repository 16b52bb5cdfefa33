"""What was said of messages after they were handed over, in SQL."""

import uuid

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.mail.model import Key, MailEvent, Recipient


async def find_recipient(conn: Connection, key: Key) -> Recipient | None:
    """Whom a message was sent to; null when there is no such message, or it was never handed
    over."""
    async with conn.cursor(row_factory=class_row(Recipient)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id, to_email, topic FROM outbox
            WHERE supplier_id = %s AND id = %s AND status IN ('handing', 'accepted', 'bounced', 'in_doubt')
            """,
            [key.supplier_id, key.id],
        )
        return await cursor.fetchone()


async def find_sent(conn: Connection, id: uuid.UUID, email: str) -> Recipient | None:  # noqa: A002
    """The message of this id that was handed over for this address; null when there is none."""
    async with conn.cursor(row_factory=class_row(Recipient)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id, to_email, topic FROM outbox
            WHERE id = %s AND lower(to_email) = lower(%s) AND status IN ('handing', 'accepted', 'bounced', 'in_doubt')
            LIMIT 1
            """,
            [id, email],
        )
        return await cursor.fetchone()


async def keep_event(conn: Connection, event: MailEvent) -> bool:
    """Keep what was said. False when it was known."""
    cursor = await conn.execute(
        """
        INSERT INTO mail_events (supplier_id, outbox_id, id, type, source, code, reason, at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (supplier_id, id) DO NOTHING
        """,
        [
            event.supplier_id, event.outbox_id, event.id, event.type, event.source, event.code, event.reason, event.at,
        ],
    )  # fmt: skip
    return cursor.rowcount == 1


async def mark_bounced(conn: Connection, key: Key, reason: str) -> bool:
    """The mail server took it, and it could not be delivered. False when it was never handed
    over."""
    cursor = await conn.execute(
        """
        UPDATE outbox SET status = 'bounced', status_reason = %s, lease_until = NULL,
          accepted_at = coalesce(accepted_at, clock.now)
        FROM (SELECT now() AS now) AS clock
        WHERE supplier_id = %s AND id = %s AND status IN ('handing', 'accepted', 'in_doubt')
        """,
        [reason, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1


async def settle_doubt(conn: Connection, key: Key, reason: str) -> bool:
    """A report shows that the mail server took it. False when it was not in doubt."""
    cursor = await conn.execute(
        """ UPDATE outbox SET status = 'accepted', status_reason = %s, lease_until = NULL,
        accepted_at = now() WHERE supplier_id = %s AND id = %s AND status = 'in_doubt' """,
        [reason, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1


async def list_events(conn: Connection, key: Key) -> list[MailEvent]:
    """What was said of one message, the latest first."""
    async with conn.cursor(row_factory=class_row(MailEvent)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, outbox_id, id, type, source, code, reason, at FROM mail_events
            WHERE supplier_id = %s AND outbox_id = %s
            ORDER BY received_at DESC, id
            """,
            [key.supplier_id, key.id],
        )
        return await cursor.fetchall()
