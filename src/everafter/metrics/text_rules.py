"""A metric in a sentence or two, as one would say it in a meeting. Pure."""

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
    """Whether there is something to show."""
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
    """The one number, as written."""
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


def tell(measured: Measured) -> list[str]:
    """What it comes to, with how many it rests on."""
    match measured:
        case HealthMetric():
            return _tell_health(measured)
        case SuccessMetric():
            return _tell_success(measured)
        case FirstValueMetric():
            return _tell_first_value(measured)
        case AdoptionMetric():
            return _tell_adoption(measured)
        case TicketMetric():
            return _tell_tickets(measured)
        case ChurnMetric():
            return _tell_churn(measured)


def _tell_health(measured: HealthMetric) -> list[str]:
    row = measured.all
    said = [f"over {plural(row.n, 'score')} on {plural(measured.days_read, 'day')}"]
    if measured.days_read < measured.days_scored:
        said[0] += f", spread evenly over the {measured.days_scored:,} that were scored"
    latest = f"On the last day {format_value(row.latest, 'points')} for {plural(row.suppliers, 'supplier')}"
    change = "" if row.change is None else f", {format_value(row.change, 'change')} since the first"
    return [said[0], f"{latest}{change}: {_bands(row.healthy, row.at_risk, row.critical)}"]


def _bands(healthy: float | None, at_risk: float | None, critical: float | None) -> str:
    parts = (("healthy", healthy), ("at risk", at_risk), ("critical", critical))
    return ", ".join(f"{format_value(share, 'share')} {word}" for word, share in parts)


def _tell_success(measured: SuccessMetric) -> list[str]:
    row = measured.all
    left_alone = (
        f"of {plural(row.control_n, 'supplier')} left alone on purpose {format_value(row.control_value, 'share')} did as well"
        if row.control_n
        else "nobody was left alone on purpose in this period, so nothing says what would have happened anyway"
    )
    return [f"of {row.n:,} treated; {left_alone}", describe_difference(row)]


def describe_difference(row: SuccessRow) -> str:
    """What the difference says, and how sure it is."""
    if row.difference is None:
        return (
            "Too few to say what difference we made"
            if row.conclusion != "no_control"
            else "Without a holdout there is no difference to see"
        )
    low, high = format_value(row.low, "share_change"), format_value(row.high, "share_change")
    held = f"{format_value(row.difference, 'share_change')} points (between {low} and {high})"
    if row.conclusion == "helps":
        return f"Within the same trigger, being treated made {held}: it helps"
    if row.conclusion == "hurts":
        return f"Within the same trigger, being treated made {held}: it does harm"
    return f"Within the same trigger, being treated made {held}: the difference is not yet known"


def _tell_first_value(measured: FirstValueMetric) -> list[str]:
    row = measured.all
    if row.value is None and row.n:
        first = f"so far fewer than half of the {plural(row.n, 'supplier')} who signed up have made a form"
    else:
        first = (
            f"until half of the {plural(row.n, 'supplier')} who signed up had made their first form"
        )
    early = (
        ""
        if row.within_14_days is None
        else f"; {format_value(row.within_14_days, 'share')} within 14 days"
    )
    said = [first, f"{row.reached:,} are there by now, {format_value(row.share, 'share')}{early}"]
    if measured.unknown:
        said.append(
            f"The sign-up of {plural(measured.unknown, 'supplier')} is not known; they are in no cohort"
        )
    return said


def _tell_adoption(measured: AdoptionMetric) -> list[str]:
    row = measured.all
    change = (
        ""
        if row.change is None or measured.first_day is None
        else (
            f", {format_value(row.change, 'share_change')} points since {day(measured.first_day)}"
        )
    )
    return [
        f"of their vendor type’s key features are used by the average of {plural(row.n, 'supplier')}{change}",
        f"{format_value(row.all, 'share')} use all of them, {format_value(row.none, 'share')} none",
    ]


def _tell_tickets(measured: TicketMetric) -> list[str]:
    row = measured.all
    said = [
        f"is the median of {plural(row.n, 'resolved ticket')}; nine of ten within {format_value(row.p90, 'hours')}"
    ]
    if row.business_median is not None:
        said.append(
            f"In support’s open hours the median is {format_value(row.business_median, 'hours')},"
            f" nine of ten within {format_value(row.business_p90, 'hours')}"
        )
    said.append(
        f"{plural(row.opened, 'ticket')} opened, of which {row.still_open:,} are not resolved"
    )
    return said


def _tell_churn(measured: ChurnMetric) -> list[str]:
    everyone, untouched = measured.all.everyone, measured.all.untouched
    if everyone.auc is None:
        first = "fewer than five left, too few to say how well they were ranked"
    else:
        first = (
            f"a churned supplier stood above a stayer {everyone.auc * 100:.0f} times in a hundred"
            f" (between {(everyone.auc_low or 0) * 100:.0f} and {(everyone.auc_high or 0) * 100:.0f}; 50 is chance)"
        )
    said = [
        first,
        f"Of {plural(everyone.n, 'prediction')} {everyone.left:,} came true as a leaving within {measured.horizon} days"
        f" ({format_value(everyone.base_rate, 'share')})",
    ]
    if everyone.left:
        said.append(
            f"{format_value(everyone.recall_warned, 'share')} of the leavings were warned of;"
            f" of those warned {format_value(everyone.precision_warned, 'share')} left"
        )
    auc = "too few left to rank" if untouched.auc is None else f"AUC {untouched.auc:.2f}"
    said.append(
        f"With nothing done before or after: {plural(untouched.n, 'prediction')}, {untouched.left:,} left, {auc}"
    )
    leaving = measured.all.lead_n + measured.all.unwarned + measured.all.unseen
    if leaving:
        lead = (
            ""
            if measured.all.lead_days is None
            else f", for {format_value(measured.all.lead_days, 'days')} in the middle case"
        )
        said.append(
            f"Of {plural(leaving, 'cancellation')} in the period {measured.all.lead_n:,} had a warning standing{lead}"
        )
    return said
