"""Statements for the sample platform's pages. A real platform reads these from its own tables."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from everafter.accounts.keys import derive_coach_key, hash_key
from everafter.core.db import Connection


@dataclass(frozen=True, slots=True)
class Tenant:
    """A supplier that a visitor can sign in as. reason: why it is listed."""

    id: UUID
    name: str
    vendor_type: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Client:
    """One of a supplier's clients. seen_days_ago: null when never. waiting: unanswered forms."""

    name: str
    wedding_date: date | None
    seen_days_ago: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers on a supplier's overview."""

    clients: int
    weddings_90d: int
    forms_waiting: int
    plan: str


async def list_tenants(conn: Connection, chosen: UUID | None) -> list[Tenant]:
    """List a few suppliers with different content in their coach, and the one chosen before."""
    cursor = await conn.execute(
        """
        WITH last_run AS (
          SELECT max(run_on) AS run_on
          FROM runs
          WHERE finished_at IS NOT NULL
        ),
        current AS (
          SELECT
            s.id,
            s.name,
            coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
            h.score,
            h.risk_level,
            p.account_created_at,
            (
              SELECT max(m.achieved_at)
              FROM success_milestones m
              WHERE m.supplier_id = s.id AND m.celebrated_in_coach_at IS NULL
            ) AS achieved_at,
            EXISTS (
              SELECT 1
              FROM success_milestones m
              WHERE m.supplier_id = s.id AND m.milestone_type = 'fully_activated'
            ) AS activated
          FROM suppliers s
          JOIN supplier_activity p ON p.supplier_id = s.id
          JOIN customer_health h
            ON h.supplier_id = s.id
            AND h.calculated_on = (SELECT run_on FROM last_run)
          WHERE coalesce(p.subscription, 'active') = 'active'
        ),
        listed AS (
          (
            SELECT 1 AS place, id, name, vendor_type, 'still setting up' AS reason
            FROM current
            WHERE NOT activated AND account_created_at > now() - interval '40 days'
            ORDER BY account_created_at DESC
            LIMIT 2
          )
          UNION ALL
          (
            SELECT 2, id, name, vendor_type, 'at risk'
            FROM current
            WHERE risk_level = 'at_risk'
            ORDER BY score
            LIMIT 2
          )
          UNION ALL
          (
            SELECT 3, id, name, vendor_type, 'new milestone'
            FROM current
            WHERE achieved_at > now() - interval '14 days'
            ORDER BY achieved_at DESC
            LIMIT 2
          )
          UNION ALL
          (
            SELECT 4, id, name, vendor_type, 'healthy'
            FROM current
            WHERE risk_level = 'healthy'
            ORDER BY score DESC
            LIMIT 2
          )
          UNION ALL
          (
            SELECT 5, id, name, vendor_type, 'selected'
            FROM current
            WHERE id = %(chosen)s
          )
        ),
        distinct_suppliers AS (
          SELECT DISTINCT ON (id) place, id, name, vendor_type, reason
          FROM listed
          ORDER BY id, place
        )
        SELECT id, name, vendor_type, reason
        FROM distinct_suppliers
        ORDER BY place, name
        """,
        {"chosen": chosen},
    )
    return [Tenant(*row) for row in await cursor.fetchall()]


async def get_figures(conn: Connection, supplier_id: UUID) -> Figures:
    """Read the numbers of a supplier's overview."""
    cursor = await conn.execute(
        """
        SELECT
          count(*) FILTER (WHERE wedding_date >= current_date OR wedding_date IS NULL),
          count(*) FILTER (WHERE wedding_date BETWEEN current_date AND current_date + 90),
          (
            SELECT count(*)
            FROM sent_items i
            WHERE i.supplier_id = %(id)s
              AND i.kind = 'form'
              AND i.answered_at IS NULL
              AND i.sent_at > now() - interval '90 days'
          ),
          (
            SELECT coalesce(p.plan, s.plan, 'free')
            FROM suppliers s
            LEFT JOIN supplier_activity p ON p.supplier_id = s.id
            WHERE s.id = %(id)s
          )
        FROM clients
        WHERE supplier_id = %(id)s
          AND archived_at IS NULL
          AND lost_at IS NULL
        """,
        {"id": supplier_id},
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 an aggregate returns a row
    return Figures(row[0], row[1], row[2], row[3] or "free")


async def list_clients(conn: Connection, supplier_id: UUID, limit: int) -> list[Client]:
    """List the clients with the next wedding dates."""
    cursor = await conn.execute(
        """
        SELECT
          coalesce(c.name, 'A client'),
          c.wedding_date,
          extract(day FROM now() - c.last_active_at)::int,
          (
            SELECT count(*)
            FROM sent_items i
            WHERE i.supplier_id = c.supplier_id
              AND i.client_id = c.client_id
              AND i.kind = 'form'
              AND i.answered_at IS NULL
              AND i.sent_at > now() - interval '90 days'
          )
        FROM clients c
        WHERE c.supplier_id = %s
          AND c.archived_at IS NULL
          AND c.lost_at IS NULL
          AND (c.wedding_date >= current_date OR c.wedding_date IS NULL)
        ORDER BY c.wedding_date NULLS LAST, c.client_id
        LIMIT %s
        """,
        [supplier_id, limit],
    )
    return [Client(*row) for row in await cursor.fetchall()]


async def ensure_coach_key(conn: Connection, secret: str, key_id: UUID) -> str | None:
    """Create the platform's key for coach tokens, if needed. Returns null when it is revoked."""
    key = derive_coach_key(secret, key_id)
    await conn.execute(
        """
        INSERT INTO api_keys (id, key_hash, scope, name)
        VALUES (%s, %s, 'coach', 'demo platform')
        ON CONFLICT (id) DO UPDATE SET key_hash = excluded.key_hash
        """,
        [key_id, hash_key(key)],
    )
    cursor = await conn.execute("SELECT revoked_at IS NULL FROM api_keys WHERE id = %s", [key_id])
    row = await cursor.fetchone()
    return key if row and row[0] else None


async def ensure_csms(conn: Connection) -> None:
    """Create CSMs who take calls in the suppliers' time zones, in place of the default CSM. They
    cannot sign in."""
    await conn.execute(
        """
        INSERT INTO users (email, name, role, takes_calls, timezone)
        VALUES
          ('robin@example.com', 'Robin Hale', 'member', true, 'Europe/London'),
          ('dana@example.com', 'Dana Ruiz', 'member', true, 'America/New_York'),
          ('mere@example.com', 'Mere Tautahi', 'member', true, 'Pacific/Auckland')
        ON CONFLICT (email) DO NOTHING
        """
    )
    await conn.execute(
        "UPDATE users SET takes_calls = false WHERE email = 'success@everafter.invalid'"
    )
