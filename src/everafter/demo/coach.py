"""What the coach offered on past days, so that the demo can show what came of it.

The invented suppliers live their lives whatever they are told: offers make no difference here, and
an honest page says so."""

import asyncio
from datetime import datetime, timedelta

import polars as pl

from everafter.activity.queries import get_feature_ids
from everafter.core.db import Connection, FrameReader
from everafter.demo.model import Market
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.queries import note_given, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_inputs_of

OFFERED_DAYS = 60
"""For so many days up to now the coach was there."""


async def offer_next_steps(
    conn: Connection, reader: FrameReader, playbook: Playbook, market: Market, moment: datetime
) -> int:
    """Offer next steps to those who signed in on the day up to `moment`, as their coach would have
    when they did.

    Args:
        conn: in autocommit; the events up to `moment` are folded, and none later.

    Returns:
        How many were offered, or at random not.
    """
    here = pl.col("occurred_at").is_between(moment - timedelta(days=1), moment, closed="left") & (
        pl.col("type") == "login"
    )
    ids = market.events.filter(here)["supplier_id"].unique().sort().to_list()
    if not ids:
        return 0
    raw, features = await read_clients(conn, ids, moment), await get_feature_ids(conn)

    def advise() -> pl.DataFrame:
        inputs = join_progress(
            read_inputs_of(reader, ids), read_progress_of(reader, playbook, moment, ids)
        )
        scored = score_suppliers(inputs, playbook, moment, features)
        return recommend(
            scored, playbook, describe_clients(raw, moment), most=playbook.coach.next_steps
        )

    recommendations = await asyncio.to_thread(advise)
    async with conn.transaction():
        await note_given(conn, recommendations, "coach", moment.date())
    return recommendations.height
