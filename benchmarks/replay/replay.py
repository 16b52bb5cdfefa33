"""Replaying a market: each day's events are folded into a state in memory, then everyone is
scored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.replay.market import Market
from everafter.activity import model
from everafter.activity.feature_rules import assign_slots
from everafter.activity.model import HOURS_DAYS, State
from everafter.activity.rules import fold
from everafter.feeds.hour_rules import TYPES
from everafter.feeds.model import OTHER, UNKNOWN_FEEDS, Feeds, HourTotals, make_feeds
from everafter.feeds.model import Outage as FeedOutage
from everafter.feeds.outage_rules import known_at, lasting, reconcile
from everafter.feeds.rules import find_outages
from everafter.learning.model import NO_MODELS, ChurnModels
from everafter.onboarding.model import PROGRESS_SCHEMA
from everafter.onboarding.queries import join_progress
from everafter.playbook.loading import parse_playbook, read_playbook
from everafter.playbook.model import Playbook
from everafter.scoring.platform import PlatformState
from everafter.scoring.rules import score_suppliers
from everafter.seasonality.count_rules import to_counts
from everafter.seasonality.history_rules import History, advance, to_peer_activity

Floats = NDArray[np.float64]

_KEYS = {
    "activity": ["supplier_id"],
    "clients": ["supplier_id", "client_id"],
    "items": ["supplier_id", "kind", "client_id", "item_id"],
    "tickets": ["supplier_id", "ticket_id"],
}
_FOLDED_ONLY = (
    "vendor_type_folded",
    "plan_folded",
    "vendor_type_at",
    "plan_at",
    "usage",
    "subscription_at",
    "other_features",
    "features_beyond",
)


@dataclass(frozen=True, slots=True)
class FeedHistory:
    """What the daily runs have learned of the feeds.

    Attributes:
        hours: (types, 24) events of each day, the last one last; of HOURS_DAYS at most.
        sent: the types that ever arrived.
        recorded: the outages that the runs recorded.
        feeds: as of the last run.
    """

    hours: tuple[Floats, ...] = ()
    sent: frozenset[str] = frozenset()
    recorded: tuple[FeedOutage, ...] = ()
    feeds: Feeds = UNKNOWN_FEEDS

    def advance(self, events: pl.DataFrame, as_of: datetime) -> "FeedHistory":
        """Examine the feeds at the midnight after a day, as the daily run does."""
        hours = (*self.hours, _count_hours(events))[-HOURS_DAYS:]
        sent = self.sent | set(events["type"].unique())
        first_hour = int(as_of.timestamp() // 3600) - 24 * len(hours)
        totals = HourTotals(TYPES, first_hour, np.concatenate(hours, axis=1), None)
        found = find_outages(totals, as_of, known_at(self.recorded, as_of))
        recorded = tuple(reconcile(self.recorded, found, as_of))
        feeds = make_feeds(sent, lasting(known_at(recorded, as_of)), as_of)
        return FeedHistory(hours, sent, recorded, feeds)


def _count_hours(events: pl.DataFrame) -> Floats:
    """(types, 24): the events of one day."""
    counts = np.zeros((len(TYPES), 24))
    by_hour = events.group_by("type", pl.col("occurred_at").dt.hour().alias("hour")).len()
    for name, hour, number in by_hour.iter_rows():
        counts[TYPES.index(name if name in TYPES else OTHER), hour] += number
    return counts


@dataclass(slots=True)
class Platform:
    """What is known of the whole platform as of a moment, and is advanced once a day."""

    suppliers: pl.DataFrame
    history: History = field(default_factory=lambda: History(0, []))
    feeds: FeedHistory = FeedHistory()
    churn: ChurnModels = NO_MODELS

    def advance(self, state: State, events: pl.DataFrame, as_of: datetime) -> None:
        """Learn from a day that is over."""
        last = int(as_of.timestamp() // 86_400) - 1
        self.feeds = self.feeds.advance(events, as_of)
        if state.activity.is_empty():
            return
        if not self.history.days:
            self.history = History(last, [])
        rows = self.suppliers.join(state.activity, on="supplier_id", suffix="_folded").select(
            "supplier_id",
            pl.coalesce("vendor_type_folded", "vendor_type").alias("vendor_type"),
            "country",
            pl.coalesce("account_created_at", "created_at", "first_event_at").alias("began_at"),
            pl.when(pl.col("subscription") == "cancelled")
            .then(pl.col("subscription_at"))
            .alias("ended_at"),
            "last_event_at",
            "login_days",
            "feature_uses_d",
            "feature_uses_w",
        )
        self.history = advance(self.history, to_counts(rows.sort("supplier_id"), last), last)

    @property
    def known(self) -> PlatformState:
        """The argument of the scoring functions."""
        peers = to_peer_activity(self.history) if self.history.days else None
        return PlatformState(peers, self.feeds.feeds, self.churn)

    def copy(self) -> "Platform":
        """One that can be advanced on its own."""
        return Platform(self.suppliers, self.history, self.feeds, self.churn)


@dataclass(slots=True)
class Replay:
    """A market's state at the beginning of `day`: all events of the days before are folded."""

    market: Market
    playbook: Playbook
    feature_ids: dict[str, int]
    platform: Platform
    state: State = field(default_factory=model.empty_state)
    day: int = 0

    def advance(self, events: pl.DataFrame | None = None) -> None:
        """Fold the events of `day`, or these instead, and go to the next day."""
        events = self.market.days[self.day] if events is None else events
        if events.height:
            self.state = _merge(self.state, fold(self.state, events, self.feature_ids))
        self.day += 1
        self.platform.advance(self.state, events, self.market.at(self.day))

    def score(self, stopped: Sequence[tuple[str, pl.DataFrame]] = ()) -> pl.DataFrame:
        """Score all suppliers at the beginning of `day`.

        Args:
            stopped: further suppliers, which stopped: a name for each, and its row of inputs.
        """
        inputs = self.inputs()
        if stopped:
            inputs = pl.concat(
                [inputs, *(r.with_columns(supplier_id=pl.lit(name)) for name, r in stopped)],
                how="vertical_relaxed",
            )
        return score_day(inputs, self.playbook, self.feature_ids, self.now, self.platform)

    @property
    def now(self) -> datetime:
        return self.market.at(self.day)

    def inputs(self) -> pl.DataFrame:
        """The rows that signals.queries would read."""
        return as_inputs(self.market.suppliers, self.state.activity, self.now)

    def copy(self) -> "Replay":
        """One that goes its own way from here."""
        return Replay(
            self.market,
            self.playbook,
            self.feature_ids,
            self.platform.copy(),
            self.state,
            self.day,
        )


