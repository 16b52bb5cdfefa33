"""What the team's pages show: the portfolio's view and rows, and how things are called."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

Band = Literal["critical", "at_risk", "healthy", "unknown"]
BANDS: tuple[Band, ...] = get_args(Band)
BAND_LABELS: dict[Band, str] = {
    "critical": "Critical",
    "at_risk": "At risk",
    "healthy": "Healthy",
    "unknown": "Not scored",
}

Reason = Literal[
    "login",
    "feature_adoption",
    "client_activity",
    "form_completion",
    "journey_performance",
    "billing",
    "none",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
REASON_LABELS: dict[Reason, str] = {
    "login": "Long silence",
    "feature_adoption": "Few features used",
    "client_activity": "Quiet clients",
    "form_completion": "Forms unanswered",
    "journey_performance": "Emails unopened",
    "billing": "Payment failed",
    "none": "Nothing amiss",
}

Level = Literal["high", "medium", "low"]
LEVELS: tuple[Level, ...] = get_args(Level)

Sort = Literal[
    "name",
    "vendor",
    "plan",
    "score",
    "change",
    "reason",
    "coverage",
    "season",
    "login",
    "active",
    "clients",
    "weddings",
    "tickets",
    "billing",
    "churn",
    "mrr",
]
SORTS: tuple[Sort, ...] = get_args(Sort)
SORT_LABELS: dict[Sort, str] = {
    "score": "Score",
    "change": "Change over 14 days",
    "churn": "Churn risk",
    "name": "Name",
    "vendor": "VendorType",
    "plan": "Plan",
    "reason": "Main reason",
    "coverage": "Coverage",
    "season": "Season",
    "login": "Last login",
    "active": "Active clients",
    "clients": "Clients",
    "weddings": "Weddings in 90 days",
    "tickets": "Open tickets",
    "billing": "Billing",
    "mrr": "MRR",
}
# The order of a first click: what needs someone first comes first.
ASCENDING_FIRST: frozenset[Sort] = frozenset(
    {"name", "vendor", "plan", "score", "change", "reason", "coverage", "season", "login", "active"}
)

PAGE_ROWS = 50
CHANGE_DAYS = 14
COMPARED_WITHIN_DAYS = (
    7  # a day that was not scored is stood for by the last that was, of the week before it
)
SPARK_DAYS = 90
SPARK_POINTS = 31  # all that a sparkline's width can show

# The vendor type of those who never told theirs, in a filter.
NO_VENDOR = "none"


@dataclass(frozen=True, slots=True)
class View:
    """What of the portfolio is shown, and in what order; it is whole in the address, so that it can
    be kept.

    Empty text means no filter. departed: also those who cancelled.
    """

    q: str = ""
    band: Band | Literal[""] = ""
    vendor: str = ""
    reason: Reason | Literal[""] = ""
    churn: Level | Literal[""] = ""
    departed: bool = False
    sort: Sort = "score"
    descending: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One supplier in the table. Null: not known (never scored, no login seen, no clients).

    health_score: 0–100, floored; change: points over 14 days, null when there was no score then.
    coverage, season index: 0–1. engaged_percent: active clients of all, 0–100. scores: on the days
    asked for, oldest first, null where not scored. mrr_minor: minor units."""

    id: uuid.UUID
    external_id: str | None
    name: str
    vendor_type: str | None
    plan: str | None
    mrr_minor: int | None
    subscription: str | None
    band: Band
    health_score: int | None
    change: float | None
    main_reason: str | None
    coverage: float | None
    season_index: float | None
    last_login_at: datetime | None
    engaged_percent: int | None
    clients_total: int
    weddings_90d: int
    tickets_open: int
    past_due: bool
    churn_level: Level | None
    churn_risk: float | None
    scores: list[int | None]

    @property
    def clients_active(self) -> int | None:
        """Active clients; null when there are none to be active."""
        return (
            None
            if self.engaged_percent is None
            else round(self.clients_total * self.engaged_percent / 100)
        )


@dataclass(frozen=True, slots=True)
class BandCount:
    """How many of the filtered suppliers are in a band, and what they pay a month in minor
    units."""

    band: Band
    suppliers: int
    mrr_minor: int


@dataclass(frozen=True, slots=True)
class Share:
    """A band's stretch of the distribution's bar."""

    band: Band
    start: float
    size: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """One page of the table; `bands` counts what every filter but the band's lets through,
    `matches` what all let through."""

    rows: list[Row]
    bands: list[BandCount]
    matches: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The scored days a page looks at: the latest, the one it is compared with (null: none), those
    of the sparklines."""

    latest: date
    before: date | None
    spark: list[date]


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand as a whole: suppliers known at all, the latest scored day and when it was
    scored; null: never."""

    suppliers: int
    scored_on: date | None
    scored_at: datetime | None
