"""SQL of the outbox: adding messages, cancelling them, what people decide, and reading.

Each change of a row compares its previous state, so that no lock is held while a message is being
sent. Each statement names its supplier or is a plain scan, so that all of them run on distributed
tables.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.core.gauges import Gauge
from everafter.mail.model import Key, Message, OutboxLine, Status, Topic


async def enqueue(
    conn: Connection,
    key: Key,
    *,
    template: str,
    topic: Topic,
    to_email: str,
    to_name: str,
    facts: dict[str, Any],
    expires_at: dt.datetime,
    send_after: dt.datetime | None = None,
    intervention_id: uuid.UUID | None = None,
) -> bool:
    """Add a message to the outbox.

    Args:
        send_after: the earliest time to send it; null: now.
        expires_at: it is never sent after this time.

    Returns:
        False if the message exists already: by its key, or as another message of the same
        intervention to the same address.
    """
    cursor = await conn.execute(
        """
        INSERT INTO outbox (
          supplier_id,
          id,
          intervention_id,
          template,
          topic,
          to_email,
          to_name,
          facts,
          send_after,
          expires_at
        )
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, now()), %s)
        ON CONFLICT DO NOTHING
        """,
        [
            key.supplier_id,
            key.id,
            intervention_id,
            template,
            topic,
            travelling_form(to_email),
            to_name,
            Jsonb(facts),
            send_after,
            expires_at,
        ],
    )
    return cursor.rowcount == 1


async def withdraw(
    conn: Connection, supplier_id: uuid.UUID, templates: list[str], interaction_id: str, reason: str
) -> int:
    """Cancel the unsent messages about an interaction that has changed.

    A message that is being sent cannot be stopped; if the mail server defers it, it is not tried
    again.

    Args:
        templates: only messages of these templates.
        interaction_id: matches `interaction_id` of the messages' facts.

    Returns:
        The number of messages.
    """
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status_reason = 'withdrawn: ' || %(reason)s::text,
          status = CASE status WHEN 'handing' THEN status ELSE 'expired' END,
          lease_until = CASE status WHEN 'handing' THEN lease_until END,
          expires_at = CASE status
            WHEN 'handing' THEN least(expires_at, clock.now)
            ELSE expires_at
          END
        FROM (SELECT now() AS now) AS clock
        WHERE supplier_id = %(supplier_id)s
          AND template = ANY (%(templates)s)
          AND status IN ('queued', 'claimed', 'handing')
          AND facts ->> 'interaction_id' = %(interaction_id)s
        """,
        {
            "supplier_id": supplier_id,
            "templates": templates,
            "interaction_id": interaction_id,
            "reason": reason,
        },
    )
    return cursor.rowcount


async def resolve_sent(conn: Connection, key: Key, who: str) -> bool:
    """Mark a message in doubt as sent. False: it is not in doubt."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'accepted',
          accepted_at = now(),
          status_reason = 'marked as sent by ' || %s::text
        WHERE supplier_id = %s AND id = %s AND status = 'in_doubt'
        """,
        [who, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1


async def resolve_resend(conn: Connection, key: Key, who: str) -> bool:
    """Requeue a message in doubt, for at least one day. False: it is not in doubt."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'queued',
          owner = NULL,
          send_after = now(),
          expires_at = greatest(expires_at, now() + interval '1 day'),
          status_reason = 'resent by ' || %s::text
        WHERE supplier_id = %s AND id = %s AND status = 'in_doubt'
        """,
        [who, key.supplier_id, key.id],
    )
    return cursor.rowcount == 1


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


