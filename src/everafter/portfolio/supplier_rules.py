"""Describe a supplier's score: what was measured, the points for it, and what changed. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import exp
from typing import Any

from everafter.core.charts import round_to_sum
from everafter.core.formatting import day as format_day
from everafter.core.formatting import percent, plural
from everafter.playbook.model import DIMENSIONS, ChurnSignal, Dimension, Playbook, Segment
from everafter.portfolio.model import CHANGE_DAYS, COMPARED_WITHIN_DAYS
from everafter.portfolio.supplier_model import (
    CHURN_LABELS,
    Cause,
    Change,
    Part,
    ScoreDetails,
    Shift,
    StoredDay,
    Supplier,
)
from everafter.scoring.stage_rules import NEW_DAYS, describe_adoption, is_too_early
from everafter.seasonality.model import RATE_DAYS
from everafter.seasonality.text_rules import describe_inactivity, describe_peers
from everafter.signals.row_model import (
    LiveRow,
    ScoredRow,
    churn_contribution,
    dimension_as_of,
    dimension_max,
    dimension_points,
)


def segment_of(vendor_type: str | None, playbook: Playbook) -> Segment:
    """Return the segment of a vendor type, or the default one."""
    return playbook.segments.get(vendor_type or "default", playbook.segments["default"])


def score_details_of_live(row: LiveRow, playbook: Playbook) -> ScoreDetails:
    """Describe a live score.

    Args:
        row: one row of `scoring.live.score_live`.
    """
    return ScoreDetails(
        at=row["as_of"],
        live=True,
        score=row["health_score"],
        band=row["risk_level"] or "unknown",
        coverage=row["coverage"],
        season_index=row["season_index"],
        off_season=bool(row["off_season"]),
        peers=describe_peers(row["vendor_type"], row["country"]),
        parts=[
            Part(
                name,
                dimension_points(row, name),
                dimension_max(row, name),
                _describe_part(name, row, playbook) + _describe_as_of(name, row),
            )
            for name in DIMENSIONS
        ],
        churn_risk=row["churn_risk"],
        churn_level=row["churn_level"],
        churn_base=row["churn_base"],
        causes=[
            Cause(name, churn_contribution(row, name), _describe_cause(name, row, playbook))
            for name in CHURN_LABELS
        ],
    )


def score_details_of_stored(
    supplier: Supplier, day: StoredDay, churn: Mapping[str, Any] | None, playbook: Playbook
) -> ScoreDetails:
    """Describe a stored score; it holds the points, but not what was measured."""
    segment = segment_of(supplier.vendor_type, playbook)
    weights = {name: float(getattr(segment.weights, name)) for name in DIMENSIONS}
    known = sum(weights[name] for name in DIMENSIONS if day.points[name] is not None) or 1.0
    shares = churn or {}
    return ScoreDetails(
        at=day.calculated_at,
        live=False,
        score=day.score,
        band=day.band,
        coverage=day.coverage,
        season_index=day.season_index,
        off_season=day.season_index < playbook.season.off_season_below,
        peers=describe_peers(supplier.vendor_type, supplier.country),
        # the playbook's weights may have changed since; points never exceed their maximum
        parts=[
            Part(
                name, day.points[name], _at_least(100 * weights[name] / known, day.points[name]), ""
            )
            for name in DIMENSIONS
        ],
        churn_risk=churn["risk"] if churn else None,
        churn_level=churn["level"] if churn else None,
        churn_base=churn["base"] if churn else None,
        causes=[Cause(name, shares[name], "") for name in CHURN_LABELS if churn],
    )


def _at_least(weight: float, share: float | None) -> float:
    return 0.0 if share is None else max(weight, share)


# ── what was measured ────────────────────────────────────────────────────────────


def _describe_part(name: Dimension, row: ScoredRow, playbook: Playbook) -> str:
    if is_too_early(row["stage"], name):
        return f"too early to say before day {NEW_DAYS}"
    match name:
        case "login":
            return _describe_login(row)
        case "feature_adoption":
            if row["feature_adoption"] is None:
                return _UNSENT[name] if row["events_total"] else "no events received yet"
            features = playbook.segments[row["segment"]].key_features
            window = playbook.health.feature_window_days
            of = f"{row['features_adopted']} of {plural(len(features), 'key feature')}"
            expected = describe_adoption(
                row["stage"],
                row["tenure_days"],
                row["onboarding_steps_done"],
                row["onboarding_steps_due"],
            )
            return f"{of} used in the last {window} days" + (f"; {expected}" if expected else "")
        case "client_activity":
            if row["client_activity"] is None:
                return _UNSENT[name] if row["clients_total"] else "no clients"
            of = f"{row['clients_active_30d']} of {plural(row['clients_total'], 'client')}"
            text = f"{of} active in the last 30 days"
            season = row["client_season"]
            return text + (
                f"; {percent(season)} of the peak is expected in this season"
                if season < 0.995
                else ""
            )
        case "form_completion":
            if row["form_completion_rate"] is None:
                if row["forms_sent_13w"]:
                    return _UNSENT[name]
                return "no form was sent in the last 13 weeks"
            of = f"{row['forms_answered_13w']} of {plural(row['forms_sent_13w'], 'form')}"
            return f"{of} sent in 13 weeks completed"
        case "journey_performance":
            if row["journey_open_rate"] is None:
                if row["journey_emails_13w"]:
                    return _UNSENT[name]
                return "no journey email was sent in the last 13 weeks"
            sent = plural(row["journey_emails_13w"], "journey email")
            return f"{percent(row['journey_open_rate'])} of {sent} in 13 weeks opened"


_UNSENT: dict[Dimension, str] = {
    "login": "no logins are known",
    "feature_adoption": "no feature uses are known",
    "client_activity": "no client activity is known",
    "form_completion": "no completed forms are known",
    "journey_performance": "no opened journey emails are known",
}
"""Where the platform has never sent such events, or not for so long that none are kept."""


def _describe_as_of(name: Dimension, row: LiveRow) -> str:
    """The last good day of a dimension whose events have stopped arriving; the banner says so."""
    as_of = dimension_as_of(row, name)
    if as_of is None or dimension_points(row, name) is None:
        return ""
    return f"; as of {format_day(as_of, row['as_of'].date())}"


def _describe_login(row: ScoredRow) -> str:
    days, inactive = row["days_since_login"], row["days_inactive"]
    if days is None or inactive is None:
        if row["tenure_days"] is not None:
            return _UNSENT["login"]
        return "no login, and the start of the account is unknown"
    whole = int(days)
    last = row["last_login_at"] is not None
    if not last:
        text = f"no login yet, {plural(whole, 'day')} after the account began"
    else:
        text = "last login today" if whole == 0 else f"last login {plural(whole, 'day')} ago"
    why = describe_inactivity(days, inactive, row["vendor_type"], row["country"])
    return f"{text}; {why}" if why else text


def _describe_cause(name: ChurnSignal, row: ScoredRow, playbook: Playbook) -> str:
    churn = playbook.churn
    match name:
        case "login":
            without = row["days_since_login"] or 0
            if row["evidence_logins"] is not None and without > RATE_DAYS:
                return "no login in the last 16 weeks: nothing left that could decline"
            return _describe_evidence("logins", row["evidence_logins"])
        case "support_tickets":
            full = f"{churn.tickets_full:g} is the maximum"
            return f"{plural(row['tickets_4w'], 'ticket')} in 4 weeks; {full}"
        case "feature_usage":
            low, high = int(row["expected_uses_low"]), int(row["expected_uses_high"])
            coming = f"{low}–{high} uses" if high > low else plural(high, "use")
            evidence = _describe_evidence("feature use", row["evidence_uses"])
            if row["evidence_uses"] is None:
                return evidence
            return f"{evidence}; {coming} expected in the coming week"
        case "client_churn":
            if row["client_loss_rate"] is None:
                return "no clients"
            lost = plural(row["clients_lost_13w"], "client")
            return f"{lost} lost in 13 weeks ({percent(row['client_loss_rate'])})"
        case _:
            if row["payment_past_due"]:
                days = int(row["days_past_due"] or 0)
                return f"a payment failed {plural(days, 'day') + ' ago' if days else 'today'}"
            failed = row["payments_failed_13w"]
            return (
                f"{plural(failed, 'payment')} failed in 13 weeks, recovered since"
                if failed
                else "no failed payments"
            )


def _describe_evidence(what: str, evidence: float | None) -> str:
    """What decline evidence says, in words; exp(evidence) times as likely."""
    if evidence is None:
        return "never sent by the platform"
    if evidence < 0:
        return f"{what} as steady as in other weeks of this season"
    times = exp(min(evidence, 20))
    if times < 1.5:
        return f"no clear change of {what}, given the season"
    if times >= 1000:
        return f"{what} declined; the season does not explain it"
    likely = f"{times:.0f}" if times >= 2 else f"{times:.1f}"
    return f"a decline of {what} explains the last weeks {likely} times as well as the season does"


# ── changes ──────────────────────────────────────────────────────────────────────


def change_of(score_details: ScoreDetails, history: Sequence[StoredDay]) -> Change | None:
    """Compare with the score of 14 days before, or the last stored one of the week before that.

    Null if there is none. Rounded so that the shifts shown sum to the change shown.

    Args:
        history: stored days, oldest first.
    """
    latest = score_details.at.date() - timedelta(days=CHANGE_DAYS)
    earliest = latest - timedelta(days=COMPARED_WITHIN_DAYS)
    then = next((day for day in reversed(history) if earliest <= day.calculated_on <= latest), None)
    if then is None or score_details.score is None:
        return None
    was, now = round(then.score, 1), round(score_details.score, 1)
    moved = [
        (part.points or 0.0) - (then.points[part.dimension] or 0.0) for part in score_details.parts
    ]
    return Change(
        since=then.calculated_on,
        was=was,
        now=now,
        by=round(now - was, 1),
        shifts=[
            Shift(part.dimension, then.points[part.dimension], part.points, by)
            for part, by in zip(score_details.parts, round_to_sum(moved, now - was), strict=True)
        ],
    )


def main_part(score_details: ScoreDetails) -> Part | None:
    """Return the dimension that loses the most points; null if none loses any."""
    losing = [
        part
        for part in score_details.parts
        if part.points is not None and part.most - part.points > 0.05
    ]
    return max(losing, key=lambda part: part.most - (part.points or 0.0), default=None)


def shown_points(score_details: ScoreDetails) -> list[float]:
    """Round the contributions so that they sum to the score shown; unknown ones are 0."""
    return round_to_sum(
        [part.points or 0.0 for part in score_details.parts], score_details.score or 0.0
    )


def shown_causes(score_details: ScoreDetails) -> list[float]:
    """Round the churn index without evidence and what each signal adds, in this order, so that they
    sum to the index shown; unknown ones are 0. Empty: not known."""
    base, risk = score_details.churn_base, score_details.churn_risk
    if base is None or risk is None:
        return []
    shares = [cause.share or 0.0 for cause in score_details.causes]
    return round_to_sum([base, *shares], risk, 2)


def shown_most(parts: Sequence[Part]) -> list[str]:
    """The most points of each contribution: whole, or with a decimal where whole ones would be
    below the points shown.

    >>> shown_most([Part("login", 24.44, 24.44, ""), Part("login", 20.0, 31.1, "")])
    ['24.4', '31']
    """
    return [
        f"{part.most:.0f}" if (part.points or 0.0) <= round(part.most) else f"{part.most:.1f}"
        for part in parts
    ]


def describe_trend(history: Sequence[StoredDay]) -> str:
    """Describe the chart in a sentence, for screen readers."""
    if not history:
        return "No scores stored."
    first, last = history[0], history[-1]
    low, high = min(history, key=lambda day: day.score), max(history, key=lambda day: day.score)
    return (
        f"From {first.health_score} on {format_day(first.calculated_on)}"
        f" to {last.health_score} on {format_day(last.calculated_on)};"
        f" lowest {low.health_score} on {format_day(low.calculated_on)},"
        f" highest {high.health_score} on {format_day(high.calculated_on)}."
    )


def is_stale(scored_at: datetime | None, now: datetime) -> bool:
    """Return whether the last daily run is more than a day and a half old."""
    return scored_at is not None and now - scored_at > timedelta(hours=36)
