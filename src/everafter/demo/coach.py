"""Record the coach's recommendations on past days, so that the demo can show their effects, and
show some tips, so that its sample platform has suppliers with one.

Simulated suppliers do not react to recommendations, so the measured effects are about zero."""

import asyncio
import contextlib
from datetime import datetime, timedelta

import polars as pl

from everafter.activity.queries import get_feature_ids
from everafter.coach.live import CoachScorer
from everafter.coach.queries import list_states
from everafter.coach.rules import is_page, pause_start
from everafter.coach.tip_batches import NotNowError, TipBatcher, TipQuery
from everafter.core.db import Connection, FrameReader, connection, make_pool
from everafter.demo.model import Market
from everafter.demo.platform_queries import PER_REASON, TIP_PAGE, list_tip_candidates
from everafter.onboarding.model import NO_MILESTONES
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.queries import insert_impressions, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.platform_queries import read_platform
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_inputs_of

COACH_DAYS = 60
"""Days before now for which recommendations are recorded."""
_TIP_CANDIDATES = 40


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
        platform = read_platform(reader, moment)
        scored = score_suppliers(inputs, playbook, moment, features, platform)
        return recommend(
            scored, playbook, describe_clients(raw, moment), most=playbook.coach.recommendations
        )

    recommendations = await asyncio.to_thread(select)
    async with conn.transaction():
        await insert_impressions(conn, recommendations, "coach", moment.date())
    return recommendations.height


async def show_tips(url: str, playbook: Playbook, now: datetime) -> int:
    """Show a tip on the overview to a few suppliers, as if they had just opened it.

    Returns:
        How many suppliers have one now, at most `PER_REASON`.
    """
    async with connection(url) as conn:
        candidates = await list_tip_candidates(conn, playbook, now, _TIP_CANDIDATES)
        since = pause_start(playbook, now)
        states = await list_states(conn, candidates, NO_MILESTONES, since=since, now=now)
    async with make_pool(url, size=2) as pool:
        scorer, batcher = CoachScorer(url, playbook, pool), TipBatcher(pool, playbook)
        try:
            scored = await scorer.score([str(state.supplier_id) for state in states])
            shown = 0
            for state in sorted(states, key=lambda one: candidates.index(one.supplier_id)):
                one = scored.get(str(state.supplier_id))
                if one is None or one.needs_call or shown == PER_REASON:
                    continue
                here = tuple(
                    name for name in one.tips if is_page(TIP_PAGE, playbook.tips[name].pages)
                )
                with contextlib.suppress(NotNowError):
                    choice = await batcher.choose(TipQuery(state, one.row, here, TIP_PAGE))
                    shown += choice.tip is not None
        finally:
            await batcher.close()
            await scorer.close()
    return shown
