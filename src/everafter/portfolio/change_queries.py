"""Read what changed between two runs: one page of suppliers, and totals over all of them.

Both read two days of customer_health and churn_risk by primary key. Filters are conditions of one
text, so that another is one more line."""

from datetime import date
from typing import Any, LiteralString

from everafter.core.db import Connection
from everafter.core.ids import find_supplier_id
from everafter.core.texts import like_pattern
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS
from everafter.portfolio.change_model import (
    MOVED_POINTS,
    MOVED_RISK,
    ChangeView,
    GroupTotal,
    Measured,
    Moves,
    Place,
    Runs,
)
from everafter.portfolio.model import NO_VENDOR
from everafter.scoring.model import ChurnCause

_TOLERANCE = 1e-6  # 70.3 − 69.3 is a little less than 1

# n: the latest run; b: the earlier one; c and d: their churn risk
_FILTERS: LiteralString = """
  (
    %(q)s::text = ''
    OR s.name ILIKE %(like)s
    OR s.external_id ILIKE %(like)s
    OR s.id = %(named)s::uuid
  )
  AND (
    %(vendor)s::text = ''
    OR coalesce(p.vendor_type, s.vendor_type, %(no_vendor)s) = %(vendor)s
  )
  AND (%(plan)s::text = '' OR coalesce(p.plan, s.plan) = %(plan)s)
  AND (%(band)s::text = '' OR coalesce(n.risk_level, b.risk_level) = %(band)s)
  AND (%(churn)s::text = '' OR coalesce(c.level, d.level) = %(churn)s)
"""
_SCORE: LiteralString = "(n.score - b.score)"
# by the difference of the scores as shown, which are rounded down, then by the exact one
_SHOWN: LiteralString = f"(n.health_score - b.health_score + {_SCORE} / 1000)"
_RISK: LiteralString = "coalesce(c.risk - d.risk, 0)"

_CHANGES: LiteralString = f"""
SELECT
  f.*
FROM (
  SELECT
    CASE %(sort)s::text
      WHEN 'rise' THEN -{_SHOWN}
      WHEN 'churn_rise' THEN -{_RISK}
      WHEN 'churn_fall' THEN {_RISK}
      ELSE {_SHOWN}
    END AS sort_key,
    s.id,
    s.external_id,
    s.name,
    coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
    coalesce(p.plan, s.plan) AS plan,
    b.calculated_at AS at_b,
    b.score AS score_b,
    b.health_score AS health_score_b,
    b.risk_level AS band_b,
    b.last_login AS last_login_b,
    b.feature_adoption_score AS adoption_b,
    b.client_engagement_score AS engagement_b,
    b.login_points AS login_points_b,
    b.feature_adoption_points AS feature_adoption_points_b,
    b.client_activity_points AS client_activity_points_b,
    b.form_completion_points AS form_completion_points_b,
    b.journey_performance_points AS journey_performance_points_b,
    d.risk AS risk_b,
    d.level AS level_b,
    d.login AS login_b,
    d.support_tickets AS support_tickets_b,
    d.feature_usage AS feature_usage_b,
    d.client_churn AS client_churn_b,
    d.billing AS billing_b,
    n.calculated_at AS at_n,
    n.score AS score_n,
    n.health_score AS health_score_n,
    n.risk_level AS band_n,
    n.last_login AS last_login_n,
    n.feature_adoption_score AS adoption_n,
    n.client_engagement_score AS engagement_n,
    n.login_points AS login_points_n,
    n.feature_adoption_points AS feature_adoption_points_n,
    n.client_activity_points AS client_activity_points_n,
    n.form_completion_points AS form_completion_points_n,
    n.journey_performance_points AS journey_performance_points_n,
    c.risk AS risk_n,
    c.level AS level_n,
    c.login AS login_n,
    c.support_tickets AS support_tickets_n,
    c.feature_usage AS feature_usage_n,
    c.client_churn AS client_churn_n,
    c.billing AS billing_n
  FROM suppliers s
  JOIN customer_health n ON n.supplier_id = s.id AND n.calculated_on = %(latest)s::date
  JOIN customer_health b ON b.supplier_id = s.id AND b.calculated_on = %(before)s::date
  LEFT JOIN churn_risk c ON c.supplier_id = s.id AND c.calculated_on = %(latest)s::date
  LEFT JOIN churn_risk d ON d.supplier_id = s.id AND d.calculated_on = %(before)s::date
  LEFT JOIN supplier_activity p ON p.supplier_id = s.id
  WHERE {_FILTERS}
    AND p.subscription IS DISTINCT FROM 'cancelled'
    AND CASE %(moved)s::text
      WHEN 'fell' THEN {_SCORE} <= -%(points)s::float8
      WHEN 'rose' THEN {_SCORE} >= %(points)s::float8
      WHEN 'churn_rose' THEN {_RISK} >= %(risk)s::float8
      WHEN 'churn_fell' THEN {_RISK} <= -%(risk)s::float8
      WHEN 'band' THEN n.risk_level <> b.risk_level
      ELSE abs({_SCORE}) >= %(points)s::float8 OR abs({_RISK}) >= %(risk)s::float8
    END
) f
WHERE %(after_id)s::uuid IS NULL
  OR (f.sort_key, f.id) > (%(after_key)s::float8, %(after_id)s::uuid)
ORDER BY f.sort_key, f.id
LIMIT %(limit)s
"""

