"""Record the coach's recommendations on past days, so that the demo can show their effects.

Simulated suppliers do not react to recommendations, so the measured effects are about zero."""

import asyncio
from datetime import datetime, timedelta

import polars as pl

from everafter.activity.queries import get_feature_ids
from everafter.core.db import Connection, FrameReader
from everafter.demo.model import Market
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.queries import insert_impressions, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_inputs_of

COACH_DAYS = 60
"""Days before now for which recommendations are recorded."""


async def record_recommendations(
    conn: Connection, reader: FrameReader, playbook: Playbook, market: Market, moment: datetime
) -> int:
    """Record recommendations for the suppliers who logged in during the day before `moment`.

    Args:
        conn: in autocommit; the events up to `moment` are folded, and none later.

    Returns:
        How many were recorded, including those of the control group.
    """
    logged_in = pl.col("occurred_at").is_between(
        moment - timedelta(days=1), moment, closed="left"
    ) & (pl.col("type") == "login")
    ids = market.events.filter(logged_in)["supplier_id"].unique().sort().to_list()
    if not ids:
        return 0
    raw, features = await read_clients(conn, ids, moment), await get_feature_ids(conn)

    def select() -> pl.DataFrame:
        inputs = join_progress(
            read_inputs_of(reader, ids), read_progress_of(reader, playbook, moment, ids)
        )
        scored = score_suppliers(inputs, playbook, moment, features)
        return recommend(
            scored, playbook, describe_clients(raw, moment), most=playbook.coach.recommendations
        )

    recommendations = await asyncio.to_thread(select)
    async with conn.transaction():
        await insert_impressions(conn, recommendations, "coach", moment.date())
    return recommendations.height
