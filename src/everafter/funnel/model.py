"""What the team's onboarding page shows."""

from dataclasses import dataclass
from datetime import datetime

from everafter.metrics.model import FirstValueRow

PERIODS = {30: "last 30 days", 90: "last 90 days", 180: "last half year", 365: "last year"}
NOT_REPORTED = "-"
"""Stands for suppliers who never told their vendor type or plan."""

MOST_FOLLOWED = 20_000
"""So many who signed up are followed at most, the latest of them: 20,000 take about 1.5 s."""

LISTED = 50

STATE_LABELS = {
    "done": "Fully activated",
    "on_track": "On track",
    "behind": "Behind",
    "stuck": "Stuck",
    "over": "Not finished in time",
    "left": "Left on the way",
}


@dataclass(frozen=True, slots=True)
class View:
    """What the address asks for; '' means all."""

    days: int = 90
    vendor: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class FunnelAction:
    """asked: those whose path has it; reached: of these, who did it. is_metric: it says that the
    step has worked."""

    id: str
    title: str
    asked: int
    reached: int
    is_metric: bool


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """asked, reached as for an action; due: of those asked, whose day has come; reached_due: of
    these, who did it."""

    id: str
    title: str
    day: int
    vendor_types: tuple[str, ...]
    conditional: bool
    asked: int
    reached: int
    due: int
    reached_due: int
    actions: tuple[FunnelAction, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A supplier who is behind or stuck. step: its oldest open one; todo: what is not done of
    it."""

    id: str
    name: str
    vendor_type: str | None
    plan: str | None
    began_at: datetime
    state: str
    step: str
    todo: tuple[str, ...]
    days_behind: float
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who signed up in one month. month: its first day as text; first_form: days to it
    (metrics)."""

    month: str
    first_form: FirstValueRow


@dataclass(frozen=True, slots=True)
class Range:
    """A cohort's line in the chart: y of its row, x of the quarter, half and three quarters; null:
    beyond what is known."""

    y: float
    word: str
    n: int
    quarter: float | None
    half: float | None
    three_quarters: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """The chart of times to the first form. The plot lies between (left, top) and (right, bottom);
    ticks: (x, word)."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    rows: list[Range]
    ticks: list[tuple[float, str]]
