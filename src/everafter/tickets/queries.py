"""Read and write tickets, their changes, tasks, contacts and calls. Nothing here commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import polars as pl

from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.suppliers.queries import get_external_id
from everafter.support.model import Interaction
from everafter.tickets.model import Change, InteractionRequest, State, Ticket
from everafter.tickets.page_model import MOST_CALLS, Call
from everafter.tickets.task_rules import KIND, OpenTask, Task

# A ticket with its changes. Both tables are keyed by supplier and ticket, so this is one look-up
# per ticket. A single supplier is passed as an array: PostgreSQL would push an equality down to the
# joined tables but not to the lateral one, and Citus refuses that join.
_TICKETS: LiteralString = """
SELECT
  t.supplier_id,
  t.ticket_id,
  t.subject,
  t.priority,
  coalesce(nullif(s.name, ''), s.external_id, '') AS supplier,
  coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
  c.ats,
  c.states,
  s.external_id
FROM tickets t
JOIN suppliers s ON s.id = t.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = t.supplier_id
CROSS JOIN LATERAL (
  SELECT
    array_agg(c.at ORDER BY c.at) AS ats,
    array_agg(c.state ORDER BY c.at) AS states,
    max(c.at) FILTER (WHERE c.state = 'waiting') AS waited,
    max(c.at) FILTER (WHERE c.state = 'resumed') AS resumed
  FROM ticket_changes c
  WHERE c.supplier_id = t.supplier_id
    AND c.ticket_id = t.ticket_id
) c
"""
# Whether a ticket is open or waits; also the condition of an index.
_IS_OPEN: LiteralString = (
    "t.last_opened_at IS NOT NULL AND coalesce(t.resolved_at < t.last_opened_at, true)"
)
# Whether an open ticket waits, as `rules.follow` has it.
_WAITS: LiteralString = (
    "coalesce(c.waited >= t.last_opened_at AND coalesce(c.waited > c.resumed, true), false)"
)
_OF_SUPPLIERS: LiteralString = (
    "(%(suppliers)s::uuid[] IS NULL OR t.supplier_id = ANY (%(suppliers)s))"
)

# A page of all tickets, the latest first.
_NEXT_PAGE: LiteralString = """(
    %(at)s::timestamptz IS NULL
    OR (t.opened_at, t.supplier_id, t.ticket_id) < (%(at)s, %(last)s::uuid, %(ticket)s::text)
  )"""
_LATEST_FIRST: LiteralString = """
ORDER BY t.opened_at DESC, t.supplier_id DESC, t.ticket_id DESC
LIMIT %(limit)s
"""

# By the index of open tickets: of 110,000 tickets 10,000 are read, 90 ms instead of 900 when few
# or none wait.
_UNRESOLVED_PAGE: LiteralString = f"""
{_TICKETS}
WHERE {_IS_OPEN}
  AND {_OF_SUPPLIERS}
  AND {_NEXT_PAGE}
  AND (%(state)s::text = 'waiting') = ({_WAITS})
{_LATEST_FIRST}
"""

_RESOLVED_OR_ANY_PAGE: LiteralString = f"""
{_TICKETS}
WHERE t.opened_at IS NOT NULL
  AND {_OF_SUPPLIERS}
  AND {_NEXT_PAGE}
  AND (%(state)s::text IS NULL OR NOT ({_IS_OPEN}))
{_LATEST_FIRST}
"""


async def add_changes(conn: Connection, changes: pl.DataFrame) -> None:
    """Add changes of tickets; existing ones are kept.

    Args:
        changes: CHANGES_SCHEMA, in key order.
    """
    if changes.is_empty():
        return
    await conn.execute(
        """
        INSERT INTO ticket_changes (supplier_id, ticket_id, at, state)
        SELECT supplier_id, ticket_id, at, state
        FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::text[])
          AS new (supplier_id, ticket_id, at, state)
        ON CONFLICT DO NOTHING
        """,
        [changes[name].to_list() for name in ("supplier_id", "ticket_id", "at", "state")],
    )


async def require_supplier(conn: Connection, supplier_id: UUID) -> None:
    """Check that the supplier exists.

    Raises:
        NotFoundError: no such supplier.
    """
    cursor = await conn.execute("SELECT 1 FROM suppliers WHERE id = %s", [supplier_id])
    if await cursor.fetchone() is None:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")


async def find_ticket(conn: Connection, supplier_id: UUID, ticket_id: str) -> Ticket | None:
    """Read a ticket; null if it was never reported."""
    cursor = await conn.execute(
        f"""
        {_TICKETS}
        WHERE t.supplier_id = ANY (%s)
          AND t.ticket_id = %s
        """,
        [[supplier_id], ticket_id],
    )
    row = await cursor.fetchone()
    return _ticket(row) if row else None


async def list_tickets(
    conn: Connection,
    supplier_id: UUID | None,
    state: State | None,
    before: tuple[datetime, UUID, str] | None,
    limit: int,
) -> list[Ticket]:
    """List tickets, the latest opened first.

    Args:
        supplier_id: null: those of all suppliers.
        state: null: any.
        before: (opened_at, supplier, ticket) of the last ticket of the page before; null: the first
            page.
    """
    values = {
        "suppliers": None if supplier_id is None else [supplier_id],
        "state": state,
        "at": before[0] if before else None,
        "last": before[1] if before else None,
        "ticket": before[2] if before else None,
        "limit": limit,
    }
    if state in ("open", "waiting"):
        cursor = await conn.execute(_UNRESOLVED_PAGE, values)
    else:
        cursor = await conn.execute(_RESOLVED_OR_ANY_PAGE, values)
    return [_ticket(row) for row in await cursor.fetchall()]


async def list_open(conn: Connection, limit: int) -> list[Ticket]:
    """List open and waiting tickets up to a maximum, the longest open first."""
    cursor = await conn.execute(
        f"""
        {_TICKETS}
        WHERE {_IS_OPEN}
        ORDER BY t.last_opened_at, t.supplier_id, t.ticket_id
        LIMIT %s
        """,
        [limit],
    )
    return [_ticket(row) for row in await cursor.fetchall()]


async def list_watched(conn: Connection, limit: int) -> list[Ticket]:
    """List open and waiting tickets up to a maximum. Tickets with an open task come first, so that
    no task is closed because its ticket was not read; then the longest open.
    """
    cursor = await conn.execute(
        f"""
        {_TICKETS}
        WHERE {_IS_OPEN}
        ORDER BY
          EXISTS (
            SELECT 1
            FROM tasks k
            WHERE k.supplier_id = t.supplier_id
              AND k.ticket_id = t.ticket_id
              AND k.kind = %s
              AND k.status = 'open'
          ) DESC,
          t.last_opened_at,
          t.supplier_id,
          t.ticket_id
        LIMIT %s
        """,
        [KIND, limit],
    )
    return [_ticket(row) for row in await cursor.fetchall()]


async def list_of_supplier(conn: Connection, supplier_id: UUID, limit: int) -> list[Ticket]:
    """List the tickets of a supplier for its page: open ones first, then the latest."""
    cursor = await conn.execute(
        f"""
        {_TICKETS}
        WHERE t.supplier_id = ANY (%s)
          AND t.opened_at IS NOT NULL
        ORDER BY ({_IS_OPEN}) DESC, t.opened_at DESC, t.ticket_id
        LIMIT %s
        """,
        [[supplier_id], limit],
    )
    return [_ticket(row) for row in await cursor.fetchall()]


async def list_resolved(conn: Connection, since: datetime, limit: int) -> list[Ticket]:
    """List tickets resolved since a moment and not reopened, the latest up to a maximum."""
    cursor = await conn.execute(
        f"""
        {_TICKETS}
        WHERE t.resolved_at >= %s
          AND t.last_opened_at IS NOT NULL
          AND t.resolved_at >= t.last_opened_at
        ORDER BY t.resolved_at DESC, t.supplier_id, t.ticket_id
        LIMIT %s
        """,
        [since, limit],
    )
    return [_ticket(row) for row in await cursor.fetchall()]


def _ticket(row: Sequence[Any]) -> Ticket:
    changes = [Change(at, state) for at, state in zip(row[6] or (), row[7] or (), strict=True)]
    return Ticket(*row[:6], changes=changes, external_id=row[8])


# ── tasks ─────────────────────────────────────────────────────────────────────────


async def list_open_tasks(conn: Connection) -> list[OpenTask]:
    """List the open tasks about late tickets."""
    cursor = await conn.execute(
        """
        SELECT supplier_id, ticket_id, id, priority, title, reason, due_at
        FROM tasks
        WHERE kind = %s
          AND status = 'open'
          AND ticket_id IS NOT NULL
        """,
        [KIND],
    )
    return [OpenTask(*row) for row in await cursor.fetchall()]


async def insert_tasks(conn: Connection, tasks: Sequence[Task]) -> int:
    """Insert tasks that did not exist before, and return their number. A task that a person has
    closed stays closed.
    """
    if not tasks:
        return 0
    columns = ("supplier_id", "id", "priority", "title", "reason", "due_at", "ticket_id")
    cursor = await conn.execute(
        """
        INSERT INTO tasks (supplier_id, id, kind, priority, title, reason, due_at, ticket_id)
        SELECT supplier_id, id, %s, priority, title, reason, due_at, ticket_id
        FROM unnest(
          %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[]
        ) AS new (supplier_id, id, priority, title, reason, due_at, ticket_id)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        [KIND, *([getattr(task, name) for task in tasks] for name in columns)],
    )
    return len(await cursor.fetchall())  # on Citus rowcount holds those left out too


