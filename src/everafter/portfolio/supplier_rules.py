"""One supplier's score in words: what was measured, what it earns, and what moved since. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from everafter.core.formatting import day as format_day
from everafter.core.formatting import percent, plural
from everafter.playbook.model import DIMENSIONS, Dimension, Playbook, Segment
from everafter.portfolio.charts import round_to_sum
from everafter.portfolio.model import CHANGE_DAYS, COMPARED_WITHIN_DAYS
from everafter.portfolio.supplier_model import (
    CHURN_LABELS,
    Cause,
    Change,
    Part,
    ScoreDetails,
    Shift,
    StoredDay,
)


def segment_of(vendor_type: str | None, playbook: Playbook) -> Segment:
    """How this vendor type is scored."""
    return playbook.segments.get(vendor_type or "default", playbook.segments["default"])


def score_details_of_live(row: Mapping[str, Any], playbook: Playbook) -> ScoreDetails:
    """The score as people read it.

    Args:
        row: one row of `health.live.score_live`.
    """
    return ScoreDetails(
        at=row["as_of"],
        live=True,
        score=row["health_score"],
        band=row["risk_level"] or "unknown",
        coverage=row["coverage"],
        season_index=row["season_index"],
        off_season=bool(row["off_season"]),
        parts=[
            Part(
                name, row[f"{name}_points"], row[f"{name}_max"], _describe_part(name, row, playbook)
            )
            for name in DIMENSIONS
        ],
        churn_risk=row["churn_risk"],
        churn_level=row["churn_level"],
        causes=[
            Cause(
                name,
                row[f"churn_{name}"],
                _churn_weight(name, playbook),
                _describe_cause(name, row, playbook),
            )
            for name in CHURN_LABELS
        ],
    )


def score_details_of_stored(
    day: StoredDay, churn: Mapping[str, Any] | None, segment: Segment, playbook: Playbook
) -> ScoreDetails:
    """The last stored score, for one who is not scored any more; it holds the points, not what was
    measured."""
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
        # the playbook may weigh otherwise now than it did then, and no part is larger than its
        # whole
        parts=[
            Part(
                name, day.points[name], _at_least(100 * weights[name] / known, day.points[name]), ""
            )
            for name in DIMENSIONS
        ],
        churn_risk=churn["risk"] if churn else None,
        churn_level=churn["level"] if churn else None,
        causes=[
            Cause(name, shares[name], _at_least(_churn_weight(name, playbook), shares[name]), "")
            for name in CHURN_LABELS
            if churn
        ],
    )


def _at_least(weight: float, share: float | None) -> float:
    return 0.0 if share is None else max(weight, share)


def _churn_weight(name: str, playbook: Playbook) -> float:
    return getattr(playbook.churn, name) / sum(
        getattr(playbook.churn, other) for other in CHURN_LABELS
    )


# ── what was measured ─────────────────────────────────────────────────────────────────────────────────────────────────


def _describe_part(name: Dimension, row: Mapping[str, Any], playbook: Playbook) -> str:
    match name:
        case "login":
            return _describe_login(row)
        case "feature_adoption":
            if row["feature_adoption"] is None:
                return "nothing was ever heard of this supplier"
            features = playbook.segments[row["segment"]].key_features
            window = playbook.health.feature_window_days
            return f"{row['features_adopted']} of {plural(len(features), 'key feature')} used in the last {window} days"
        case "client_activity":
            if row["client_activity"] is None:
                return "no clients on the books"
            text = f"{row['clients_active_30d']} of {plural(row['clients_total'], 'client')} active in the last 30 days"
            return text + (
                f"; {percent(row['season_index'])} is all one expects now"
                if row["season_index"] < 0.995
                else ""
            )
        case "form_completion":
            if row["form_completion_rate"] is None:
                return "no form was sent in the last 13 weeks"
            return f"{row['forms_answered_13w']} of {plural(row['forms_sent_13w'], 'form')} sent in 13 weeks completed"
        case "journey_performance":
            if row["journey_open_rate"] is None:
                return "no journey email was sent in the last 13 weeks"
            return f"{percent(row['journey_open_rate'])} of {plural(row['journey_emails_13w'], 'journey e-mail')} in 13 weeks opened"


def _describe_login(row: Mapping[str, Any]) -> str:
    days, quiet = row["days_since_login"], row["days_inactive"]
    if days is None:
        return "no login, and it is not known when the account began"
    whole, counted = int(days), int(quiet)
    last = row.get("last_login_at") is not None
    if not last:
        text = f"no login yet, {plural(whole, 'day')} after the account began"
    else:
        text = "last login today" if whole == 0 else f"last login {plural(whole, 'day')} ago"
    return text + (f"; in this season that counts as {counted}" if counted != whole else "")


def _describe_cause(name: str, row: Mapping[str, Any], playbook: Playbook) -> str:
    churn = playbook.churn
    match name:
        case "login":
            quiet = row["days_inactive"]
            return (
                "not known"
                if quiet is None
                else f"{plural(int(quiet), 'day')} of silence, counted by season; {churn.login_full_days:g} is full"
            )
        case "support_tickets":
            return (
                f"{plural(row['tickets_4w'], 'ticket')} in 4 weeks; {churn.tickets_full:g} is full"
            )
        case "feature_usage":
            ratio = row["feature_use_ratio"]
            if ratio is None:
                return "too little use before to tell a fall"
            return f"{percent(ratio)} of the use the weeks before lead one to expect"
        case "client_churn":
            if row["client_loss_rate"] is None:
                return "no clients to lose"
            return f"{plural(row['clients_lost_13w'], 'client')} lost in 13 weeks ({percent(row['client_loss_rate'])})"
        case _:
            if row["payment_past_due"]:
                return f"a payment failed {plural(int(row['days_past_due']), 'day')} ago and was not made good"
            failed = row["payments_failed_13w"]
            return (
                f"{plural(failed, 'payment')} failed in 13 weeks, made good since"
                if failed
                else "all payments went through"
            )


# ── what moved ────────────────────────────────────────────────────────────────────────────────────────────────────────


def change_of(score_details: ScoreDetails, history: Sequence[StoredDay]) -> Change | None:
    """What moved the score since 14 days before it, or since the last stored day of the week before
    that; null when there is none.

    The numbers are rounded so that what is shown adds up: the shifts to the change, and the change
    to the difference.

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
    """The contribution that costs most, or null when all are full."""
    losing = [
        part
        for part in score_details.parts
        if part.points is not None and part.most - part.points > 0.05
    ]
    return max(losing, key=lambda part: part.most - (part.points or 0.0), default=None)


def shown_points(score_details: ScoreDetails) -> list[float]:
    """The contributions rounded so that what is shown adds up to the score shown; unknown ones are
    0."""
    return round_to_sum(
        [part.points or 0.0 for part in score_details.parts], score_details.score or 0.0
    )


def describe_trend(history: Sequence[StoredDay]) -> str:
    """The chart in a sentence, for those who cannot see it."""
    if not history:
        return "No score is stored."
    first, last = history[0], history[-1]
    low, high = min(history, key=lambda day: day.score), max(history, key=lambda day: day.score)
    return (
        f"From {first.health_score} on {format_day(first.calculated_on)} to {last.health_score} on {format_day(last.calculated_on)};"
        f" lowest {low.health_score} on {format_day(low.calculated_on)},"
        f" highest {high.health_score} on {format_day(high.calculated_on)}."
    )


def is_stale(scored_at: datetime | None, now: datetime) -> bool:
    """Was the last daily run longer ago than a day and a half?"""
    return scored_at is not None and now - scored_at > timedelta(hours=36)
