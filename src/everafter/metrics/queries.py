"""One statement for each metric, whatever it is grouped by. What is said of a supplier is joined on
its id, so each shard can answer for itself; rows are bounded by days that are looked up by index
(measured in docs/decisions/0025)."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import LiteralString

import polars as pl

from everafter.core.db import Connection, read_copy
from everafter.metrics.churn_rules import LEADS_SCHEMA, LOOKED_BACK_DAYS, PREDICTIONS_SCHEMA
from everafter.metrics.effect_rules import SUCCESS_SCHEMA
from everafter.metrics.level_rules import ADOPTION_SCHEMA, HEALTH_SCHEMA
from everafter.metrics.model import By, Period
from everafter.metrics.time_rules import SIGNED_UP_SCHEMA, TICKETS_SCHEMA

# The group of a supplier: by its vendor type and plan now, as scored on a day (h), or as they were
# when an intervention was evaluated (i). {by} is a literal, so the planner keeps one branch of each
# CASE.
_BEGAN: LiteralString = "coalesce(p.account_created_at, s.created_at)"
_COHORT: LiteralString = f"left(({_BEGAN} AT TIME ZONE 'UTC')::text, 7)"
_NOW: LiteralString = f"""CASE {{by}}
    WHEN 'cohort' THEN {_COHORT}
    WHEN 'vendor_type' THEN coalesce(p.vendor_type, s.vendor_type)
    ELSE coalesce(p.plan, s.plan)
  END"""
# '' was written for "not known that day", null before such things were written.
_THAT_DAY: LiteralString = f"""nullif(
    CASE {{by}}
      WHEN 'cohort' THEN {_COHORT}
      WHEN 'vendor_type' THEN coalesce(h.vendor_type, p.vendor_type, s.vendor_type)
      ELSE coalesce(h.plan, p.plan, s.plan)
    END,
    ''
  )"""
_THAT_DECISION: LiteralString = f"""CASE {{by}}
      WHEN 'cohort' THEN {_COHORT}
      WHEN 'vendor_type' THEN CASE
        WHEN i.facts ? 'vendor_type' THEN i.facts ->> 'vendor_type'
        ELSE coalesce(p.vendor_type, s.vendor_type)
      END
      ELSE CASE
        WHEN i.facts ? 'plan' THEN i.facts ->> 'plan'
        ELSE coalesce(p.plan, s.plan)
      END
    END"""

_HEALTH: LiteralString = f"""
SELECT
  {_THAT_DAY} AS "group",
  h.calculated_on AS day,
  count(*) AS n,
  sum(h.score) AS total,
  count(*) FILTER (WHERE h.risk_level = 'healthy') AS healthy,
  count(*) FILTER (WHERE h.risk_level = 'at_risk') AS at_risk,
  count(*) FILTER (WHERE h.risk_level = 'critical') AS critical
FROM customer_health h
JOIN suppliers s ON s.id = h.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = h.supplier_id
WHERE h.calculated_on = ANY ({{days}}::date[])
GROUP BY 1, 2
"""

_ADOPTION: LiteralString = f"""
SELECT
  {_THAT_DAY} AS "group",
  h.calculated_on AS day,
  h.feature_adoption_score AS percent,
  count(*) AS n
FROM customer_health h
JOIN suppliers s ON s.id = h.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = h.supplier_id
WHERE h.calculated_on = ANY ({{days}}::date[])
  AND h.feature_adoption_score IS NOT NULL
GROUP BY 1, 2, 3
"""

_SUCCESS: LiteralString = f"""
SELECT
  f.grp AS "group",
  f.trigger,
  f.holdout,
  count(*) AS windows,
  count(*) FILTER (WHERE f.is_first) AS n,
  count(*) FILTER (WHERE f.is_first AND f.succeeded) AS succeeded
FROM (
  SELECT
    {_THAT_DECISION} AS grp,
    i.trigger,
    i.status = 'holdout' AS holdout,
    i.succeeded_on IS NOT NULL AS succeeded,
    i.evaluated_on = w.first_on AS is_first
  FROM interventions i
  JOIN suppliers s ON s.id = i.supplier_id
  LEFT JOIN supplier_activity p ON p.supplier_id = i.supplier_id
  JOIN (
    SELECT e.supplier_id, e.trigger, min(e.evaluated_on) AS first_on
    FROM interventions e
    WHERE e.status <> 'skipped'
      AND NOT e.replay
      AND e.evaluated_on <= {{last}}
    GROUP BY 1, 2
  ) w ON w.supplier_id = i.supplier_id AND w.trigger = i.trigger
  WHERE i.status <> 'skipped'
    AND NOT i.replay
    AND i.success_by BETWEEN {{first}} AND {{last}}
    AND i.trigger <> ALL ({{emails}}::text[])
) f
GROUP BY 1, 2, 3
"""

_FIRST_FORMS: LiteralString = f"""
SELECT
  {_NOW} AS "group",
  {_BEGAN} AS began_at,
  p.first_form_at AS form_at,
  coalesce(p.subscription = 'cancelled', false) AS churned,
  p.subscription_at AS churned_at
