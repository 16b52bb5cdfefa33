"""Compute the coordinates of the metric charts; the template writes the SVG. Pure.

A strip is the drawing of one table row, 100 units wide and stretched to its cell. Charts come in
two widths, for wide and for narrow windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from everafter.core.charts import BRIDGE_DAYS, Day, Tick, Trend, fill_days, trend
from everafter.metrics.model import (
    AdoptionRow,
    ChurnMetric,
    ChurnRow,
    CurvePoint,
    FirstValueRow,
    HealthMetric,
    HealthRow,
    Row,
    SuccessRow,
    TicketRow,
    TicketSpread,
)
from everafter.playbook.model import Playbook

ADOPTION_PARTS = ("none", "some", "half", "most", "all")


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of a strip, in units of 100. kind: its CSS class."""

    start: float
    size: float
    kind: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The drawing of a row: segments and marks (at, kind)."""

    pieces: list[Piece]
    marks: list[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale shared by the strips of a table. middle: the value of 0 or chance; null: none."""

    low: float
    high: float
    middle: float | None = None

    def place(self, value: float) -> float:
        """Return the position of a value, 0–100; values outside are drawn at the edge.

        >>> Scale(-0.5, 0.5).place(0.25), Scale(0, 10).place(12)
        (75.0, 100.0)
        """
        return max(0.0, min(100.0, 100 * (value - self.low) / (self.high - self.low)))


def scale_of(rows: Sequence[Row]) -> Scale:
    """Choose the scale of a metric's rows; it is capped so that outliers do not stretch it."""
    first = rows[0] if rows else None
    match first:
        case SuccessRow():
            far = max(
                (
                    abs(bound)
                    for row in rows
                    if isinstance(row, SuccessRow)
                    for bound in (row.low, row.high)
                    if bound
                ),
                default=0.5,
            )
            far = min(1.0, ceil(far * 10) / 10)
            return Scale(-far, far, 0)
        case FirstValueRow():
            days = [
                row.three_quarters or row.value or 0
                for row in rows
                if isinstance(row, FirstValueRow)
            ]
            return Scale(0, min(90, max(2, ceil(max(days, default=0)))))
        case TicketRow():
            return Scale(
                0,
                max(
                    4,
                    ceil(
                        max((row.p90 or 0 for row in rows if isinstance(row, TicketRow)), default=0)
                    ),
                ),
            )
        case ChurnRow():
            return Scale(0, 1, 0.5)
        case HealthRow():
            return Scale(0, 100)
        case _:
            return Scale(0, 1)


def strip(row: Row, scale: Scale) -> Strip:
    """Draw a row on the scale of its table; empty if it has no value."""
    marks: list[tuple[float, str]] = (
        [] if scale.middle is None else [(scale.place(scale.middle), "zero")]
    )
    match row:
        case HealthRow():
            pieces = _from_zero(row.value, scale)
            marks += _mark(row.latest, scale, "now")
        case SuccessRow():
            pieces = _range(row.low, row.high, scale, row.conclusion)
            marks += _mark(row.lift, scale, "now")
        case FirstValueRow():
            pieces = _range(
                row.quarter,
                scale.high if row.three_quarters is None else row.three_quarters,
                scale,
                "range",
            )
            marks += _mark(row.value, scale, "now")
        case AdoptionRow():
            pieces = stack([getattr(row, part) or 0.0 for part in ADOPTION_PARTS])
        case TicketRow():
            pieces = _range(row.value, row.p90, scale, "range")
            pieces += _from_zero(row.value, scale)
        case ChurnRow():
            pieces = _range(row.everyone.auc_low, row.everyone.auc_high, scale, "range")
            marks += _mark(row.value, scale, "now")
    return Strip(pieces, marks)


def stack(shares: Sequence[float]) -> list[Piece]:
    """Draw shares side by side, in the order of ADOPTION_PARTS.

    >>> [(piece.start, piece.size, piece.kind) for piece in stack([0.5, 0, 0, 0.25, 0.25])]
    [(0.0, 50.0, 'part-none'), (50.0, 25.0, 'part-most'), (75.0, 25.0, 'part-all')]
    """
    pieces: list[Piece] = []
    start = 0.0
    for part, share in zip(ADOPTION_PARTS, shares, strict=True):
        if share:
            pieces.append(Piece(start, 100 * share, f"part-{part}"))
        start += 100 * share
    return pieces


def _from_zero(value: float | None, scale: Scale) -> list[Piece]:
    return [] if value is None else [Piece(0, scale.place(value), "fill")]


