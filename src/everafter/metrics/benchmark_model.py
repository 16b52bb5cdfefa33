"""Benchmarks: how the suppliers of a vendor type in a region did in a month. Pure."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from everafter.seasonality.prior_model import Region

MIN_SUPPLIERS = 20
"""No figure rests on fewer suppliers."""
MONTHS = 13
CHURN_DAYS = 45
LOGIN_DAYS = 28
LOGIN_BYTES = 5
"""Bytes that hold so many days, wherever they begin in the first."""
LOGINS_KEPT_DAYS = 160
"""Login days are known for so many days back: 192 are kept, less the window."""

RegionName = Region | Literal["unknown"]
REGION_LABELS: dict[RegionName, str] = {
    "britain": "Britain and Ireland",
    "us": "United States",
    "australia": "Australia",
    "new_zealand": "New Zealand",
    "other_north": "Europe and Canada",
    "other_south": "South America and southern Africa",
    "unknown": "Other countries",
}
REGION_PLACES: dict[RegionName, str] = {
    **{name: f"in {label}" for name, label in REGION_LABELS.items()},
    "us": "in the United States",
    "unknown": "in other countries",
}
NO_VENDOR_TYPE = "none"
"""The vendor type of suppliers without one."""

Level = Literal["region", "vendor_type", "all"]
"""What a benchmark is of: a vendor type in a region, a vendor type, or all suppliers."""

SCORES_SCHEMA = {
    "vendor_type": pl.String(),
    "region": pl.String(),
    "day": pl.Date(),
    "score": pl.Int64(),
    "n": pl.Int64(),
    "healthy": pl.Int64(),
    "adoption_known": pl.Int64(),
    "adoption": pl.Int64(),
    "churned": pl.Int64(),
}
"""Suppliers by vendor type, region, day and score: how many, how many of them healthy, with a
known feature adoption and its sum in percent, and how many cancelled within CHURN_DAYS. Null:
without vendor type, or of a country whose region is not known."""

LOGINS_SCHEMA = {
    "vendor_type": pl.String(),
    "region": pl.String(),
    "day": pl.Date(),
    "login_days": pl.Int64(),
    "n": pl.Int64(),
}
"""Suppliers by vendor type, region, day and login days in the LOGIN_DAYS days up to it."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The suppliers of one group in one month, at least MIN_SUPPLIERS. Null: not known.

    Attributes:
        vendor_type: null: all; "none": suppliers without one.
        region: null: all; "unknown": countries of no region.
        lower_quartile, median, upper_quartile: of the health score, 0–100.
        healthy: share of suppliers.
        login_days: median of the days with a login, in 28.
        feature_adoption: mean share of the key features in use.
        churned_45d: share that cancelled within 45 days; null until those are over.
    """

    level: Level
    vendor_type: str | None
    region: RegionName | None
    suppliers: int
    lower_quartile: float
    median: float
    upper_quartile: float
    healthy: float
    login_days: float | None
    feature_adoption: float | None
    churned_45d: float | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A group of fewer than MIN_SUPPLIERS, which is only part of a larger one.

    Attributes:
        region: null: the whole vendor type.
        into: the smallest group that it is part of and that is shown; null: none is.
    """

    vendor_type: str
    region: RegionName | None
    into: Literal["vendor_type", "all"] | None


@dataclass(frozen=True, slots=True)
class BenchmarkMonth:
    """The benchmarks of one month.

    Attributes:
        month: as in "2026-11".
        day: the last daily run of the month, whose scores are used.
        churn_known_on: the day from which churned_45d is known.
        benchmarks: all suppliers first, then by vendor type, the largest first.
    """

    month: str
    day: date
    churn_known_on: date
    benchmarks: list[Benchmark]
    merged: list[Merged]


@dataclass(frozen=True, slots=True)
class BenchmarksAnswer:
    """Benchmarks by month, the latest first.

    Attributes:
        min_suppliers: smaller groups are merged.
    """

    min_suppliers: int
    months: list[BenchmarkMonth]


@dataclass(frozen=True, slots=True)
class PeerScores:
    """The scores of one day, by group, for the supplier page."""

    day: date
    scores: pl.DataFrame
