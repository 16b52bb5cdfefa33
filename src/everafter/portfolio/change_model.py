"""What changed between two daily runs: the suppliers whose score or churn risk moved, and totals.
Pure."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from everafter.playbook.model import Dimension
from everafter.portfolio.model import Level
from everafter.scoring.model import ChurnCause

ScoredBand = Literal["critical", "at_risk", "healthy"]
SCORED_BANDS: tuple[ScoredBand, ...] = get_args(ScoredBand)

Order = Literal["fall", "rise", "churn_rise", "churn_fall"]
ORDERS: tuple[Order, ...] = get_args(Order)
ORDER_LABELS: dict[Order, str] = {
    "fall": "Largest fall first",
    "rise": "Largest rise first",
    "churn_rise": "Largest rise of churn risk",
    "churn_fall": "Largest fall of churn risk",
}

Moved = Literal["fell", "rose", "churn_rose", "churn_fell", "band"]
MOVED: tuple[Moved, ...] = get_args(Moved)
MOVED_LABELS: dict[Moved, str] = {
    "fell": "Score fell",
    "rose": "Score rose",
    "band": "Band changed",
    "churn_rose": "Churn risk rose",
    "churn_fell": "Churn risk fell",
}

PERIODS = (1, 7, 30)
DEFAULT_PERIOD = 7
MOVED_POINTS = 1.0
"""A score that changed by at least so many points fell or rose."""
MOVED_RISK = 0.05
"""A churn risk that changed by at least so much fell or rose."""
PAGE_CHANGES = 50


@dataclass(frozen=True, slots=True)
class ChangeView:
    """Filters and order of the list. Empty text means no filter.

    Attributes:
        days: the period, if `since` is null.
        band, churn: of the latest run.
    """

    days: int = DEFAULT_PERIOD
    since: date | None = None
    q: str = ""
    vendor: str = ""
    plan: str = ""
    band: ScoredBand | Literal[""] = ""
    churn: Level | Literal[""] = ""
    moved: Moved | Literal[""] = ""
    sort: Order = "fall"


@dataclass(frozen=True, slots=True)
class Runs:
    """The two runs that are compared.

    Attributes:
        latest: the day of the last finished run; null: there was none.
        before: the last one on or before the day asked for; null: there was none.
        first: the first finished run.
    """

    latest: date | None
    before: date | None
    first: date | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the list begins: after this row, in this comparison."""

    latest: date
    before: date
    key: float
    supplier_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run stored of a supplier.

    Attributes:
        score: 0–100. health_score: the same, floored.
        points: by dimension; null where unknown; they sum to `score`.
        last_login_at: null: none known.
        adoption, engagement: percent of key features in use and of clients active; null: unknown.
        churn_risk, churn_level: null: not stored.
        causes: what adds up to the churn risk; empty if it is null.
    """

    scored_at: datetime
    score: float
    health_score: int
    band: ScoredBand
    points: dict[Dimension, float | None]
    last_login_at: datetime | None
    adoption: int | None
    engagement: int | None
    churn_risk: float | None
    churn_level: Level | None
    causes: dict[ChurnCause, float]


@dataclass(frozen=True, slots=True)
class Moves:
    """A supplier in both runs. key: what the list is sorted by, ascending."""

    supplier_id: uuid.UUID
    external_id: str | None
    name: str
    vendor_type: str | None
    plan: str | None
    before: Measured
    after: Measured
    key: float


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """The health score before and after. contributions: by dimension, they sum to `change`."""

    before: float
    after: float
    change: float
    risk_before: ScoredBand
    risk_after: ScoredBand
    contributions: dict[Dimension, float]


@dataclass(frozen=True, slots=True)
class ChurnChange:
    """The churn risk before and after. contributions: `base`, the index without evidence, and the
    five signals; they sum to `change`."""

    before: float
    after: float
    change: float
    level_before: Level
    level_after: Level
    contributions: dict[ChurnCause, float]


@dataclass(frozen=True, slots=True)
class SupplierChange:
    """A supplier whose health score or churn risk moved.

    Attributes:
        churn: null if a run did not store it.
        description: one sentence on the main reason.
    """

    supplier_id: uuid.UUID
    external_id: str | None
    name: str
    vendor_type: str | None
    plan: str | None
    score: ScoreChange
    churn: ChurnChange | None
    description: str


@dataclass(frozen=True, slots=True)
class BandMove:
    """How many suppliers a band had, gained, lost and has, among those in both runs."""

    band: ScoredBand
    before: int
    entered: int
    exited: int
    after: int


@dataclass(frozen=True, slots=True)
class ChangeTotals:
    """Counts of the suppliers under the filters.

    Attributes:
        compared: scored by both runs.
        fell, rose: changed by at least one point. unchanged: by less.
        churn_rose, churn_fell: the churn risk changed by at least 0.05.
        new: scored by the latest run only. churned: cancelled, or scored by the earlier run only.
        average_before, average_after: mean score of those compared; null: there are none.
        contributions: by dimension, they sum to the change of the mean.
    """

    compared: int
    fell: int
    rose: int
    unchanged: int
    churn_rose: int
    churn_fell: int
    new: int
    churned: int
    bands: list[BandMove]
    average_before: float | None
    average_after: float | None
    contributions: dict[Dimension, float]


@dataclass(frozen=True, slots=True)
class GroupTotal:
    """The suppliers of one band before and one band after; null: not in that run.

    Attributes:
        before, after: sums of scores. points: by dimension, sums of the changes.
    """

    band_before: ScoredBand | None
    band_after: ScoredBand | None
    suppliers: int
    fell: int
    rose: int
    churn_rose: int
    churn_fell: int
    before: float
    after: float
    points: dict[Dimension, float]


@dataclass(frozen=True, slots=True)
class ChangesAnswer:
    """What changed since a run.

    Attributes:
        latest: the day of the last daily run; null: there was none.
        compared_with: the day of the earlier run; null: there was none on or before the day asked
            for, so nothing is compared.
        totals: on the first page only; null on the others, and if nothing is compared.
        next_cursor: null on the last page.
    """

    latest: date | None
    compared_with: date | None
    totals: ChangeTotals | None
    changes: list[SupplierChange]
    next_cursor: str | None
