"""The six metrics by which the programme is watched: what each is, precisely, and the rows it
gives.

All days are UTC. A period is a first and a last day, both within it. `group` is the cohort
("2026-08", the month of sign-up, which is that of `account_created` or else `created_at`), the
vendor type or the plan; null: not known. `value` is the metric's main number and `n` how many it
rests on; a number is null when nothing can be said.

    by            as of when cohort        never changes vendor_type   health, adoption, churn: as
    scored that day; interventions: as decided; first form and tickets: as it is now plan
    the same
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from msgspec import Struct, field

By = Literal["cohort", "vendor_type", "plan"]
BYS: tuple[By, ...] = ("cohort", "vendor_type", "plan")
BY_LABELS: dict[By, str] = {"cohort": "cohort", "vendor_type": "vendor_type", "plan": "plan"}

Metric = Literal[
    "health_score",
    "intervention_success",
    "time_to_first_value",
    "feature_adoption",
    "ticket_resolution",
    "churn_prediction",
]
METRICS: tuple[Metric, ...] = (
    "health_score",
    "intervention_success",
    "time_to_first_value",
    "feature_adoption",
    "ticket_resolution",
    "churn_prediction",
)
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
"""Scores read for one answer: beyond it days are left out, evenly. Measured in
docs/decisions/0025."""


@dataclass(frozen=True, slots=True)
class Period:
    """From the first to the last day, both included; horizon: within how many days a foretold
    leaving must come."""

    first: date
    last: date
    horizon: int = 30

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class HealthRow(Struct):
    """Average health of a group over the days scored in the period.

    value: mean of the scores before flooring, each supplier once for each day read; n: those
    scores. suppliers, latest, healthy, at_risk, critical: suppliers scored on the last day read,
    their mean, and the shares of the bands among them. change: latest less the mean of the first
    day read; null when only one day was."""

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
    """The mean score of all suppliers scored on a day."""

    day: date
    value: float
    n: int


class HealthMetric(Struct):
    """days_scored: days in the period on which a run came to its end; days_read: of those, how many
    the averages rest on."""

    all: HealthRow
    rows: list[HealthRow]
    days: list[DayAverage]
    days_scored: int
    days_read: int


Conclusion = Literal["helps", "hurts", "not_yet_known", "too_few", "no_control"]
CONCLUSION_LABELS: dict[str, str] = {
    "helps": "helps",
    "hurts": "does harm",
    "not_yet_known": "not yet known",
    "too_few": "too few to say",
    "no_control": "nobody in the holdout",
}


class SuccessRow(Struct):
    """What became of interventions whose window ended in the period, those that were the first ever
    of their supplier and trigger.

    value: share of the treated for whom the trigger's success came true within its window; n: the
    treated. control_value, control_n: the same of the in the holdout. difference: treated less in
    the holdout; over several triggers the mean of their differences, weighted by the treated, of
    those triggers that have both. low, high: its 95 % confidence sequence, smoothed, which holds
    for all looks at one growing sample (the same first day, a later last one), else for one look.
    compared: how many the difference rests on. Null, and 0, when too few (under 50, or 10 in an
    arm). verdict: of a trigger "helps" or "hurts" when the exact test declares it; of groups when
    the sequence leaves out nothing (0). evidence: the exact e-value of one trigger, as its natural
    logarithm; null for groups."""

    group: str | None
    value: float | None
    n: int
    control_value: float | None
    control_n: int
    difference: float | None
    low: float | None
    high: float | None
    compared: int
    conclusion: Conclusion
    evidence: float | None = None


class SuccessMetric(Struct):
    """triggers: a row for each, group being its name. windows: ended windows, repeated ones
    included."""

    all: SuccessRow
    rows: list[SuccessRow]
    triggers: list[SuccessRow]
    windows: int


class FirstValueRow(Struct):
    """How long suppliers who signed up in the period took to their first form.

    n: all who signed up; reached: those who have a first form by now; share: reached ÷ n. value
    (median), quarter, three_quarters: days in which half, a quarter, three quarters of all who
    signed up get there, by Aalen and Johansen: who is not there yet counts with the time it had so
    far; who left without a form never gets there; null: so many are not there yet. within_14_days:
    the share there after 14 days, by the same estimate; null: nobody was followed for 14 days, and
    not of everybody it is known."""

    group: str | None
    value: float | None
    n: int
    reached: int
    share: float | None
    quarter: float | None
    three_quarters: float | None
    within_14_days: float | None


class CurvePoint(Struct):
    """The share that is there after so many days."""

    days: float
    share: float


class FirstValueMetric(Struct):
    """curve: the share of all who signed up that has a first form, by days since; it steps at each
    point. unknown: suppliers whose sign-up is not known, who are in no cohort."""

    all: FirstValueRow
    rows: list[FirstValueRow]
    curve: list[CurvePoint]
    unknown: int


class AdoptionRow(Struct):
    """Share of the vendor type's key features that suppliers use, on the last day scored in the
    period.

    value: mean share; n: suppliers of whom it is known. change: value less that of the period's
    first scored day; null: only one day. none, some, half, most, all: shares of suppliers using
    none, up to half, half and more, three quarters and more, all."""

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
    """day: the last day scored in the period, and the first; null: none."""

    all: AdoptionRow
    rows: list[AdoptionRow]
    day: date | None
    first_day: date | None


class TicketRow(Struct):
    """Tickets resolved in the period and not opened again since.

    value, p90: median and 90th percentile of the hours from first opening to resolution, by the
    calendar; n: tickets. business_median, business_p90: in open hours of support, without the time
    in which the supplier was waited for. opened: tickets first opened in the period; still_open: of
    those, how many are not resolved now."""

    group: str | None
    value: float | None
    n: int
    p90: float | None
    business_median: float | None
    business_p90: float | None
    opened: int
    still_open: int


class TicketSpread(Struct):
    """Tickets resolved within so many hours by the calendar, and in no earlier span; until_hours
    null: longer than all."""

    until_hours: float | None
    n: int


class TicketMetric(Struct):
    """spread: all resolved tickets by how long they took."""

    all: TicketRow
    rows: list[TicketRow]
    spread: list[TicketSpread]


class Accuracy(Struct):
    """How predictions compare with what came: who left within the horizon.

    n: predictions, one for each supplier and day read; left: those that came true as leavings;
    base_rate: left ÷ n. auc: the chance that of one who left and one who stayed the first had the
    higher risk (ties count half), with its 95 % range; null: fewer than five left, or stayed.
    precision_*: share of the warned who left; recall_*: share of those who left that were warned;
    high: level high; warned: high or medium; null: nobody warned, nobody left."""

    auc: float | None
    auc_low: float | None
    auc_high: float | None
    n: int
    left: int
    base_rate: float | None
    warned: int
    precision_warned: float | None
    recall_warned: float | None
    high: int
    precision_high: float | None
    recall_high: float | None


class ChurnRow(Struct):
    """Churn predictions whose horizon ended in the period.

    value, n: AUC and predictions of all. everyone: all predictions; untouched: those around which
    nothing was decided for the supplier, from as many days before as the horizon, over the
    prediction's own day, to the leaving or the horizon's end (in the holdout ones are nothing).
    lead_days: median days from the first of the unbroken warnings, looked at weekly, to the
    cancellation, of those who cancelled in the period with a warning standing; lead_n: these;
    unwarned: those who cancelled without; unseen: those never scored in the 90 days before."""

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
    """Of those at a level, how many left within the horizon."""

    level: Literal["low", "medium", "high"]
    n: int
    left: int
    share: float | None


class ChurnDay(Struct):
    """The predictions of one day."""

    day: date
    accuracy: Accuracy


class ChurnMetric(Struct):
    """horizon: days. levels: by the level foretold; days: by the day of the prediction, which are
    30 days or more apart."""

    horizon: int
    all: ChurnRow
    rows: list[ChurnRow]
    levels: list[LevelRow]
    days: list[ChurnDay]


Row = HealthRow | SuccessRow | FirstValueRow | AdoptionRow | TicketRow | ChurnRow
Measured = (
    HealthMetric | SuccessMetric | FirstValueMetric | AdoptionMetric | TicketMetric | ChurnMetric
)


# ── what the API gives ────────────────────────────────────────────────────────────────────────────────────────────────


class Metrics(Struct, omit_defaults=True):
    """The metrics asked for; the others are left out."""

    health_score: HealthMetric | None = None
    intervention_success: SuccessMetric | None = None
    time_to_first_value: FirstValueMetric | None = None
    feature_adoption: AdoptionMetric | None = None
    ticket_resolution: TicketMetric | None = None
    churn_prediction: ChurnMetric | None = None


class MetricsAnswer(Struct):
    """`first`, `until`: the period, both days within it. `by`: what each metric is grouped by.
    `scored_until`: the last day in the period whose run came to its end; null: none."""

    first: date = field(name="from")
    until: date
    horizon: int
    measured_at: datetime
    scored_until: date | None
    by: dict[str, By]
    metrics: Metrics
