"""What is known of the feeds: which types of events the platform sends, which have stopped arriving
and since when. A feed is all events of one type. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.activity.model import TIME

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Kind = Literal["stopped", "halved"]

EVERYTHING = "*"
"""All types, in an outage of the whole platform."""
OTHER = "other"
"""All types that are not canonical: they count as activity of the platform and are not
watched."""

GIVEN_UP = timedelta(days=91)
"""A feed that stopped longer ago, while others arrive, counts as never sent."""

HOURS_SCHEMA: dict[str, Any] = {
    "type": pl.String(),
    "hour": TIME,
    "events": pl.Int64(),
    "first_seen_at": TIME,
}
"""Hourly totals. type: canonical, or OTHER. first_seen_at: when the first event of that hour was
received; null where that does not matter, because the past is replayed."""

DIMENSION_EVENTS: dict[str, tuple[str, ...]] = {
    "login": ("login",),
    "feature_adoption": ("feature_used",),
    "client_activity": ("client_active",),
    "form_completion": ("form_sent", "form_completed"),
    "journey_performance": ("journey_email_sent", "journey_email_opened"),
}
"""The types that each dimension rests on: while one of them is stopped, the dimension is computed
as of the last good day."""

DIMENSION_NEEDS: dict[str, tuple[str, ...]] = {
    "login": ("login",),
    "feature_adoption": (
        "feature_used",
        "form_created",
        "form_sent",
        "customer_journey_started",
        "automation_enabled",
        "import_clients_started",
    ),
    "client_activity": ("client_active", "form_completed"),
    "form_completion": ("form_completed",),
    "journey_performance": ("journey_email_opened",),
}
"""A dimension is unknown as long as the platform has sent none of these types. Of
feature_adoption: feature_used, and the events that imply that a feature was used."""


@dataclass(frozen=True, slots=True)
class HourTotals:
    """Hourly totals as arrays. Hours are numbered since 1970-01-01 UTC.

    Attributes:
        types: one per row.
        first_hour: the number of the first column, the first hour of a day.
        counts: (types, hours), events; the last day is complete, with zeros after the last event.
        arrivals: (types, hours), when the first event of that hour was received, in hours since
            1970; NaN: no event. None: arrivals do not matter, because the past is replayed.
    """

    types: tuple[str, ...]
    first_hour: int
    counts: Floats
    arrivals: Floats | None


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of time in which a feed was stopped or halved.

    Attributes:
        type: canonical, or EVERYTHING.
        since: the last moment at which all was well.
        noticed_at: the moment scored by the run that noticed it.
        ended_at: when the events returned; None: they have not.
        expected: events expected per day.
        seen: events seen per day since then.
    """

    type: str
    kind: Kind
    since: datetime
    noticed_at: datetime
    ended_at: datetime | None
    expected: float
    seen: float


@dataclass(frozen=True, slots=True)
class Feeds:
    """What a score needs to know of the feeds.

    Attributes:
        sent: the types of which an event was ever received, up to the moment scored; None: not
            known, so nothing counts as missing.
        stopped: by type, the last good moment; while everything is stopped, of every type sent.
        halved: by type, since when.
        everything_since: the last good moment of the platform, while no events arrive at all.
    """

    sent: frozenset[str] | None = None
    stopped: dict[str, datetime] = field(default_factory=dict[str, datetime])
    halved: dict[str, datetime] = field(default_factory=dict[str, datetime])
    everything_since: datetime | None = None

    def was_sent(self, *types: str) -> bool:
        """Whether the platform has ever sent one of these types, or that is not known."""
        return self.sent is None or not self.sent.isdisjoint(types)

    def rests(self, *types: str) -> bool:
        """Whether nothing can be inferred from the absence of these events: one of the types is
        stopped or halved."""
        return any(name in self.stopped or name in self.halved for name in types)

    def is_stopped(self, *types: str) -> bool:
        """Whether one of these types is stopped."""
        return any(name in self.stopped for name in types)

    def frozen_at(self, *types: str) -> datetime | None:
        """The moment as of which a value that rests on these types is computed: the end of the last
        good day, in UTC, of the type that stopped first. None: none is stopped."""
        day = self.as_of(*types)
        return day and _end_of(day)

    def halved_at(self, name: str) -> datetime:
        """The end of the last good day of a halved type."""
        return _end_of(last_good_day(self.halved[name]))

    def as_of(self, *types: str) -> date | None:
        """The last good day that `frozen_at` is the end of; None: none of the types is stopped."""
        since = [self.stopped[name] for name in types if name in self.stopped]
        return last_good_day(min(since)) if since else None

    def dimension_types(self, dimension: str) -> tuple[str, ...]:
        """The types that a dimension rests on, on this platform: one that never sends feature_used
        is measured by the events that imply a feature."""
        types = DIMENSION_EVENTS[dimension]
        return types if self.was_sent(*types) else DIMENSION_NEEDS[dimension]

    def is_known(self, dimension: str) -> bool:
        """Whether the platform sends what this dimension needs."""
        return self.was_sent(*DIMENSION_NEEDS[dimension])


def last_good_day(since: datetime) -> date:
    """The last UTC day before an outage on which all events had arrived."""
    return since.astimezone(UTC).date() - timedelta(days=1)


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)


UNKNOWN_FEEDS = Feeds()
"""Nothing is known of the feeds: nothing is stopped, and nothing counts as never sent."""


_SAME_STOP = timedelta(hours=48)


def stopped_before(outage: Outage, everything: datetime) -> bool:
    """Whether a feed had stopped by itself before all feeds did. The rarer its events, the less can
    be said of when they stopped."""
    leeway = _SAME_STOP + timedelta(days=20 / max(outage.expected, 1.0))
    return outage.since + leeway < everything


def make_feeds(sent: Iterable[str] | None, outages: Iterable[Outage], as_of: datetime) -> Feeds:
    """The feeds while these outages last.

    A type that stopped longer than GIVEN_UP ago, while others arrive, counts as never sent: the
    platform no longer has it.

    Args:
        sent: as in Feeds.
        outages: those that have begun and not ended at the moment scored.
    """
    types = frozenset(sent or ()) or None  # of a platform without any event nothing is known
    listed = list(outages)
    stops = {outage.type: outage for outage in listed if outage.kind == "stopped"}
    everything = stops.pop(EVERYTHING, None)
    if everything is None:
        ended = {name for name, stop in stops.items() if as_of - stop.since > GIVEN_UP}
        stopped = {name: stop.since for name, stop in stops.items() if name not in ended}
        types = types and types - ended
    else:
        stopped = dict.fromkeys((*(types or ()), *stops), everything.since) | {
            name: stop.since
            for name, stop in stops.items()
            if stopped_before(stop, everything.since)
        }
    halved = {
        outage.type: outage.since
        for outage in listed
        if outage.kind == "halved" and outage.type not in stopped
    }
    return Feeds(types, stopped, halved, everything.since if everything else None)
