"""Recorded scores, and which supplier is meant."""

from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg.rows import dict_row

from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.core.errors import InputError, NotFoundError
from everafter.core.ids import find_supplier_id


class Found(NamedTuple):
    """A supplier that was looked for. external_id: the platform's own id, null where it names it by
    its UUID."""

    supplier_id: str
    external_id: str | None
    name: str


async def find_supplier(conn: Connection, words: str) -> Found:
    """The one supplier that `words` names: its id (the platform's own, or its UUID), an email
    address, or (part of) a name.

    An id goes before everything else: whatever suppliers call themselves, an id names one.

    Raises:
        NotFoundError: nobody is named so.
        InputError: several are; their names are listed.
    """
    found: list[Found] = []
    if (supplier_id := find_supplier_id(words)) is not None:
        cursor = await conn.execute(
            "SELECT id::text, external_id, name FROM suppliers WHERE id = %s", [supplier_id]
        )
        found = [Found(*row) for row in await cursor.fetchall()]
    if not found:
        cursor = await conn.execute(
            """
            SELECT id::text, external_id, name FROM suppliers
            WHERE lower(email) = ANY (%(emails)s) OR name ILIKE '%%' || %(like)s || '%%'
            ORDER BY lower(name) = lower(%(words)s) DESC, lower(email) = ANY (%(emails)s) DESC, name
            LIMIT 6
            """,
            {
                "words": words,
                "emails": [words.lower(), travelling_form(words).lower()],
                "like": words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"),
            },
        )
        found = [Found(*row) for row in await cursor.fetchall()]
    if not found:
        raise NotFoundError(
            f"no supplier is named {words!r}: give an id, an email address or part of a name"
        )
    exact = [one for one in found if one.name.lower() == words.lower()]
    if len(found) > 1 and len(exact) != 1:
        several = "; ".join(
            f"{one.name} ({one.external_id or one.supplier_id})" for one in found[:5]
        )
        raise InputError(f"{words!r} names several suppliers: {several}")
    return (exact or found)[0]


async def get_recorded(conn: Connection, supplier_id: str, day: date) -> dict[str, Any] | None:
    """The row of customer_health of that day, or null."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT * FROM customer_health WHERE calculated_on = %s AND supplier_id = %s",
            [day, supplier_id],
        )
        return await cursor.fetchone()


async def list_interventions(
    conn: Connection, supplier_id: str, since: date, until: datetime
) -> list[dict[str, Any]]:
    """What was decided, skipped or in the holdout for a supplier, newest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT evaluated_on, trigger, channel, status, reason FROM interventions"
            " WHERE supplier_id = %s AND evaluated_on >= %s AND evaluated_at <= %s ORDER BY evaluated_on DESC, priority DESC",
            [supplier_id, since, until],
        )
        return await cursor.fetchall()
