"""Cancellations: which suppliers churned, and when."""

import polars as pl

from everafter.core.db import Connection


async def record_cancellations(conn: Connection, events: pl.DataFrame) -> None:
    """Store the cancellations among these events.

    A cancellation that is stored already is left as it is, so neither order nor repetition of the
    events matters.

    Args:
        events: supplier_id, type, occurred_at.
    """
    cancelled = (
        events.filter(pl.col("type") == "subscription_cancelled")
        .select("supplier_id", "occurred_at")
        .unique()
        .sort(pl.all())
    )
    if cancelled.is_empty():
        return
    await conn.execute(
        """
        INSERT INTO cancellations (supplier_id, cancelled_at)
        SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])
        ON CONFLICT DO NOTHING
        """,
        [cancelled["supplier_id"].to_list(), cancelled["occurred_at"].to_list()],
    )
