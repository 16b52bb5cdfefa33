"""SQL of sending: claiming a message, recording what became of it, and pausing.

Each change of a row compares its previous state, so that no lock is held while a message is being
sent. Each statement names its supplier or is a plain scan, so that all of them run on distributed
tables. `now()` is constant within a transaction: callers run each statement in its own transaction.
"""

from typing import Any, LiteralString

from psycopg.rows import class_row, scalar_row

from everafter.core.db import Connection
from everafter.mail.model import Claim, Key, Rendered, Status, Swept, Trouble

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


# ── all messages at once ──────────────────────────────────────────────────────────────────────────


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
