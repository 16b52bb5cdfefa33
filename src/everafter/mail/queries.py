"""SQL of the outbox. Each change of a row compares its previous state, so that no lock is held
while a message is being sent.

Each statement names its supplier or is a plain scan, so that all of them run on distributed tables.
`now()` is constant within a transaction: callers run each statement in its own transaction.
"""

import datetime as dt
import uuid
from typing import Any, LiteralString

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.core.gauges import Gauge
from everafter.mail.model import (
    Claim,
    Key,
    Message,
    OutboxLine,
    Rendered,
    Source,
    Status,
    Suppression,
    Swept,
    Topic,
    Trouble,
)

# Whether a message may still be sent, as 'status: reason' or 'send'. `clock` is a FROM item of the
# statement, because Citus does not allow now() inside CASE.
_CONCLUSION: LiteralString = """
  CASE
    WHEN outbox.expires_at <= clock.now
      THEN 'expired: not sent before its expiry'
    WHEN EXISTS (
      SELECT 1
      FROM suppressions s
      WHERE s.email = lower(outbox.to_email) AND s.topic IN ('*', outbox.topic)
    )
      THEN 'suppressed: the address is on the suppression list'
    WHEN NOT EXISTS (SELECT 1 FROM suppliers p WHERE p.id = outbox.supplier_id)
      THEN 'suppressed: the supplier no longer exists'
    WHEN outbox.topic <> 'transactional' AND NOT EXISTS (
      SELECT 1 FROM suppliers p WHERE p.id = outbox.supplier_id AND p.consent
    )
      THEN 'suppressed: the supplier has not consented to email'
    ELSE 'send'
  END
"""

_CLAIM: LiteralString = """
UPDATE outbox
SET
  status = replace(split_part($conclusion, ': ', 1), 'send', 'claimed'),
  status_reason = coalesce(nullif(split_part($conclusion, ': ', 2), ''), status_reason),
  owner = %(owner)s,
  attempt = attempt + 1,
  lease_until = now() + %(lease)s * interval '1 second'
FROM (SELECT now() AS now) AS clock
WHERE supplier_id = %(supplier_id)s
  AND id = %(id)s
  AND status = 'queued'
  AND send_after <= now()
  AND NOT EXISTS (SELECT 1 FROM mail_pause)
RETURNING
  supplier_id,
  id,
  owner,
  attempt,
  status,
  template,
  topic,
  to_email,
  to_name,
  facts,
  expires_at,
  subject,
  body_text,
  body_html
""".replace("$conclusion", _CONCLUSION)

_MARK_HANDING: LiteralString = """
UPDATE outbox
SET
  status = replace(split_part($conclusion, ': ', 1), 'send', 'handing'),
  status_reason = coalesce(nullif(split_part($conclusion, ': ', 2), ''), status_reason),
  subject = %(subject)s,
  body_text = %(text)s,
  body_html = %(html)s,
  lease_until = now() + %(lease)s * interval '1 second'
FROM (SELECT now() AS now) AS clock
WHERE supplier_id = %(supplier_id)s
  AND id = %(id)s
  AND owner = %(owner)s
  AND attempt = %(attempt)s
  AND status = 'claimed'
  AND lease_until > now()
  AND NOT EXISTS (SELECT 1 FROM mail_pause)
RETURNING status
""".replace("$conclusion", _CONCLUSION)


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


# ── sending ───────────────────────────────────────────────────────────────────────────────────


async def list_due(conn: Connection, limit: int) -> list[Key]:
    """Messages that can be claimed now: transactional ones first, then the longest due. Empty while
    sending is paused."""
    async with conn.cursor(row_factory=class_row(Key)) as cursor:
        await cursor.execute(
            """
            SELECT supplier_id, id
            FROM outbox
            WHERE status = 'queued'
              AND send_after <= now()
              AND NOT EXISTS (SELECT 1 FROM mail_pause)
            ORDER BY (topic <> 'transactional'), send_after
            LIMIT %s
            """,
            [limit],
        )
        return await cursor.fetchall()


async def claim(conn: Connection, key: Key, owner: str, lease_seconds: float) -> Claim | None:
    """Claim a queued message until the lease ends, or conclude it if it must no longer be sent.

    Returns:
        The row with status 'claimed', 'expired' or 'suppressed'; null if it is no longer queued.
    """
    async with conn.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            _CLAIM,
            {"supplier_id": key.supplier_id, "id": key.id, "owner": owner, "lease": lease_seconds},
        )
        return await cursor.fetchone()


