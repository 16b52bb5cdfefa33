"""Who left, and when."""

import polars as pl

from everafter.core.db import Connection


async def record_cancellations(conn: Connection, events: pl.DataFrame) -> None:
    """Keep the leavings among these events; what is kept already stays, so that order and
    repetition do not matter.

    Args:
        events: supplier_id, type, occurred_at; any order, repeated or not.
    """
    left = (
        events.filter(pl.col("type") == "subscription_cancelled")
        .select("supplier_id", "occurred_at")
        .unique()
        .sort(pl.all())
    )
    if left.is_empty():
        return
    await conn.execute(
        "INSERT INTO cancellations (supplier_id, cancelled_at) SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])"
        " ON CONFLICT DO NOTHING",
        [left["supplier_id"].to_list(), left["occurred_at"].to_list()],
    )
