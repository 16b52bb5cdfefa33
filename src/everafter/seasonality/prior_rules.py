"""The prior season: the expected activity of a vendor type by month, from published figures. Pure.

It consists of the work for weddings, bookings, enquiries and steady work (prior_model.py). It is
where the peer activity index starts, and fills the weeks that were not measured."""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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

_VENDOR_TYPE_NAMES = tuple(VENDOR_TYPES)


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