_TOTALS: LiteralString = f"""
SELECT
  b.risk_level AS band_before,
  CASE WHEN p.subscription IS DISTINCT FROM 'cancelled' THEN n.risk_level END AS band_after,
  count(*) AS suppliers,
  count(*) FILTER (WHERE {_SCORE} <= -%(points)s::float8) AS fell,
  count(*) FILTER (WHERE {_SCORE} >= %(points)s::float8) AS rose,
  count(*) FILTER (WHERE {_RISK} >= %(risk)s::float8) AS churn_rose,
  count(*) FILTER (WHERE {_RISK} <= -%(risk)s::float8) AS churn_fell,
  coalesce(sum(b.score), 0) AS before,
  coalesce(sum(n.score), 0) AS after,
  sum(coalesce(n.login_points, 0) - coalesce(b.login_points, 0)) AS login,
  sum(coalesce(n.feature_adoption_points, 0) - coalesce(b.feature_adoption_points, 0))
    AS feature_adoption,
  sum(coalesce(n.client_activity_points, 0) - coalesce(b.client_activity_points, 0))
    AS client_activity,
  sum(coalesce(n.form_completion_points, 0) - coalesce(b.form_completion_points, 0))
    AS form_completion,
  sum(coalesce(n.journey_performance_points, 0) - coalesce(b.journey_performance_points, 0))
    AS journey_performance
FROM suppliers s
LEFT JOIN customer_health n ON n.supplier_id = s.id AND n.calculated_on = %(latest)s::date
LEFT JOIN customer_health b ON b.supplier_id = s.id AND b.calculated_on = %(before)s::date
LEFT JOIN churn_risk c ON c.supplier_id = s.id AND c.calculated_on = %(latest)s::date
LEFT JOIN churn_risk d ON d.supplier_id = s.id AND d.calculated_on = %(before)s::date
LEFT JOIN supplier_activity p ON p.supplier_id = s.id
WHERE {_FILTERS}
  AND (n.supplier_id IS NOT NULL OR b.supplier_id IS NOT NULL)
GROUP BY 1, 2
"""


async def find_runs(conn: Connection, days: int, since: date | None) -> Runs:
    """Find the last finished run, and the last one on or before `since`, or `days` days before."""
    cursor = await conn.execute(
        """
        SELECT
          max(run_on),
          min(run_on)
        FROM runs
        WHERE finished_at IS NOT NULL
        """
    )
    latest, first = await cursor.fetchone() or (None, None)
    if latest is None:
        return Runs(None, None, None)
    cursor = await conn.execute(
        """
        SELECT max(run_on)
        FROM runs
        WHERE finished_at IS NOT NULL
          AND run_on <= coalesce(%(since)s::date, %(latest)s::date - %(days)s::integer)
          AND run_on < %(latest)s::date
        """,
        {"since": since, "latest": latest, "days": days},
    )
    (before,) = await cursor.fetchone() or (None,)
    return Runs(latest, before, first)


