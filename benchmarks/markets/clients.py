"""The clients of a market's suppliers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.markets.dialects import Dialect
from benchmarks.markets.people import People

Ints = NDArray[np.int64]
LAST_LEAD = 420
"""Days from adding a client to its wedding, at most."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients, sorted by supplier; arrays of shape (clients,). Days count from the market's first.

    Attributes:
        ends: the day it is archived or lost, or the supplier leaves.
        lost: whether it ends because it is lost.
        first, number: (suppliers,), the place of each supplier's clients.
    """

    supplier: Ints
    names: NDArray[np.str_]
    added: Ints
    wedding: Ints
    ends: Ints
    lost: NDArray[np.bool_]
    first: Ints
    number: Ints


def make_clients(
    dialect: Dialect,
    people: People,
    season: NDArray[np.float64],
    days: int,
    random: np.random.Generator,
) -> Clients:
    """Make clients. Busy suppliers have more of them.

    Args:
        season: (suppliers, 365), the season of each supplier's group from the market's first day
            on; the same every year.
        days: of the market.
    """
    count = len(season)
    per_month = 1.1 * (people.level / np.median(people.level)) ** 0.35
    per_month *= np.exp(0.4 * random.standard_normal(count))
    span = np.arange(-LAST_LEAD, days)
    there = (span >= people.created[:, None]) & (span < people.cancelled[:, None])
    yearly = season[:, np.mod(span, 365)]
    drawn = random.poisson(per_month[:, None] / 30 * there * np.sqrt(yearly))
    supplier, place = np.nonzero(drawn)
    repeats = drawn[supplier, place]
    supplier, added = np.repeat(supplier, repeats), np.repeat(span[place], repeats)
    # Of three dates the one with the most season.
    leads = random.integers(40, LAST_LEAD, (len(supplier), 1 if dialect.even_weddings else 3))
    weights = season[supplier[:, None], np.mod(added[:, None] + leads, 365)]
    lead = leads[np.arange(len(supplier)), weights.argmax(axis=1)]
    wedding = added + lead
    lost = random.random(len(supplier)) < 0.07
    ends = np.where(
        lost, added + (lead * random.random(len(supplier))).astype(int), wedding + 12
    ) + random.integers(0, 6, len(supplier))
    alive = ends > 0
    supplier, added, wedding, ends, lost = (
        values[alive] for values in (supplier, added, wedding, ends, lost)
    )
    left = people.cancelled[supplier]
    # Some of those who leave lose a client shortly before: a weak sign.
    sign = (left - ends > 0) & (left - ends < 90) & (random.random(len(ends)) < 0.12)
    number = np.bincount(supplier, minlength=count)
    return Clients(
        supplier=supplier,
        names=_names(len(supplier), random),
        added=np.maximum(added, 0),
        wedding=wedding,
        ends=np.minimum(ends, left),
        lost=(lost | sign) & (ends < left),
        first=np.cumsum(number) - number,
        number=number,
    )


def _names(count: int, random: np.random.Generator) -> NDArray[np.str_]:
    return np.array([random.bytes(8).hex() for _ in range(count)])


def weddings_by_day(clients: Clients, count: int, days: int) -> NDArray[np.float64]:
    """(suppliers, days + LAST_LEAD) weddings of clients that are not lost."""
    width = days + LAST_LEAD + 1
    kept = ~clients.lost & (clients.wedding >= 0) & (clients.wedding < width)
    cells = clients.supplier[kept] * width + clients.wedding[kept]
    return np.bincount(cells, minlength=count * width).reshape(count, width)[:, :days].astype(float)
