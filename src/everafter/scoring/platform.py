"""What is known of the whole platform as of a moment, besides each supplier's row. Pure."""

from dataclasses import dataclass

from everafter.feeds.model import UNKNOWN_FEEDS, Feeds
from everafter.learning.model import NO_MODELS, ChurnModels
from everafter.seasonality.model import PeerActivity


@dataclass(frozen=True, slots=True)
class PlatformState:
    """An argument of the scoring functions.

    Attributes:
        peers: the peer activity index; null: nothing is measured yet, the prior season counts.
        feeds: which feeds are stopped or halved, and which types of events were ever sent.
        churn: the models of churn that speak.
    """

    peers: PeerActivity | None = None
    feeds: Feeds = UNKNOWN_FEEDS
    churn: ChurnModels = NO_MODELS


UNKNOWN_PLATFORM = PlatformState()
"""Nothing is known of the platform."""
