"""What the demo's platform shows its suppliers of themselves. A real platform has all this in
tables of its own."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from everafter.accounts.keys import derive_coach_key, hash_key
from everafter.core.db import Connection


@dataclass(frozen=True, slots=True)
class Tenant:
    """A supplier that one may be. why: what makes it worth looking at."""

    id: UUID
    name: str
    vendor_type: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Client:
    """One of a supplier's clients. waiting: forms they have not answered."""

    name: str
    wedding_date: date | None
    seen_days_ago: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What is on a supplier's first page."""

    clients: int
    weddings_90d: int
    forms_waiting: int
    plan: str


async def list_tenants(conn: Connection, chosen: UUID | None) -> list[Tenant]:
    """A handful of suppliers who see different things in their coach, and who was chosen before;
    each once."""
    cursor = await conn.execute(
        """
        WITH day AS (SELECT max(run_on) AS run_on FROM runs WHERE finished_at IS NOT NULL),
        standing AS (
          SELECT s.id, s.name, coalesce(p.vendor_type, s.vendor_type) AS vendor_type, h.score, h.risk_level, p.account_created_at,
            (SELECT max(m.achieved_at) FROM success_milestones m
              WHERE m.supplier_id = s.id AND m.celebrated_in_coach_at IS NULL) AS news_at,
            EXISTS (SELECT 1 FROM success_milestones m
              WHERE m.supplier_id = s.id AND m.milestone_type = 'fully_activated') AS activated
          FROM suppliers s JOIN supplier_activity p ON p.supplier_id = s.id
          JOIN customer_health h ON h.supplier_id = s.id AND h.calculated_on = (SELECT run_on FROM day)
          WHERE coalesce(p.subscription, 'active') = 'active'),
        picked AS (
          (SELECT 1 AS place, id, name, vendor_type, 'still setting up' AS why FROM standing
            WHERE NOT activated AND account_created_at > now() - interval '40 days' ORDER BY account_created_at DESC LIMIT 2)
          UNION ALL
          (SELECT 2, id, name, vendor_type, 'at risk' FROM standing WHERE risk_level = 'at_risk' ORDER BY score LIMIT 2)
          UNION ALL
          (SELECT 3, id, name, vendor_type, 'something to celebrate' FROM standing
            WHERE news_at > now() - interval '14 days' ORDER BY news_at DESC LIMIT 2)
          UNION ALL
          (SELECT 4, id, name, vendor_type, 'doing well' FROM standing WHERE risk_level = 'healthy' ORDER BY score DESC LIMIT 2)
          UNION ALL
          (SELECT 5, id, name, vendor_type, 'as before' FROM standing WHERE id = %(chosen)s))
        SELECT id, name, vendor_type, why FROM (SELECT DISTINCT ON (id) * FROM picked ORDER BY id, place) once ORDER BY place, name
        """,
        {"chosen": chosen},
    )
    return [Tenant(*row) for row in await cursor.fetchall()]


async def get_figures(conn: Connection, supplier_id: UUID) -> Figures:
    """The numbers on a supplier's first page."""
    cursor = await conn.execute(
        "SELECT count(*) FILTER (WHERE wedding_date >= current_date OR wedding_date IS NULL),"
        " count(*) FILTER (WHERE wedding_date BETWEEN current_date AND current_date + 90),"
        " (SELECT count(*) FROM sent_items i WHERE i.supplier_id = %(id)s AND i.kind = 'form' AND i.answered_at IS NULL"
        "  AND i.sent_at > now() - interval '90 days'),"
        " (SELECT coalesce(p.plan, s.plan, 'free') FROM suppliers s LEFT JOIN supplier_activity p ON p.supplier_id = s.id WHERE s.id = %(id)s)"
        " FROM clients WHERE supplier_id = %(id)s AND archived_at IS NULL AND lost_at IS NULL",
        {"id": supplier_id},
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 an aggregate always has its row
    return Figures(row[0], row[1], row[2], row[3] or "free")


async def list_clients(conn: Connection, supplier_id: UUID, limit: int) -> list[Client]:
    """The clients whose day comes next."""
    cursor = await conn.execute(
        "SELECT coalesce(c.name, 'A client'), c.wedding_date, extract(day FROM now() - c.last_active_at)::int,"
        " (SELECT count(*) FROM sent_items i WHERE i.supplier_id = c.supplier_id AND i.client_id = c.client_id AND i.kind = 'form'"
        "  AND i.answered_at IS NULL AND i.sent_at > now() - interval '90 days')"
        " FROM clients c WHERE c.supplier_id = %s AND c.archived_at IS NULL AND c.lost_at IS NULL"
        " AND (c.wedding_date >= current_date OR c.wedding_date IS NULL) ORDER BY c.wedding_date NULLS LAST, c.client_id LIMIT %s",
        [supplier_id, limit],
    )
    return [Client(*row) for row in await cursor.fetchall()]


async def ensure_coach_key(conn: Connection, secret: str, key_id: UUID) -> str | None:
    """The platform's key for coach tokens; null when somebody revoked it."""
    key = derive_coach_key(secret, key_id)
    await conn.execute(
        "INSERT INTO api_keys (id, key_hash, scope, name) VALUES (%s, %s, 'coach', 'demo platform')"
        " ON CONFLICT (id) DO UPDATE SET key_hash = excluded.key_hash",
        [key_id, hash_key(key)],
    )
    cursor = await conn.execute("SELECT revoked_at IS NULL FROM api_keys WHERE id = %s", [key_id])
    row = await cursor.fetchone()
    return key if row and row[0] else None


async def ensure_csms(conn: Connection) -> None:
    """People who take calls where the demo's suppliers live; the nameless default steps back. They
    cannot sign in."""
    await conn.execute(
        "INSERT INTO users (email, name, role, takes_calls, timezone) VALUES"
        " ('robin@example.com', 'Robin Hale', 'member', true, 'Europe/London'),"
        " ('dana@example.com', 'Dana Ruiz', 'member', true, 'America/New_York'),"
        " ('mere@example.com', 'Mere Tautahi', 'member', true, 'Pacific/Auckland') ON CONFLICT (email) DO NOTHING"
    )
    await conn.execute(
        "UPDATE users SET takes_calls = false WHERE email = 'success@everafter.invalid'"
    )
