"""The season: activity expected now against the peak of the supplier's own year. Pure.

Two things are known: the year of the vendor type (a prior from published figures, prior_model.py)
and the supplier's own coming weddings. Both say how much wedding work there is around a day. They
are mixed by the number of weddings known, and the other work of the vendor type (enquiries,
bookings, what has no season) is added. The result is divided by the peak of the supplier's own
coming year, so a photographer with a full winter has another season than the vendor type."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everafter.playbook.model import Playbook
from everafter.seasonality.prior_model import (
    ENGAGEMENTS,
    REGION_OF_COUNTRY,
    VENDOR_TYPE_ALIASES,
    VENDOR_TYPES,
    WEDDINGS,
    Hemisphere,
    Region,
    VendorType,
)

Floats = NDArray[np.float64]

_DAYS_IN_MONTH = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_MIDDLES = np.cumsum(_DAYS_IN_MONTH) - _DAYS_IN_MONTH / 2  # day of the year
_YEAR = float(_DAYS_IN_MONTH.sum())
_LEAD_SPREAD = 0.35
"""Spread of booking leads, as a share of the mean. Assumed: only means are published."""
_ENQUIRY_DAYS = 75
"""Days after the engagement in which enquiries are sent, most in the first weeks. Assumed."""

# The grid of own weddings: fortnights from now, with room before and after for the widest triangle.
_STEP_DAYS = 14
_STEPS = 27  # today and the 26 fortnights of a year
_BEHIND = max(vendor.behind_days for vendor in VENDOR_TYPES.values()) // _STEP_DAYS
_AHEAD = max(vendor.ahead_days for vendor in VENDOR_TYPES.values()) // _STEP_DAYS
_COLUMNS = _BEHIND + _STEPS + _AHEAD + 1
_LONG_AGO = -1_000_000  # instead of null
_BLOCK_ROWS = 4096  # small enough for the processor's cache

_VENDOR_TYPE_NAMES = tuple(VENDOR_TYPES)
_REGION_NAMES: tuple[Region | None, ...] = (None, *WEDDINGS)


# ── the prior ─────────────────────────────────────────────────────────────────────


def region_of(country: str | None) -> Region | None:
    """The region of an ISO 3166-1 country or an ISO 3166-2 subdivision ("GB-SCT"); null where no
    season is known."""
    code = (country or "").strip().upper()
    return REGION_OF_COUNTRY.get(code[:2]) if len(code) == 2 or code[2:3] == "-" else None


def hemisphere_of(country: str | None) -> Hemisphere:
    """The hemisphere of a country, as in `region_of`; "unknown" where no season is known."""
    match region_of(country):
        case None:
            return "unknown"
        case "australia" | "new_zealand" | "other_south":
            return "south"
        case _:
            return "north"


def vendor_type_of(vendor_type: str | None) -> str:
    """The key of VENDOR_TYPES for a vendor type as the platform writes it; "default" for others."""
    name = (vendor_type or "").strip().lower().replace("-", "_").replace(" ", "_")
    name = VENDOR_TYPE_ALIASES.get(name, name)
    return name if name in VENDOR_TYPES else "default"


def workload_index(
    country: str | None, vendor_type: str | None, floor: float = 0.25
) -> tuple[float, ...]:
    """Expected activity by month, January first, as a share of the busiest month.

    It consists of work for weddings, bookings, enquiries and steady work, in the shares of the
    vendor type (`prior_model.VendorType`). A country whose season is unknown has twelve ones.

    Args:
        country: ISO 3166-1 alpha-2; null: unknown.
        vendor_type: null and unknown ones count as "default".
        floor: the smallest value, (0, 1].

    Source: published monthly weddings, engagements and leads (prior_model.py).
    """
    work, rest = _parts(region_of(country), vendor_type_of(vendor_type))
    whole = work + rest
    return tuple(float(x) for x in np.maximum(whole / whole.max(), floor))


@lru_cache(maxsize=256)
def _parts(region: Region | None, vendor_type_name: str) -> tuple[Floats, Floats]:
    """Expected activity at the middle of each month, as (wedding work, all else); the mean of
    their sum is about 1."""
    vendor = VENDOR_TYPES[vendor_type_name]
    if region is None:
        return np.full(12, vendor.work), np.full(12, 1 - vendor.work)
    weddings = np.array(WEDDINGS[region]) / 100 / _DAYS_IN_MONTH * _YEAR  # rate per day, mean 1
    engagements = np.array(ENGAGEMENTS[region]) / 100 / _DAYS_IN_MONTH * _YEAR
    offsets, weights = _kernel(vendor)
    work = _weighted_mean(weddings, offsets, weights)
    leads = np.arange(1.0, 2.5 * vendor.lead_days)
    likely = np.exp(-0.5 * ((leads - vendor.lead_days) / (_LEAD_SPREAD * vendor.lead_days)) ** 2)
    bookings = _weighted_mean(weddings, leads, likely)
    lags = np.arange(float(_ENQUIRY_DAYS))
    enquiries = _weighted_mean(engagements, -lags, _ENQUIRY_DAYS - lags)
    return (
        vendor.work * work,
        vendor.bookings * bookings + vendor.enquiries * enquiries + vendor.steady,
    )


def _kernel(vendor: VendorType) -> tuple[Floats, Floats]:
    """Days from now to a wedding, and the work for a wedding at that distance: a triangle with its
    top on the day."""
    offsets = np.arange(-vendor.behind_days, vendor.ahead_days + 1.0)
    return offsets, _triangle(offsets, vendor)


def _triangle(days_ahead: Floats, vendor: VendorType) -> Floats:
    rising, falling = 1 - days_ahead / vendor.ahead_days, 1 + days_ahead / vendor.behind_days
    return np.maximum(np.where(days_ahead >= 0, rising, falling), 0)


def _weighted_mean(monthly: Floats, offsets: Floats, weights: Floats) -> Floats:
    """At the middle of each month, the weighted mean of the curve at these offsets in days."""
    return _interpolate(monthly, _MIDDLES[:, None] + offsets) @ (weights / weights.sum())


def _interpolate(monthly: Floats, day_of_year: Floats) -> Floats:
    """Interpolate a curve that is given at the middle of each month; the year is circular."""
    return np.interp(day_of_year % _YEAR, _MIDDLES, monthly, period=_YEAR)


def _day_of_year(days: list[date]) -> Floats:
    """Day of the mean year. Months are scaled to their mean length, so that 29 February does not
    shift the rest of the year."""
    starts = np.cumsum(_DAYS_IN_MONTH) - _DAYS_IN_MONTH
    return np.array(
        [
            starts[d.month - 1] + (d.day - 0.5) / _month_days(d) * _DAYS_IN_MONTH[d.month - 1]
            for d in days
        ]
    )


def _month_days(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - day.replace(day=1)).days


# ── on frames ─────────────────────────────────────────────────────────────────────


def add_season_index(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """Add `season_index` Float64, (0, 1], and `off_season` Boolean; neither is ever null.

    season_index is the activity expected on the day of `as_of` ÷ the most expected on any day of
    the coming year. Wedding work is that of the vendor type and the supplier's own, mixed as
    `own_weddings_weight` : n, where n is the number of weddings known in the coming year. It is
    exactly 1 when the season is disabled, and when neither country nor weddings are known.

    Args:
        frame: `country` and `vendor_type` String, may be null; `weddings` List(Int32), days since
            1970 (UTC) of the weddings of current clients, null counts as empty. Rows do not
            influence each other.
        playbook: its `season`.
        as_of: with a time zone; the day is its UTC day.
    """
    season = playbook.season
    if not season.enabled or frame.is_empty():
        return frame.with_columns(season_index=pl.lit(1.0), off_season=pl.lit(False))
    today = _utc_day(as_of)
    keys = _keys(frame)
    prior = _prior_season_index(today)[keys]
    season_index = np.clip(
        _blended(frame["weddings"], keys, prior, season.own_weddings_weight, today),
        season.floor,
        1.0,
    )
    return frame.with_columns(
        season_index=pl.Series(season_index),
        off_season=pl.Series(season_index < season.off_season_below),
    )


def add_season_trend(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """Add `season_trend` Float64, > 0, never null: how the season alone changes a volume.

    It is the mean prior season_index of the last 28 days ÷ that of the 56 days before: with 0.8, a
    healthy supplier does a fifth less now. It is 1 where no season is known, and when the season is
    disabled.

    Args:
        frame: `country` and `vendor_type` String, may be null.
        playbook: its `season`.
        as_of: with a time zone; the last of the 28 days is its UTC day.
    """
    if not playbook.season.enabled or frame.is_empty():
        return frame.with_columns(season_trend=pl.lit(1.0))
    trend = _prior_trend(_utc_day(as_of), playbook.season.floor)
    return frame.with_columns(season_trend=pl.Series(trend[_keys(frame)]))


def _utc_day(as_of: datetime) -> date:
    return as_of.astimezone(UTC).date()


def _keys(frame: pl.DataFrame) -> NDArray[np.int64]:
    """The number of each row's (region, vendor type) pair, which is the key of the tables below."""
    # Only distinct spellings are looked up, however many rows there are.
    countries = {c: _REGION_NAMES.index(region_of(c)) for c in frame["country"].unique()}
    types = {t: _VENDOR_TYPE_NAMES.index(vendor_type_of(t)) for t in frame["vendor_type"].unique()}
    key = pl.col("country").replace_strict(countries, return_dtype=pl.Int64) * len(
        _VENDOR_TYPE_NAMES
    ) + pl.col("vendor_type").replace_strict(types, return_dtype=pl.Int64)
    return frame.select(key.alias("key"))["key"].to_numpy()


