"""Read the portfolio in one statement, and the values of its filters."""

from dataclasses import replace
from datetime import date
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.core.ids import find_supplier_id
from everafter.core.texts import like_pattern
from everafter.portfolio.model import (
    NO_VENDOR,
    PAGE_ROWS,
    BandCount,
    Calendar,
    Overview,
    Portfolio,
    Row,
    Sort,
    View,
)
from everafter.signals.model import WEDDINGS_DAYS

# As the signal `payment_past_due` has it.
PAST_DUE: LiteralString = (
    "coalesce(p.payment_failed_at > coalesce(p.payment_recovered_at, '-infinity'), false)"
)
# The days are sorted, so two binary searches count them: 10,000 rows in 5 ms; unnest takes 20 ms.
_WEDDINGS = """coalesce(
    width_bucket(%(last_day)s, p.weddings) - width_bucket(%(yesterday)s, p.weddings), 0
  )"""

# The sort expression of each column. The planner drops joins that neither sort nor filter uses.
_SORTS: dict[Sort, LiteralString] = {
    "name": "lower(s.name)",
    "vendor": "coalesce(p.vendor_type, s.vendor_type)",
    "plan": "coalesce(p.plan, s.plan)",
    "score": "h.score",
    "change": "h.score - b.score",
    "reason": "nullif(h.main_reason, 'none')",
    "coverage": "h.coverage",
    "season": "h.season_index",
    "login": "coalesce(p.last_login_at, '-infinity')",
    "active": "h.client_engagement_score",
    "clients": "coalesce(p.clients_total, 0)",
    "weddings": _WEDDINGS,
    "tickets": "coalesce(p.tickets_open, 0)",
    "billing": f"CASE WHEN {PAST_DUE} THEN now() - p.payment_failed_at END",
    "churn": "c.risk",
    "mrr": "s.mrr_minor",
}

# 10,000 suppliers with 100 days each take 18 to 30 ms in any order. The rows of the page are chosen
# on narrow columns first; the wide ones, including the sparkline's 31 primary-key look-ups, are
# read for these 50 rows only.
_JOINS = """LEFT JOIN customer_health h ON h.supplier_id = s.id AND h.calculated_on = %(day)s::date
  LEFT JOIN customer_health b ON b.supplier_id = s.id AND b.calculated_on = %(day_before)s::date
  LEFT JOIN churn_risk c ON c.supplier_id = s.id AND c.calculated_on = %(day)s::date
  LEFT JOIN supplier_activity p ON p.supplier_id = s.id"""

_STATEMENT = """
WITH base AS MATERIALIZED (
  SELECT
    s.id,
    coalesce(h.risk_level, 'unknown') AS band,
    CASE WHEN p.subscription IS DISTINCT FROM 'cancelled' THEN s.mrr_minor END AS mrr_minor,
    {sort} AS sort_key
  FROM suppliers s
  {joins}
  WHERE {filters}
), shown AS (
  SELECT id, sort_key
  FROM base
  WHERE %(band)s = '' OR band = %(band)s
  ORDER BY sort_key {direction} NULLS LAST, id
  LIMIT %(limit)s
  OFFSET %(offset)s
), bands AS (
  SELECT jsonb_agg(jsonb_build_array(band, suppliers, mrr_minor)) AS bands
  FROM (
    SELECT band, count(*) AS suppliers, sum(mrr_minor) AS mrr_minor
    FROM base
    GROUP BY band
  ) counted
), wide AS (
  SELECT
    shown.sort_key,
    s.id,
    s.external_id,
    s.name,
    coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
    coalesce(p.plan, s.plan) AS plan,
    s.mrr_minor,
    p.subscription,
    coalesce(h.risk_level, 'unknown') AS band,
    h.health_score,
    h.score - b.score AS change,
    h.main_reason,
    h.coverage,
    h.season_index,
    p.last_login_at,
    h.client_engagement_score AS engaged_percent,
    coalesce(p.clients_total, 0) AS clients_total,
    {weddings} AS weddings_90d,
    coalesce(p.tickets_open, 0) AS tickets_open,
    {past_due} AS past_due,
    c.level AS churn_level,
    c.risk AS churn_risk,
    k.scores
  FROM shown
  JOIN suppliers s ON s.id = shown.id
  {joins}
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(t.calculated_on, t.health_score) AS scores
    FROM customer_health t
    WHERE t.supplier_id = s.id
      AND t.calculated_on = ANY (%(spark)s::date[])
  ) k ON true
)
SELECT
  bands.bands,
  wide.id,
  wide.external_id,
  wide.name,
  wide.vendor_type,
  wide.plan,
  wide.mrr_minor,
  wide.subscription,
  wide.band,
  wide.health_score,
  wide.change,
  wide.main_reason,
  wide.coverage,
  wide.season_index,
  wide.last_login_at,
  wide.engaged_percent,
  wide.clients_total,
  wide.weddings_90d,
  wide.tickets_open,
  wide.past_due,
  wide.churn_level,
  wide.churn_risk,
  wide.scores
FROM bands
LEFT JOIN wide ON true
ORDER BY wide.sort_key {direction} NULLS LAST, wide.id
"""

