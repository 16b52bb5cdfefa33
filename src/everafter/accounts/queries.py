"""Users, sessions, and the count of failed sign-ins."""

import hashlib
import secrets
import uuid

from psycopg.rows import class_row

from everafter.accounts.model import ABSOLUTE_LIMIT, FAILURE_WINDOW, IDLE_LIMIT, Credentials, Role, Throttle, User, Viewer
from everafter.core.db import Connection


async def upsert_user(conn: Connection, email: str, name: str, role: Role, password_hash: str | None) -> uuid.UUID:
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


async def insert_user(conn: Connection, email: str, name: str, role: Role, password_hash: str) -> uuid.UUID | None:
    """Add a user; null when the address is taken."""
    cursor = await conn.execute(
        "INSERT INTO users (email, name, role, password_hash) VALUES (%s, %s, %s, %s) ON CONFLICT (email) DO NOTHING RETURNING id",
        [email, name, role, password_hash],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def update_password(conn: Connection, email: str, password_hash: str) -> bool:
    """Set a password and end the user's sessions; false when there is no such user."""
    cursor = await conn.execute("UPDATE users SET password_hash = %s WHERE email = %s RETURNING id", [password_hash, email])
    row = await cursor.fetchone()
    if row:
        await end_sessions(conn, row[0])
    return row is not None


async def list_users(conn: Connection) -> list[User]:
    """Everyone, by address; last_seen_at is of a session that still stands."""
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
        await cursor.execute("SELECT id AS user_id, password_hash FROM users WHERE email = %s", [email])
        return await cursor.fetchone()


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def insert_session(conn: Connection, user_id: uuid.UUID) -> str:
    """Begin a session and return its token, which is stored only as a hash; sessions that are over are swept away."""
    token = secrets.token_urlsafe(32)
    await conn.execute("DELETE FROM sessions WHERE expires_at < now() OR last_seen_at < now() - %s", [IDLE_LIMIT])
    await conn.execute(
        "INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at) VALUES (%s, %s, %s, now() + %s)",
        [token_hash(token), user_id, secrets.token_urlsafe(32), ABSOLUTE_LIMIT],
    )
    return token


async def find_viewer(conn: Connection, token: str) -> Viewer | None:
    """Whose session this is, or null when it is unknown, idle for too long or over. Notes that it was used, once a minute."""
    async with conn.cursor(row_factory=class_row(Viewer)) as cursor:
        await cursor.execute(
            "SELECT u.id AS user_id, u.email, u.name, u.role, s.csrf_token FROM sessions s JOIN users u ON u.id = s.user_id"
            " WHERE s.token_hash = %s AND s.expires_at > now() AND s.last_seen_at > now() - %s",
            [token_hash(token), IDLE_LIMIT],
        )
        viewer = await cursor.fetchone()
    if viewer:
        await conn.execute(
            "UPDATE sessions SET last_seen_at = now() WHERE token_hash = %s AND last_seen_at < now() - interval '1 minute'",
            [token_hash(token)],
        )
    return viewer


async def delete_session(conn: Connection, token: str) -> None:
    """End one session."""
    await conn.execute("DELETE FROM sessions WHERE token_hash = %s", [token_hash(token)])


async def end_sessions(conn: Connection, user_id: uuid.UUID) -> None:
    """End all sessions of a user."""
    await conn.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])


def token_hash(token: str) -> bytes:
    """How a session's token stands in the database; it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


# ── failed sign-ins ───────────────────────────────────────────────────────────────────────────────────────────────────


async def count_attempts(conn: Connection, buckets: list[str]) -> list[Throttle]:
    """Count one try in each bucket, before the password is looked at, so that parallel tries cannot all slip under a limit."""
    await conn.execute("DELETE FROM sign_in_failures WHERE until < now()")
    async with conn.cursor(row_factory=class_row(Throttle)) as cursor:
        await cursor.execute(
            "INSERT INTO sign_in_failures (bucket, failures, until)"
            " SELECT unnest(%s::text[]), 1, now() + %s"
            " ON CONFLICT (bucket) DO UPDATE SET failures = sign_in_failures.failures + 1"
            " RETURNING bucket, failures, until",
            [buckets, FAILURE_WINDOW],
        )
        return await cursor.fetchall()


async def forgive_attempts(conn: Connection, buckets: list[str]) -> None:
    """After a sign-in that worked: forget the account's failures, and take this try off the address."""
    await conn.execute(
        "DELETE FROM sign_in_failures WHERE bucket = ANY(%s) AND (bucket LIKE 'account:%%' OR failures <= 1)", [buckets]
    )
    await conn.execute("UPDATE sign_in_failures SET failures = failures - 1 WHERE bucket = ANY(%s)", [buckets])
