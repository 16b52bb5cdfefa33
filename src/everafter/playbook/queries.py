"""The playbooks that were ever in force."""

import hashlib

import msgspec

from everafter.core.db import Connection
from everafter.playbook.model import Playbook


async def ensure_playbook_version(conn: Connection, playbook: Playbook) -> int:
    """The version number of a playbook, stored when it is new. Playbooks that differ only in
    comments and layout have the same number."""
    source = msgspec.json.encode(playbook, order="sorted").decode()
    sha = hashlib.sha256(source.encode()).hexdigest()
    await conn.execute(
        """
        INSERT INTO playbook_versions (sha256, source)
        VALUES (%s, %s)
        ON CONFLICT (sha256) DO NOTHING
        """,
        [sha, source],
    )
    cursor = await conn.execute("SELECT version FROM playbook_versions WHERE sha256 = %s", [sha])
    row = await cursor.fetchone()
    assert row  # noqa: S101 inserted or found just above
    return row[0]


async def get_playbook(conn: Connection, version: int) -> Playbook | None:
    """A stored playbook; null when this version of the program cannot read it."""
    cursor = await conn.execute(
        "SELECT source FROM playbook_versions WHERE version = %s", [version]
    )
    row = await cursor.fetchone()
    try:
        return msgspec.json.decode(row[0], type=Playbook) if row else None
    except msgspec.DecodeError:
        return None
