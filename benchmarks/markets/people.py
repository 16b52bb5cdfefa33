"""The suppliers of a market, and what becomes of them."""

import uuid
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from benchmarks.markets.dialects import VENDOR_TYPES, Dialect

Ints = NDArray[np.int64]
NEVER = 1_000_000
"""A day that does not come."""

# country, time zone, hours from UTC, hemisphere, share
PLACES = (
    ("US", "America/New_York", -5, 0, 0.34),
    ("GB", "Europe/London", 0, 0, 0.24),
    ("IE", "Europe/Dublin", 0, 0, 0.06),
    ("DE", "Europe/Berlin", 1, 0, 0.10),
    ("AU", "Australia/Sydney", 10, 1, 0.13),
    ("NZ", "Pacific/Auckland", 12, 1, 0.07),
    ("ZA", "Africa/Johannesburg", 2, 1, 0.06),
)
PLANS = (("free", 0, "5"), ("pro", 2900, "40"), ("studio", 7900, "200"))
_VENDOR_SHARES = (0.26, 0.12, 0.14, 0.15, 0.13, 0.10, 0.10)
_PRESENT = 0.68
"""The share of suppliers that are there on the first day."""
_SETTLED_DAYS = 45
"""Nobody cancels before this age."""


@dataclass(frozen=True, slots=True)
class People:
    """Suppliers; arrays of shape (suppliers,). Days count from the market's first.

    Attributes:
        created: the day of sign-up, negative for those who were there before.
        cancelled: the day of cancellation, which may come after the market's last; NEVER: none.
        fade_start: the day a fade begins; NEVER: none.
        unpaid_from: the day a payment fails that is never made up for; NEVER: none.
        level: sessions per day on an average day.
        offset: hours from UTC.
    """

    ids: list[str]
    vendor: Ints
    place: Ints
    hemisphere: Ints
    offset: Ints
    plan: Ints
    created: Ints
    cancelled: Ints
    fade_start: Ints
    unpaid_from: Ints
    level: NDArray[np.float64]


def make_people(dialect: Dialect, count: int, days: int, random: np.random.Generator) -> People:
    """Make the suppliers of a market of so many days."""
    shares = np.array([place[4] for place in PLACES])
    place = random.choice(len(PLACES), count, p=shares / shares.sum())
    present = random.random(count) < _PRESENT
    created = np.where(
        present, -random.integers(1, 800, count), random.integers(0, days, count)
    ).astype(np.int64)
    plan = random.choice(3, count, p=(0.3, 0.5, 0.2))
    waits = random.exponential(365 / dialect.churn, count)
    cancelled = (np.maximum(created + _SETTLED_DAYS, 0) + waits).astype(np.int64)
    shortest, longest = dialect.fade_days
    fades = random.random(count) < dialect.fading
    fade = random.integers(shortest, longest + 1, count)
    unpaid = (random.random(count) < dialect.unpaid) & (plan > 0)
    vendor = random.choice(len(VENDOR_TYPES), count, p=_VENDOR_SHARES)
    return People(
        ids=[str(uuid.UUID(bytes=random.bytes(16), version=4)) for _ in range(count)],
        vendor=vendor.astype(np.int64),
        place=place.astype(np.int64),
        hemisphere=np.array([p[3] for p in PLACES])[place],
        offset=np.array([p[2] for p in PLACES])[place],
        plan=plan.astype(np.int64),
        created=created,
        cancelled=cancelled,
        fade_start=np.where(fades, np.maximum(cancelled - fade, created + 20), NEVER),
        unpaid_from=np.where(unpaid, cancelled - random.integers(5, 26, count), NEVER),
        level=dialect.sessions * np.exp(dialect.spread * random.standard_normal(count)),
    )


def day_text(first: date, day: int) -> str:
    """The date of a day, in ISO 8601; '' for NEVER."""
    return "" if day >= NEVER else date.fromordinal(first.toordinal() + day).isoformat()