_VENDOR_TYPES = """
SELECT
  coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
  count(*) FILTER (
    WHERE {filters}
      AND (%(band)s = '' OR coalesce(h.risk_level, 'unknown') = %(band)s)
  )
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id AND h.calculated_on = %(day)s::date
LEFT JOIN churn_risk c ON c.supplier_id = s.id AND c.calculated_on = %(day)s::date
LEFT JOIN supplier_activity p ON p.supplier_id = s.id
GROUP BY 1
ORDER BY 1 NULLS LAST
"""


async def get_portfolio(
    conn: Connection, view: View, days: Calendar, today: date, *, limit: int = PAGE_ROWS
) -> Portfolio:
    """Read the suppliers of a view.

    Args:
        days: from `rules.choose_days`.
        today: the day from which coming weddings count.
        limit: maximum number of rows; above one page (the CSV file) sparklines are left out.
    """
    spark = days.spark if limit <= PAGE_ROWS else []
    epoch_day = (today - date(1970, 1, 1)).days
    statement = sql.SQL(_STATEMENT).format(
        sort=sql.SQL(_SORTS[view.sort]),
        direction=sql.SQL("DESC" if view.descending else "ASC"),
        joins=sql.SQL(_JOINS),
        filters=_filters(view),
        weddings=sql.SQL(_WEDDINGS),
        past_due=sql.SQL(PAST_DUE),
    )
    values = _filter_values(view, days) | {
        "day_before": days.before or date.min,
        "yesterday": epoch_day - 1,
        "last_day": epoch_day + WEDDINGS_DAYS - 1,
        "limit": limit,
        "offset": (view.page - 1) * limit,
        "spark": spark,
    }
    cursor = await conn.execute(statement, values)
    return _portfolio(await cursor.fetchall(), view, spark)


async def count_vendor_types(
    conn: Connection, view: View, days: Calendar
) -> list[tuple[str | None, int]]:
    """Count the suppliers of each vendor type under the other filters of a view.

    Vendor types without such suppliers count 0. Null: suppliers without a vendor type.
    """
    cursor = await conn.execute(
        sql.SQL(_VENDOR_TYPES).format(filters=_filters(replace(view, vendor=""))),
        _filter_values(view, days),
    )
    return await cursor.fetchall()


def _filter_values(view: View, days: Calendar) -> dict[str, Any]:
    return {
        # date.min instead of null: Citus refuses the join that PostgreSQL leaves out for a null
        "day": days.latest or date.min,
        "band": view.band,
        "like": like_pattern(view.q),
        "named": find_supplier_id(view.q),
        "vendor": view.vendor,
        "reason": view.reason,
        "churn": view.churn,
    }


def _filters(view: View) -> sql.Composable:
    conditions: list[sql.SQL] = []
    if not view.churned:
        conditions.append(sql.SQL("p.subscription IS DISTINCT FROM 'cancelled'"))
    if view.q:
        conditions.append(
            sql.SQL("(s.name ILIKE %(like)s OR s.external_id ILIKE %(like)s OR s.id = %(named)s)")
        )
    if view.vendor == NO_VENDOR:
        conditions.append(sql.SQL("coalesce(p.vendor_type, s.vendor_type) IS NULL"))
    elif view.vendor:
        conditions.append(sql.SQL("coalesce(p.vendor_type, s.vendor_type) = %(vendor)s"))
    if view.reason:
        conditions.append(sql.SQL("h.main_reason = %(reason)s"))
    if view.churn:
        conditions.append(sql.SQL("c.level = %(churn)s"))
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def _portfolio(rows: list[tuple[Any, ...]], view: View, spark: list[date]) -> Portfolio:
    bands = [
        BandCount(band, suppliers, None if mrr is None else int(mrr))
        for band, suppliers, mrr in (rows[0][0] or [])
    ]
    matches = sum(count.suppliers for count in bands if view.band in {"", count.band})
    shown: list[list[Any]] = [
        [*row[1:-1], _fill(row[-1], spark)] for row in rows if row[1] is not None
    ]
    return Portfolio([Row(*values) for values in shown], bands, matches)


def _fill(scores: dict[str, int | None] | None, spark: list[date]) -> list[int | None]:
    return [scores.get(day.isoformat()) for day in spark] if scores else [None] * len(spark)


async def get_overview(conn: Connection) -> Overview:
    """Count the suppliers and find the latest day whose run has finished.

    An unfinished run would show half a portfolio.
    """
    async with conn.cursor(row_factory=class_row(Overview)) as cursor:
        await cursor.execute(
            """
            WITH latest AS MATERIALIZED (
              SELECT coalesce(
                (SELECT max(run_on) FROM runs WHERE finished_at IS NOT NULL),
                (SELECT max(calculated_on) FROM customer_health)
              ) AS day
            )
            SELECT
              (SELECT count(*) FROM suppliers) AS suppliers,
              (SELECT day FROM latest) AS scored_on,
              (
                SELECT calculated_at
                FROM customer_health
                WHERE calculated_on = (SELECT day FROM latest)
                LIMIT 1
              ) AS scored_at
            """
        )
        return await cursor.fetchone() or Overview(0, None, None)


async def list_scored_days(conn: Connection, since: date) -> list[date]:
    """List the days since `since` (included) whose run has finished."""
    cursor = await conn.execute(
        """
        SELECT run_on
        FROM runs
        WHERE run_on >= %s
          AND finished_at IS NOT NULL
        ORDER BY run_on
        """,
        [since],
    )
    return [day for (day,) in await cursor.fetchall()]
