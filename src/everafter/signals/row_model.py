"""One supplier's row of a scored frame, as a type.

A scored frame has a row per supplier; whoever reads one row at a time (the API, the pages, the
coach) gets it as a dictionary of these keys. A test holds the keys and types equal to the registry
(signals/model.py) and to what `scoring.rules.score_suppliers` returns."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Literal, TypedDict, cast

import polars as pl

from everafter.playbook.model import ChurnSignal, Dimension

RiskLevel = Literal["healthy", "at_risk", "critical"]
ChurnLevel = Literal["low", "medium", "high"]
OnboardingState = Literal["on_track", "behind", "stuck", "done"]
Stage = Literal["new", "growing", "mature", "dormant"]
Subscription = Literal["active", "paused", "cancelled"]


class SignalRow(TypedDict):
    """A supplier before it is scored: profile, signals and onboarding path. Null means what the
    registry says of the signal."""

    # the supplier
    supplier_id: str
    external_id: str | None
    name: str
    email: str | None
    timezone: str
    client_limit: int | None
    created_at: datetime | None
    added_at: datetime
    consent: bool
    segment: str

    # the supplier's activity
    events_total: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    account_created_at: datetime | None
    vendor_type_selected_at: datetime | None
    completed_wizard_at: datetime | None
    first_login_at: datetime | None
    import_clients_started_at: datetime | None
    first_form_at: datetime | None
    first_invite_at: datetime | None
    first_journey_at: datetime | None
    first_automation_at: datetime | None
    last_login_at: datetime | None
    clients_added: int
    payment_failed_at: datetime | None
    payment_recovered_at: datetime | None
    usage_ratio: float | None

    # signals: profile
    vendor_type: str | None
    plan: str | None
    country: str | None
    mrr_minor: int | None
    tenure_days: float | None
    subscription: Subscription | None

    # signals: activity
    days_since_login: float | None
    days_inactive: float | None
    login_days_28d: int
    login_days_84d: int
    inactivity_probability: float | None
    unusual_inactivity: bool
    evidence_logins: float | None
    evidence_uses: float | None
    expected_uses_low: float
    expected_uses_high: float

    # signals: clients
    clients_total: int
    clients_active_30d: int
    client_activity: float | None
    clients_lost_13w: int
    client_loss_rate: float | None
    weddings_90d: int
    weddings_365d: int
    days_to_next_wedding: int | None

    # signals: forms and journeys
    forms_sent_13w: int
    forms_answered_13w: int
    form_completion_rate: float | None
    forms_waiting: int
    journey_emails_13w: int
    journey_open_rate: float | None

    # signals: features
    features_adopted: int
    feature_adoption: float | None
    feature_uses_4w: int
    feature_use_ratio: float | None

    # signals: support and money
    tickets_open: int
    tickets_4w: int
    payment_past_due: bool
    days_past_due: float | None
    payments_failed_13w: int
    limit_ratio: float | None

    # signals: onboarding, and the columns behind them (onboarding.path_rules.add_onboarding)
    onboarding_steps_done: int
    onboarding_steps_due: int | None
    onboarding_days_behind: float | None
    fully_activated: bool
    onboarding_state: OnboardingState | None
    onboarding_missed: str | None
    onboarding_actions: int
    onboarding_asked: int
    onboarding_kept: int
    recorded: int
    activated_at: datetime | None
    activation_shown: bool

    # signals: season
    season_index: float
    off_season: bool
    season_trend: float
    client_season: float


class ScoredRow(SignalRow):
    """A supplier with its score. `<dimension>_points` are null and `<dimension>_max` 0 where the
    dimension is unknown; `<dimension>_as_of` is the last good day while the dimension depends on a
    stopped feed, else null; `churn_<signal>` is what the signal contributes to churn_risk."""

    stage: Stage
    card_feature_adoption: float | None
    card_client_activity: float | None
    card_form_completion: float | None
    card_journey_performance: float | None
    health_score: float | None
    risk_level: RiskLevel | None
    coverage: float
    main_reason: str

    login_points: float | None
    feature_adoption_points: float | None
    client_activity_points: float | None
    form_completion_points: float | None
    journey_performance_points: float | None
    login_max: float
    feature_adoption_max: float
    client_activity_max: float
    form_completion_max: float
    journey_performance_max: float

    login_as_of: date | None
    feature_adoption_as_of: date | None
    client_activity_as_of: date | None
    form_completion_as_of: date | None
    journey_performance_as_of: date | None

    churn_risk: float
    churn_base: float
    churn_evidence: float
    evidence_billing: float
    evidence_tickets: float
    evidence_clients: float | None
    churn_level: ChurnLevel
    churn_probability_45d: float | None
    churn_probability_90d: float | None
    churn_login: float | None
    churn_support_tickets: float | None
    churn_feature_usage: float | None
    churn_client_churn: float | None
    churn_billing: float | None


class LiveRow(ScoredRow):
    """A supplier scored on request. as_of: the moment of the score."""

    as_of: datetime


class CoachRow(LiveRow):
    """A supplier scored for the coach. onboarding_news: whether there is a milestone or an action
    to record (onboarding.rules.find_news)."""

    onboarding_news: bool


def scored_rows(frame: pl.DataFrame) -> Iterator[ScoredRow]:
    """The rows of a scored frame, in order."""
    return cast(Iterator[ScoredRow], frame.iter_rows(named=True))


def live_rows(frame: pl.DataFrame) -> Iterator[LiveRow]:
    """The rows of a frame that was scored on request, in order."""
    return cast(Iterator[LiveRow], frame.iter_rows(named=True))


def coach_rows(frame: pl.DataFrame) -> Iterator[CoachRow]:
    """The rows of a frame that was scored for the coach, in order."""
    return cast(Iterator[CoachRow], frame.iter_rows(named=True))


def dimension_points(row: ScoredRow, dimension: Dimension) -> float | None:
    """Points of one dimension; null: unknown."""
    return cast(Mapping[str, Any], row)[f"{dimension}_points"]


def dimension_max(row: ScoredRow, dimension: Dimension) -> float:
    """The most points that dimension can have in this row; 0: unknown."""
    return cast(Mapping[str, Any], row)[f"{dimension}_max"]


def dimension_as_of(row: ScoredRow, dimension: Dimension) -> date | None:
    """The last good day, while one dimension depends on a stopped feed; null: it is current."""
    return cast(Mapping[str, Any], row)[f"{dimension}_as_of"]


def churn_contribution(row: ScoredRow, signal: ChurnSignal) -> float | None:
    """What one signal adds to churn_risk; null: unknown."""
    return cast(Mapping[str, Any], row)[f"churn_{signal}"]
