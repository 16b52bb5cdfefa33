"""Coordinates of the calibration chart; the template writes the SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from everafter.core.charts import Tick
from everafter.learning.model import Bin


@dataclass(frozen=True, slots=True)
class Dot:
    """A tenth of the predictions: its place, and its interval from `low` to `high` (y)."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationChart:
    """Predicted (x) against observed (y). The diagonal goes from (left, bottom) to (right, top)."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    across: list[Tick]
    up: list[Tick]
    dots: list[Dot]


def draw_calibration(bins: Sequence[Bin], width: int = 420, height: int = 300) -> CalibrationChart:
    """Draw the calibration of some predictions; both axes have the same scale."""
    left, right, top, bottom = 44.0, width - 12.0, 10.0, height - 40.0
    most = max((max(one.predicted, one.observed) for one in bins), default=0.0)
    step = _step(most)
    end = max(step, step * ceil(most * 1.1 / step))

    def x(share: float) -> float:
        return left + (right - left) * min(1.0, share / end)

    def y(share: float) -> float:
        return bottom - (bottom - top) * min(1.0, share / end)

    shares = [step * number for number in range(round(end / step) + 1)]
    labels = [f"{100 * share:g} %" for share in (round(one, 6) for one in shares)]
    return CalibrationChart(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        across=[Tick(x(one), label) for one, label in zip(shares, labels, strict=True)],
        up=[Tick(y(one), label) for one, label in zip(shares, labels, strict=True)],
        dots=[Dot(x(one.predicted), y(one.observed), y(one.low), y(one.high)) for one in bins],
    )


def _step(most: float) -> float:
    """A round step that gives up to five labels.

    >>> _step(0.034), _step(0.11), _step(0.6)
    (0.01, 0.05, 0.2)
    """
    return next((one for one in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if most * 1.1 / one <= 5), 0.25)
