"""The supplier page: what it shows."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from everafter.playbook.model import ChurnSignal, Dimension
from everafter.portfolio.model import Band, Level

HISTORY_DAYS = 365
MIN_DAYS = 60  # a shorter chart would exaggerate small changes
TIMELINE_DAYS = 60
CLIENTS_SHOWN = 12
LOG_SHOWN = 25
TICKETS_SHOWN = 15

CHURN_LABELS: dict[ChurnSignal, str] = {
    "login": "Logins",
    "support_tickets": "Support tickets",
    "feature_usage": "Feature use",
    "client_churn": "Clients lost",
    "billing": "Billing",
}


@dataclass(frozen=True, slots=True)
class Supplier:
    """The profile at the top of the page. Null: unknown. began_at: start of the account."""

    id: uuid.UUID
    external_id: str | None
    name: str
    email: str | None
    vendor_type: str | None
    plan: str | None
    country: str | None
    timezone: str | None
    mrr_minor: int | None
    client_limit: int | None
    consent: bool
    began_at: datetime | None
    subscription: str | None
    subscription_at: datetime | None
    last_login_at: datetime | None
    last_event_at: datetime | None
    events_total: int
    clients_total: int
    tickets_open: int
    past_due_since: datetime | None


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A day's stored score; points are null where the dimension was unknown."""

    calculated_on: date
    calculated_at: datetime
    score: float
    health_score: int
    band: Band
    coverage: float
    season_index: float
    playbook_version: int
    points: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the five contributions. points: null if unknown (most is then 0). text: what was
    measured, as text.
    """

    dimension: Dimension
    points: float | None
    most: float
    text: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What one of the five signals adds to the churn index; below 0 where it speaks against a
    decline; null if unknown."""

    signal: ChurnSignal
    share: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ScoreDetails:
    """The score and what it consists of.

    live: false for a churned supplier, whose last stored score is shown. score: before flooring.
    peers: the group that the season is measured from, in words.
    churn_base: the index without any evidence; it and the causes sum to churn_risk; null: not
    stored.
    """

    at: datetime
    live: bool
    score: float | None
    band: Band
    coverage: float
    season_index: float
    off_season: bool
    peers: str
    parts: list[Part]
    churn_risk: float | None
    churn_level: Level | None
    churn_base: float | None
    causes: list[Cause]


@dataclass(frozen=True, slots=True)
class Shift:
    """Change of one contribution; the shifts sum to the change of the score. was, now: null if
    unknown then or now.
    """

    dimension: Dimension
    was: float | None
    now: float | None
    by: float


@dataclass(frozen=True, slots=True)
class Change:
    """Change of the score since a stored day."""

    since: date
    was: float
    now: float
    by: float
    shifts: list[Shift]


@dataclass(frozen=True, slots=True)
class Task:
    """An open task about the supplier."""

    id: uuid.UUID
    kind: str
    priority: str
    title: str
    reason: str
    assignee: str | None
    created_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """A booked call. outcome: null if not recorded."""

    type: str
    topic: str | None
    starts_at: datetime
    ends_at: datetime | None
    csm: str | None
    outcome: str | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a coming wedding. name: null if unknown."""

    client_id: str
    name: str | None
    wedding_date: date
    last_active_at: datetime | None


@dataclass(frozen=True, slots=True)
class Milestone:
    """A milestone reached."""

    milestone_type: str
    achieved_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was sent. client_name: looked up; null if there is none."""

    type: str
    occurred_at: datetime
    properties: dict[str, Any]
    client_name: str | None


Actor = Literal["supplier", "client", "trouble", "account", "ours"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline: all events of one type on one day. at: of the latest event."""

    at: datetime
    actor: Actor
    words: str
    detail: str


@dataclass(frozen=True, slots=True)
class TimelineDay:
    """One UTC day's entries, latest first."""

    on: date
    entries: list[Entry]
