"""What is read of couples, and the book of advice: what was offered, what was done, what came of it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from everafter.core.db import Connection, read_copy, upsert_frame
from everafter.recommendations.couples_model import RAW_SCHEMA
from everafter.recommendations.model import EFFECTS_SCHEMA, MOST_COUPLES, SETTLE_AFTER_DAYS, Channel

_WAITING_DAYS = 180


async def read_couples(conn: Connection, supplier_ids: Sequence[str], as_of: datetime, *, most: int = MOST_COUPLES) -> pl.DataFrame:
    """The couples of these suppliers that matter: neither archived nor lost, their day not over.

    The nearest weddings first, those without a date last.

    Args:
        as_of: its UTC day is the first wedding day that counts.
        most: couples per supplier.

    Returns:
        Rows of `RAW_SCHEMA`, for `couples_rules.describe_couples`.
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
        # a look-up by the key for each couple: joining and grouping by couple took twice as long for 3,000 suppliers
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


async def note_given(conn: Connection, advice: pl.DataFrame, channel: Channel, day: date) -> None:
    """Write down what a supplier was offered (served to it, seen or not), and what by lot it was not offered in its place.

    What was noted within the last 14 days is the same offer and is not noted again, by whatever channel.

    Args:
        advice: rows of `ADVICE_SCHEMA` as they came with `most`: those not held out are the offered ones (`told` in the table).
    """
    if advice.is_empty():
        return
    cursor = await conn.execute(
        "SELECT supplier_id::text, advice_id FROM advice_given WHERE supplier_id = ANY (%s::uuid[]) AND advice_id = ANY (%s)"
        " AND given_on > %s AND given_on <= %s",
        [advice["supplier_id"].unique().to_list(), advice["id"].unique().to_list(), day - timedelta(days=SETTLE_AFTER_DAYS), day],
    )
    noted = set(await cursor.fetchall())
    rows = advice.filter(pl.Series([key not in noted for key in advice.select("supplier_id", "id").iter_rows()], dtype=pl.Boolean))
    if rows.is_empty():
        return
    rows = rows.sort("supplier_id", "id")  # two that tell the same suppliers wait for each other in one direction only
    names = ("supplier_id", "id", "vendor_type", "closes", "points_before", "points_max", "held_out")
    await conn.execute(
        "INSERT INTO advice_given (supplier_id, advice_id, given_on, channel, vendor_type, closes, points_before, points_max, told)"
        " SELECT supplier_id, advice_id, %(day)s::date, %(channel)s, vendor_type, closes, points_before, points_max, NOT held_out"
        " FROM unnest(%(supplier_id)s::uuid[], %(id)s::text[], %(vendor_type)s::text[], %(closes)s::text[],"
        " %(points_before)s::float8[], %(points_max)s::float8[], %(held_out)s::boolean[])"
        " AS n (supplier_id, advice_id, vendor_type, closes, points_before, points_max, held_out)"
        " ON CONFLICT (supplier_id, advice_id, given_on) DO NOTHING",
        {**{name: rows[name].to_list() for name in names}, "day": day, "channel": channel},
    )


async def mark_taken(conn: Connection, supplier_id: UUID | str, advice_id: str, day: date) -> bool:
    """Note that the button of the latest offer was pressed; the first press counts.

    Returns:
        False when it was not offered in the 14 days up to `day`, so that there is nothing to note.
    """
    cursor = await conn.execute(
        "UPDATE advice_given SET taken_at = least(taken_at, now()) WHERE supplier_id = %(supplier)s AND advice_id = %(advice)s"
        " AND told AND given_on = (SELECT max(given_on) FROM advice_given WHERE supplier_id = %(supplier)s"
        " AND advice_id = %(advice)s AND given_on BETWEEN %(since)s AND %(day)s)",
        {"supplier": supplier_id, "advice": advice_id, "since": day - timedelta(days=SETTLE_AFTER_DAYS), "day": day},
    )
    return cursor.rowcount > 0


