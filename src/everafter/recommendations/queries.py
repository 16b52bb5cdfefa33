"""What is read of clients, and the book of recommendations: what was offered, what was done, what
came of it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from everafter.core.db import Connection, read_copy, upsert_frame
from everafter.recommendations.client_model import RAW_SCHEMA
from everafter.recommendations.model import EFFECTS_SCHEMA, MOST_CLIENTS, SETTLE_AFTER_DAYS, Channel

_WAITING_DAYS = 180


async def read_clients(
    conn: Connection, supplier_ids: Sequence[str], as_of: datetime, *, most: int = MOST_CLIENTS
) -> pl.DataFrame:
    """The clients of these suppliers that matter: neither archived nor lost, their day not over.

    The nearest weddings first, those without a date last.

    Args:
        as_of: its UTC day is the first wedding day that counts.
        most: clients per supplier.

    Returns:
        Rows of `RAW_SCHEMA`, for `client_rules.describe_clients`.
    """
    return await read_copy(
        conn,
        "SELECT c.supplier_id::text, c.client_id, c.name, c.wedding_date, c.added_at, c.last_active_at,"
        " w.forms_sent, w.forms_unanswered, w.form_sent_at, w.emails_unopened"
        " FROM (SELECT supplier_id, client_id, left(name, 200) AS name, wedding_date,"
        " coalesce(readded_at, added_at) AS added_at, last_active_at,"
        " row_number() OVER (PARTITION BY supplier_id ORDER BY wedding_date, client_id) AS place"
        " FROM clients WHERE supplier_id = ANY ({ids}::uuid[])"
        " AND (wedding_date IS NULL OR wedding_date >= {day}::date)"
        " AND (greatest(archived_at, lost_at) IS NULL OR readded_at > greatest(archived_at, lost_at))) c"
        # a look-up by the key for each client: joining and grouping by client took twice as long
        # for 3,000 suppliers
        " CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE i.kind = 'form') AS forms_sent,"
        " count(*) FILTER (WHERE i.kind = 'form' AND i.answered_at IS NULL AND i.sent_at >= {since}) AS forms_unanswered,"
        " min(i.sent_at) FILTER (WHERE i.kind = 'form' AND i.answered_at IS NULL AND i.sent_at >= {since}) AS form_sent_at,"
        " count(*) FILTER (WHERE i.kind = 'journey_email' AND i.answered_at IS NULL AND i.sent_at >= {since}) AS emails_unopened"
        " FROM sent_items i WHERE i.supplier_id = c.supplier_id AND i.client_id = c.client_id"
        " AND i.kind IN ('form', 'journey_email') AND i.sent_at <= {until}) w"
        " WHERE c.place <= {most}",
        RAW_SCHEMA,
        {
            "ids": list(supplier_ids),
            "day": as_of.date(),
            "since": as_of - timedelta(days=_WAITING_DAYS),
            "until": as_of,
            "most": most,
        },
    )


async def note_given(
    conn: Connection, recommendations: pl.DataFrame, channel: Channel, day: date
) -> None:
    """Write down what a supplier was offered (served to it, seen or not), and what at random it was
    not offered in its place.

    What was noted within the last 14 days is the same offer and is not noted again, by whatever
    channel.

    Args: recommendations: rows of `RECOMMENDATION_SCHEMA` as they came with `most`: those not in
        the holdout are the offered ones (`treated` in the table)."""
    if recommendations.is_empty():
        return
    cursor = await conn.execute(
        "SELECT supplier_id::text, recommendation_id FROM recommendation_impressions WHERE supplier_id = ANY (%s::uuid[]) AND recommendation_id = ANY (%s)"
        " AND shown_on > %s AND shown_on <= %s",
        [
            recommendations["supplier_id"].unique().to_list(),
            recommendations["id"].unique().to_list(),
            day - timedelta(days=SETTLE_AFTER_DAYS),
            day,
        ],
    )
    noted = set(await cursor.fetchall())
    rows = recommendations.filter(
        pl.Series(
            [key not in noted for key in recommendations.select("supplier_id", "id").iter_rows()],
            dtype=pl.Boolean,
        )
    )
    if rows.is_empty():
        return
    rows = rows.sort(
        "supplier_id", "id"
    )  # two that tell the same suppliers wait for each other in one direction only
    names = ("supplier_id", "id", "vendor_type", "closes", "points_before", "points_max", "holdout")
    await conn.execute(
        "INSERT INTO recommendation_impressions (supplier_id, recommendation_id, shown_on, channel, vendor_type, closes, points_before, points_max, treated)"
        " SELECT supplier_id, recommendation_id, %(day)s::date, %(channel)s, vendor_type, closes, points_before, points_max, NOT holdout"
        " FROM unnest(%(supplier_id)s::uuid[], %(id)s::text[], %(vendor_type)s::text[], %(closes)s::text[],"
        " %(points_before)s::float8[], %(points_max)s::float8[], %(holdout)s::boolean[])"
        " AS n (supplier_id, recommendation_id, vendor_type, closes, points_before, points_max, holdout)"
        " ON CONFLICT (supplier_id, recommendation_id, shown_on) DO NOTHING",
        {**{name: rows[name].to_list() for name in names}, "day": day, "channel": channel},
    )


async def mark_clicked(
    conn: Connection, supplier_id: UUID | str, recommendation_id: str, day: date
) -> bool:
    """Note that the button of the latest offer was pressed; the first press counts.

    Returns:
        False when it was not offered in the 14 days up to `day`, so that there is nothing to note.
    """
    cursor = await conn.execute(
        "UPDATE recommendation_impressions SET clicked_at = least(clicked_at, now()) WHERE supplier_id = %(supplier)s AND recommendation_id = %(recommendations)s"
        " AND treated AND shown_on = (SELECT max(shown_on) FROM recommendation_impressions WHERE supplier_id = %(supplier)s"
        " AND recommendation_id = %(recommendations)s AND shown_on BETWEEN %(since)s AND %(day)s)",
        {
            "supplier": supplier_id,
            "recommendations": recommendation_id,
            "since": day - timedelta(days=SETTLE_AFTER_DAYS),
            "day": day,
        },
    )
    return cursor.rowcount > 0


async def read_due(conn: Connection, shown_on: date, looked_on: date | None) -> pl.DataFrame:
    """The unsettled recommendations of one day, with the points that the run of `looked_on` gave
    those suppliers (null: there was none).

    Returns:
        Rows of `DUE_SCHEMA`: what `effects_rules.settle` asks for.
    """
    frame = await read_copy(
        conn,
        "SELECT g.supplier_id::text, g.recommendation_id, g.shown_on, g.channel, g.treated, g.vendor_type, g.closes, g.points_before,"
        " g.points_max, h.login_points, h.feature_adoption_points, h.client_activity_points, h.form_completion_points,"
        " h.journey_performance_points"
        " FROM recommendation_impressions g LEFT JOIN customer_health h ON h.supplier_id = g.supplier_id AND h.calculated_on = {looked_on}::date"
        " WHERE g.shown_on = {shown_on}::date AND g.measured_on IS NULL",
        DUE_SCHEMA,
        # a day before all days in place of none: Citus refuses the join that PostgreSQL leaves out
        # for a null
        {"shown_on": shown_on, "looked_on": looked_on or date.min},
    )
    return frame.with_columns(pl.lit(looked_on is not None).alias("scored"))


DUE_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "recommendation_id": pl.String(),
    "shown_on": pl.Date(),
    "channel": pl.String(),
    "treated": pl.Boolean(),
    "vendor_type": pl.String(),
    "closes": pl.String(),
    "points_before": pl.Float64(),
    "points_max": pl.Float64(),
    "login_points": pl.Float64(),
    "feature_adoption_points": pl.Float64(),
    "client_activity_points": pl.Float64(),
    "form_completion_points": pl.Float64(),
    "journey_performance_points": pl.Float64(),
}


async def list_due_days(conn: Connection, until: date) -> list[date]:
    """The days up to `until` with recommendations that is not settled, the oldest first."""
    cursor = await conn.execute(
        "SELECT shown_on FROM recommendation_impressions WHERE measured_on IS NULL AND shown_on <= %s GROUP BY shown_on ORDER BY shown_on",
        [until],
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_run_between(conn: Connection, first: date, last: date) -> date | None:
    """The first day from `first` to `last` whose run came to its end, or null."""
    cursor = await conn.execute(
        "SELECT min(run_on) FROM runs WHERE run_on BETWEEN %s AND %s AND finished_at IS NOT NULL",
        [first, last],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def save_settled(conn: Connection, settled: pl.DataFrame) -> None:
    """Write outcomes into the rows that stand.

    Args: settled: supplier_id, recommendation_id, shown_on, channel and told as they were,
        measured_on, worked."""
    await upsert_frame(
        conn,
        "recommendation_impressions",
        ("supplier_id", "recommendation_id", "shown_on"),
        settled,
    )


async def count_effects(conn: Connection, since: date) -> pl.DataFrame:
    """Suppliers to whom recommendations was offered or at random was not (`treated`, `control`),
    and how many were better, by recommendations and vendor type.

    Of each supplier and recommendations only the first offer ever counts, and only when it was made
    since a day: what is offered again is offered because it had not worked, and does not become the
    first when that one is old.

    Returns:
        Rows of `EFFECTS_SCHEMA`, without the sums; vendor_type '' where it was not known.
    """
    return await read_copy(
        conn,
        "SELECT recommendation_id, coalesce(vendor_type, ''), count(*) FILTER (WHERE treated), count(*) FILTER (WHERE treated AND worked),"
        " count(*) FILTER (WHERE NOT treated), count(*) FILTER (WHERE NOT treated AND worked)"
        " FROM (SELECT DISTINCT ON (supplier_id, recommendation_id) supplier_id, recommendation_id, shown_on, vendor_type, treated, worked"
        " FROM recommendation_impressions ORDER BY supplier_id, recommendation_id, shown_on) first"
        " WHERE shown_on >= {since} AND worked IS NOT NULL GROUP BY recommendation_id, coalesce(vendor_type, '')",
        EFFECTS_SCHEMA,
        {"since": since},
    )


async def save_effects(conn: Connection, effects: pl.DataFrame, at: datetime) -> None:
    """Put these counts in the place of those that stand."""
    rows = effects.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("measured_at"))
    await upsert_frame(conn, "recommendation_effects", ("recommendation_id", "vendor_type"), rows)
    await conn.execute("DELETE FROM recommendation_effects WHERE measured_at < %s", [at])


async def get_effects(conn: Connection) -> tuple[pl.DataFrame, datetime | None]:
    """The counts by recommendations and vendor type, and when they were made (null: never)."""
    cursor = await conn.execute(
        "SELECT recommendation_id, vendor_type, treated, treated_improved, control, control_improved, measured_at FROM recommendation_effects"
    )
    rows = await cursor.fetchall()
    frame = pl.DataFrame([row[:6] for row in rows], schema=EFFECTS_SCHEMA, orient="row")
    return frame, max((row[6] for row in rows), default=None)


async def delete_old_impressions(conn: Connection, before: date) -> int:
    """Forget what was offered before a day, and say how many rows that were.

    The first offer of each recommendations to a supplier stays: without it a later one would pass
    for the first (`count_effects`)."""
    cursor = await conn.execute(
        "DELETE FROM recommendation_impressions g WHERE shown_on < %s AND measured_on IS NOT NULL AND EXISTS (SELECT 1 FROM recommendation_impressions f"
        " WHERE f.supplier_id = g.supplier_id AND f.recommendation_id = g.recommendation_id AND f.shown_on < g.shown_on)",
        [before],
    )
    return cursor.rowcount