async def list_moves(
    conn: Connection, view: ChangeView, latest: date, before: date, after: Place | None, limit: int
) -> list[Moves]:
    """List suppliers that moved between two runs, in the view's order."""
    values = _values(view, latest, before) | {
        "sort": view.sort,
        "moved": view.moved,
        "after_key": after.key if after else 0.0,
        "after_id": after.supplier_id if after else None,
        "limit": limit,
    }
    cursor = await conn.execute(_CHANGES, values)
    names = [column.name for column in cursor.description or []]
    return [_moves(dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


async def count_moves(
    conn: Connection, view: ChangeView, latest: date, before: date
) -> list[GroupTotal]:
    """Count the suppliers of two runs by the band before and after, whether they moved or not."""
    cursor = await conn.execute(_TOTALS, _values(view, latest, before))
    rows: list[Any] = await cursor.fetchall()
    return [
        GroupTotal(
            *row[:9],
            points=dict(zip(DIMENSIONS, (float(x or 0.0) for x in row[9:]), strict=True)),
        )
        for row in rows
        if row[0] or row[1]  # those who came and cancelled between the two are in neither
    ]


async def list_filters(conn: Connection) -> tuple[list[str | None], list[str]]:
    """List the vendor types (null: some supplier has none) and plans of all suppliers."""
    cursor = await conn.execute(
        """
        SELECT
          coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
          coalesce(p.plan, s.plan) AS plan
        FROM suppliers s
        LEFT JOIN supplier_activity p ON p.supplier_id = s.id
        GROUP BY 1, 2
        """
    )
    rows = await cursor.fetchall()
    vendors = {vendor for vendor, _ in rows}
    return (
        sorted(vendors, key=lambda vendor: (vendor is None, vendor or "")),
        sorted({plan for _, plan in rows if plan}),
    )


def _values(view: ChangeView, latest: date, before: date) -> dict[str, Any]:
    return {
        "latest": latest,
        "before": before,
        "q": view.q,
        "like": like_pattern(view.q),
        "named": find_supplier_id(view.q),
        "vendor": view.vendor,
        "no_vendor": NO_VENDOR,
        "plan": view.plan,
        "band": view.band,
        "churn": view.churn,
        "points": MOVED_POINTS - _TOLERANCE,
        "risk": MOVED_RISK - _TOLERANCE,
    }


def _moves(row: dict[str, Any]) -> Moves:
    return Moves(
        supplier_id=row["id"],
        external_id=row["external_id"],
        name=row["name"],
        vendor_type=row["vendor_type"],
        plan=row["plan"],
        before=_measured(row, "b"),
        after=_measured(row, "n"),
        key=row["sort_key"],
    )


def _measured(row: dict[str, Any], run: str) -> Measured:
    return Measured(
        scored_at=row[f"at_{run}"],
        score=row[f"score_{run}"],
        health_score=row[f"health_score_{run}"],
        band=row[f"band_{run}"],
        points={name: row[f"{name}_points_{run}"] for name in DIMENSIONS},
        last_login_at=row[f"last_login_{run}"],
        adoption=row[f"adoption_{run}"],
        engagement=row[f"engagement_{run}"],
        churn_risk=row[f"risk_{run}"],
        churn_level=row[f"level_{run}"],
        causes=_causes(row, run),
    )


def _causes(row: dict[str, Any], run: str) -> dict[ChurnCause, float]:
    """What adds up to the churn risk. The base is what the signals leave: as stored, with fewer
    digits, it would not sum exactly, and before it was stored there was none."""
    risk: float | None = row[f"risk_{run}"]
    if risk is None:
        return {}
    causes: dict[ChurnCause, float] = {"base": risk}
    for name in CHURN_SIGNALS:
        causes[name] = row[f"{name}_{run}"] or 0.0
        causes["base"] -= causes[name]
    return causes
