"""The text and the table of each metric: title, definition, limits, columns. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from everafter.metrics.model import Metric

Kind = Literal[
    "text", "count", "points", "change", "share", "share_change", "days", "hours", "number"
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a metric's table.

    field: path in the row ("everyone.n"). head: header. kind: number format. on_page: whether the
    page shows it (CSV and CLI show all).
    """

    field: str
    head: str
    kind: Kind
    on_page: bool = True


@dataclass(frozen=True, slots=True)
class MetricText:
    """The text of a metric.

    rests_on: what is counted. cannot: what the metric does not say. drawn: legend of the chart.
    """

    title: str
    short: str
    rests_on: str
    cannot: str
    drawn: str
    columns: Sequence[Column]


METRIC_TEXTS: dict[Metric, MetricText] = {
    "health_score": MetricText(
        "Health score",
        "Average health score",
        "Every score in the period counts once: a supplier scored on 90 days counts 90 times."
        " Vendor type and plan are those of that day.",
        "Churned suppliers are no longer scored, so a group’s average can rise because its worst"
        " suppliers churned.",
        "bar: average; mark: last day",
        (
            Column("value", "Average", "points"),
            Column("latest", "Latest", "points"),
            Column("change", "Change", "change"),
            Column("healthy", "Healthy", "share"),
            Column("at_risk", "At risk", "share"),
            Column("critical", "Critical", "share"),
            Column("suppliers", "Suppliers", "count"),
            Column("n", "Scores", "count"),
        ),
    ),
    "intervention_success": MetricText(
        "Intervention success rate",
        "Success rate of the treated",
        "Goal windows that ended in the period and were the supplier’s first for that trigger."
        " Lift is the difference from the control group (the holdout) of the same trigger, averaged"
        " over the triggers by their numbers of treated suppliers. Its 95 % interval is valid for"
        " repeated looks at a period with a fixed first day, and for a single look at a moving"
        " period such as the last 90 days.",
        "The success rate includes suppliers who would have succeeded anyway; lift does not."
        " Triggers without a holdout have no lift. A supplier in several triggers counts once for"
        " each. A period chosen because of its result proves nothing.",
        "mark: lift in points; bar: its 95 % interval",
        (
            Column("value", "Succeeded", "share"),
            Column("n", "Treated", "count"),
            Column("control_value", "Control succeeded", "share"),
            Column("control_n", "Control", "count"),
            Column("lift", "Lift", "share_change"),
            Column("low", "From", "share_change"),
            Column("high", "To", "share_change"),
            Column("conclusion", "Conclusion", "text"),
        ),
    ),
    "time_to_first_value": MetricText(
        "Time to first value",
        "Median to the first form",
        "Suppliers who signed up in the period. Those without a form yet count with the time they"
        " have had (Aalen–Johansen estimator); those who churned without a form never reach it.",
        "Recent sign-ups have had little time, so later days of the curve rest on older ones."
        " Vendor type and plan are current, so a plan that successful suppliers upgrade to looks"
        " fast.",
        "mark: median; bar: first to third quartile",
        (
            Column("value", "Median", "days"),
            Column("quarter", "25 % within", "days"),
            Column("three_quarters", "75 % within", "days"),
            Column("within_14_days", "Within 14 days", "share"),
            Column("share", "Reached so far", "share"),
            Column("reached", "Reached", "count"),
            Column("n", "Signed up", "count"),
        ),
    ),
    "feature_adoption": MetricText(
        "Feature adoption",
        "Key features in use",
        "On the last day scored in the period: the share of the vendor type’s key features that a"
        " supplier used within the playbook’s window.",
        "Vendor types have different key features, so their shares are not comparable. The metric"
        " says what is used, not how much or whether it helps.",
        "suppliers by share of key features used",
        (
            Column("value", "Average", "share"),
            Column("change", "Change", "share_change"),
            Column("none", "None", "share"),
            Column("some", "Under half", "share"),
            Column("half", "Half", "share"),
            Column("most", "Most", "share"),
            Column("all", "All", "share"),
            Column("n", "Suppliers", "count"),
        ),
    ),
    "ticket_resolution": MetricText(
        "Ticket resolution time",
        "Median to resolution",
        "Tickets resolved in the period and not reopened, measured from when they were first"
        " opened. Open hours are those of support, without the time spent waiting for the"
        " supplier.",
        "Open tickets are counted separately and are not in the times. Vendor type and plan are"
        " current.",
        "bar: median; line: 90th percentile",
        (
            Column("value", "Median", "hours"),
            Column("p90", "90th percentile", "hours"),
            Column("business_median", "Median, open hours", "hours"),
            Column("business_p90", "90th percentile, open hours", "hours"),
            Column("n", "Resolved", "count"),
            Column("opened", "Opened", "count"),
            Column("still_open", "Still open", "count"),
        ),
    ),
    "churn_prediction": MetricText(
        "Churn prediction accuracy",
        "Ranking accuracy (AUC)",
        "One prediction per supplier every 30 days whose horizon has ended, compared with the"
        " cancellations that followed.",
        "Warnings lead to interventions, and a supplier retained by one makes its warning look"
        " wrong. “Untouched” predictions had no intervention from one horizon before the"
        " prediction until the churn or the end of the horizon. They are not a representative"
        " sample: suppliers with interventions are missing, and early churners had less time to"
        " receive one. With few churned suppliers, all figures are rough.",
        "mark: AUC; bar: its 95 % interval",
        (
            Column("value", "AUC", "number"),
            Column("everyone.auc_low", "From", "number", on_page=False),
            Column("everyone.auc_high", "To", "number", on_page=False),
            Column("everyone.n", "Predictions", "count"),
            Column("everyone.churned", "Churned", "count"),
            Column("everyone.base_rate", "Base rate", "share"),
            Column("everyone.precision_warned", "Precision, warned", "share"),
            Column("everyone.recall_warned", "Recall, warned", "share"),
            Column("everyone.precision_high", "Precision, high", "share", on_page=False),
            Column("everyone.recall_high", "Recall, high", "share", on_page=False),
            Column("untouched.auc", "AUC untouched", "number"),
            Column("untouched.n", "Untouched", "count"),
            Column("untouched.churned", "Churned untouched", "count", on_page=False),
            Column("lead_days", "Lead time", "days"),
            Column("lead_n", "Churned with warning", "count"),
            Column("unwarned", "Churned without warning", "count"),
        ),
    ),
}
