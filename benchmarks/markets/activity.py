"""How busy each supplier is on each day: the rates behind the events."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.markets.dialects import Dialect
from benchmarks.markets.people import NEVER, People

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Away = list[list[tuple[int, int]]]
"""Per supplier the first and last days of its absences."""

_WANDER_DAYS = 60
_WEDDINGS_AHEAD = 75


@dataclass(frozen=True, slots=True)
class Activity:
    """What suppliers do; matrices of shape (suppliers, days).

    Attributes:
        logins, uses: events.
        mood: activity of the account without its level: season, fade and absence, mean about 1.
    """

    logins: Ints
    uses: Ints
    mood: Floats
    away: Away


def make_activity(
    dialect: Dialect, people: People, season: Floats, weddings: Floats, random: np.random.Generator
) -> Activity:
    """Draw logins and uses.

    Args:
        season: (suppliers, days), the season of each supplier's group.
        weddings: (suppliers, days), weddings of that day among the supplier's clients.
    """
    count, days = season.shape
    day = np.arange(days)
    there = (day >= people.created[:, None]) & (day < people.cancelled[:, None])
    away = _absences(dialect, season, random)
    mood = season * there * _presence(away, count, days)
    mood *= 1 - dialect.weddings + dialect.weddings * _follow(weddings)
    if dialect.weekdays:
        mood *= _rhythm(count, days, random)
    fade = _fade(people, dialect, day)
    rate = mood * people.level[:, None]
    if dialect.coupled:
        rate = rate * fade * _noise(dialect, count, days, random)
        logins = random.poisson(rate)
        uses = random.poisson(dialect.uses * logins)
    else:
        part = np.where(random.random(count) < 0.5, 1.0, 0.4)[:, None]  # where the fade shows
        other = np.where(part == 1.0, 0.4, 1.0)
        taste = np.exp(0.6 * random.standard_normal(count))[:, None]
        logins = random.poisson(rate * fade**part * _noise(dialect, count, days, random))
        uses = random.poisson(
            dialect.uses * taste * rate * fade**other * _noise(dialect, count, days, random)
        )
    return Activity(logins, uses, mood * fade, away)


def _fade(people: People, dialect: Dialect, day: Ints) -> Floats:
    length = np.maximum(people.cancelled - people.fade_start, 1)[:, None]
    left = 1 - (day - people.fade_start[:, None]) / length
    left = np.clip(left, 0, 1) ** dialect.fade_power
    return np.where(people.fade_start[:, None] == NEVER, 1.0, np.maximum(left, dialect.fade_floor))


def _noise(dialect: Dialect, count: int, days: int, random: np.random.Generator) -> Floats:
    """Bursts of a week, and a level that wanders; mean about 1."""
    noise = np.ones((count, days))
    if dialect.burst is not None:
        weeks = random.gamma(dialect.burst, 1 / dialect.burst, (count, days // 7 + 1))
        noise *= np.repeat(weeks, 7, axis=1)[:, :days]
    if dialect.wander:
        keep = np.exp(-1 / _WANDER_DAYS)
        steps = random.standard_normal((count, days)) * dialect.wander
        level, walk = steps[:, 0], np.empty((count, days))
        for day in range(days):
            level = keep * level + np.sqrt(1 - keep**2) * steps[:, day]
            walk[:, day] = level
        noise *= np.exp(walk - dialect.wander**2 / 2)
    return noise


def _rhythm(count: int, days: int, random: np.random.Generator) -> Floats:
    """Own days of the week: two of seven are nearly free."""
    week = np.tile([1.2, 1.25, 1.25, 1.2, 1.1, 0.45, 0.55], (count, 1))
    turned = random.random(count) < 0.25  # works at weekends, free on Mondays and Tuesdays
    week[turned] = np.roll(week[turned], 2, axis=1)
    return np.tile(week, days // 7 + 1)[:, :days]


def _absences(dialect: Dialect, season: Floats, random: np.random.Generator) -> Away:
    count, days = season.shape
    holidays = random.poisson(dialect.holidays * days / 365, count)
    winters = random.random(count) < dialect.winters
    away: Away = []
    for row in range(count):
        own = [
            (start, start + int(random.integers(13, 21)))
            for start in random.integers(0, days, holidays[row]).tolist()
        ]
        if winters[row]:
            length, place = int(random.integers(28, 71)), int(random.integers(-20, 21))
            off_from = int(season[row, :365].argmin()) + place
            own += [(start, start + length) for start in range(off_from - 365, days, 365)]
        away.append(sorted((max(a, 0), min(b, days - 1)) for a, b in own if b >= 0 and a < days))
    return away


def _presence(away: Away, count: int, days: int) -> Floats:
    presence = np.ones((count, days))
    for row, own in enumerate(away):
        for first, last in own:
            presence[row, first : last + 1] = 0.03
    return presence


def _follow(weddings: Floats) -> Floats:
    """Weddings of the coming weeks against the supplier's usual number, smoothed by one."""
    total = np.cumsum(np.pad(weddings, ((0, 0), (1, _WEDDINGS_AHEAD))), axis=1)
    ahead = total[:, _WEDDINGS_AHEAD:] - total[:, :-_WEDDINGS_AHEAD]
    ahead = ahead[:, : weddings.shape[1]] + 1.0
    return ahead / ahead.mean(axis=1, keepdims=True)
