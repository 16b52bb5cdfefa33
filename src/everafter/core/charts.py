"""Compute chart coordinates; the templates draw them as SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from everafter.core.i18n import format_month

# Scores always run from 0 to 100, in a table's sparklines too: there, drawings are compared.
FULL = 100.0
# A platform scored once a week still has one line, and one season.
BRIDGE_DAYS = 7


@dataclass(frozen=True, slots=True)
class Spark:
    """A sparkline. lines: the points of each unbroken segment. end: the last point; null if there
    is none.
    """

    width: int
    height: int
    lines: list[str]
    end: tuple[float, float] | None


def sparkline(
    scores: Sequence[float | None], places: Sequence[float], width: int = 88, height: int = 34
) -> Spark:
    """Draw scores at their positions (0–1), oldest first.

    Null breaks the line; a single point becomes a short dash.

    >>> sparkline([50, None, 100, 0], [0, 0.25, 0.5, 1], width=88, height=26).lines
    ['1.0,13.0 3.5,13.0', '43.0,2.0 85.0,24.0']
    """
    points = [
        None if score is None else (1 + place * (width - 4), 2 + (height - 4) * (1 - score / FULL))
        for score, place in zip(scores, places, strict=True)
    ]
    known = [point for point in points if point]
    return Spark(width, height, _lines(points, 2.5), known[-1] if known else None)


def _lines(points: Sequence[tuple[float, float] | None], dash: float, bridge: int = 0) -> list[str]:
    """Split into unbroken segments; up to `bridge` nulls in a row are bridged by a line."""
    segments: list[list[tuple[float, float]]] = [[]]
    unknown = 0
    for point in points:
        unknown = 0 if point else unknown + 1
        if point:
            segments[-1].append(point)
        elif segments[-1] and unknown > bridge:
            segments.append([])
    return [
        " ".join(
            f"{x:.1f},{y:.1f}"
            for x, y in (
                stretch if len(stretch) > 1 else [*stretch, (stretch[0][0] + dash, stretch[0][1])]
            )
        )
        for stretch in segments
        if stretch
    ]


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a supplier's history. score, season_index: null if not scored that day."""

    on: date
    score: float | None
    season_index: float | None


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis."""

    at: float
    word: str


@dataclass(frozen=True, slots=True)
class Zone:
    """A range on an axis."""

    start: float
    size: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The chart of a year. The plot lies between (left, top) and (right, bottom).

    lines: as in `Spark`. levels: grid lines. months: starts of months. off_season: ranges (x).
    marks: days with an intervention (x, label). at_risk, critical: ranges of the bands (y).
    """

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    lines: list[str]
    end: tuple[float, float] | None
    levels: list[Tick]
    months: list[Tick]
    off_season: list[Zone]
    marks: list[Tick]
    at_risk: Zone
    critical: Zone


def trend(
    days: Sequence[Day],
    marks: Sequence[tuple[date, str]],
    *,
    critical_below: float,
    at_risk_below: float,
    off_season_below: float,
    width: int = 900,
    height: int = 240,
    bridge: int = BRIDGE_DAYS,
) -> Trend:
    """Draw a score over the given days.

    Args:
        days: one entry per day without gaps, oldest first.
        marks: (day, label) of interventions; days outside the chart are left out.
        critical_below, at_risk_below: limits of the bands, 0–100.
        off_season_below: the season index below which a day is shaded.
        bridge: the line crosses up to this many days without a score.
    """
    left, right, top, bottom = 28.0, width - 8.0, 8.0, height - 22.0
    step = (right - left) / max(1, len(days) - 1)

    def y(score: float) -> float:
        return bottom - (bottom - top) * score / FULL

    points = [
        None if day.score is None else (left + index * step, y(day.score))
        for index, day in enumerate(days)
    ]
    known = [point for point in points if point]
    place = {day.on: left + index * step for index, day in enumerate(days)}
    levels = sorted({0.0, critical_below, at_risk_below, FULL})
    return Trend(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        lines=_lines(points, 3, bridge),
        end=known[-1] if known else None,
        levels=[Tick(y(level), f"{level:g}") for level in levels],
        months=_months(days, left, step, every=1 if width >= 700 or len(days) <= 200 else 2),
        off_season=_off_season(days, off_season_below, left, step, right),
        marks=[Tick(place[on], words) for on, words in marks if on in place],
        at_risk=Zone(y(at_risk_below), y(critical_below) - y(at_risk_below)),
        critical=Zone(y(critical_below), y(0) - y(critical_below)),
    )


def _months(days: Sequence[Day], left: float, step: float, *, every: int) -> list[Tick]:
    firsts = [(index, day.on) for index, day in enumerate(days) if day.on.day == 1]
    return [
        Tick(left + index * step, format_month(on, year=False) if on.month != 1 else str(on.year))
        for index, on in firsts
        if (on.month - 1) % every == 0 and len(days) - index > 12
    ]


def _off_season(
    days: Sequence[Day], off_season_below: float, left: float, step: float, right: float
) -> list[Zone]:
    zones: list[Zone] = []
    began: int | None = None
    for index, day in enumerate([*days, Day(date.max, None, None)]):
        off = day.season_index is not None and day.season_index < off_season_below
        if off and began is None:
            began = index
        elif not off and began is not None:
            start = left + (began - 0.5) * step if began else left
            end = min(right, left + (index - 0.5) * step)
            zones.append(Zone(start, end - start))
            began = None
    return zones


def fill_days(known: dict[date, Day], last: date, count: int) -> list[Day]:
    """Return `count` days up to `last`.

    Missing days have no score, and the season index of the week before if that is known.
    """
    days: list[Day] = []
    latest: Day | None = None
    for on in (last - timedelta(days=back) for back in range(count - 1, -1, -1)):
        day = known.get(on)
        if day is None:
            near = latest is not None and (on - latest.on).days <= BRIDGE_DAYS
            day = Day(on, None, latest.season_index if latest and near else None)
        else:
            latest = day
        days.append(day)
    return days


def round_to_sum(parts: Sequence[float], total: float, decimals: int = 1) -> list[float]:
    """Round the parts so that they sum to the rounded `total`, largest remainders first.

    >>> round_to_sum([1.25, 1.25, 1.25, 1.25], 5)
    [1.3, 1.3, 1.2, 1.2]
    >>> round_to_sum([-4.26, 0.13, 1.0], -3.2)
    [-4.3, 0.1, 1.0]
    """
    unit = 10**decimals
    scaled = [part * unit for part in parts]
    floors = [int(value // 1) for value in scaled]
    missing = round(total * unit) - sum(floors)
    by_remainder = sorted(
        range(len(parts)), key=lambda index: (-(scaled[index] - floors[index]), index)
    )
    for index in by_remainder[:missing] if missing >= 0 else by_remainder[missing:]:
        floors[index] += 1 if missing > 0 else -1
    return [value / unit for value in floors]