async def mark_handing(
    conn: Connection, claimed: Claim, rendered: Rendered, lease_seconds: float
) -> Status | None:
    """Record, before DATA, that the message is about to be sent, with its texts.

    Returns:
        'handing': send it. 'expired' or 'suppressed': it must no longer be sent. Null: another
        attempt holds the row, or sending is paused; it must not be sent.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _MARK_HANDING,
            _held(claimed)
            | {
                "subject": rendered.subject,
                "text": rendered.text,
                "html": rendered.html,
                "lease": lease_seconds,
            },
        )
        return await cursor.fetchone()


async def mark_accepted(conn: Connection, claimed: Claim, reply: str) -> bool:
    """Record the mail server's 250. A reply that arrives after the lease also resolves a message in
    doubt."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'accepted',
          accepted_at = now(),
          smtp_reply = %(reply)s,
          status_reason = NULL,
          lease_until = NULL
        WHERE supplier_id = %(supplier_id)s
          AND id = %(id)s
          AND owner = %(owner)s
          AND attempt = %(attempt)s
          AND status IN ('handing', 'in_doubt')
        """,
        _held(claimed) | {"reply": reply},
    )
    return cursor.rowcount == 1


async def defer(
    conn: Connection, claimed: Claim, reply: str, seconds: float, reason: str | None = None
) -> bool:
    """Requeue a message for another attempt in `seconds`. Only for messages that were certainly not
    sent.

    Args:
        reason: shown to users; null: the reply, after 'deferred: '.
    """
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'queued',
          owner = NULL,
          lease_until = NULL,
          smtp_reply = %(reply)s,
          status_reason = %(reason)s,
          send_after = now() + %(seconds)s * interval '1 second'
        WHERE supplier_id = %(supplier_id)s
          AND id = %(id)s
          AND owner = %(owner)s
          AND attempt = %(attempt)s
          AND status IN ('claimed', 'handing', 'in_doubt')
        """,
        _held(claimed)
        | {"reply": reply, "seconds": seconds, "reason": reason or f"deferred: {reply}"},
    )
    return cursor.rowcount == 1


async def note_trouble(conn: Connection, reason: str) -> None:
    """Record why the mail server rejects our mail; keep the time of the first time."""
    await conn.execute(
        """
        INSERT INTO mail_trouble (id, reason)
        VALUES (1, %s)
        ON CONFLICT (id) DO UPDATE
        SET reason = excluded.reason, seen_at = excluded.seen_at
        """,
        [reason],
    )


async def clear_trouble(conn: Connection) -> None:
    """Record that the mail server accepts our mail again."""
    await conn.execute("DELETE FROM mail_trouble WHERE id = 1")


async def get_trouble(conn: Connection) -> Trouble | None:
    """Why the mail server currently rejects our mail; null: it does not."""
    async with conn.cursor(row_factory=class_row(Trouble)) as cursor:
        await cursor.execute("SELECT reason, since, seen_at FROM mail_trouble WHERE id = 1")
        return await cursor.fetchone()


