"""Read what the supplier page shows; each statement is a look-up by supplier id."""

import uuid
from datetime import date, datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.playbook.model import DIMENSIONS
from everafter.portfolio.queries import PAST_DUE
from everafter.portfolio.supplier_model import (
    CLIENTS_SHOWN,
    Call,
    Client,
    Event,
    Milestone,
    StoredDay,
    Supplier,
    Task,
)

_MOST_EVENTS = 4000


async def find_supplier(conn: Connection, supplier_id: uuid.UUID) -> Supplier | None:
    """Read the profile; null if the supplier does not exist."""
    async with conn.cursor(row_factory=class_row(Supplier)) as cursor:
        await cursor.execute(
            f"""
            SELECT
              s.id,
              s.external_id,
              s.name,
              s.email,
              coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
              coalesce(p.plan, s.plan) AS plan,
              s.country,
              s.timezone,
              s.mrr_minor,
              s.client_limit,
              s.consent,
              coalesce(p.account_created_at, s.created_at) AS began_at,
              p.subscription,
              p.subscription_at,
              p.last_login_at,
              p.last_event_at,
              coalesce(p.events_total, 0) AS events_total,
              coalesce(p.clients_total, 0) AS clients_total,
              coalesce(p.tickets_open, 0) AS tickets_open,
              CASE WHEN {PAST_DUE} THEN p.payment_failed_at END AS past_due_since
            FROM suppliers s
            LEFT JOIN supplier_activity p ON p.supplier_id = s.id
            WHERE s.id = %s
            """,
            [supplier_id],
        )
        return await cursor.fetchone()


async def list_history(
    conn: Connection, supplier_id: uuid.UUID, last: date, days: int
) -> list[StoredDay]:
    """List the stored scores of the `days` days up to `last`, oldest first.

    The primary key starts with the day, so each day is one look-up (365 take 2 ms). An index by
    supplier would cost each daily run more than all these pages.
    """
    cursor = await conn.execute(
        """
        SELECT
          h.calculated_on,
          h.calculated_at,
          h.score,
          h.health_score,
          h.risk_level,
          h.coverage,
          h.season_index,
          h.playbook_version,
          h.login_points,
          h.feature_adoption_points,
          h.client_activity_points,
          h.form_completion_points,
          h.journey_performance_points
        FROM generate_series(0, %(days)s - 1) n
        JOIN customer_health h
          ON h.supplier_id = %(id)s AND h.calculated_on = %(last)s::date - n
        ORDER BY h.calculated_on
        """,
        {"id": supplier_id, "last": last, "days": days},
    )
    rows: list[tuple[Any, ...]] = await cursor.fetchall()
    return [
        StoredDay(
            on,
            at,
            score,
            floor,
            band,
            coverage,
            season_index,
            version,
            dict(zip(DIMENSIONS, points, strict=True)),
        )
        for on, at, score, floor, band, coverage, season_index, version, *points in rows
    ]


async def find_stored_churn(
    conn: Connection, supplier_id: uuid.UUID, day: date
) -> dict[str, Any] | None:
    """Read the churn index stored on a day, with its five signals."""
    cursor = await conn.execute(
        """
        SELECT
          risk,
          level,
          base,
          login,
          support_tickets,
          feature_usage,
          client_churn,
          billing
        FROM churn_risk
        WHERE calculated_on = %s AND supplier_id = %s
        """,
        [day, supplier_id],
    )
    row = await cursor.fetchone()
    names = (
        "risk",
        "level",
        "base",
        "login",
        "support_tickets",
        "feature_usage",
        "client_churn",
        "billing",
    )
    return dict(zip(names, row, strict=True)) if row else None


async def list_open_tasks(conn: Connection, supplier_id: uuid.UUID) -> list[Task]:
    """List open tasks by priority and due date."""
    async with conn.cursor(row_factory=class_row(Task)) as cursor:
        await cursor.execute(
            """
            SELECT
              t.id,
              t.kind,
              t.priority,
              t.title,
              t.reason,
              u.name AS assignee,
              t.created_at,
              t.due_at
            FROM tasks t
            LEFT JOIN users u ON u.id = t.assignee_id
            WHERE t.supplier_id = %s
              AND t.status = 'open'
            ORDER BY
              array_position(ARRAY['high', 'normal', 'low'], t.priority),
              t.due_at NULLS LAST,
              t.created_at
            LIMIT 20
            """,
            [supplier_id],
        )
        return await cursor.fetchall()