def start(market: Market) -> Replay:
    """A replay before the first event, with the playbook that ships with the package."""
    playbook = shipped_playbook()
    return Replay(market, playbook, assign_slots({}, playbook.features), Platform(market.suppliers))


def shipped_playbook() -> Playbook:
    """The playbook that ships with the package."""
    path = Path(str(resources.files("everafter.playbook") / "weddings.toml"))
    return parse_playbook(read_playbook(path), str(path))


def score_day(
    inputs: pl.DataFrame,
    playbook: Playbook,
    feature_ids: dict[str, int],
    as_of: datetime,
    platform: Platform,
) -> pl.DataFrame:
    """The product's scores. The one place that knows how they are called."""
    return score_suppliers(inputs, playbook, as_of, feature_ids, platform.known)


def as_inputs(suppliers: pl.DataFrame, activity: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The same columns and rows as signals.queries.read_past_inputs with the progress of
    onboarding.queries, for suppliers that are there."""
    joined = suppliers.filter(pl.col("created_at").is_null() | (pl.col("created_at") < as_of)).join(
        activity, on="supplier_id", how="left", suffix="_folded", maintain_order="left"
    )
    inputs = joined.with_columns(
        pl.coalesce("vendor_type_folded", "vendor_type").alias("vendor_type"),
        pl.coalesce("plan_folded", "plan").alias("plan"),
        pl.col("events_total", "clients_added", "clients_total", "tickets_open").fill_null(0),
    ).drop(_FOLDED_ONLY)
    return join_progress(inputs, pl.DataFrame(schema=PROGRESS_SCHEMA))


def _merge(old: State, new: State) -> State:
    return State(
        **{
            name: pl.concat(
                [
                    getattr(old, name).join(getattr(new, name), on=keys, how="anti"),
                    getattr(new, name).select(getattr(old, name).columns),
                ]
            )
            for name, keys in _KEYS.items()
        }
    )