FROM suppliers s
LEFT JOIN supplier_activity p ON p.supplier_id = s.id
WHERE {_BEGAN} >= {{first}}::date
  AND {_BEGAN} < {{last}}::date + 1
  AND {_BEGAN} <= {{as_of}}
"""

# The changes of a ticket are read only where its clock stood still, or it was opened again. Either
# half of the inner condition has an index of its own; a ticket resolved in the period may have been
# opened again since.
_TICKETS: LiteralString = f"""
SELECT
  t.grp AS "group",
  t.opened_at,
  t.resolved_at,
  t.in_period,
  t.opened_at >= {{first}}::date AND t.opened_at < {{last}}::date + 1 AS opened_in_period,
  CASE WHEN t.in_period THEN (
    SELECT
      string_agg(
        (extract(epoch FROM c.at) * 1000000)::bigint || ' ' || c.state, ',' ORDER BY c.at
      )
    FROM ticket_changes c
    WHERE c.supplier_id = t.supplier_id
      AND c.ticket_id = t.ticket_id
    HAVING bool_or(c.state = 'waiting')
      OR count(*) FILTER (WHERE c.state = 'opened') > 1
  ) END AS changes
FROM (
  SELECT
    {_NOW} AS grp,
    t.supplier_id,
    t.ticket_id,
    t.opened_at,
    CASE WHEN t.resolved_at >= t.last_opened_at THEN t.resolved_at END AS resolved_at,
    coalesce(
      t.resolved_at >= t.last_opened_at
        AND t.resolved_at >= {{first}}::date
        AND t.resolved_at < {{last}}::date + 1,
      false
    ) AS in_period
  FROM tickets t
  JOIN suppliers s ON s.id = t.supplier_id
  LEFT JOIN supplier_activity p ON p.supplier_id = t.supplier_id
  WHERE t.opened_at IS NOT NULL
    AND (
      t.opened_at >= {{first}}::date AND t.opened_at < {{last}}::date + 1
      OR t.resolved_at >= {{first}}::date AND t.resolved_at < {{last}}::date + 1
    )
) t
WHERE t.in_period
  OR (t.opened_at >= {{first}}::date AND t.opened_at < {{last}}::date + 1)
"""

_PREDICTIONS: LiteralString = f"""
SELECT
  {_THAT_DAY} AS "group",
  c.calculated_on AS day,
  c.level,
  (c.risk * 1000)::integer AS risk,
  l.day IS NOT NULL AS churned,
  t.day IS NULL OR coalesce(t.evaluated_at > l.cancelled_at, false) AS untouched,
  count(*) AS n
FROM churn_risk c
JOIN suppliers s ON s.id = c.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = c.supplier_id
LEFT JOIN customer_health h
  ON h.supplier_id = c.supplier_id
  AND h.calculated_on = c.calculated_on
  AND h.calculated_on = ANY ({{days}}::date[])
LEFT JOIN (
  SELECT x.supplier_id, d.day, min(x.cancelled_at) AS cancelled_at
  FROM cancellations x
  JOIN unnest({{days}}::date[], {{moments}}::timestamptz[]) AS d (day, at)
    ON x.cancelled_at > d.at
    AND x.cancelled_at <= d.at + {{horizon}} * interval '1 day'
  GROUP BY 1, 2
) l ON l.supplier_id = c.supplier_id AND l.day = c.calculated_on
LEFT JOIN (
  SELECT i.supplier_id, d.day, min(i.evaluated_at) AS evaluated_at
  FROM interventions i
  JOIN unnest({{days}}::date[]) AS d (day)
    ON i.evaluated_on BETWEEN d.day - {{horizon}}::integer AND d.day + {{horizon}}::integer
  WHERE i.status = 'triggered'
    AND NOT i.replay
    AND i.evaluated_on BETWEEN {{since}} AND {{until}}
  GROUP BY 1, 2
) t ON t.supplier_id = c.supplier_id AND t.day = c.calculated_on
WHERE c.calculated_on = ANY ({{days}}::date[])
GROUP BY 1, 2, 3, 4, 5, 6
"""

_LEADS: LiteralString = f"""
SELECT
  {_NOW} AS "group",
  dense_rank() OVER (ORDER BY x.supplier_id, x.cancelled_at) AS churned,
  x.cancelled_at,
  c.calculated_on AS day,
  c.level
FROM cancellations x
JOIN suppliers s ON s.id = x.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = x.supplier_id
LEFT JOIN churn_risk c
  ON c.supplier_id = x.supplier_id
  AND c.calculated_on = ANY ({{days}}::date[])
  AND c.calculated_at < x.cancelled_at
  AND c.calculated_on >= x.cancelled_at::date - {{back}}::integer
WHERE x.cancelled_at >= {{first}}::date
  AND x.cancelled_at < {{last}}::date + 1
