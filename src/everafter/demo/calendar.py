"""Days and hours of the demo: local clocks, wedding seasons, and what of a vendor type's work
follows them. Days are ordinals."""

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
"""By which month clients book: engagements peak between November and February everywhere; the rest
is assumed."""


@lru_cache(maxsize=65_536)
def midnight(timezone: str, day: int) -> int:
    """Unix seconds of the day's beginning on the clock that is there at noon."""
    noon = datetime.fromordinal(day).replace(hour=12, tzinfo=ZoneInfo(timezone))
    return int(noon.astimezone(UTC).timestamp()) - DAY_SECONDS // 2


def day_of(seconds: float) -> int:
    """The UTC day, as an ordinal, of a moment."""
    return EPOCH + int(seconds // DAY_SECONDS)


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or the month's last when there is none."""
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
    """366 days; the months' shares, joined at mid-month and scaled to a peak of 1."""
    middles = np.array(_FIRST_DAY) + 15
    around = np.concatenate([middles[-1:] - 365, middles, middles[:1] + 365])
    values = np.array([months[-1], *months, months[0]])
    curve = np.interp(np.arange(366), around, values)
    return curve / curve.max()


def season(supplier: Supplier, days: npt.NDArray[np.int64]) -> Floats:
    """How busy the season makes this supplier on each day, 1 at its peak: its country's weddings,
    those a month ahead first."""
    weddings = _year_curve(COUNTRIES[supplier.country].weddings)
    year = 0.45 * weddings + 0.55 * np.roll(weddings, -30)
    special = {Archetype.SLEEPER: 0.92, Archetype.SUDDEN: 0.15}
    share = special.get(supplier.archetype, VENDOR_TYPES[supplier.vendor_type].seasonal)
    return (1 - share) + share * (year / year.max())[_day_of_year(days)]


def booking_wave(day: int) -> float:
    """How many clients book about this day, 1 on average."""
    return _NORTHERN_BOOKING[date.fromordinal(day).month - 1]


def wedding_day(rng: Random, country: str, booked: int, lead_days: int) -> int:
    """A client's day: about the vendor type's lead ahead, in the country's season, mostly on a
    Saturday."""
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
