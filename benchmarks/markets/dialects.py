"""The dialects: how suppliers behave on an invented platform."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

VENDOR_TYPES = ("photographer", "venue", "planner", "florist", "dj", "caterer", "hair_makeup")
HEMISPHERES = ("north", "south")
YEAR = 365.25

_NORTH = (0.70, 0.82, 0.96, 1.10, 1.30, 1.44, 1.46, 1.42, 1.34, 1.02, 0.41, 0.38)
_SOUTH = (1.42, 1.38, 1.34, 1.10, 0.78, 0.50, 0.46, 0.52, 0.76, 1.12, 1.34, 1.24)
# By vendor type: how sharp its season is, and how many days later than the others it comes.
_SHARPNESS = (1.05, 0.75, 0.85, 1.25, 1.10, 1.15, 1.20)
_DELAY = (8, -20, -12, 0, 6, 0, -4)
# Dialect d: the day of the year of the peak, and of a second wave, which no table foretells.
_PEAK = (275, 60, 110, 140, 320, 215, 180)
_WAVE = (70, 250, 20, 300, 200, 100, 330)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How suppliers of a market behave.

    Attributes:
        churn: expected cancellations per supplier-year.
        fading: the share of those who churn that becomes less active before.
        fade_days: the shortest and longest fade.
        fade_floor: activity at the end of a fade, as a share of the usual.
        fade_power: 1: the fade is a straight line; more: most of it comes early.
        unpaid: the share of those who churn whose payment failed shortly before.
        sessions: median sessions per day of a supplier, on an average day.
        spread: standard deviation of the logarithm of this number between suppliers.
        uses: feature uses per session.
        liveliness: median activities of a client per day.
        season: 'steps' (a value per month), 'smooth', or 'waves' (peaks of each vendor type that no
            published table foretells).
        burst: shape of the gamma distribution of a week's activity; null: Poisson.
        wander: standard deviation of the slowly wandering logarithm of activity.
        holidays: absences of two or three weeks per year.
        winters: share of suppliers that are away for weeks each year in their quietest time.
        weekdays: whether suppliers have days of the week on which they work.
        even_weddings: weddings are spread over the whole year; else they have the season.
        weddings: the share of activity that follows the supplier's own coming weddings.
        coupled: whether uses happen in sessions; else logins and uses are two processes, and a fade
            shows in one of them more than in the other.
    """

    churn: float
    fading: float
    fade_days: tuple[int, int]
    fade_floor: float = 0.05
    fade_power: float = 1.0
    unpaid: float = 0.08
    sessions: float = 0.55
    spread: float = 0.6
    uses: float = 1.0
    liveliness: float = 0.042
    season: str = "smooth"
    burst: float | None = None
    wander: float = 0.0
    holidays: float = 0.0
    winters: float = 0.0
    weekdays: bool = False
    even_weddings: bool = False
    weddings: float = 0.0
    coupled: bool = True


DIALECTS = {
    "a": Dialect(
        churn=0.36,
        fading=0.6,
        fade_days=(28, 70),
        fade_floor=0.08,
        fade_power=1.5,
        season="steps",
        even_weddings=True,
    ),
    "b": Dialect(
        churn=0.44,
        fading=0.5,
        fade_days=(9, 21),
        fade_floor=0.02,
        fade_power=5.0,
        liveliness=0.036,
        even_weddings=True,
    ),
    "c": Dialect(
        churn=0.38,
        fading=0.75,
        fade_days=(18, 56),
        fade_power=2.0,
        sessions=0.7,
        spread=0.7,
        burst=2.0,
        wander=0.3,
        holidays=1.4,
        winters=0.15,
        weekdays=True,
    ),
    "d": Dialect(
        churn=0.42,
        fading=0.7,
        fade_days=(14, 63),
        fade_floor=0.15,
        sessions=0.5,
        uses=1.1,
        season="waves",
        wander=0.25,
        holidays=0.6,
        weddings=0.5,
        coupled=False,
    ),
}


def season_table(dialect: Dialect, day_of_year: Floats) -> Floats:
    """(hemispheres, vendor types, days): expected activity, mean 1 a year.

    Args:
        day_of_year: (days,), 0 to 365.
    """
    year = np.arange(366.0)
    tables = np.array(
        [
            [_curve(dialect.season, hemisphere, vendor, year) for vendor in range(len(_DELAY))]
            for hemisphere in range(2)
        ]
    )
    tables /= tables.mean(axis=2, keepdims=True)
    return tables[:, :, np.clip(day_of_year.astype(int), 0, 365)]


def _curve(kind: str, hemisphere: int, vendor: int, year: Floats) -> Floats:
    if kind == "waves":
        turned = year + hemisphere * YEAR / 2
        first = np.cos(2 * np.pi * (turned - _PEAK[vendor]) / YEAR)
        second = np.cos(4 * np.pi * (turned - _WAVE[vendor]) / YEAR)
        return np.exp(0.62 * first + 0.3 * second)
    months = np.array((_NORTH, _SOUTH)[hemisphere])
    if kind == "steps":
        value = months[np.minimum((year / YEAR * 12).astype(int), 11)]
    else:
        middles = (np.arange(12) + 0.5) * YEAR / 12
        value = np.interp((year - _DELAY[vendor]) % YEAR, middles, months, period=YEAR)
    return value ** _SHARPNESS[vendor]
