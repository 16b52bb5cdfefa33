"""The data of the team's onboarding page."""

from dataclasses import dataclass
from datetime import datetime

from everafter.metrics.model import FirstValueRow

PERIODS = {30: "last 30 days", 90: "last 90 days", 180: "last half year", 365: "last year"}
NOT_REPORTED = "-"
"""The filter for suppliers whose vendor type or plan is unknown."""

MOST_FOLLOWED = 20_000
"""Suppliers on one page, the latest to sign up: 20,000 take about 1.5 s."""

LISTED = 50

STATE_LABELS = {
    "done": "Fully activated",
    "on_track": "On track",
    "behind": "Behind",
    "stuck": "Stuck",
    "over": "Not finished in time",
    "churned": "Churned before activation",
}


@dataclass(frozen=True, slots=True)
class View:
    """The filters of the page's address; '' means all."""

    days: int = 90
    vendor: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class FunnelAction:
    """asked: suppliers whose path has this action. reached: those of them that did it. is_metric:
    whether it is the step's success metric."""

    id: str
    title: str
    asked: int
    reached: int
    is_metric: bool


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """asked, reached: as for an action. due: those of the asked whose day has come. reached_due:
    those of the due that completed the step."""

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
    """A supplier that is behind or stuck. step: its oldest open step. todo: the open actions of
    that step."""

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
    """Suppliers that signed up in one month. month: "2026-11". first_form: days to the first form,
    as in the metrics."""

    month: str
    first_form: FirstValueRow


@dataclass(frozen=True, slots=True)
class Range:
    """A cohort's row in the chart. y: of the row. quarter, half, three_quarters: x of those shares;
    null: not reached yet. label: the row as text."""

    y: float
    month: str
    n: int
    quarter: float | None
    half: float | None
    three_quarters: float | None
    label: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """The chart of times to the first form. The plot is between (left, top) and (right, bottom).
    ticks: (x, label)."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    rows: list[Range]
    ticks: list[tuple[float, str]]
