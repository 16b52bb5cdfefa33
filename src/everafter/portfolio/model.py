"""The portfolio page: filters, rows and labels."""

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
    "login": "Long inactivity",
    "feature_adoption": "Few features used",
    "client_activity": "Inactive clients",
    "form_completion": "Forms unanswered",
    "journey_performance": "Emails unopened",
    "billing": "Payment failed",
    "none": "None",
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
    "vendor": "Vendor type",
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
# Sorted ascending on the first click, so that what needs work comes first.
ASCENDING_FIRST: frozenset[Sort] = frozenset(
    {"name", "vendor", "plan", "score", "change", "reason", "coverage", "season", "login", "active"}
)

PAGE_ROWS = 50
CHANGE_DAYS = 14
COMPARED_WITHIN_DAYS = 7
"""If the day to compare with was not scored, the last scored day of the week before it is used."""
SPARK_DAYS = 90
SPARK_POINTS = 31  # as many as fit the width of a sparkline

# The filter value for suppliers without a vendor type.
NO_VENDOR = "none"


@dataclass(frozen=True, slots=True)
class View:
    """Filters, order and page of the portfolio; the query string holds all of it.

    Empty text means no filter. churned: include suppliers who cancelled.
    """

    q: str = ""
    band: Band | Literal[""] = ""
    vendor: str = ""
    reason: Reason | Literal[""] = ""
    churn: Level | Literal[""] = ""
    churned: bool = False
    sort: Sort = "score"
    descending: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One supplier in the table. Null: unknown (never scored, no login seen, no clients).

    health_score: 0–100, floored. change: points over 14 days, null if there was no score then.
    coverage, season_index: 0–1. engaged_percent: share of active clients, 0–100. scores: of the
    requested days, oldest first, null where not scored. mrr_minor: minor units.
    """

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
        """Return the number of active clients; null if the supplier has no clients."""
        return (
            None
            if self.engaged_percent is None
            else round(self.clients_total * self.engaged_percent / 100)
        )


@dataclass(frozen=True, slots=True)
class BandCount:
    """Number of filtered suppliers in a band, and the monthly revenue, in minor units, of those
    who have not churned; null: unknown for all of them.
    """

    band: Band
    suppliers: int
    mrr_minor: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """A band's segment of the distribution bar."""

    band: Band
    start: float
    size: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """One page of the table.

    bands: counts by band, under every filter but the band's. matches: rows under all filters.
    """

    rows: list[Row]
    bands: list[BandCount]
    matches: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The scored days that a page shows: the latest, the one compared with (null: none), and those
    of the sparklines.
    """

    latest: date
    before: date | None
    spark: list[date]


@dataclass(frozen=True, slots=True)
class Overview:
    """Number of suppliers, the latest scored day, and when it was scored (null: never)."""

    suppliers: int
    scored_on: date | None
    scored_at: datetime | None
