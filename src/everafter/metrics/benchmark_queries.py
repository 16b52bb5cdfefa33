"""Read what the benchmarks rest on, grouped: scores of one day a month, and login days.

The result has a row for each vendor type, region, day and score, so that quantiles need no
supplier's row, and each shard can answer for itself."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import LiteralString

import polars as pl

from everafter.core.db import Connection, read_copy
from everafter.metrics.benchmark_model import CHURN_DAYS, LOGIN_DAYS, LOGINS_SCHEMA, SCORES_SCHEMA
from everafter.metrics.benchmark_rules import login_window
from everafter.seasonality.prior_model import REGION_OF_COUNTRY

_VENDOR_TYPE: LiteralString = "nullif(coalesce(h.vendor_type, p.vendor_type, s.vendor_type), '')"
# as seasonality.prior_rules.region_of: a country, or a subdivision such as GB-SCT
_COUNTRY: LiteralString = "upper(btrim(s.country))"
_REGION: LiteralString = f"""CASE
    WHEN length({_COUNTRY}) = 2 OR substr({_COUNTRY}, 3, 1) = '-'
      THEN {{regions}}::jsonb ->> left({_COUNTRY}, 2)
  END"""

_SCORES: LiteralString = f"""
SELECT
  {_VENDOR_TYPE} AS vendor_type,
  {_REGION} AS region,
  h.calculated_on AS day,
  h.health_score AS score,
  count(*) AS n,
  count(*) FILTER (WHERE h.risk_level = 'healthy') AS healthy,
  count(h.feature_adoption_score) AS adoption_known,
  coalesce(sum(h.feature_adoption_score), 0) AS adoption,
  count(x.supplier_id) AS churned
FROM customer_health h
JOIN suppliers s ON s.id = h.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = h.supplier_id
LEFT JOIN (
  SELECT c.supplier_id, d.day
  FROM cancellations c
  JOIN unnest({{days}}::date[], {{moments}}::timestamptz[]) AS d (day, at)
    ON c.cancelled_at > d.at
    AND c.cancelled_at <= d.at + {{horizon}} * interval '1 day'
  GROUP BY 1, 2
) x ON x.supplier_id = h.supplier_id AND x.day = h.calculated_on
WHERE h.calculated_on = ANY ({{days}}::date[])
GROUP BY 1, 2, 3, 4
"""

# Five bytes of the ring buffer of login days, which is doubled because the window may go around its
# end, as a bit string, and the bits of the window. Slots after the last event hold days of the
# round before, so the mask depends on how old that event is.
_LOGINS: LiteralString = f"""
SELECT
  {_VENDOR_TYPE} AS vendor_type,
  {_REGION} AS region,
  h.calculated_on AS day,
  bit_count(
    ('x' || encode(substring(p.login_days || p.login_days, m.start + 1, 5), 'hex'))::bit(40)
    & m.mask
  ) AS login_days,
  count(*) AS n
FROM customer_health h
JOIN suppliers s ON s.id = h.supplier_id
JOIN supplier_activity p ON p.supplier_id = h.supplier_id
JOIN unnest(
  {{mask_days}}::date[],
  {{ages}}::integer[],
  {{starts}}::integer[],
  {{masks}}::bit(40)[]
) AS m (day, age, start, mask)
  ON m.day = h.calculated_on
  AND m.age = least(
    {{oldest}}::integer,
    greatest(0, h.calculated_on - (p.last_event_at AT TIME ZONE 'UTC')::date)
  )
WHERE h.calculated_on = ANY ({{mask_days}}::date[])
GROUP BY 1, 2, 3, 4
"""

_DAY_SCORES: LiteralString = f"""
SELECT
  {_VENDOR_TYPE} AS vendor_type,
  {_REGION} AS region,
  h.calculated_on AS day,
  h.health_score AS score,
  count(*) AS n,
  0 AS healthy,
  0 AS adoption_known,
  0 AS adoption,
  0 AS churned
FROM customer_health h
JOIN suppliers s ON s.id = h.supplier_id
LEFT JOIN supplier_activity p ON p.supplier_id = h.supplier_id
WHERE h.calculated_on = {{day}}::date
GROUP BY 1, 2, 3, 4
"""

_REGIONS = json.dumps(REGION_OF_COUNTRY)


async def read_scores(conn: Connection, runs: Sequence[tuple[date, datetime]]) -> pl.DataFrame:
    """SCORES_SCHEMA of some days.

    Args:
        runs: days with the moments they scored; at least one.
    """
    return await read_copy(
        conn,
        _SCORES,
        SCORES_SCHEMA,
        {
            "regions": _REGIONS,
            "days": [day for day, _ in runs],
            "moments": [moment for _, moment in runs],
            "horizon": CHURN_DAYS,
        },
    )


async def read_logins(conn: Connection, days: Sequence[date]) -> pl.DataFrame:
    """LOGINS_SCHEMA of some days, none of them more than LOGINS_KEPT_DAYS ago."""
    if not days:
        return pl.DataFrame(schema=LOGINS_SCHEMA)
    windows = {day: login_window(day) for day in days}
    masks = [
        (day, age, byte, mask)
        for day, (byte, by_age) in windows.items()
        for age, mask in enumerate(by_age)
    ]
    return await read_copy(
        conn,
        _LOGINS,
        LOGINS_SCHEMA,
        {
            "regions": _REGIONS,
            "mask_days": [day for day, _, _, _ in masks],
            "ages": [age for _, age, _, _ in masks],
            "starts": [byte for _, _, byte, _ in masks],
            "masks": [mask for _, _, _, mask in masks],
            "oldest": LOGIN_DAYS,
        },
    )


async def read_day_scores(conn: Connection, day: date) -> pl.DataFrame:
    """SCORES_SCHEMA of one day with the scores alone; the other counts are 0."""
    return await read_copy(conn, _DAY_SCORES, SCORES_SCHEMA, {"regions": _REGIONS, "day": day})
