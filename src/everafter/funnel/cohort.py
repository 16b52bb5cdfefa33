"""Suppliers that signed up in a period, with their progress on the onboarding path."""

import asyncio
from datetime import datetime, timedelta

import polars as pl

from everafter.core.db import FrameReader
from everafter.funnel.model import MOST_FOLLOWED, View
from everafter.funnel.rules import add_states
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.model import Playbook
from everafter.scoring.rules import evaluate_signals
from everafter.signals.queries import read_inputs_began


async def follow_cohort(url: str, playbook: Playbook, view: View, now: datetime) -> pl.DataFrame:
    """Suppliers of the view's vendor type and plan that signed up in its period or are still on
    their path, the latest first.

    Churned suppliers are included: a funnel of those who stayed would look better than it is.

    Returns:
        The frame of `rules.add_states`, at most MOST_FOLLOWED rows.
    """
    return await asyncio.to_thread(_follow, url, playbook, view, now)


def _follow(url: str, playbook: Playbook, view: View, now: datetime) -> pl.DataFrame:
    days = max(view.days, playbook.onboarding_timing.lasts_days)
    reader = FrameReader(url)
    try:
        features = dict(reader.read("SELECT feature, feature_id FROM features").iter_rows())
        inputs = read_inputs_began(
            reader,
            now - timedelta(days=days),
            now,
            vendor_type=view.vendor,
            plan=view.plan,
            most=MOST_FOLLOWED,
        )
        progress = read_progress_of(reader, playbook, now, inputs["supplier_id"].to_list())
    finally:
        reader.close()
    return add_states(
        evaluate_signals(join_progress(inputs, progress), playbook, now, features), playbook, now
    )
