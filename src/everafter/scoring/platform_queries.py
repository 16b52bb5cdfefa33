"""Reading what is known of the platform."""

from datetime import datetime

from everafter.core.db import FrameReader
from everafter.feeds.queries import read_feeds
from everafter.learning.queries import read_models
from everafter.scoring.platform import PlatformState
from everafter.seasonality.history_rules import to_peer_activity
from everafter.seasonality.queries import read_days


def read_platform(reader: FrameReader, as_of: datetime) -> PlatformState:
    """Read the platform's state as it was known at the last run before a moment. Blocks; call it
    in a thread."""
    history = read_days(reader, int(as_of.timestamp() // 86_400) - 1)
    return PlatformState(
        peers=to_peer_activity(history) if history.days else None,
        feeds=read_feeds(reader, as_of),
        churn=read_models(reader, as_of),
    )
