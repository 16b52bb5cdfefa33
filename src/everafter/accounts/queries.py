"""Users, sessions, known browsers, and the count of failed sign-ins."""

import hashlib
import secrets
import uuid
from datetime import datetime

from psycopg.rows import class_row

from everafter.accounts import rules
from everafter.accounts.model import (
    ABSOLUTE_LIMIT,
    BROWSER_LIMIT,
    IDLE_LIMIT,
    MAX_BROWSERS,
    MAX_BUCKETS,
    Bucket,
    Credentials,
    Role,
    Try,
    User,
    Viewer,
)
from everafter.core.db import Connection
from everafter.core.locks import Lock


async def upsert_user(
    conn: Connection, email: str, name: str, role: Role, password_hash: str | None
) -> uuid.UUID:
    """Add a user, or change the one with this address; a new password ends their sessions.

    Args:
        email: in lower case.
        password_hash: as `passwords.hash_password` makes it; null leaves a password that is there.
    """
    cursor = await conn.execute(
        "INSERT INTO users (email, name, role, password_hash) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (email) DO UPDATE SET name = excluded.name, role = excluded.role,"
        " password_hash = coalesce(excluded.password_hash, users.password_hash) RETURNING id",
        [email, name, role, password_hash],
    )
    (user_id,) = await cursor.fetchone() or (None,)
    assert user_id is not None  # noqa: S101 the statement always returns its row
    if password_hash is not None:
        await end_sessions(conn, user_id)
    return user_id


