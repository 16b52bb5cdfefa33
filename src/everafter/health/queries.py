"""Recorded scores, and which supplier is meant."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from everafter.core.db import Connection
from everafter.core.errors import InputError, NotFoundError


async def find_supplier(conn: Connection, words: str) -> tuple[str, str]:
    """The id and name of the one supplier that `words` names: an id, an e-mail address, or (part of) a name.

    Raises:
        NotFoundError: nobody is named so.
        InputError: several are; their names are listed.
    """
    try:
        cursor = await conn.execute("SELECT id::text, name FROM suppliers WHERE id = %s", [UUID(words)])
    except ValueError:
        cursor = await conn.execute(
            "SELECT id::text, name FROM suppliers WHERE lower(email) = lower(%(words)s) OR name ILIKE '%%' || %(like)s || '%%'"
            " ORDER BY lower(name) = lower(%(words)s) DESC, lower(email) = lower(%(words)s) DESC, name LIMIT 6",
            {"words": words, "like": words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")},
        )
    found = await cursor.fetchall()
    if not found:
        raise NotFoundError(f"no supplier is named {words!r}: give an id, an e-mail address or part of a name")
    exact = [row for row in found if row[1].lower() == words.lower()]
    if len(found) > 1 and len(exact) != 1:
        raise InputError(f"{words!r} names several suppliers: " + "; ".join(f"{name} ({key})" for key, name in found[:5]))
    return (exact or found)[0]


async def get_recorded(conn: Connection, supplier_id: str, day: date) -> dict[str, Any] | None:
    """The row of customer_health of that day, or null."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT * FROM customer_health WHERE calculated_on = %s AND supplier_id = %s", [day, supplier_id])
        return await cursor.fetchone()


async def list_verdicts(conn: Connection, supplier_id: str, since: date, until: datetime) -> list[dict[str, Any]]:
    """What was decided, withheld or held out for a supplier, newest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT decided_on, trigger, channel, status, reason FROM interventions"
            " WHERE supplier_id = %s AND decided_on >= %s AND decided_at <= %s ORDER BY decided_on DESC, priority DESC",
            [supplier_id, since, until],
        )
        return await cursor.fetchall()