async def update_tasks(conn: Connection, tasks: Sequence[Task]) -> None:
    """Update priority, title, reason and due time of open tasks."""
    if not tasks:
        return
    columns = ("supplier_id", "id", "priority", "title", "reason", "due_at")
    await conn.execute(
        """
        UPDATE tasks t
        SET
          priority = changed.priority,
          title = changed.title,
          reason = changed.reason,
          due_at = changed.due_at
        FROM unnest(
          %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[]
        ) AS changed (supplier_id, id, priority, title, reason, due_at)
        WHERE t.supplier_id = changed.supplier_id
          AND t.id = changed.id
          AND t.status = 'open'
        """,
        [[getattr(task, name) for task in tasks] for name in columns],
    )


async def close_tasks(conn: Connection, tasks: Sequence[OpenTask]) -> int:
    """Mark tasks as done and return their number."""
    if not tasks:
        return 0
    cursor = await conn.execute(
        """
        UPDATE tasks t
        SET status = 'done', closed_at = now()
        FROM unnest(%s::uuid[], %s::uuid[]) AS closed (supplier_id, id)
        WHERE t.supplier_id = closed.supplier_id
          AND t.id = closed.id
          AND t.status = 'open'
        """,
        [[task.supplier_id for task in tasks], [task.id for task in tasks]],
    )
    return cursor.rowcount


