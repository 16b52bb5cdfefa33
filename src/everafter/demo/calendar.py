"""Local time, wedding seasons and booking dates of the sample data. Days are ordinals."""

from datetime import UTC, date, datetime
from functools import lru_cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from everafter.demo.model import COUNTRIES, DAY_SECONDS, EPOCH, VENDOR_TYPES, Archetype, Supplier

Floats = npt.NDArray[np.float64]
_FIRST_DAY = (0.0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_WEEKDAY_OF_WEDDING = (0.03, 0.03, 0.04, 0.08, 0.19, 0.50, 0.13)
_NORTHERN_BOOKING = (1.45, 1.35, 1.20, 1.0, 0.9, 0.8, 0.75, 0.85, 1.0, 1.0, 0.95, 0.75)
"""Relative bookings by month. Engagements peak between November and February everywhere; the other
months are assumed."""


@lru_cache(maxsize=65_536)
def midnight(timezone: str, day: int) -> int:
    """Return the Unix seconds of a day's start, by the UTC offset in force at noon."""
    noon = datetime.fromordinal(day).replace(hour=12, tzinfo=ZoneInfo(timezone))
    return int(noon.astimezone(UTC).timestamp()) - DAY_SECONDS // 2


def day_of(seconds: float) -> int:
    """Return the UTC day of a time as an ordinal."""
    return EPOCH + int(seconds // DAY_SECONDS)


def months_before(day: date, months: int) -> date:
    """Return the same day `months` earlier, or that month's last day."""
    whole = day.year * 12 + day.month - 1 - months
    year, month = divmod(whole, 12)
    for number in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, number)
        except ValueError:
            continue
    raise ValueError(day)  # pragma: no cover every month has a 28th


@lru_cache(maxsize=32)
def _year_curve(months: tuple[float, ...]) -> Floats:
    """Interpolate monthly shares to 366 days, scaled to a peak of 1."""
    middles = np.array(_FIRST_DAY) + 15
    around = np.concatenate([middles[-1:] - 365, middles, middles[:1] + 365])
    values = np.array([months[-1], *months, months[0]])
    curve = np.interp(np.arange(366), around, values)
    return curve / curve.max()


def season(supplier: Supplier, days: npt.NDArray[np.int64]) -> Floats:
    """Return the supplier's season by day, 1 at its peak. It follows the country's weddings on that
    day and a month later."""
    weddings = _year_curve(COUNTRIES[supplier.country].weddings)
    year = 0.45 * weddings + 0.55 * np.roll(weddings, -30)
    special = {Archetype.SLEEPER: 0.92, Archetype.SUDDEN: 0.15}
    share = special.get(supplier.archetype, VENDOR_TYPES[supplier.vendor_type].seasonal)
    return (1 - share) + share * (year / year.max())[_day_of_year(days)]


def booking_wave(day: int) -> float:
    """Return the relative number of bookings on a day; 1 is average."""
    return _NORTHERN_BOOKING[date.fromordinal(day).month - 1]


def wedding_day(rng: Random, country: str, booked: int, lead_days: int) -> int:
    """Draw a wedding day: about `lead_days` after booking, in season, most often a Saturday."""
    curve = _year_curve(COUNTRIES[country].weddings)
    day = booked
    for _ in range(12):
        day = booked + max(24, round(rng.gammavariate(5.0, lead_days / 5.0)))
        if rng.random() < curve[min(365, date.fromordinal(day).timetuple().tm_yday - 1)]:
            break
    monday = day - (day - 1) % 7
    weekday = rng.choices(range(7), _WEEKDAY_OF_WEDDING)[0]
    return max(booked + 21, monday + weekday)


def _day_of_year(days: npt.NDArray[np.int64]) -> Any:
    dates = (days - EPOCH).astype("datetime64[D]")
    return (dates - dates.astype("datetime64[Y]")).astype(int)
