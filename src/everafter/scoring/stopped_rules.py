"""What is measured against the season, while feeds are stopped. Pure."""

from datetime import datetime

import polars as pl

from everafter.playbook.model import Playbook
from everafter.scoring.platform import PlatformState
from everafter.seasonality.frame_rules import add_season

# The columns of add_season that depend on the events of one dimension.
_COLUMNS = {
    "login": ("days_inactive", "inactivity_probability", "unusual_inactivity", "evidence_logins"),
    "feature_adoption": (
        "season_trend",
        "evidence_uses",
        "expected_uses_low",
        "expected_uses_high",
    ),
    "client_activity": ("client_season",),
}
# The columns of add_season that grow while events of a type are missing.
_RESTING = {
    "login": ("days_inactive", "evidence_logins"),
    "feature_used": ("evidence_uses",),
}


def add_season_as_of_feeds(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, platform: PlatformState
) -> pl.DataFrame:
    """Add the columns of `add_season`. Those that depend on a stopped feed are as of its last good
    day. While logins or feature_used are halved, an event that is missing says nothing: inactivity
    and decline evidence are at most those of the last good day. unusual_inactivity is false while
    logins are stopped or halved. The decline evidence is null where the platform has never sent
    logins or feature_used.

    Args:
        frame: a row per supplier, as signals.queries reads it.
    """
    feeds = platform.feeds
    scored = add_season(frame, playbook, as_of, platform.peers)
    for dimension, columns in _COLUMNS.items():
        frozen_at = feeds.frozen_at(*feeds.dimension_types(dimension))
        if frozen_at is not None:
            then = add_season(frame, playbook, frozen_at, platform.peers)
            scored = scored.with_columns(then[name] for name in columns)
    for event, columns in _RESTING.items():
        if event in feeds.halved:
            then = add_season(frame, playbook, feeds.halved_at(event), platform.peers)
            scored = scored.with_columns(
                pl.min_horizontal(pl.col(name), then[name]) for name in columns
            )
    for channel, name in (("login", "evidence_logins"), ("feature_used", "evidence_uses")):
        if not feeds.was_sent(channel):
            scored = scored.with_columns(pl.lit(None, pl.Float64).alias(name))
    if feeds.rests("login"):
        scored = scored.with_columns(pl.lit(False).alias("unusual_inactivity"))
    return scored
