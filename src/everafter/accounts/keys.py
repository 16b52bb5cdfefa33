"""API keys. Only their hash is stored, so a key is shown once.

A coach key signs tokens, so the server needs the key itself. It is derived from the installation's
secret and the row's id, so that a copy of the database cannot sign (docs/decisions/0020).
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from everafter.core.db import Connection
from everafter.core.errors import InputError, NotFoundError
from everafter.core.signing import sign
from everafter.core.texts import has_controls

Scope = Literal["ingest", "read", "write", "coach"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret part."""

    id: UUID
    scope: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def create_key(conn: Connection, scope: Scope, name: str = "", *, secret: str) -> str:
    """Create a key and return it; it cannot be read again.

    Args:
        secret: EVERAFTER_SECRET; coach keys are derived from it.

    Raises:
        InputError: the name has control characters.
    """
    if has_controls(name):
        raise InputError(f"name {name!r}: it may not contain control characters")
    key_id = uuid4()
    # only characters that need no escaping in URLs, headers and shells, and no colon, because the
    # key is also sent as a Basic user name
    key = (
        derive_coach_key(secret, key_id)
        if scope == "coach"
        else f"ea_{scope}_{secrets.token_urlsafe(32)}"
    )
    await conn.execute(
        """
        INSERT INTO api_keys (id, key_hash, scope, name)
        VALUES (%s, %s, %s, %s)
        """,
        [key_id, hash_key(key), scope, name],
    )
    return key


def hash_key(key: str) -> bytes:
    """The hash of a key, as stored in the database."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def derive_coach_key(secret: str, key_id: UUID) -> str:
    """The coach key of an id: `ea_coach_`, the id, `_`, and 256 bits that only the holder of the
    secret can compute.

    >>> derive_coach_key("a-secret", UUID(int=7))[:33]
    'ea_coach_AAAAAAAAAAAAAAAAAAAABw_i'
    """
    mac = sign(secret, b"everafter coach key\0" + key_id.bytes)
    return f"{_COACH}{_base64url(key_id.bytes)}_{_base64url(mac)}"


def read_coach_key_id(key: str) -> UUID | None:
    """The id in a coach key; null for any other text. Does not check whether the key is ours.

    >>> read_coach_key_id(derive_coach_key("a-secret", UUID(int=7)))
    UUID('00000000-0000-0000-0000-000000000007')
    """
    if not key.startswith(_COACH) or len(key) != len(_COACH) + 22 + 1 + 43:
        return None
    try:
        return UUID(bytes=base64.urlsafe_b64decode(key[len(_COACH) : len(_COACH) + 22] + "=="))
    except ValueError:
        return None


_COACH = "ea_coach_"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class CoachKey:
    """A live coach key. is_ours: derived from the current secret; false when EVERAFTER_SECRET has
    changed since."""

    id: UUID
    key: str
    is_ours: bool
    used_recently: bool


async def list_coach_keys(conn: Connection, secret: str) -> list[CoachKey]:
    """All live coach keys, newest first; used_recently: within a minute."""
    cursor = await conn.execute(
        """
        SELECT
          id,
          key_hash,
          coalesce(last_used_at > now() - interval '1 minute', false) AS used_recently
        FROM api_keys
        WHERE scope = 'coach' AND revoked_at IS NULL
        ORDER BY created_at DESC, id
        """
    )
    found: list[CoachKey] = []
    for key_id, key_hash, used_recently in await cursor.fetchall():
        key = derive_coach_key(secret, key_id)
        found.append(CoachKey(key_id, key, hash_key(key) == bytes(key_hash), used_recently))
    return found


async def list_live_scopes(conn: Connection) -> dict[bytes, str]:
    """The scope of every live key, by the key's hash."""
    cursor = await conn.execute(
        """
        SELECT key_hash, scope
        FROM api_keys
        WHERE revoked_at IS NULL
        """
    )
    return {bytes(key_hash): scope for key_hash, scope in await cursor.fetchall()}


async def note_use(conn: Connection, key_hash: bytes) -> None:
    """Store that a key is in use; writes at most once a minute."""
    await conn.execute(
        """
        UPDATE api_keys
        SET last_used_at = now()
        WHERE key_hash = %s
          AND coalesce(last_used_at < now() - interval '1 minute', true)
        """,
        [key_hash],
    )


async def list_keys(conn: Connection) -> list[ApiKey]:
    """All keys including revoked ones, oldest first."""
    cursor = await conn.execute(
        """
        SELECT id, scope, name, created_at, last_used_at, revoked_at
        FROM api_keys
        ORDER BY created_at, id
        """
    )
    return [ApiKey(*row) for row in await cursor.fetchall()]


async def revoke_key(conn: Connection, which: str) -> ApiKey:
    """Revoke the live key with this id or name.

    Raises:
        InputError: `which` is empty; a key without a name is revoked by its id.
        NotFoundError: there is no such live key, or several have the name.
    """
    if not which.strip():
        raise InputError("give the id or the name of a key; `everafter key list` shows them")
    found = [
        key
        for key in await list_keys(conn)
        if which in {str(key.id), key.name} and key.revoked_at is None
    ]
    if not found:
        raise NotFoundError(
            f"no active key has the id or name {which!r}; `everafter key list` shows them"
        )
    if len(found) > 1:
        raise NotFoundError(
            f"{len(found)} active keys are named {which!r}; give the id that `everafter key list`"
            " shows"
        )
    await conn.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", [found[0].id])
    return found[0]
