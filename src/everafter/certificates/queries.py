"""Suppliers that have earned a certificate. Nothing here commits."""

from datetime import datetime
from uuid import UUID

from everafter.certificates.model import HONOURED
from everafter.core.db import Connection


async def list_honoured_names(conn: Connection) -> list[str]:
    """The names of all suppliers that have earned a certificate, each once."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT s.name
        FROM suppliers s
        JOIN success_milestones m ON m.supplier_id = s.id
        WHERE m.milestone_type = %s
        ORDER BY s.name
        """,
        [HONOURED],
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_earned(
    conn: Connection, supplier_id: UUID
) -> tuple[str, str | None, datetime] | None:
    """The supplier's name, its time zone (null: unknown), and when it earned the certificate. Null
    if it has not, or does not exist."""
    cursor = await conn.execute(
        """
        SELECT s.name, s.timezone, m.achieved_at
        FROM suppliers s
        JOIN success_milestones m ON m.supplier_id = s.id
        WHERE s.id = %s AND m.milestone_type = %s
        """,
        [supplier_id, HONOURED],
    )
    return await cursor.fetchone()