"""


async def give_room(conn: Connection) -> None:
    """Let this transaction's joins and groupings stay in memory: at 200,000 suppliers they take a
    third of the time then."""
    await conn.execute("SELECT set_config('work_mem', '96MB', true)", [])


async def list_runs(conn: Connection, first: date, last: date) -> list[tuple[date, datetime]]:
    """The days from `first` to `last` whose run came to its end, with the moment each scored, in
    order."""
    cursor = await conn.execute(
        """
        SELECT run_on, as_of
        FROM runs
        WHERE run_on BETWEEN %s AND %s
          AND finished_at IS NOT NULL
        ORDER BY run_on
        """,
        [first, last],
    )
    return await cursor.fetchall()


async def find_last_run(conn: Connection) -> date | None:
    """The last day whose run came to its end; null: none."""
    cursor = await conn.execute("SELECT max(run_on) FROM runs WHERE finished_at IS NOT NULL", [])
    row = await cursor.fetchone()
    return row[0] if row else None


async def count_suppliers(conn: Connection) -> tuple[int, int]:
    """How many suppliers there are, and of how many the sign-up is not known."""
    cursor = await conn.execute(
        """
        SELECT
          count(*) AS suppliers,
          count(*) FILTER (
            WHERE s.created_at IS NULL AND p.account_created_at IS NULL
          ) AS without_sign_up
        FROM suppliers s
        LEFT JOIN supplier_activity p ON p.supplier_id = s.id
        """,
        [],
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 an aggregate always has its row
    return row[0], row[1]


async def read_health(conn: Connection, by: By, days: Sequence[date]) -> pl.DataFrame:
    """HEALTH_SCHEMA of these days; vendor type and plan as scored that day."""
    return await read_copy(conn, _HEALTH, HEALTH_SCHEMA, {"by": by, "days": list(days)})


async def read_adoption(conn: Connection, by: By, days: Sequence[date]) -> pl.DataFrame:
    """ADOPTION_SCHEMA of these days; vendor type and plan as scored that day."""
    return await read_copy(conn, _ADOPTION, ADOPTION_SCHEMA, {"by": by, "days": list(days)})


async def read_success(
    conn: Connection, by: By, period: Period, scored_until: date, emails: Sequence[str]
) -> pl.DataFrame:
    """SUCCESS_SCHEMA of the windows that ended in the period; vendor type and plan as they were
    when it was decided.

    A replay's decisions are left out, since nothing was done; celebrations too, which name no
    success. Whether a window is the first of its supplier and trigger is asked of all there ever
    were: of those who succeeded before the period one arm keeps more than the other, so the first
    in the period would compare what is left.

    Args:
        scored_until: the last day scored; a window that ends later is not over.
        emails: the triggers that celebrate.
    """
    return await read_copy(
        conn,
        _SUCCESS,
        SUCCESS_SCHEMA,
        {
            "by": by,
            "first": period.first,
            "last": min(period.last, scored_until),
            "emails": list(emails),
        },
    )


async def read_first_forms(
    conn: Connection, by: By, period: Period, as_of: datetime
) -> pl.DataFrame:
    """SIGNED_UP_SCHEMA of who signed up in the period and by `as_of`; vendor type and plan as they
    are now."""
    return await read_copy(
        conn,
        _FIRST_FORMS,
        SIGNED_UP_SCHEMA,
        {"by": by, "first": period.first, "last": period.last, "as_of": as_of},
    )


async def read_tickets(conn: Connection, by: By, period: Period) -> pl.DataFrame:
    """TICKETS_SCHEMA of the tickets resolved, or first opened, in the period; vendor type and plan
    as they are now."""
    return await read_copy(
        conn,
        _TICKETS,
        TICKETS_SCHEMA,
        {"by": by, "first": period.first, "last": period.last},
    )


async def read_predictions(
    conn: Connection, by: By, runs: Sequence[tuple[date, datetime]], horizon: int
) -> pl.DataFrame:
    """PREDICTIONS_SCHEMA of these days; vendor type and plan as scored that day.

    Args:
        runs: days with the moments they scored.
        horizon: a cancellation counts if it came at most so many days after the moment. A supplier
            counts as touched if an intervention was triggered at most so many days before or after
            the day, unless the cancellation came first.
    """
    days = [day for day, _ in runs]
    found = await read_copy(
        conn,
        _PREDICTIONS,
        PREDICTIONS_SCHEMA | {"risk": pl.Int64()},
        {
            "by": by,
            "days": days,
            "moments": [moment for _, moment in runs],
            "horizon": horizon,
            "since": min(days) - timedelta(days=horizon) if days else None,
            "until": max(days) + timedelta(days=horizon) if days else None,
        },
    )
    return found.with_columns(pl.col("risk") / 1_000)


async def read_leads(
    conn: Connection, by: By, period: Period, days: Sequence[date]
) -> pl.DataFrame:
    """LEADS_SCHEMA of the cancellations in the period, by the levels of these days; vendor type and
    plan as they are now."""
    return await read_copy(
        conn,
        _LEADS,
        LEADS_SCHEMA,
        {
            "by": by,
            "first": period.first,
            "last": period.last,
            "days": list(days),
            "back": LOOKED_BACK_DAYS,
        },
    )