def _range(low: float | None, high: float | None, scale: Scale, kind: str) -> list[Piece]:
    if low is None or high is None:
        return []
    start = scale.place(low)
    return [Piece(start, max(0.5, scale.place(high) - start), kind)]


def _mark(value: float | None, scale: Scale, kind: str) -> list[tuple[float, str]]:
    return [] if value is None else [(scale.place(value), kind)]


# ── charts ────────────────────────────────────────────────────────────────────────


def health_trend(measured: HealthMetric, playbook: Playbook, width: int) -> Trend | None:
    """Draw the average score by day; null if no day was read. The line bridges days not read."""
    if not measured.days:
        return None
    known = {one.day: Day(one.day, one.value, None) for one in measured.days}
    first, last = measured.days[0].day, measured.days[-1].day
    count = (last - first).days + 1
    apart = 2 * count // measured.days_read if measured.days_read < measured.days_scored else 0
    return trend(
        fill_days(known, last, count),
        [],
        critical_below=playbook.health.critical_below,
        at_risk_below=playbook.health.at_risk_below,
        off_season_below=playbook.season.off_season_below,
        width=width,
        height=220,
        bridge=max(BRIDGE_DAYS, apart),
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """A step line with axes. half: where it reaches 50 %; null if it does not."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    line: str
    levels: list[Tick]
    days: list[Tick]
    half: float | None


def step_curve(
    points: Sequence[CurvePoint], median: float | None, last_day: int, width: int, height: int = 220
) -> Curve:
    """Draw the share reached by days since sign-up, up to `last_day`."""
    left, right, top, bottom = 40.0, width - 10.0, 8.0, height - 24.0

    def x(day: float) -> float:
        return left + (right - left) * min(day, last_day) / last_day

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    line = [f"M{left:.1f},{bottom:.1f}"]
    share = 0.0
    for point in points:
        if point.days > last_day:
            break
        line.append(f"H{x(point.days):.1f}V{y(point.share):.1f}")
        share = point.share
    line.append(f"H{right:.1f}")
    every = max(1, ceil(last_day / (7 if width > 500 else 5)))
    return Curve(
        width,
        height,
        left,
        right,
        top,
        bottom,
        "".join(line) if share or points else "",
        [
            Tick(y(level), f"{level:.0%}".replace("%", " %"))
            for level in (0.0, 0.25, 0.5, 0.75, 1.0)
        ],
        [Tick(x(day), str(day)) for day in range(0, last_day + 1, every)],
        x(median) if median is not None and median <= last_day else None,
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column with a label below and a number above."""

    x: float
    width: float
    y: float
    height: float
    word: str
    number: str
    kind: str


@dataclass(frozen=True, slots=True)
class Columns:
    """A column chart. line: a reference level and its label."""

    width: int
    height: int
    bottom: float
    columns: list[Column]
    line: Tick | None


def columns(
    values: Sequence[tuple[str, float, str, str]],
    width: int,
    height: int = 200,
    line: tuple[float, str] | None = None,
) -> Columns:
    """Draw columns side by side.

    Args:
        values: label, value, formatted number, CSS class.
        line: a reference value and its label.
    """
    top, bottom = 26.0, height - 24.0
    most = max([value for _, value, _, _ in values] + ([line[0]] if line else []), default=0) or 1.0
    step = width / max(1, len(values))
    bar = min(90.0, step * 0.72)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / most

    return Columns(
        width,
        height,
        bottom,
        [
            Column(
                step * place + (step - bar) / 2,
                bar,
                y(value),
                bottom - y(value),
                word,
                number,
                kind,
            )
            for place, (word, value, number, kind) in enumerate(values)
        ],
        Tick(y(line[0]), line[1]) if line else None,
    )


def ticket_columns(spread: Sequence[TicketSpread], width: int) -> Columns:
    """Draw the resolved tickets by resolution time."""
    return columns(
        [(_until(part.until_hours), float(part.n), f"{part.n:,}", "fill") for part in spread], width
    )


def _until(hours: float | None) -> str:
    if hours is None:
        return "longer"
    return f"≤ {hours:.0f} h" if hours < 24 else f"≤ {hours / 24:.0f} d"


def level_columns(measured: ChurnMetric, width: int) -> Columns:
    """Draw the share churned by predicted level, with the base rate as reference."""
    base = measured.all.everyone.base_rate
    return columns(
        [
            (
                f"{row.level}: {row.churned:,} of {row.n:,}",
                row.share or 0.0,
                "–" if row.share is None else f"{row.share:.1%}".replace("%", " %"),
                row.level,
            )
            for row in measured.levels
        ],
        width,
        line=None if base is None else (base, f"all: {base:.1%}".replace("%", " %")),
    )