async def mark_dead(
    conn: Connection, claimed: Claim, reason: str, reply: str | None = None
) -> bool:
    """End a message: it is not tried again. Only for messages that were certainly not sent."""
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'dead',
          lease_until = NULL,
          status_reason = %(reason)s,
          smtp_reply = coalesce(%(reply)s, smtp_reply)
        WHERE supplier_id = %(supplier_id)s
          AND id = %(id)s
          AND owner = %(owner)s
          AND attempt = %(attempt)s
          AND status IN ('claimed', 'handing', 'in_doubt')
        """,
        _held(claimed) | {"reason": reason, "reply": reply},
    )
    return cursor.rowcount == 1


def _held(claimed: Claim) -> dict[str, Any]:
    """Parameters that match the row only while this attempt holds it."""
    return {
        "supplier_id": claimed.supplier_id,
        "id": claimed.id,
        "owner": claimed.owner,
        "attempt": claimed.attempt,
    }


async def sweep(conn: Connection, max_attempts: int) -> Swept:
    """Expire overdue messages, requeue claims whose lease ended, and mark messages that were sent
    without a reply as in doubt.

    A message that was claimed `max_attempts` times without a result ends as dead.
    """
    expired = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'expired',
          lease_until = NULL,
          status_reason = 'not sent before its expiry'
            || coalesce('; before: ' || status_reason, '')
        WHERE status = 'queued' AND expires_at <= now()
        """
    )
    await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'dead',
          lease_until = NULL,
          status_reason = 'every worker that claimed this message stopped before it was sent'
        WHERE status = 'claimed' AND lease_until < now() AND attempt >= %s
        """,
        [max_attempts],
    )
    requeued = await conn.execute(
        """
        UPDATE outbox
        SET status = 'queued', owner = NULL, lease_until = NULL
        WHERE status = 'claimed' AND lease_until < now()
        """
    )
    in_doubt = await conn.execute(
        """
        UPDATE outbox
        SET
          status = 'in_doubt',
          lease_until = NULL,
          status_reason = 'the connection ended before the mail server replied;'
            ' the message may have been sent'
        WHERE status = 'handing' AND lease_until < now()
        """
    )
    return Swept(expired.rowcount, requeued.rowcount, in_doubt.rowcount)


# ── decisions of people ───────────────────────────────────────────────────────────────────────


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


async def suppress(
    conn: Connection, email: str, topic: str, reason: str, source: Source = "recipient"
) -> int:
    """Stop all messages of `topic` ('*': of any topic) to an address, including queued ones.

    Returns:
        The number of queued messages that were suppressed.
    """
    forms = _spellings(email)
    await conn.execute(
        """
        INSERT INTO suppressions (email, topic, reason, source)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (email, topic) DO NOTHING
        """,
        [forms[0], topic, reason, source],
    )
    cursor = await conn.execute(
        """
        UPDATE outbox
        SET status = 'suppressed', status_reason = %(reason)s, lease_until = NULL
        WHERE lower(to_email) = ANY (%(forms)s)
          AND (%(topic)s = '*' OR topic = %(topic)s)
          AND status IN ('queued', 'claimed')
        """,
        {"forms": forms, "topic": topic, "reason": reason},
    )
    return cursor.rowcount


async def respell_suppressions(conn: Connection) -> int:
    """Convert suppressed addresses that version 0.2.0 stored as they were written to the form that
    messages are sent to, also in queued messages. Otherwise they would not match.

    Returns:
        The number of converted addresses.
    """
    cursor = await conn.execute("SELECT DISTINCT email FROM suppressions")
    old = [email for (email,) in await cursor.fetchall() if _spellings(email)[0] != email]
    for email in old:
        await conn.execute(
            """
            INSERT INTO suppressions (email, topic, reason, source, created_at)
            SELECT %(new)s, topic, reason, source, created_at
            FROM suppressions
            WHERE email = %(old)s
            ON CONFLICT (email, topic) DO NOTHING
            """,
            {"new": _spellings(email)[0], "old": email},
        )
        await conn.execute("DELETE FROM suppressions WHERE email = %s", [email])
        await conn.execute(
            """
            UPDATE outbox
            SET to_email = %(new)s
            WHERE lower(to_email) = %(old)s AND status IN ('queued', 'claimed')
            """,
            {"new": _spellings(email)[0], "old": email},
        )
    return len(old)


def _spellings(email: str) -> list[str]:
    """The address in lower case, as it is sent to and as it was given."""
    return [travelling_form(email).lower(), email.lower()]


async def list_suppressions(conn: Connection, limit: int) -> list[Suppression]:
    """Suppressed addresses, the latest first."""
    async with conn.cursor(row_factory=class_row(Suppression)) as cursor:
        await cursor.execute(
            """
            SELECT email, topic, source, reason, created_at
            FROM suppressions
            ORDER BY created_at DESC, email
            LIMIT %s
            """,
            [limit],
        )
        return await cursor.fetchall()


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


async def lift_suppressions(conn: Connection, email: str) -> int:
    """Remove an address from the suppression list. Messages that were suppressed stay so.

    Returns:
        The number of entries removed.
    """
    cursor = await conn.execute(
        "DELETE FROM suppressions WHERE email = ANY (%s)", [_spellings(email)]
    )
    return cursor.rowcount


async def pause(conn: Connection, reason: str) -> None:
    """Stop sending in all workers until `resume`."""
    await conn.execute(
        """
        INSERT INTO mail_pause (id, reason)
        VALUES (1, %s)
        ON CONFLICT (id) DO UPDATE
        SET reason = excluded.reason
        """,
        [reason],
    )


async def resume(conn: Connection) -> bool:
    """Resume sending. False: it was not paused."""
    cursor = await conn.execute("DELETE FROM mail_pause WHERE id = 1")
    return cursor.rowcount == 1


async def get_pause(conn: Connection) -> str | None:
    """Why sending is paused; null: it is not."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT reason FROM mail_pause WHERE id = 1")
        return await cursor.fetchone()


# ── reading ───────────────────────────────────────────────────────────────────────────────────


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
