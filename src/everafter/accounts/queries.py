"""Users, sessions, known browsers and counters of failed sign-ins."""

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
    Attempt,
    Bucket,
    Credentials,
    Role,
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
        password_hash: from `passwords.hash_password`; null keeps the current password.
    """
    cursor = await conn.execute(
        """
        INSERT INTO users (email, name, role, password_hash)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (email) DO UPDATE SET
          name = excluded.name,
          role = excluded.role,
          password_hash = coalesce(excluded.password_hash, users.password_hash)
        RETURNING id
        """,
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
        """
        INSERT INTO users (email, name, role, password_hash)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (email) DO NOTHING
        RETURNING id
        """,
        [email, name, role, password_hash],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def update_password(conn: Connection, email: str, password_hash: str) -> bool:
    """Set a password and end the user's sessions; false when there is no such user."""
    cursor = await conn.execute(
        """
        UPDATE users
        SET password_hash = %s
        WHERE email = %s
        RETURNING id
        """,
        [password_hash, email],
    )
    row = await cursor.fetchone()
    if row:
        await end_sessions(conn, row[0])
    return row is not None


async def list_users(conn: Connection) -> list[User]:
    """All users by address; last_seen_at is from their current sessions."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(
            """
            SELECT
              u.id,
              u.email,
              u.name,
              u.role,
              u.password_hash IS NOT NULL AS can_sign_in,
              max(s.last_seen_at) AS last_seen_at,
              u.created_at
            FROM users u
            LEFT JOIN sessions s ON s.user_id = u.id
            GROUP BY u.id
            ORDER BY u.email
            """
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
    """Start a session and return its token, of which only the hash is stored. Deletes expired
    sessions."""
    token = secrets.token_urlsafe(32)
    await conn.execute(
        "DELETE FROM sessions WHERE expires_at < now() OR last_seen_at < now() - %s", [IDLE_LIMIT]
    )
    await conn.execute(
        """
        INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at)
        VALUES (%s, %s, %s, now() + %s)
        """,
        [token_hash(token), user_id, secrets.token_urlsafe(32), ABSOLUTE_LIMIT],
    )
    return token


async def find_viewer(conn: Connection, token: str) -> Viewer | None:
    """The user of a session; null when it is unknown, idle for too long or expired. Stores once a
    minute that it is in use."""
    async with conn.cursor(row_factory=class_row(Viewer)) as cursor:
        await cursor.execute(
            """
            SELECT u.id AS user_id, u.email, u.name, u.role, s.csrf_token
            FROM sessions s
            JOIN users u ON u.id = s.user_id
            WHERE s.token_hash = %s
              AND s.expires_at > now()
              AND s.last_seen_at > now() - %s
            """,
            [token_hash(token), IDLE_LIMIT],
        )
        viewer = await cursor.fetchone()
    if viewer:
        await conn.execute(
            """
            UPDATE sessions
            SET last_seen_at = now()
            WHERE token_hash = %s
              AND last_seen_at < now() - interval '1 minute'
            """,
            [token_hash(token)],
        )
    return viewer


async def delete_session(conn: Connection, token: str) -> None:
    """End one session."""
    await conn.execute("DELETE FROM sessions WHERE token_hash = %s", [token_hash(token)])


async def end_sessions(conn: Connection, user_id: uuid.UUID) -> None:
    """End all sessions of a user, and forget their known browsers."""
    await conn.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])
    await conn.execute("DELETE FROM known_browsers WHERE user_id = %s", [user_id])


def token_hash(token: str) -> bytes:
    """The stored hash of a token. Tokens have 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


# ── known browsers ────────────────────────────────────────────────────────────────────────────────


async def is_known(conn: Connection, email: str, browser: str) -> bool:
    """Whether the account has recently signed in with the browser that has this token."""
    cursor = await conn.execute(
        """
        SELECT EXISTS (
          SELECT 1
          FROM known_browsers b
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


async def remember_browser(conn: Connection, user_id: uuid.UUID, former: str | None) -> str:
    """Make a browser known to a user; returns its new token.

    Args:
        former: its previous token, which becomes invalid; other accounts of the browser get the new
            one.
    """
    token = secrets.token_urlsafe(32)
    await conn.execute("DELETE FROM known_browsers WHERE expires_at < now()")
    if former:
        await conn.execute(
            """
            UPDATE known_browsers
            SET token_hash = %s
            WHERE token_hash = %s
            """,
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
            SELECT token_hash
            FROM known_browsers
            WHERE user_id = %(user)s
            ORDER BY created_at DESC, token_hash
            LIMIT %(most)s
          )
        """,
        {"user": user_id, "most": MAX_BROWSERS},
    )
    return token


# ── failed sign-ins ───────────────────────────────────────────────────────────────────────────────


async def count_attempt(conn: Connection, email: str, network: str, browser: str | None) -> Attempt:
    """Count an attempt to sign in, before the password is checked, so that parallel attempts are
    all counted.

    Args:
        email: trimmed and in lower case.
        network: as `core.limits.network_of` gives it.
        browser: the browser's token, if it has one.
    """
    if browser and await is_known(conn, email, browser):
        bucket = rules.known_browser_bucket(email, browser)
        return Attempt((bucket.name,), await _count(conn, bucket), is_known=True)
    address, pair, account, interval = rules.unknown_browser_buckets(email, network)
    names = (address.name, pair.name, account.name)
    for bucket in (address, pair):
        if wait_until := await _count(conn, bucket):
            return Attempt(names, wait_until, is_known=False)
    is_full = await _count(conn, account)
    return Attempt(names, await _count(conn, interval) if is_full else None, is_known=False)


async def _count(conn: Connection, bucket: Bucket) -> datetime | None:
    """Count one attempt; returns the end of the window when it is one too many."""
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
    """Delete counters whose window has ended, and those that end first if there are more than
    `most`.

    One transaction at a time does this. Counters whose window has just ended are kept, because
    `_count` may be reusing them.
    """
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.SWEEP_SIGN_INS])
    if await cursor.fetchone() != (True,):
        return
    await conn.execute("DELETE FROM sign_in_failures WHERE until < now() - interval '1 minute'")
    await conn.execute(
        """
        DELETE FROM sign_in_failures
        WHERE until <= (
          SELECT until
          FROM sign_in_failures
          ORDER BY until DESC
          OFFSET %s
          LIMIT 1
        )
        """,
        [most],
    )


async def forgive_attempt(conn: Connection, attempt: Attempt) -> None:
    """After a successful sign-in, reset the counters of this browser or address and account, and
    subtract the attempt from the others."""
    await conn.execute(
        """
        DELETE FROM sign_in_failures
        WHERE bucket = ANY(%s)
          AND (bucket LIKE 'pair:%%' OR bucket LIKE 'browser:%%' OR failures <= 1)
        """,
        [list(attempt.buckets)],
    )
    await conn.execute(
        """
        UPDATE sign_in_failures
        SET failures = failures - 1
        WHERE bucket = ANY(%s)
        """,
        [sorted(attempt.buckets, reverse=True)],
    )
