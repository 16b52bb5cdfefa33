"""SQL of the suppression list: addresses that get no more messages of a topic, or none at all."""

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.mail.model import Source, Suppression


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


async def lift_suppressions(conn: Connection, email: str) -> int:
    """Remove an address from the suppression list. Messages that were suppressed stay so.

    Returns:
        The number of entries removed.
    """
    cursor = await conn.execute(
        "DELETE FROM suppressions WHERE email = ANY (%s)", [_spellings(email)]
    )
    return cursor.rowcount


def _spellings(email: str) -> list[str]:
    """The address in lower case, as it is sent to and as it was given."""
    return [travelling_form(email).lower(), email.lower()]