async def list_calls(conn: Connection, supplier_id: uuid.UUID, now: datetime) -> list[Call]:
    """List the next calls, then the latest past ones; cancelled calls count as past."""
    async with conn.cursor(row_factory=class_row(Call)) as cursor:
        await cursor.execute(
            """
            (
              SELECT i.type, i.topic, i.starts_at, i.ends_at, u.name AS csm, i.outcome, i.notes
              FROM support_interactions i
              LEFT JOIN users u ON u.id = i.csm_id
              WHERE i.supplier_id = %(supplier)s
                AND i.starts_at >= %(now)s
                AND i.outcome IS DISTINCT FROM 'cancelled'
              ORDER BY i.starts_at
              LIMIT 5
            )
            UNION ALL
            (
              SELECT i.type, i.topic, i.starts_at, i.ends_at, u.name AS csm, i.outcome, i.notes
              FROM support_interactions i
              LEFT JOIN users u ON u.id = i.csm_id
              WHERE i.supplier_id = %(supplier)s
                AND i.starts_at IS NOT NULL
                AND (i.starts_at < %(now)s OR i.outcome = 'cancelled')
              ORDER BY i.starts_at DESC
              LIMIT 5
            )
            """,
            {"supplier": supplier_id, "now": now},
        )
        calls = await cursor.fetchall()
    return sorted(
        calls,
        key=lambda call: (
            call.starts_at < now or call.outcome == "cancelled",
            abs(call.starts_at - now),
        ),
    )


async def list_coming_weddings(
    conn: Connection, supplier_id: uuid.UUID, today: date
) -> tuple[list[Client], int]:
    """List the clients with the next weddings, and count all weddings from today on."""
    cursor = await conn.execute(
        """
        SELECT client_id, name, wedding_date, last_active_at, count(*) OVER ()
        FROM clients
        WHERE supplier_id = %s
          AND wedding_date >= %s
          AND (
            greatest(archived_at, lost_at) IS NULL
            OR readded_at > greatest(archived_at, lost_at)
          )
        ORDER BY wedding_date, client_id
        LIMIT %s
        """,
        [supplier_id, today, CLIENTS_SHOWN],
    )
    rows = await cursor.fetchall()
    return [Client(*row[:4]) for row in rows], rows[0][4] if rows else 0


async def list_milestones(conn: Connection, supplier_id: uuid.UUID) -> list[Milestone]:
    """List the milestones reached, latest first."""
    async with conn.cursor(row_factory=class_row(Milestone)) as cursor:
        await cursor.execute(
            """
            SELECT milestone_type, achieved_at
            FROM success_milestones
            WHERE supplier_id = %s
            ORDER BY achieved_at DESC
            """,
            [supplier_id],
        )
        return await cursor.fetchall()


async def list_events(
    conn: Connection, supplier_id: uuid.UUID, since: date, until: date
) -> tuple[list[Event], bool]:
    """List the events of the UTC days from `since` to `until` (both included), latest first.

    Returns:
        At most 4,000 events, and whether there are older ones than `since`.
    """
    async with conn.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(
            """
            SELECT
              e.type,
              e.occurred_at,
              coalesce(e.properties, '{}') AS properties,
              c.name AS client_name
            FROM events e
            LEFT JOIN clients c
              ON c.supplier_id = e.supplier_id AND c.client_id = e.properties ->> 'client_id'
            WHERE e.supplier_id = %s AND e.occurred_at >= %s AND e.occurred_at < %s
            ORDER BY e.occurred_at DESC, e.message_id
            LIMIT %s
            """,
            [supplier_id, since, until + timedelta(days=1), _MOST_EVENTS],
        )
        events = await cursor.fetchall()
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT 1 FROM events WHERE supplier_id = %s AND occurred_at < %s)",
        [supplier_id, since],
    )
    (older,) = await cursor.fetchone() or (False,)
    return events, older
