"""The six metrics: definitions and rows.

All days are UTC. A period has a first and a last day, both included. `group` is the cohort
("2026-08", the month of sign-up by `account_created`, else `created_at`), the vendor type or the
plan; null: unknown. `value` is the metric's main number and `n` the number of observations; a
number is null if it cannot be computed.

A cohort never changes. Vendor type and plan are those of the scored day (health, adoption, churn),
of the intervention, or current (first form, tickets).
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from msgspec import Struct, field

By = Literal["cohort", "vendor_type", "plan"]
BYS: tuple[By, ...] = get_args(By)
BY_LABELS: dict[By, str] = {"cohort": "cohort", "vendor_type": "vendor type", "plan": "plan"}

Metric = Literal[
    "health_score",
    "intervention_success",
    "time_to_first_value",
    "feature_adoption",
    "ticket_resolution",
    "churn_prediction",
]
METRICS: tuple[Metric, ...] = get_args(Metric)
DEFAULT_BY: dict[Metric, By] = {
    "health_score": "cohort",
    "intervention_success": "vendor_type",
    "time_to_first_value": "cohort",
    "feature_adoption": "plan",
    "ticket_resolution": "plan",
    "churn_prediction": "vendor_type",
}
HORIZONS = (30, 60, 90)
DEFAULT_DAYS = 90
MOST_DAYS = 1_100
MOST_ROWS = 1_500_000
"""Maximum number of scores read for one answer; above it, days are sampled evenly
(docs/decisions/0025)."""


@dataclass(frozen=True, slots=True)
class Period:
    """First and last day, both included. horizon: days in which a predicted churn must occur."""

    first: date
    last: date
    horizon: int = 30

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


# ── rows ──────────────────────────────────────────────────────────────────────────


class HealthRow(Struct):
    """Average health score of a group over the days scored in the period.

    value: mean score before flooring, one per supplier and day read. n: number of scores.
    suppliers, latest, healthy, at_risk, critical: of the last day read: suppliers, mean score, and
    shares of the bands. change: latest minus the mean of the first day read; null if only one day.
    """

    group: str | None
    value: float | None
    n: int
    suppliers: int
    latest: float | None
    change: float | None
    healthy: float | None
    at_risk: float | None
    critical: float | None


class DayAverage(Struct):
    """Mean score of all suppliers scored on a day."""

    day: date
    value: float
    n: int


class HealthMetric(Struct):
    """days_scored: days in the period with a finished run. days_read: those that were read."""

    all: HealthRow
    rows: list[HealthRow]
    days: list[DayAverage]
    days_scored: int
    days_read: int


Conclusion = Literal["helps", "hurts", "not_yet_known", "too_few", "no_control"]
CONCLUSION_LABELS: dict[str, str] = {
    "helps": "helps",
    "hurts": "does harm",
    "not_yet_known": "not conclusive",
    "too_few": "too few to say",
    "no_control": "no control group",
}


class SuccessRow(Struct):
    """Success of interventions whose goal window ended in the period and was the first of its
    supplier and trigger.

    value: share of the treatment group that reached the goal within the window. n: size of the
    treatment group. control_value, control_n: the same for the control group (holdout).
    lift: treatment minus control; for several triggers the mean weighted by treated
    suppliers, over triggers with both groups. low, high: 95 % confidence sequence of the lift,
    valid for repeated looks at a growing sample (same first day), else for one look. compared:
    suppliers behind the lift. Null (compared: 0) if too few: under 50, or under 10 in a group.
    conclusion: for a trigger by the exact test, for groups by whether the interval excludes 0.
    evidence: natural logarithm of the exact e-value of a trigger; null for groups.
    """

    group: str | None
    value: float | None
    n: int
    control_value: float | None
    control_n: int
    lift: float | None
    low: float | None
    high: float | None
    compared: int
    conclusion: Conclusion
    evidence: float | None = None


class SuccessMetric(Struct):
    """triggers: one row each, `group` is its name. windows: ended windows, repeated ones too."""

    all: SuccessRow
    rows: list[SuccessRow]
    triggers: list[SuccessRow]
    windows: int


class FirstValueRow(Struct):
    """Time from sign-up in the period to the first form.

    n: suppliers who signed up. reached: those with a first form by now. share: reached ÷ n. value
    (median), quarter, three_quarters: days until 50, 25, 75 % reach it, by the Aalen–Johansen
    estimator (no form yet: censored; churned without a form: never); null if not reached yet.
    within_14_days: estimated share after 14 days; null if no supplier was observed for 14 days.
    """

    group: str | None
    value: float | None
    n: int
    reached: int
    share: float | None
    quarter: float | None
    three_quarters: float | None
    within_14_days: float | None


class CurvePoint(Struct):
    """Share that has reached it after `days`."""

    days: float
    share: float


class FirstValueMetric(Struct):
    """curve: share with a first form by days since sign-up, a step function. unknown: suppliers
    without a sign-up date; they are in no cohort.
    """

    all: FirstValueRow
    rows: list[FirstValueRow]
    curve: list[CurvePoint]
    unknown: int


class AdoptionRow(Struct):
    """Share of the vendor type's key features in use on the last day scored in the period.

    value: mean share. n: suppliers with a known share. change: since the first scored day of the
    period; null if only one day. none, some, half, most, all: shares of suppliers that use none,
    under half, half or more, three quarters or more, all.
    """

    group: str | None
    value: float | None
    n: int
    change: float | None
    none: float | None
    some: float | None
    half: float | None
    most: float | None
    all: float | None


class AdoptionMetric(Struct):
    """day, first_day: last and first day scored in the period; null: none."""

    all: AdoptionRow
    rows: list[AdoptionRow]
    day: date | None
    first_day: date | None


class TicketRow(Struct):
    """Tickets resolved in the period and not reopened since.

    value, p90: median and 90th percentile of the hours from first opening to resolution. n:
    tickets. business_median, business_p90: in open hours, excluding time waiting for the
    supplier. opened: tickets first opened in the period. still_open: those not resolved now.
    """

    group: str | None
    value: float | None
    n: int
    p90: float | None
    business_median: float | None
    business_p90: float | None
    opened: int
    still_open: int


class TicketSpread(Struct):
    """Tickets per bin of resolution time. until_hours: upper limit; null for the last bin."""

    until_hours: float | None
    n: int


class TicketMetric(Struct):
    """spread: resolved tickets by resolution time."""

    all: TicketRow
    rows: list[TicketRow]
    spread: list[TicketSpread]


class Accuracy(Struct):
    """Predictions compared with churn within the horizon.

    n: predictions, one per supplier and day read. churned: those followed by churn. base_rate:
    churned ÷ n. auc: probability that a churned supplier had a higher risk than a retained one
    (ties count half), with its 95 % interval; null if fewer than five churned or were retained.
    precision_*: share of the warned that churned. recall_*: share of the churned that were warned.
    high: level high. warned: high or medium. Null: nobody warned, or nobody churned.
    """

    auc: float | None
    auc_low: float | None
    auc_high: float | None
    n: int
    churned: int
    base_rate: float | None
    warned: int
    precision_warned: float | None
    recall_warned: float | None
    high: int
    precision_high: float | None
    recall_high: float | None


class ChurnRow(Struct):
    """Churn predictions whose horizon ended in the period.

    value, n: AUC and number of predictions. everyone: all predictions. untouched: those without a
    triggered intervention from one horizon before the prediction until the churn or the end of the
    horizon. lead_days: median days from the first of the uninterrupted warnings (checked weekly) to
    the cancellation, for suppliers that cancelled in the period with a warning (lead_n). unwarned:
    cancelled without a warning. unseen: not scored in the 90 days before.
    """

    group: str | None
    value: float | None
    n: int
    everyone: Accuracy
    untouched: Accuracy
    lead_days: float | None
    lead_n: int
    unwarned: int
    unseen: int


class LevelRow(Struct):
    """Churn within the horizon by predicted level."""

    level: Literal["low", "medium", "high"]
    n: int
    churned: int
    share: float | None


class ChurnDay(Struct):
    """Accuracy of the predictions of one day."""

    day: date
    accuracy: Accuracy


class ChurnMetric(Struct):
    """horizon: days. levels: by predicted level. days: by prediction day, 30 or more apart."""

    horizon: int
    all: ChurnRow
    rows: list[ChurnRow]
    levels: list[LevelRow]
    days: list[ChurnDay]


Row = HealthRow | SuccessRow | FirstValueRow | AdoptionRow | TicketRow | ChurnRow
Measured = (
    HealthMetric | SuccessMetric | FirstValueMetric | AdoptionMetric | TicketMetric | ChurnMetric
)


# ── API ───────────────────────────────────────────────────────────────────────────


class Metrics(Struct, omit_defaults=True):
    """The requested metrics; others are omitted."""

    health_score: HealthMetric | None = None
    intervention_success: SuccessMetric | None = None
    time_to_first_value: FirstValueMetric | None = None
    feature_adoption: AdoptionMetric | None = None
    ticket_resolution: TicketMetric | None = None
    churn_prediction: ChurnMetric | None = None


class MetricsAnswer(Struct):
    """`from`, `until`: the period, both included. `by`: grouping of each metric. `scored_until`:
    last day in the period with a finished run; null: none.
    """

    first: date = field(name="from")
    until: date
    horizon: int
    measured_at: datetime
    scored_until: date | None
    by: dict[str, By]
    metrics: Metrics
