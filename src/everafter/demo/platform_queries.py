"""Statements for the sample platform's pages. A real platform reads these from its own tables."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString
from uuid import UUID

from everafter.accounts.keys import derive_coach_key, hash_key
from everafter.core.db import Connection
from everafter.interventions.eligibility import is_in_holdout
from everafter.onboarding.celebration_rules import coach_milestones
from everafter.onboarding.queries import NEXT_CELEBRATION
from everafter.playbook.model import Playbook

PER_REASON = 2
"""Suppliers to list for each reason."""
TIP_PAGE = "/dashboard"
"""The page on which those with a tip are shown it."""
_CANDIDATES = 20
"""Suppliers to read for each reason, since some are in the holdout or listed for another one."""


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


_CURRENT: LiteralString = """
(
  greatest(c.archived_at, c.lost_at) IS NULL
  OR c.readded_at > greatest(c.archived_at, c.lost_at)
)
"""
"""Whether the client `c` is on the supplier's books, as the fold counts it for `clients_total`
(`activity.rules.is_current`)."""


_LAST_SCORED: LiteralString = f"""
last_run AS (
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
    (
      h.risk_level <> 'healthy'
      OR EXISTS (
        SELECT 1
        FROM churn_risk r
        WHERE r.supplier_id = s.id
          AND r.calculated_on = h.calculated_on
          AND r.level = 'high'
      )
    ) AS offers_call,
    p.account_created_at,
    (
      p.first_form_at IS NULL
      OR p.first_journey_at IS NULL
      OR p.import_clients_started_at IS NULL
    ) AS has_button,
    ({NEXT_CELEBRATION}) AS celebration,
    (
      SELECT max(t.shown_at)
      FROM tip_impressions t
      WHERE t.supplier_id = s.id AND t.page = %(page)s AND t.response IS NULL
    ) AS tip_shown_at,
    EXISTS (
      SELECT 1
      FROM support_interactions i
      WHERE i.supplier_id = s.id
        AND i.ends_at > %(now)s
        AND i.cancelled_at IS NULL
        AND i.outcome IS DISTINCT FROM 'cancelled'
    ) AS has_call,
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
)
"""
"""The suppliers of the last run, in `current`: what their coach has to show, and whether a button
of the overview completes something in their checklist (`has_button`). Parameters: now, page,
`CoachMilestones.as_parameters`."""


async def list_tenants(
    conn: Connection, chosen: UUID | None, playbook: Playbook, now: datetime
) -> list[Tenant]:
    """List a few suppliers with different content in their coach, and the one chosen before.

    Each of the others shows what its reason says: suppliers of the global holdout, who get no tips,
    are left out."""
    cursor = await conn.execute(
        f"""
        WITH {_LAST_SCORED},
        listed AS (
          (
            SELECT 1 AS place, id, name, vendor_type, 'still setting up' AS reason
            FROM current
            WHERE NOT activated
              AND has_button
              AND account_created_at > %(now)s::timestamptz - interval '40 days'
            ORDER BY celebration IS NOT NULL, offers_call, account_created_at DESC
            LIMIT %(most)s
          )
          UNION ALL
          (
            SELECT 2, id, name, vendor_type, 'at risk'
            FROM current
            WHERE risk_level = 'at_risk' AND celebration IS NULL AND NOT has_call
            ORDER BY score
            LIMIT %(most)s
          )
          UNION ALL
          (
            SELECT 3, id, name, vendor_type, 'new milestone'
            FROM current
            WHERE celebration IS NOT NULL
            ORDER BY celebration <> 'fully_activated', score DESC
            LIMIT %(most)s
          )
          UNION ALL
          (
            SELECT 4, id, name, vendor_type, 'has a tip'
            FROM current
            WHERE tip_shown_at IS NOT NULL AND celebration IS NULL AND NOT offers_call
            ORDER BY tip_shown_at, score DESC
            LIMIT %(most)s
          )
          UNION ALL
          (
            SELECT 5, id, name, vendor_type, 'healthy'
            FROM current
            WHERE risk_level = 'healthy' AND celebration IS NULL AND tip_shown_at IS NULL
            ORDER BY score DESC
            LIMIT %(most)s
          )
          UNION ALL
          (
            SELECT 6, id, name, vendor_type, 'selected'
            FROM current
            WHERE id = %(chosen)s
          )
        )
        SELECT place, id, name, vendor_type, reason
        FROM listed
        ORDER BY place
        """,
        {
            "chosen": chosen,
            "now": now,
            "page": TIP_PAGE,
            "most": _CANDIDATES,
            **coach_milestones(playbook).as_parameters(),
        },
    )
    tenants: dict[UUID, Tenant] = {}
    counts: Counter[str] = Counter()
    for _, supplier_id, name, vendor_type, reason in await cursor.fetchall():
        is_left_out = supplier_id != chosen and (
            counts[reason] >= PER_REASON
            or is_in_holdout(str(supplier_id), "", 0.0, playbook.holdout)
        )
        if supplier_id not in tenants and not is_left_out:
            tenants[supplier_id] = Tenant(supplier_id, name, vendor_type, reason)
            counts[reason] += 1
    return list(tenants.values())


async def list_tip_candidates(
    conn: Connection, playbook: Playbook, now: datetime, most: int
) -> list[UUID]:
    """List suppliers who would see a tip if one applied: none has a celebration or the offer of a
    call, and none is in the global holdout."""
    cursor = await conn.execute(
        f"""
        WITH {_LAST_SCORED}
        SELECT id
        FROM current
        WHERE activated AND celebration IS NULL AND NOT offers_call
        ORDER BY score DESC, id
        """,
        {"now": now, "page": TIP_PAGE, **coach_milestones(playbook).as_parameters()},
    )
    found = [row[0] for row in await cursor.fetchall()]
    return [one for one in found if not is_in_holdout(str(one), "", 0.0, playbook.holdout)][:most]


async def get_figures(conn: Connection, supplier_id: UUID) -> Figures:
    """Read the numbers of a supplier's overview."""
    cursor = await conn.execute(
        f"""
        SELECT
          count(*),
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
        FROM clients c
        WHERE c.supplier_id = %(id)s AND {_CURRENT}
        """,
        {"id": supplier_id},
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 an aggregate returns a row
    return Figures(row[0], row[1], row[2], row[3] or "free")


async def list_clients(
    conn: Connection, supplier_id: UUID, limit: int, *, coming: bool
) -> list[Client]:
    """List the clients on the books, the next weddings first and past ones last.

    Args:
        coming: without the clients whose wedding is over.
    """
    cursor = await conn.execute(
        f"""
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
        WHERE c.supplier_id = %(id)s
          AND {_CURRENT}
          AND (NOT %(coming)s OR c.wedding_date >= current_date OR c.wedding_date IS NULL)
        ORDER BY
          c.wedding_date < current_date NULLS FIRST,
          c.wedding_date NULLS LAST,
          c.client_id
        LIMIT %(limit)s
        """,
        {"id": supplier_id, "coming": coming, "limit": limit},
    )
    return [Client(*row) for row in await cursor.fetchall()]


async def has_pending_events(conn: Connection, supplier_id: UUID) -> bool:
    """Whether events of the supplier are stored and not folded yet."""
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT 1 FROM events_pending WHERE supplier_id = %s)", [supplier_id]
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


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
