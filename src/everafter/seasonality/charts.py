"""Coordinates of the season charts; the template writes the SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil

from everafter.core.charts import Tick
from everafter.core.i18n import format_month
from everafter.seasonality.prior_model import Hemisphere
from everafter.seasonality.view_model import SHOWN_DAYS, SeasonGroup, StoppedDay

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A stretch of one hemisphere's line. measured: false where it is the published season."""

    hemisphere: Hemisphere
    measured: bool
    points: str


@dataclass(frozen=True, slots=True)
class SeasonChart:
    """The index of a vendor type by week, a line for each hemisphere.

    Attributes:
        usual: the y of 1.
        ends: the last point of each hemisphere's line.
        stopped: x of the days on which logins did not arrive.
    """

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    usual: float
    levels: list[Tick]
    months: list[Tick]
    lines: list[Line]
    ends: list[tuple[Hemisphere, float, float]]
    stopped: list[float]


def find_top(groups: Sequence[SeasonGroup]) -> float:
    """The top of the scale that all charts share: the half step above the highest week, from 1.5
    to 2.5, since a few suppliers may do many times their usual."""
    values = [week.logins for group in groups for week in group.weeks if week.logins is not None]
    return min(2.5, max(1.5, ceil(2 * max(values, default=1.0)) / 2))


def draw_season(
    groups: Sequence[SeasonGroup],
    stopped: Sequence[StoppedDay],
    last: date,
    top_value: float,
    width: int = 420,
    height: int = 190,
) -> SeasonChart:
    """Draw the groups of one vendor type.

    Args:
        last: the last day measured, at the right edge.
        top_value: from `find_top`; weeks above are drawn at the top.
    """
    left, right, top, bottom = 42.0, width - 10.0, 10.0, height - 24.0
    first = last - timedelta(days=SHOWN_DAYS - 1)

    def x(day: date) -> float:
        return left + (right - left) * (day - first).days / (SHOWN_DAYS - 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * min(value, top_value) / top_value

    places: dict[Hemisphere, list[tuple[bool, Point]]] = {
        group.hemisphere: [
            (week.measured, (x(week.until), y(week.logins)))
            for week in group.weeks
            if week.logins is not None
        ]
        for group in groups
    }
    halves = {group.hemisphere for group in groups}
    levels = [0.5 * step for step in range(int(2 * top_value) + 1)]
    return SeasonChart(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        usual=y(1.0),
        levels=[Tick(y(level), f"{100 * level:.0f} %") for level in levels],
        months=[Tick(x(day), format_month(day, year=False)) for day in _months(first, last)],
        lines=[line for hemisphere, line in places.items() for line in _lines(hemisphere, line)],
        ends=[(hemisphere, *line[-1][1]) for hemisphere, line in places.items() if line],
        stopped=sorted(
            {
                x(one.day)
                for one in stopped
                if one.channel == "logins" and one.hemisphere in halves and one.day >= first
            }
        ),
    )


def _lines(hemisphere: Hemisphere, points: Sequence[tuple[bool, Point]]) -> list[Line]:
    """Split where measuring begins; the parts meet in the first measured point."""
    lines: list[Line] = []
    start = 0
    for index in range(1, len(points) + 1):
        if index == len(points) or points[index][0] != points[start][0]:
            part = [point for _, point in points[start : index + 1]]
            text = " ".join(f"{at:.1f},{height:.1f}" for at, height in part)
            lines.append(Line(hemisphere, points[start][0], text))
            start = index
    return lines


def _months(first: date, last: date) -> list[date]:
    """The first days of every third month."""
    days = [first + timedelta(days=number) for number in range((last - first).days - 20)]
    return [day for day in days if day.day == 1 and day.month % 3 == 1]