async def list_outbox(
    conn: Connection,
    *,
    status: Status | None = None,
    supplier_id: uuid.UUID | None = None,
    before: tuple[dt.datetime, uuid.UUID] | None = None,
    limit: int = 50,
) -> list[OutboxLine]:
    """Messages, newest first.

    Args:
        status, supplier_id: only these; null: all.
        before: (created_at, id) of the last row of the previous page; null: from the newest.
    """
    created_before, id_before = before or (None, None)
    async with conn.cursor(row_factory=class_row(OutboxLine)) as cursor:
        await cursor.execute(
            """
            SELECT
              o.supplier_id,
              o.id,
              s.name AS supplier,
              s.external_id,
              o.template,
              o.topic,
              o.to_email,
              o.subject,
              o.status,
              o.status_reason,
              o.attempt,
              o.send_after,
              o.expires_at,
              o.created_at,
              o.accepted_at
            FROM outbox o
            LEFT JOIN suppliers s ON s.id = o.supplier_id
            WHERE (%(status)s::text IS NULL OR o.status = %(status)s)
              AND (%(supplier_id)s::uuid IS NULL OR o.supplier_id = %(supplier_id)s)
              AND (
                %(created)s::timestamptz IS NULL
                OR (o.created_at, o.id) < (%(created)s, %(id)s::uuid)
              )
            ORDER BY o.created_at DESC, o.id DESC
            LIMIT %(limit)s
            """,
            {
                "status": status,
                "supplier_id": supplier_id,
                "created": created_before,
                "id": id_before,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def list_facts(
    conn: Connection, keys: Sequence[Key]
) -> dict[uuid.UUID, tuple[str, dict[str, Any]]]:
    """(name of the recipient, facts) of messages, by their id."""
    cursor = await conn.execute(
        """
        SELECT id, to_name, facts
        FROM outbox
        WHERE supplier_id = ANY (%s)
          AND id = ANY (%s)
        """,
        [[key.supplier_id for key in keys], [key.id for key in keys]],
    )
    return {id: (to_name, facts) for id, to_name, facts in await cursor.fetchall()}  # noqa: A001


async def get_message(conn: Connection, supplier_id: uuid.UUID, id: uuid.UUID) -> Message | None:  # noqa: A002
    """One message with all its columns; null: it does not exist."""
    async with conn.cursor(row_factory=class_row(Message)) as cursor:
        await cursor.execute(
            """
            SELECT
              o.supplier_id,
              o.id,
              s.name AS supplier,
              s.external_id,
              o.intervention_id,
              o.template,
              o.topic,
              o.to_email,
              o.to_name,
              o.facts,
              o.subject,
              o.body_text,
              o.body_html,
              o.status,
              o.status_reason,
              o.attempt,
              o.owner,
              o.lease_until,
              o.send_after,
              o.expires_at,
              o.created_at,
              o.accepted_at,
              o.smtp_reply
            FROM outbox o
            LEFT JOIN suppliers s ON s.id = o.supplier_id
            WHERE o.supplier_id = %s AND o.id = %s
            """,
            [supplier_id, id],
        )
        return await cursor.fetchone()


async def find_keys(conn: Connection, prefix: str) -> list[Key]:
    """At most two messages whose id starts with `prefix`. Scans the outbox; for the command line
    only."""
    async with conn.cursor(row_factory=class_row(Key)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id
            FROM outbox
            WHERE starts_with(id::text, lower(%s))
            LIMIT 2
            """,
            [prefix],
        )
        return await cursor.fetchall()


async def count_by_status(conn: Connection) -> dict[Status, int]:
    """The number of messages by status; statuses without messages are missing."""
    cursor = await conn.execute(
        "SELECT status, count(*) FROM outbox GROUP BY status ORDER BY status"
    )
    return dict(await cursor.fetchall())


GAUGES = (
    Gauge(
        "everafter_outbox_messages",
        "messages not yet handed over, in doubt or dead, by status",
        """
        SELECT format('status="%s"', status), count(*)
        FROM outbox
        WHERE status IN ('queued', 'claimed', 'handing', 'in_doubt', 'dead')
        GROUP BY status
        """,
    ),
    Gauge(
        "everafter_mail_refused_seconds",
        "how long the mail server has been refusing all our mail; 0 while it accepts it",
        """
        SELECT '', coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8
        FROM mail_trouble
        """,
    ),
    Gauge(
        "everafter_mail_events",
        "bounces, complaints and deliveries reported, by type",
        """
        SELECT format('type="%s"', type), count(*)
        FROM mail_events
        GROUP BY type
        """,
    ),
    Gauge(
        "everafter_suppressed_addresses",
        "suppressed addresses, by source",
        """
        SELECT format('source="%s"', source), count(*)
        FROM suppressions
        GROUP BY source
        """,
    ),
    Gauge(
        "everafter_outbox_oldest_due_seconds",
        "age of the oldest message that is due",
        """
        SELECT '', coalesce(extract(epoch FROM clock_timestamp() - min(send_after)), 0)::float8
        FROM outbox
        WHERE status IN ('queued', 'claimed', 'handing')
          AND send_after <= now()
        """,
    ),
)
