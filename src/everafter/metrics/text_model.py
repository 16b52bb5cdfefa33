"""What people read of each metric: its title, what it rests on, what it cannot say, and its table.
Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from everafter.metrics.model import Metric

Kind = Literal[
    "text", "count", "points", "change", "share", "share_change", "days", "hours", "number"
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a metric's table: where it is in the row ("everyone.n"), its head, how its
    numbers are written, and whether the page has room for it."""

    field: str
    head: str
    kind: Kind
    on_page: bool = True


@dataclass(frozen=True, slots=True)
class MetricText:
    """What people read of a metric: its title, what it rests on, what it cannot say, how a row is
    drawn, its table."""

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
        "Every score given in the period counts once: a supplier scored on 90 days counts 90 times. Vendor type and plan are those"
        " of the day.",
        "Suppliers who cancel are scored no more, so a group can rise because its worst have left.",
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
        "Succeeded when treated",
        "Windows that ended in the period, where it was the supplier’s first ever for that trigger. The difference from those left"
        " alone on purpose is what we made. Its range holds 95 % of the time: however often one looks while the period keeps its"
        " first day and only grows; for one look at a period that moves along, such as the last 90 days.",
        "What would have happened anyway is in the success rate, and is not in the difference. Triggers without a holdout have no"
        " difference. One supplier can be in several triggers, which the range over all triggers takes as if they were several."
        " A period picked because of what it shows proves nothing.",
        "mark: difference in points; bar: its 95 % range",
        (
            Column("value", "Succeeded", "share"),
            Column("n", "of treated", "count"),
            Column("control_value", "Succeeded", "share"),
            Column("control_n", "of left alone", "count"),
            Column("difference", "Difference", "share_change"),
            Column("low", "From", "share_change"),
            Column("high", "To", "share_change"),
            Column("conclusion", "Says", "text"),
        ),
    ),
    "time_to_first_value": MetricText(
        "Time to first value",
        "Median to the first form",
        "All who signed up in the period, with what is known of them by now. Who is not there yet counts with the time it had"
        " (Aalen–Johansen); who left without a form never gets there, and stays among all.",
        "The youngest have had little time: what the curve says of later days rests on the older ones. Vendor type and plan are"
        " those of today, so a plan that is reached by doing well looks quick.",
        "mark: median; bar: from a quarter to three quarters there",
        (
            Column("value", "Median", "days"),
            Column("quarter", "A quarter in", "days"),
            Column("three_quarters", "Three quarters in", "days"),
            Column("within_14_days", "In 14 days", "share"),
            Column("share", "There by now", "share"),
            Column("reached", "There", "count"),
            Column("n", "Signed up", "count"),
        ),
    ),
    "feature_adoption": MetricText(
        "Feature adoption",
        "Key features in use",
        "The last day scored in the period: the share of the vendor type's key features that a supplier used in the playbook’s window.",
        "Vendor types have different key features, so a share of one is not a share of the other. It says what is used,"
        " not how much nor whether it helps.",
        "suppliers by the share they use",
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
        "Tickets resolved in the period and still resolved, from their first opening. Business hours are support's open hours"
        " without the time spent waiting for the supplier.",
        "Tickets that are still open are not in the times; they are beside them. Vendor type and plan are those of today.",
        "bar: median; line: nine of ten",
        (
            Column("value", "Median", "hours"),
            Column("p90", "9 of 10 within", "hours"),
            Column("business_median", "Median, open hours", "hours"),
            Column("business_p90", "9 of 10, open hours", "hours"),
            Column("n", "Resolved", "count"),
            Column("opened", "Opened", "count"),
            Column("still_open", "Still open", "count"),
        ),
    ),
    "churn_prediction": MetricText(
        "Churn prediction accuracy",
        "Ranked rightly (AUC)",
        "One prediction for each supplier every 30 days, with its whole horizon ended by now, against the cancellations that came.",
        "We act on warnings, and who stays because of it makes the warning look wrong: untouched are the predictions around which"
        " nothing was done, from as many days before as the horizon to the leaving or the horizon’s end. They are no fair sample of"
        " all: whoever a warning made us act for is missing, and who left soon had less time to be touched. With few"
        " leavings every figure here is rough.",
        "mark: AUC; bar: its 95 % range",
        (
            Column("value", "AUC", "number"),
            Column("everyone.auc_low", "From", "number", on_page=False),
            Column("everyone.auc_high", "To", "number", on_page=False),
            Column("everyone.n", "Predictions", "count"),
            Column("everyone.left", "Left", "count"),
            Column("everyone.base_rate", "Base rate", "share"),
            Column("everyone.precision_warned", "Warned who left", "share"),
            Column("everyone.recall_warned", "Churned suppliers warned", "share"),
            Column("everyone.precision_high", "High who left", "share", on_page=False),
            Column("everyone.recall_high", "Churned suppliers at high", "share", on_page=False),
            Column("untouched.auc", "AUC untouched", "number"),
            Column("untouched.n", "Untouched", "count"),
            Column("untouched.left", "Left untouched", "count", on_page=False),
            Column("lead_days", "Lead", "days"),
            Column("lead_n", "Left warned", "count"),
            Column("unwarned", "Left unwarned", "count"),
        ),
    ),
}
