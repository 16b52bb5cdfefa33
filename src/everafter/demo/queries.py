"""Statements on the demo's own state: progress, tasks of past days, keys."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import sql

from everafter.core.db import SCHEMA, Connection
from everafter.daily.model import RunSummary
from everafter.demo.model import World
from everafter.demo.responses import Sent
from everafter.demo.rules import read_world

TEAM = ("dana@example.com", "mere@example.com", "robin@example.com")
"""The members of the demo's team, by email."""


@dataclass(frozen=True, slots=True)
class DemoState:
    """The state of the demo in a database.

    world: null when the database has no demo suppliers. suppliers: number of all suppliers.
    events_until: time of the last stored demo event. scored_at, summary: the last completed run."""

    world: World | None
    suppliers: int
    events_until: datetime | None
    scored_at: datetime | None
    summary: RunSummary | None


async def get_demo_state(conn: Connection) -> DemoState:
    """Read the state of the demo in this database."""
    cursor = await conn.execute(
        """
        SELECT
          (SELECT count(*) FROM suppliers),
          (SELECT max(traits ->> 'demo_world') FROM suppliers),
          (SELECT max(occurred_at) FROM events WHERE message_id LIKE 'demo-%')
        """
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 a select without FROM returns a row
    suppliers, world, events_until = row
    cursor = await conn.execute(
        """
        SELECT as_of, summary::text
        FROM runs
        WHERE finished_at IS NOT NULL
        ORDER BY run_on DESC
        LIMIT 1
        """
    )
    run = await cursor.fetchone()
    return DemoState(
        world=read_world(world) if world else None,
        suppliers=suppliers,
        events_until=events_until,
        scored_at=run[0] if run else None,
        summary=msgspec.json.decode(run[1], type=RunSummary) if run and run[1] else None,
    )


async def count_past_interventions(conn: Connection) -> None:
    """Mark the interventions of past days as real, so that frequency caps and cooldowns count
    them. Those of a replay do not count."""
    await conn.execute("UPDATE interventions SET replay = false WHERE replay")


async def list_sent(conn: Connection, since: datetime) -> list[Sent]:
    """List the interventions since a moment that reached suppliers. Excludes the control group."""
    cursor = await conn.execute(
        """
        SELECT supplier_id::text, trigger, evaluated_at
        FROM interventions
        WHERE status = 'triggered' AND evaluated_at >= %s
        ORDER BY evaluated_at, supplier_id, trigger
        """,
        [since],
    )
    return [Sent(*row) for row in await cursor.fetchall()]


async def complete_past_tasks(conn: Connection, now: datetime) -> None:
    """Assign and complete tasks of past days, as a team would have. A replay dismisses them when it
    creates them.

    Tasks older than nine days are done. Of the newer ones some are still open, and some of those
    are unassigned. The task's id determines which."""
    await conn.execute(
        """
        WITH people AS (
          SELECT array_agg(id ORDER BY email) AS ids
          FROM users
          WHERE email = ANY (%(people)s)
        ),
        drawn AS (
          SELECT t.supplier_id, t.id, t.created_at, people.ids,
            get_byte(decode(md5(t.id::text), 'hex'), 0) AS one,
            get_byte(decode(md5(t.id::text), 'hex'), 1) AS two
          FROM tasks t, people
          WHERE t.status = 'dismissed'
            AND t.closed_at = t.created_at
            AND t.created_at < %(now)s::timestamptz
        ),
        worked AS (
          SELECT supplier_id, id,
            created_at < %(now)s::timestamptz - interval '9 days'
              OR created_at < %(now)s::timestamptz - interval '2 days' AND one < 130 AS is_done,
            least(
              created_at + interval '2 hours' + two * interval '15 minutes', %(now)s::timestamptz
            ) AS closed_at,
            CASE
              WHEN created_at < %(now)s::timestamptz - interval '9 days' OR one < 190
              THEN ids[1 + two %% array_length(ids, 1)]
            END AS assignee_id
          FROM drawn
        )
        UPDATE tasks t
        SET status = CASE WHEN w.is_done THEN 'done' ELSE 'open' END,
          closed_at = CASE WHEN w.is_done THEN w.closed_at END,
          assignee_id = w.assignee_id
        FROM worked w
        WHERE t.supplier_id = w.supplier_id AND t.id = w.id
        """,
        {"now": now, "people": list(TEAM)},
    )


async def is_demo_or_empty(conn: Connection) -> bool:
    """Return whether the database holds demo data or no suppliers at all.

    Works with the schema of any version.
    """
    # schema-qualified: the platform may have its own table of that name
    cursor = await conn.execute("SELECT to_regclass(%s) IS NULL", [f"{SCHEMA}.suppliers"])
    row = await cursor.fetchone()
    if row and row[0]:
        return True
    cursor = await conn.execute(
        """
        SELECT NOT EXISTS (SELECT 1 FROM suppliers)
          OR EXISTS (SELECT 1 FROM suppliers WHERE traits ? 'demo_world')
        """
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def drop_schema(conn: Connection) -> None:
    """Drop Everafter's schema with all its tables."""
    await conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))


async def ensure_key(conn: Connection, key: str, scope: str) -> bool:
    """Create this API key if it does not exist.

    Returns:
        False when it is revoked.
    """
    key_hash = hashlib.sha256(key.encode()).digest()
    await conn.execute(
        """
        INSERT INTO api_keys (key_hash, scope, name)
        VALUES (%s, %s, 'demo')
        ON CONFLICT (key_hash) DO NOTHING
        """,
        [key_hash, scope],
    )
    cursor = await conn.execute(
        "SELECT revoked_at IS NULL FROM api_keys WHERE key_hash = %s", [key_hash]
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def count_waiting_mail(conn: Connection) -> tuple[int, int]:
    """Count the queued messages, and those recorded for past days."""
    cursor = await conn.execute(
        """
        SELECT
          count(*) FILTER (WHERE status = 'queued'),
          count(*) FILTER (WHERE status = 'replayed')
        FROM outbox
        """
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 an aggregate returns a row
    return row[0], row[1]