async def read_due(conn: Connection, given_on: date, looked_on: date | None) -> pl.DataFrame:
    """The unsettled advice of one day, with the points that the run of `looked_on` gave those suppliers (null: there was none).

    Returns:
        Rows of `DUE_SCHEMA`: what `effects_rules.settle` asks for.
    """
    frame = await read_copy(
        conn,
        "SELECT g.supplier_id::text, g.advice_id, g.given_on, g.channel, g.told, g.vendor_type, g.closes, g.points_before,"
        " g.points_max, h.login_points, h.feature_adoption_points, h.client_activity_points, h.form_completion_points,"
        " h.journey_performance_points"
        " FROM advice_given g LEFT JOIN customer_health h ON h.supplier_id = g.supplier_id AND h.calculated_on = {looked_on}::date"
        " WHERE g.given_on = {given_on}::date AND g.settled_on IS NULL",
        DUE_SCHEMA,
        # a day before all days in place of none: Citus refuses the join that PostgreSQL leaves out for a null
        {"given_on": given_on, "looked_on": looked_on or date.min},
    )
    return frame.with_columns(pl.lit(looked_on is not None).alias("judged"))


DUE_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "advice_id": pl.String(),
    "given_on": pl.Date(),
    "channel": pl.String(),
    "told": pl.Boolean(),
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
    """The days up to `until` with advice that is not settled, the oldest first."""
    cursor = await conn.execute(
        "SELECT given_on FROM advice_given WHERE settled_on IS NULL AND given_on <= %s GROUP BY given_on ORDER BY given_on", [until]
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_run_between(conn: Connection, first: date, last: date) -> date | None:
    """The first day from `first` to `last` whose run came to its end, or null."""
    cursor = await conn.execute(
        "SELECT min(run_on) FROM runs WHERE run_on BETWEEN %s AND %s AND finished_at IS NOT NULL", [first, last]
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def save_settled(conn: Connection, settled: pl.DataFrame) -> None:
    """Write outcomes into the rows that stand.

    Args:
        settled: supplier_id, advice_id, given_on, channel and told as they were, settled_on, worked.
    """
    await upsert_frame(conn, "advice_given", ("supplier_id", "advice_id", "given_on"), settled)


async def count_effects(conn: Connection, since: date) -> pl.DataFrame:
    """Suppliers to whom advice was offered or by lot was not (`told`, `untold`), and how many were better, by advice and trade.

    Of each supplier and advice only the first offer ever counts, and only when it was made since a day: what is offered again is
    offered because it had not worked, and does not become the first when that one is old.

    Returns:
        Rows of `EFFECTS_SCHEMA`, without the sums; vendor_type '' where it was not known.
    """
    return await read_copy(
        conn,
        "SELECT advice_id, coalesce(vendor_type, ''), count(*) FILTER (WHERE told), count(*) FILTER (WHERE told AND worked),"
        " count(*) FILTER (WHERE NOT told), count(*) FILTER (WHERE NOT told AND worked)"
        " FROM (SELECT DISTINCT ON (supplier_id, advice_id) supplier_id, advice_id, given_on, vendor_type, told, worked"
        " FROM advice_given ORDER BY supplier_id, advice_id, given_on) first"
        " WHERE given_on >= {since} AND worked IS NOT NULL GROUP BY advice_id, coalesce(vendor_type, '')",
        EFFECTS_SCHEMA,
        {"since": since},
    )


async def save_effects(conn: Connection, effects: pl.DataFrame, at: datetime) -> None:
    """Put these counts in the place of those that stand."""
    rows = effects.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("measured_at"))
    await upsert_frame(conn, "advice_effects", ("advice_id", "vendor_type"), rows)
    await conn.execute("DELETE FROM advice_effects WHERE measured_at < %s", [at])


async def get_effects(conn: Connection) -> tuple[pl.DataFrame, datetime | None]:
    """The counts by advice and trade, and when they were made (null: never)."""
    cursor = await conn.execute(
        "SELECT advice_id, vendor_type, told, told_better, untold, untold_better, measured_at FROM advice_effects"
    )
    rows = await cursor.fetchall()
    frame = pl.DataFrame([row[:6] for row in rows], schema=EFFECTS_SCHEMA, orient="row")
    return frame, max((row[6] for row in rows), default=None)


async def delete_old_advice(conn: Connection, before: date) -> int:
    """Forget what was offered before a day, and say how many rows that were.

    The first offer of each advice to a supplier stays: without it a later one would pass for the first (`count_effects`).
    """
    cursor = await conn.execute(
        "DELETE FROM advice_given g WHERE given_on < %s AND settled_on IS NOT NULL AND EXISTS (SELECT 1 FROM advice_given f"
        " WHERE f.supplier_id = g.supplier_id AND f.advice_id = g.advice_id AND f.given_on < g.given_on)",
        [before],
    )
    return cursor.rowcount