def _all_parts() -> list[tuple[Floats, Floats]]:
    return [_parts(region, vendor) for region in _REGION_NAMES for vendor in _VENDOR_TYPE_NAMES]


@lru_cache(maxsize=64)
def _prior_season_index(today: date) -> Floats:
    """By key: the prior's season_index on one day, without floor."""
    day = _day_of_year([today])
    whole = [work + rest for work, rest in _all_parts()]
    return np.array([float(_interpolate(w, day)[0]) / float(w.max()) for w in whole])


@lru_cache(maxsize=64)
def _prior_trend(today: date, floor: float) -> Floats:
    """By key: the mean season_index (with floor) of 28 days ÷ that of the 56 days before them."""
    days = _day_of_year([today - timedelta(days=back) for back in range(84)])
    season_indexes = np.array(
        [
            np.maximum(_interpolate(w, days) / w.max(), floor)
            for w in (a + b for a, b in _all_parts())
        ]
    )
    return season_indexes[:, :28].mean(axis=1) / season_indexes[:, 28:].mean(axis=1)


@lru_cache(maxsize=64)
def _year_ahead(
    today: date,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """By key: wedding work and all else at each coming fortnight, and the peak of the year ÷ the
    peak of the fortnights."""
    days = _day_of_year([today + timedelta(days=_STEP_DAYS * step) for step in range(_STEPS)])
    parts = _all_parts()
    work = np.array([_interpolate(w, days) for w, _ in parts])
    rest = np.array([_interpolate(r, days) for _, r in parts])
    above = np.array([float((w + r).max()) for w, r in parts]) / (work + rest).max(axis=1)
    return work.astype(np.float32), rest.astype(np.float32), above.astype(np.float32)


@lru_cache(maxsize=1)
def _taps() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """By key: the triangle of the vendor type at whole fortnights, and the activity that a single
    wedding causes on its day."""
    distances = np.arange(-_STEP_DAYS * _BEHIND, _STEP_DAYS * _AHEAD + 1.0, _STEP_DAYS)
    vendors = [VENDOR_TYPES[name] for _ in _REGION_NAMES for name in _VENDOR_TYPE_NAMES]
    taps = np.stack([_triangle(distances, vendor) for vendor in vendors])
    height = np.array(
        [vendor.work * _YEAR * 2 / (vendor.ahead_days + vendor.behind_days) for vendor in vendors]
    )
    return taps.astype(np.float32), height.astype(np.float32)


def _blended(
    weddings: pl.Series, keys: NDArray[np.int64], prior: Floats, weight: float, today: date
) -> Floats:
    """season_index from the prior and the supplier's own weddings; the prior's where no wedding is
    known."""
    rows, places, counts = _own_weddings(weddings, today)
    starts = np.concatenate([[0], np.cumsum(counts)])
    season_index = prior.copy()
    for first in range(0, len(season_index), _BLOCK_ROWS):
        block = slice(first, min(first + _BLOCK_ROWS, len(season_index)))
        inside = slice(starts[block.start], starts[block.stop])
        if inside.start == inside.stop:
            continue
        grid = _gridded(rows[inside] - first, places[inside], block.stop - first)
        own = _season_indexes(grid, counts[block], keys[block], weight, today)
        season_index[block] = np.where(counts[block] > 0, own, prior[block])
    return season_index


def _own_weddings(
    weddings: pl.Series, today: date
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """The weddings on the grid: their rows (ascending), fortnights from now, and the number in each
    row."""
    lengths = weddings.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = (
        weddings.list.explode(empty_as_null=False, keep_nulls=False) if len(weddings) else weddings
    )
    days = flat.fill_null(_LONG_AGO).to_numpy() - np.int32((today - date(1970, 1, 1)).days)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    near = (days > -_STEP_DAYS * _BEHIND) & (days < _STEP_DAYS * _STEPS)
    rows = rows[near]
    return rows, days[near] / _STEP_DAYS, np.bincount(rows, minlength=len(lengths))


def _gridded(rows: NDArray[np.int64], places: Floats, height: int) -> NDArray[np.float32]:
    """Weddings by row and fortnight from now; each is shared between the two nearest points.

    The corners of the triangles are points of the grid, so no precision is lost: when a wedding
    comes a day nearer, the result changes by that day and not in steps.
    """
    lower = np.floor(places)
    upper_share = places - lower
    cells = rows * _COLUMNS + (lower.astype(np.int64) + _BEHIND)
    size = height * _COLUMNS
    grid = np.bincount(cells, 1 - upper_share, size) + np.bincount(cells + 1, upper_share, size)
    return grid.astype(np.float32).reshape(height, _COLUMNS)


def _season_indexes(
    grid: NDArray[np.float32],
    counts: NDArray[np.int64],
    keys: NDArray[np.int64],
    weight: float,
    today: date,
) -> NDArray[np.float32]:
    """Expected activity today ÷ the most in any coming fortnight. All operations are elementwise,
    so rows do not influence each other."""
    taps, height = (table[keys] for table in _taps())
    load = np.zeros((len(keys), _STEPS), np.float32)
    for tap in range(1, _BEHIND + _AHEAD):  # the widest triangle's two ends are 0
        load += grid[:, tap : tap + _STEPS] * taps[:, tap, None]
    work, rest, above = (table[keys] for table in _year_ahead(today))
    known = (counts + weight).astype(np.float32)
    expected = (work * np.float32(weight) + load * height[:, None]) / known[:, None] + rest
    return expected[:, 0] / (expected.max(axis=1) * above)


# ── by hemisphere ─────────────────────────────────────────────────────────────────


_REGION_OF_HEMISPHERE: dict[str, Region | None] = {
    "north": "other_north",
    "south": "other_south",
    "unknown": None,
}


@lru_cache(maxsize=1024)
def prior_levels(day: int) -> tuple[Floats, Floats]:
    """The prior season of one day, as logarithms; the mean of a year is 1.

    Args:
        day: since 1970-01-01.

    Returns:
        (hemispheres,) that of the default vendor type; (groups,) each vendor type's ÷ that.
    """
    place = _day_of_year([date(1970, 1, 1) + timedelta(days=day)])
    levels = np.array(
        [
            [
                float(np.log(_interpolate(np.add(*_parts(region, name)), place)[0]))
                for name in _VENDOR_TYPE_NAMES
            ]
            for region in _REGION_OF_HEMISPHERE.values()
        ]
    )
    default = levels[:, _VENDOR_TYPE_NAMES.index("default")]
    return default, (levels - default[:, None]).ravel()
