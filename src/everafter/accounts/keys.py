"""API keys: only a hash is kept, so a key is shown once."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError

Scope = Literal["ingest", "read", "write", "coach"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key once it has been handed out."""

    id: UUID
    scope: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def create_key(conn: Connection, scope: Scope, name: str = "") -> str:
    """Make a key of that scope and return it; it cannot be read again."""
    # no colon and no character that a URL, a header or a shell would change: it also travels as a Basic user name
    key = f"ea_{scope}_{secrets.token_urlsafe(32)}"
    await conn.execute(
        "INSERT INTO api_keys (key_hash, scope, name) VALUES (%s, %s, %s)",
        [hashlib.sha256(key.encode()).digest(), scope, name],
    )
    return key


async def list_keys(conn: Connection) -> list[ApiKey]:
    """Every key, revoked ones included, the oldest first."""
    cursor = await conn.execute(
        "SELECT id, scope, name, created_at, last_used_at, revoked_at FROM api_keys ORDER BY created_at, id"
    )
    return [ApiKey(*row) for row in await cursor.fetchall()]


async def revoke_key(conn: Connection, which: str) -> ApiKey:
    """Revoke the key with that id or, where only one live key has it, that name.

    Raises:
        NotFoundError: there is no such live key, or several have the name.
    """
    found = [key for key in await list_keys(conn) if which in {str(key.id), key.name} and key.revoked_at is None]
    if not found:
        raise NotFoundError(f"no live key has the id or name {which!r}; `everafter key list` shows them")
    if len(found) > 1:
        raise NotFoundError(f"{len(found)} live keys are named {which!r}; give the id that `everafter key list` shows")
    await conn.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", [found[0].id])
    return found[0]
