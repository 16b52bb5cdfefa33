"""Describe each metric in a few sentences. Pure."""

from everafter.core.formatting import day, plural
from everafter.metrics.model import (
    AdoptionMetric,
    ChurnMetric,
    FirstValueMetric,
    HealthMetric,
    Measured,
    SuccessMetric,
    SuccessRow,
    TicketMetric,
)
from everafter.metrics.rules import format_value
from everafter.metrics.text_model import Kind


def has_anything(measured: Measured) -> bool:
    """Return whether there is data to show."""
    if isinstance(measured, TicketMetric):
        return bool(measured.all.n or measured.all.opened)
    if isinstance(measured, ChurnMetric):
        return bool(
            measured.all.n or measured.all.lead_n or measured.all.unwarned or measured.all.unseen
        )
    if isinstance(measured, SuccessMetric):
        return measured.all.n + measured.all.control_n > 0
    return measured.all.n > 0


def headline(measured: Measured) -> str:
    """Format the metric's main number."""
    kind: Kind = "share"
    match measured:
        case HealthMetric():
            kind = "points"
        case FirstValueMetric():
            kind = "days"
        case TicketMetric():
            kind = "hours"
        case ChurnMetric():
            kind = "number"
        case _:
            pass
    return format_value(measured.all.value, kind)


def describe(measured: Measured) -> list[str]:
    """Describe the result, with the counts behind it."""
    match measured:
        case HealthMetric():
            return _describe_health(measured)
        case SuccessMetric():
            return _describe_success(measured)
        case FirstValueMetric():
            return _describe_first_value(measured)
        case AdoptionMetric():
            return _describe_adoption(measured)
        case TicketMetric():
            return _describe_tickets(measured)
        case ChurnMetric():
            return _describe_churn(measured)


def _describe_health(measured: HealthMetric) -> list[str]:
    row = measured.all
    base = f"over {plural(row.n, 'score')} on {plural(measured.days_read, 'day')}"
    if measured.days_read < measured.days_scored:
        base += f", sampled evenly from {measured.days_scored:,} scored days"
    average = format_value(row.latest, "points")
    latest = f"Last day: {average} for {plural(row.suppliers, 'supplier')}"
    change = (
        "" if row.change is None else f", {format_value(row.change, 'change')} since the first day"
    )
    return [base, f"{latest}{change}: {_bands(row.healthy, row.at_risk, row.critical)}"]


def _bands(healthy: float | None, at_risk: float | None, critical: float | None) -> str:
    parts = (("healthy", healthy), ("at risk", at_risk), ("critical", critical))
    return ", ".join(f"{format_value(share, 'share')} {word}" for word, share in parts)


def _describe_success(measured: SuccessMetric) -> list[str]:
    row = measured.all
    control = (
        f"control group: {format_value(row.control_value, 'share')} of {row.control_n:,}"
        if row.control_n
        else "no control group in this period, so lift is unknown"
    )
    lines = [f"of {row.n:,} treated; {control}", describe_difference(row)]
    if row.lift is not None:
        lines.append(
            "Lift compares suppliers within each trigger and averages over the triggers, so it can"
            " differ from the difference of the two rates"
        )
    return lines


def describe_difference(row: SuccessRow) -> str:
    """Describe the lift and its interval."""
    if row.lift is None:
        return (
            "Too few to measure lift"
            if row.conclusion != "no_control"
            else "No lift without a control group"
        )
    low, high = format_value(row.low, "share_change"), format_value(row.high, "share_change")
    lift = f"Lift {format_value(row.lift, 'share_change')} points (95 %: {low} to {high})"
    conclusion = {"helps": "it helps", "hurts": "it does harm"}.get(
        row.conclusion, "not conclusive"
    )
    return f"{lift}: {conclusion}"


def _describe_first_value(measured: FirstValueMetric) -> list[str]:
    row = measured.all
    if row.value is None and row.n:
        first = f"fewer than half of {plural(row.n, 'new supplier')} have sent a form so far"
    else:
        first = f"median of {plural(row.n, 'new supplier')} to the first form"
    early = (
        ""
        if row.within_14_days is None
        else f"; {format_value(row.within_14_days, 'share')} within 14 days"
    )
    lines = [
        first,
        f"{row.reached:,} have reached it so far, {format_value(row.share, 'share')}{early}",
    ]
    if measured.unknown:
        lines.append(
            f"The sign-up date of {plural(measured.unknown, 'supplier')} is unknown (no cohort)"
        )
    return lines


def _describe_adoption(measured: AdoptionMetric) -> list[str]:
    row = measured.all
    change = (
        ""
        if row.change is None or measured.first_day is None
        else (
            f", {format_value(row.change, 'share_change')} points since {day(measured.first_day)}"
        )
    )
    return [
        f"of key features in use, average of {plural(row.n, 'supplier')}{change}",
        f"{format_value(row.all, 'share')} use all of them, {format_value(row.none, 'share')} none",
    ]


def _describe_tickets(measured: TicketMetric) -> list[str]:
    row = measured.all
    p90 = format_value(row.p90, "hours")
    lines = [f"median of {plural(row.n, 'resolved ticket')}; 90 % within {p90}"]
    if row.business_median is not None:
        lines.append(
            f"In open hours: median {format_value(row.business_median, 'hours')},"
            f" 90 % within {format_value(row.business_p90, 'hours')}"
        )
    lines.append(f"{plural(row.opened, 'ticket')} opened, {row.still_open:,} still open")
    return lines


def _describe_churn(measured: ChurnMetric) -> list[str]:
    everyone, untouched = measured.all.everyone, measured.all.untouched
    if everyone.auc is None:
        first = "fewer than five churned, too few to measure the ranking"
    else:
        low, high = everyone.auc_low or 0, everyone.auc_high or 0
        first = f"AUC (95 %: {low:.2f} to {high:.2f}; 0.5 is chance)"
    lines = [
        first,
        f"{plural(everyone.n, 'prediction')}; in {everyone.churned:,} of them"
        f" ({format_value(everyone.base_rate, 'share')}) the supplier churned within"
        f" {measured.horizon} days",
    ]
    if everyone.churned:
        lines.append(
            f"{format_value(everyone.recall_warned, 'share')} of churned suppliers had a warning;"
            f" {format_value(everyone.precision_warned, 'share')} of those warned churned"
        )
    auc = "too few churned to rank" if untouched.auc is None else f"AUC {untouched.auc:.2f}"
    lines.append(
        f"Without interventions: {plural(untouched.n, 'prediction')},"
        f" {untouched.churned:,} churned, {auc}"
    )
    leaving = measured.all.lead_n + measured.all.unwarned + measured.all.unseen
    if leaving:
        lead = (
            ""
            if measured.all.lead_days is None
            else f", median lead time {format_value(measured.all.lead_days, 'days')}"
        )
        lines.append(
            f"{measured.all.lead_n:,} of {plural(leaving, 'cancellation')} in the period"
            f" had a warning{lead}"
        )
    return lines
