"""Reads clients; stores impressions of recommendations, their outcomes and their effects. Nothing
here commits."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from everafter.core.db import Connection, read_copy, upsert_frame
from everafter.recommendations.client_model import RAW_SCHEMA
from everafter.recommendations.model import (
    EFFECTS_SCHEMA,
    MEASURE_AFTER_DAYS,
    MOST_CLIENTS,
    Channel,
)

_WAITING_DAYS = 180
"""A form or an email that was sent longer ago does not count as waiting any more."""

DUE_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "recommendation_id": pl.String(),
    "shown_on": pl.Date(),
    "channel": pl.String(),
    "treated": pl.Boolean(),
    "vendor_type": pl.String(),
    "dimension": pl.String(),
    "points_before": pl.Float64(),
    "points_max": pl.Float64(),
    "login_points": pl.Float64(),
    "feature_adoption_points": pl.Float64(),
    "client_activity_points": pl.Float64(),
    "form_completion_points": pl.Float64(),
    "journey_performance_points": pl.Float64(),
}


async def read_clients(
    conn: Connection, supplier_ids: Sequence[str], as_of: datetime, *, most: int = MOST_CLIENTS
) -> pl.DataFrame:
    """The clients of these suppliers that are neither archived nor lost and whose wedding is not
    over, those with the nearest weddings first.

    Args:
        as_of: its UTC day is the first wedding day that counts.
        most: clients per supplier.

    Returns:
        Rows of `RAW_SCHEMA`, for `client_rules.describe_clients`.
    """
    # A look-up by key for each client: joining and grouping by client took twice as long for 3,000
    # suppliers.
    return await read_copy(
        conn,
        """
        SELECT
          c.supplier_id::text,
          c.client_id,
          c.name,
          c.wedding_date,
          c.added_at,
          c.last_active_at,
          w.forms_sent,
          w.forms_unanswered,
          w.form_sent_at,
          w.emails_unopened
        FROM (
          SELECT
            supplier_id,
            client_id,
            left(name, 200) AS name,
            wedding_date,
            coalesce(readded_at, added_at) AS added_at,
            last_active_at,
            row_number() OVER (PARTITION BY supplier_id ORDER BY wedding_date, client_id) AS place
          FROM clients
          WHERE supplier_id = ANY ({ids}::uuid[])
            AND (wedding_date IS NULL OR wedding_date >= {day}::date)
            AND (
              greatest(archived_at, lost_at) IS NULL
              OR readded_at > greatest(archived_at, lost_at)
            )
        ) c
        CROSS JOIN LATERAL (
          SELECT
            count(*) FILTER (WHERE i.kind = 'form') AS forms_sent,
            count(*) FILTER (
              WHERE i.kind = 'form' AND i.answered_at IS NULL AND i.sent_at >= {since}
            ) AS forms_unanswered,
            min(i.sent_at) FILTER (
              WHERE i.kind = 'form' AND i.answered_at IS NULL AND i.sent_at >= {since}
            ) AS form_sent_at,
            count(*) FILTER (
              WHERE i.kind = 'journey_email' AND i.answered_at IS NULL AND i.sent_at >= {since}
            ) AS emails_unopened
          FROM sent_items i
          WHERE i.supplier_id = c.supplier_id
            AND i.client_id = c.client_id
            AND i.kind IN ('form', 'journey_email')
            AND i.sent_at <= {until}
        ) w
        WHERE c.place <= {most}
        """,
        RAW_SCHEMA,
        {
            "ids": list(supplier_ids),
            "day": as_of.date(),
            "since": as_of - timedelta(days=_WAITING_DAYS),
            "until": as_of,
            "most": most,
        },
    )


async def insert_impressions(
    conn: Connection, recommendations: pl.DataFrame, channel: Channel, day: date
) -> None:
    """Store what suppliers were shown (served to them, seen or not), and what their place in the
    control group kept from them.

    A recommendation of the last 14 days, on any channel, is the same impression and is not stored
    again.

    Args:
        recommendations: rows of `RECOMMENDATION_SCHEMA` as `recommend` returned them. Those in the
            holdout are the control group (`treated` is false).
    """
    if recommendations.is_empty():
        return
    rows = await _drop_stored(conn, recommendations, day)
    if rows.is_empty():
        return
    rows = rows.sort("supplier_id", "id")  # one order for all, against deadlocks
    names = (
        "supplier_id",
        "id",
        "vendor_type",
        "dimension",
        "points_before",
        "points_max",
        "holdout",
    )
    await conn.execute(
        """
        INSERT INTO recommendation_impressions (
          supplier_id, recommendation_id, shown_on, channel,
          vendor_type, dimension, points_before, points_max, treated
        )
        SELECT
          supplier_id, id, %(day)s::date, %(channel)s,
          vendor_type, dimension, points_before, points_max, NOT holdout
        FROM unnest(
          %(supplier_id)s::uuid[],
          %(id)s::text[],
          %(vendor_type)s::text[],
          %(dimension)s::text[],
          %(points_before)s::float8[],
          %(points_max)s::float8[],
          %(holdout)s::boolean[]
        ) AS n (supplier_id, id, vendor_type, dimension, points_before, points_max, holdout)
        ON CONFLICT (supplier_id, recommendation_id, shown_on) DO NOTHING
        """,
        {**{name: rows[name].to_list() for name in names}, "day": day, "channel": channel},
    )


async def _drop_stored(conn: Connection, recommendations: pl.DataFrame, day: date) -> pl.DataFrame:
    """The recommendations without an impression in the 14 days up to `day`."""
    cursor = await conn.execute(
        """
        SELECT supplier_id::text, recommendation_id
        FROM recommendation_impressions
        WHERE supplier_id = ANY (%s::uuid[])
          AND recommendation_id = ANY (%s)
          AND shown_on > %s
          AND shown_on <= %s
        """,
        [
            recommendations["supplier_id"].unique().to_list(),
            recommendations["id"].unique().to_list(),
            day - timedelta(days=MEASURE_AFTER_DAYS),
            day,
        ],
    )
    stored = set(await cursor.fetchall())
    is_new = [key not in stored for key in recommendations.select("supplier_id", "id").iter_rows()]
    return recommendations.filter(pl.Series(is_new, dtype=pl.Boolean))


async def mark_clicked(
    conn: Connection, supplier_id: UUID | str, recommendation_id: str, day: date
) -> bool:
    """Store a click on the latest impression; the first click counts.

    Returns:
        False when the recommendation was not shown in the 14 days up to `day`.
    """
    cursor = await conn.execute(
        """
        UPDATE recommendation_impressions
        SET clicked_at = least(clicked_at, now())
        WHERE supplier_id = %(supplier)s
          AND recommendation_id = %(recommendation)s
          AND treated
          AND shown_on = (
            SELECT max(shown_on)
            FROM recommendation_impressions
            WHERE supplier_id = %(supplier)s
              AND recommendation_id = %(recommendation)s
              AND shown_on BETWEEN %(since)s AND %(day)s
          )
        """,
        {
            "supplier": supplier_id,
            "recommendation": recommendation_id,
            "since": day - timedelta(days=MEASURE_AFTER_DAYS),
            "day": day,
        },
    )
    return cursor.rowcount > 0


async def read_due(conn: Connection, shown_on: date, run_on: date | None) -> pl.DataFrame:
    """The impressions of one day that are not measured yet, with the points that the run of
    `run_on` gave those suppliers (null: there was no run).

    Returns:
        Rows of `DUE_SCHEMA` with `scored`, for `effects_rules.measure`.
    """
    frame = await read_copy(
        conn,
        """
        SELECT
          i.supplier_id::text,
          i.recommendation_id,
          i.shown_on,
          i.channel,
          i.treated,
          i.vendor_type,
          i.dimension,
          i.points_before,
          i.points_max,
          h.login_points,
          h.feature_adoption_points,
          h.client_activity_points,
          h.form_completion_points,
          h.journey_performance_points
        FROM recommendation_impressions i
        LEFT JOIN customer_health h
          ON h.supplier_id = i.supplier_id AND h.calculated_on = {run_on}::date
        WHERE i.shown_on = {shown_on}::date AND i.measured_on IS NULL
        """,
        DUE_SCHEMA,
        # The earliest date instead of null: Citus refuses the join that PostgreSQL removes for a
        # null.
        {"shown_on": shown_on, "run_on": run_on or date.min},
    )
    return frame.with_columns(pl.lit(run_on is not None).alias("scored"))


async def list_due_days(conn: Connection, until: date) -> list[date]:
    """The days up to `until` with impressions that are not measured yet, the oldest first."""
    cursor = await conn.execute(
        """
        SELECT shown_on
        FROM recommendation_impressions
        WHERE measured_on IS NULL AND shown_on <= %s
        GROUP BY shown_on
        ORDER BY shown_on
        """,
        [until],
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_run_between(conn: Connection, first: date, last: date) -> date | None:
    """The first day from `first` to `last` with a finished run, or null."""
    cursor = await conn.execute(
        """
        SELECT min(run_on)
        FROM runs
        WHERE run_on BETWEEN %s AND %s AND finished_at IS NOT NULL
        """,
        [first, last],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def save_outcomes(conn: Connection, outcomes: pl.DataFrame) -> None:
    """Store the outcomes of impressions.

    Args:
        outcomes: supplier_id, recommendation_id, shown_on; channel and treated, unchanged;
            measured_on and improved.
    """
    await upsert_frame(
        conn,
        "recommendation_impressions",
        ("supplier_id", "recommendation_id", "shown_on"),
        outcomes,
    )


async def count_effects(conn: Connection, since: date) -> pl.DataFrame:
    """Count the treatment and the control group of each recommendation and vendor type, and those
    in it that improved.

    Only the first impression of a recommendation to a supplier counts, and only if it is not older
    than `since`. A later one is shown because the first did not help.

    Returns:
        Rows of `EFFECTS_SCHEMA`, without the sums; vendor_type '' where it was not known.
    """
    return await read_copy(
        conn,
        """
        SELECT
          recommendation_id,
          coalesce(vendor_type, '') AS vendor_type,
          count(*) FILTER (WHERE treated) AS treated,
          count(*) FILTER (WHERE treated AND improved) AS treated_improved,
          count(*) FILTER (WHERE NOT treated) AS control,
          count(*) FILTER (WHERE NOT treated AND improved) AS control_improved
        FROM (
          SELECT DISTINCT ON (supplier_id, recommendation_id)
            supplier_id,
            recommendation_id,
            shown_on,
            vendor_type,
            treated,
            improved
          FROM recommendation_impressions
          ORDER BY supplier_id, recommendation_id, shown_on
        ) first
        WHERE shown_on >= {since} AND improved IS NOT NULL
        GROUP BY recommendation_id, coalesce(vendor_type, '')
        """,
        EFFECTS_SCHEMA,
        {"since": since},
    )


async def save_effects(conn: Connection, effects: pl.DataFrame, at: datetime) -> None:
    """Replace the stored counts by these."""
    rows = effects.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("measured_at"))
    await upsert_frame(conn, "recommendation_effects", ("recommendation_id", "vendor_type"), rows)
    await conn.execute("DELETE FROM recommendation_effects WHERE measured_at < %s", [at])


async def get_effects(conn: Connection) -> tuple[pl.DataFrame, datetime | None]:
    """The stored counts (`EFFECTS_SCHEMA`), and when they were made; null: never."""
    cursor = await conn.execute(
        """
        SELECT
          recommendation_id,
          vendor_type,
          treated,
          treated_improved,
          control,
          control_improved,
          measured_at
        FROM recommendation_effects
        """
    )
    rows = await cursor.fetchall()
    frame = pl.DataFrame([row[:6] for row in rows], schema=EFFECTS_SCHEMA, orient="row")
    return frame, max((row[6] for row in rows), default=None)


async def delete_old_impressions(conn: Connection, before: date) -> int:
    """Delete measured impressions from before a day, and return how many.

    The first impression of each recommendation to a supplier is kept: without it, `count_effects`
    would take a later one for the first."""
    cursor = await conn.execute(
        """
        DELETE FROM recommendation_impressions i
        WHERE shown_on < %s
          AND measured_on IS NOT NULL
          AND EXISTS (
            SELECT 1
            FROM recommendation_impressions earlier
            WHERE earlier.supplier_id = i.supplier_id
              AND earlier.recommendation_id = i.recommendation_id
              AND earlier.shown_on < i.shown_on
          )
        """,
        [before],
    )
    return cursor.rowcount