async def insert_user(
    conn: Connection, email: str, name: str, role: Role, password_hash: str
) -> uuid.UUID | None:
    """Add a user; null when the address is taken."""
    cursor = await conn.execute(
        "INSERT INTO users (email, name, role, password_hash) VALUES (%s, %s, %s, %s) ON CONFLICT"
        " (email) DO NOTHING RETURNING id",
        [email, name, role, password_hash],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def update_password(conn: Connection, email: str, password_hash: str) -> bool:
    """Set a password and end the user's sessions; false when there is no such user."""
    cursor = await conn.execute(
        "UPDATE users SET password_hash = %s WHERE email = %s RETURNING id", [password_hash, email]
    )
    row = await cursor.fetchone()
    if row:
        await end_sessions(conn, row[0])
    return row is not None


async def list_users(conn: Connection) -> list[User]:
    """Everyone, by address; last_seen_at is of a session that still is."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(
            "SELECT u.id, u.email, u.name, u.role, u.password_hash IS NOT NULL AS can_sign_in,"
            " max(s.last_seen_at) AS last_seen_at, u.created_at"
            " FROM users u LEFT JOIN sessions s ON s.user_id = u.id GROUP BY u.id ORDER BY u.email"
        )
        return await cursor.fetchall()


async def find_credentials(conn: Connection, email: str) -> Credentials | None:
    """The hash to check a password against, or null when there is no such user."""
    async with conn.cursor(row_factory=class_row(Credentials)) as cursor:
        await cursor.execute(
            "SELECT id AS user_id, password_hash FROM users WHERE email = %s", [email]
        )
        return await cursor.fetchone()


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────


async def insert_session(conn: Connection, user_id: uuid.UUID) -> str:
    """Begin a session and return its token, which is stored only as a hash; sessions that are over
    are swept away."""
    token = secrets.token_urlsafe(32)
    await conn.execute(
        "DELETE FROM sessions WHERE expires_at < now() OR last_seen_at < now() - %s", [IDLE_LIMIT]
    )
    await conn.execute(
        "INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at) VALUES (%s, %s, %s,"
        " now() + %s)",
        [token_hash(token), user_id, secrets.token_urlsafe(32), ABSOLUTE_LIMIT],
    )
    return token


async def find_viewer(conn: Connection, token: str) -> Viewer | None:
    """Whose session this is, or null when it is unknown, idle for too long or over. Notes that it
    was used, once a minute."""
    async with conn.cursor(row_factory=class_row(Viewer)) as cursor:
        await cursor.execute(
            "SELECT u.id AS user_id, u.email, u.name, u.role, s.csrf_token FROM sessions s JOIN"
            " users u ON u.id = s.user_id"
            " WHERE s.token_hash = %s AND s.expires_at > now() AND s.last_seen_at > now() - %s",
            [token_hash(token), IDLE_LIMIT],
        )
        viewer = await cursor.fetchone()
    if viewer:
        await conn.execute(
            "UPDATE sessions SET last_seen_at = now() WHERE token_hash = %s AND last_seen_at <"
            " now() - interval '1 minute'",
            [token_hash(token)],
        )
    return viewer


async def delete_session(conn: Connection, token: str) -> None:
    """End one session."""
    await conn.execute("DELETE FROM sessions WHERE token_hash = %s", [token_hash(token)])


async def end_sessions(conn: Connection, user_id: uuid.UUID) -> None:
    """End all sessions of a user; no browser is known to the account any more."""
    await conn.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])
    await conn.execute("DELETE FROM known_browsers WHERE user_id = %s", [user_id])


def token_hash(token: str) -> bytes:
    """How a session's token is in the database; it has 256 random bits, so a plain hash is
    enough."""
    return hashlib.sha256(token.encode()).digest()


# ── known browsers ────────────────────────────────────────────────────────────────────────────────


async def is_known(conn: Connection, email: str, browser: str) -> bool:
    """Whether the account has signed in with the browser that holds this token, and lately."""
    cursor = await conn.execute(
        """
        SELECT EXISTS (
          SELECT 1 FROM known_browsers b
          JOIN users u ON u.id = b.user_id
          WHERE b.token_hash = %s
            AND u.email = %s
            AND b.expires_at > now()
        )
        """,
        [token_hash(browser), email],
    )
    row = await cursor.fetchone()
    return row is not None and row[0]


async def know_browser(conn: Connection, user_id: uuid.UUID, former: str | None) -> str:
    """Make a browser known to a user; the token it keeps from now on.

    Args: former: the token it came with, which ends; other accounts of the browser go on with the
        new."""
    token = secrets.token_urlsafe(32)
    await conn.execute("DELETE FROM known_browsers WHERE expires_at < now()")
    if former:
        await conn.execute(
            "UPDATE known_browsers SET token_hash = %s WHERE token_hash = %s",
            [token_hash(token), token_hash(former)],
        )
    await conn.execute(
        """
        INSERT INTO known_browsers (token_hash, user_id, created_at, expires_at)
        VALUES (%s, %s, now(), now() + %s)
        ON CONFLICT (token_hash, user_id) DO UPDATE
        SET created_at = excluded.created_at, expires_at = excluded.expires_at
        """,
        [token_hash(token), user_id, BROWSER_LIMIT],
    )
    await conn.execute(
        """
        DELETE FROM known_browsers
        WHERE user_id = %(user)s
          AND token_hash NOT IN (
            SELECT token_hash FROM known_browsers
            WHERE user_id = %(user)s
            ORDER BY created_at DESC, token_hash
            LIMIT %(most)s
          )
        """,
        {"user": user_id, "most": MAX_BROWSERS},
    )
    return token


# ── failed sign-ins ───────────────────────────────────────────────────────────────────────────────


async def count_try(conn: Connection, email: str, network: str, browser: str | None) -> Try:
    """Count a try to sign in, before the password is looked at: parallel ones cannot all slip by.

    Args:
        email: trimmed and in lower case.
        network: as `core.limits.network_of` gives it.
        browser: the token that the browser came with, if any.
    """
    if browser and await is_known(conn, email, browser):
        bucket = rules.browsers_bucket(email, browser)
        return Try((bucket.name,), await _count(conn, bucket), is_known=True)
    address, pair, account, season_index = rules.strangers_buckets(email, network)
    names = (address.name, pair.name, account.name)
    for bucket in (address, pair):
        if wait_until := await _count(conn, bucket):
            return Try(names, wait_until, is_known=False)
    crowded = await _count(conn, account)
    return Try(names, await _count(conn, season_index) if crowded else None, is_known=False)


async def _count(conn: Connection, bucket: Bucket) -> datetime | None:
    """Count one; the end of the window when it is one too many."""
    cursor = await conn.execute(
        """
        INSERT INTO sign_in_failures AS f (bucket, failures, until)
        VALUES (%(name)s, 1, now() + %(window)s)
        ON CONFLICT (bucket) DO UPDATE
        SET failures = CASE WHEN f.until < now() THEN 1 ELSE f.failures + 1 END,
            until = CASE WHEN f.until < now() THEN excluded.until ELSE f.until END
        RETURNING failures, until
        """,
        {"name": bucket.name, "window": bucket.window},
    )
    failures, until = await cursor.fetchone() or (0, None)
    return until if failures > bucket.most else None


async def sweep_buckets(conn: Connection, most: int = MAX_BUCKETS) -> None:
    """Delete counters whose window is over, and those that end first when there are more than
    `most`.

    Only one transaction at a time does so, and none deletes what another may be counting in: rows
    whose window ended just now are begun again by `_count`.
    """
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.SWEEP_SIGN_INS])
    if await cursor.fetchone() != (True,):
        return
    await conn.execute("DELETE FROM sign_in_failures WHERE until < now() - interval '1 minute'")
    await conn.execute(
        """
        DELETE FROM sign_in_failures
        WHERE until <= (SELECT until FROM sign_in_failures ORDER BY until DESC OFFSET %s LIMIT 1)
        """,
        [most],
    )


async def forgive_try(conn: Connection, made: Try) -> None:
    """After a sign-in that worked: forget the failures here, and take this try off the others."""
    await conn.execute(
        """
        DELETE FROM sign_in_failures
        WHERE bucket = ANY(%s)
          AND (bucket LIKE 'pair:%%' OR bucket LIKE 'browser:%%' OR failures <= 1)
        """,
        [list(made.buckets)],
    )
    await conn.execute(
        "UPDATE sign_in_failures SET failures = failures - 1 WHERE bucket = ANY(%s)",
        [sorted(made.buckets, reverse=True)],
    )