# ── contacts ──────────────────────────────────────────────────────────────────────


async def insert_interaction(conn: Connection, contact: InteractionRequest) -> Interaction:
    """Record a contact that was not a booked call."""
    cursor = await conn.execute(
        """
        INSERT INTO support_interactions (supplier_id, type, notes, outcome)
        VALUES (%s, %s, %s, %s)
        RETURNING id, type, topic, notes, outcome, created_at, starts_at, ends_at
        """,
        [contact.supplier_id, contact.type, contact.notes, contact.outcome],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 RETURNING of one inserted row
    return Interaction(
        row[0],
        contact.supplier_id,
        await get_external_id(conn, contact.supplier_id),
        *row[1:],
        csm=None,
    )


# ── calls ─────────────────────────────────────────────────────────────────────────

_CALLS: LiteralString = """
SELECT
  i.supplier_id,
  coalesce(nullif(s.name, ''), s.external_id, '') AS supplier,
  i.id,
  i.type,
  i.topic,
  i.notes,
  i.starts_at,
  i.ends_at,
  u.name AS csm
FROM support_interactions i
JOIN suppliers s ON s.id = i.supplier_id
LEFT JOIN users u ON u.id = i.csm_id
WHERE i.starts_at IS NOT NULL
  AND i.outcome IS NULL
"""


async def list_coming_calls(conn: Connection, now: datetime, until: datetime) -> list[Call]:
    """List booked calls that are not over and begin before `until`, at most MOST_CALLS."""
    cursor = await conn.execute(
        f"""
        {_CALLS}
          AND i.ends_at > %s
          AND i.starts_at < %s
        ORDER BY i.starts_at, i.id
        LIMIT %s
        """,
        [now, until, MOST_CALLS],
    )
    return [Call(*row) for row in await cursor.fetchall()]


async def list_unannounced_calls(conn: Connection, now: datetime) -> list[Call]:
    """List calls that are over and have no outcome, the latest first, at most MOST_CALLS."""
    cursor = await conn.execute(
        f"""
        {_CALLS}
          AND i.ends_at <= %s
        ORDER BY i.starts_at DESC, i.id
        LIMIT %s
        """,
        [now, MOST_CALLS],
    )
    return [Call(*row) for row in await cursor.fetchall()]


async def close_call(
    conn: Connection,
    supplier_id: UUID,
    call_id: UUID,
    outcome: str,
    notes: str | None,
    closed_by: UUID,
    now: datetime,
) -> bool:
    """Record the outcome of a call; false if it has not begun or has an outcome already.

    Args:
        notes: null keeps the stored notes.
    """
    cursor = await conn.execute(
        """
        UPDATE support_interactions
        SET
          outcome = %s,
          notes = coalesce(%s, notes),
          closed_at = %s,
          closed_by = %s
        WHERE supplier_id = %s
          AND id = %s
          AND starts_at <= %s
          AND outcome IS NULL
        """,
        [outcome, notes, now, closed_by, supplier_id, call_id, now],
    )
    return cursor.rowcount == 1
