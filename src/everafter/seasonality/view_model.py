"""The season as measured, for the season page and the command line. Pure."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from everafter.seasonality.model import Channel
from everafter.seasonality.prior_model import Hemisphere

SHOWN_DAYS = 399
"""57 weeks: 13 months."""
ENOUGH_LOGINS = 30
"""Login days expected in 28 days, from which a group's own logins decide its index; with fewer, the
published season decides how it differs from its hemisphere."""

VIEW_SCHEMA = {
    "day": pl.Date(),
    "hemisphere": pl.String(),
    "vendor_type": pl.String(),
    "season_index": pl.Float64(),
    "logins": pl.Float64(),
    "logins_expected": pl.Float64(),
    "logins_stopped": pl.Boolean(),
    "uses": pl.Float64(),
    "uses_expected": pl.Float64(),
    "uses_stopped": pl.Boolean(),
}
"""Rows of season_index. vendor_type: "" is the hemisphere, whose `logins` is null if that day was
not measured."""

Source = Literal["measured", "hemisphere", "published"]
"""Where the index of a group comes from now: its own logins; those of its hemisphere, with the
published difference of the vendor type; or the published season alone."""
SOURCE_LABELS: dict[Source, str] = {
    "measured": "measured",
    "hemisphere": "measured for the hemisphere; how the vendor type differs is published",
    "published": "published, not measured yet",
}


@dataclass(frozen=True, slots=True)
class SeasonWeek:
    """Seven days up to `until`. logins, uses: mean index of the days whose events arrived, as a
    share of the usual, which is a mean week of the last 52; null: none did. measured: whether most
    days were."""

    until: date
    logins: float | None
    uses: float | None
    measured: bool


@dataclass(frozen=True, slots=True)
class SeasonGroup:
    """The suppliers of a vendor type in a hemisphere.

    Attributes:
        season_index: expected activity now against the group's own peak, (0, 1]; null: no logins
            arrived in the last week.
        off_season: null if season_index is.
        logins_last_week, uses_last_week: as in the last of `weeks`.
        weeks: the earliest first.
    """

    hemisphere: Hemisphere
    vendor_type: str
    name: str
    season_index: float | None
    off_season: bool | None
    source: Source
    logins_last_week: float | None
    uses_last_week: float | None
    description: str
    weeks: list[SeasonWeek]


@dataclass(frozen=True, slots=True)
class StoppedDay:
    """A day on which the events of a channel did not arrive."""

    day: date
    channel: Channel
    hemisphere: Hemisphere


@dataclass(frozen=True, slots=True)
class SeasonAnswer:
    """The season of all groups with suppliers who are active.

    Attributes:
        measured_until: the last day measured; null: none.
        measured_from: the first day shown that was measured and not assumed; null: none was.
    """

    measured_until: date | None
    measured_from: date | None
    groups: list[SeasonGroup]
    stopped: list[StoppedDay]
