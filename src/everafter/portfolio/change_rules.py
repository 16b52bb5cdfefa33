"""Sum up what moved between two runs, and say why in a sentence. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from everafter.core.charts import round_to_sum
from everafter.core.formatting import day as format_day
from everafter.core.formatting import plural, sentence, signed
from everafter.playbook.labels import DIMENSION_LABELS
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS, Dimension
from everafter.portfolio.change_model import (
    MOVED_POINTS,
    MOVED_RISK,
    SCORED_BANDS,
    BandMove,
    ChangeTotals,
    ChangeView,
    ChurnChange,
    GroupTotal,
    Measured,
    Moves,
    Runs,
    ScoreChange,
    SupplierChange,
)
from everafter.portfolio.supplier_model import CHURN_LABELS
from everafter.scoring.model import ChurnCause

Name = TypeVar("Name", bound=str)

_OTHERS_NAMED = 2
CAUSES: tuple[ChurnCause, ...] = ("base", *CHURN_SIGNALS)
_TOLERANCE = 1e-6


# ── contributions ─────────────────────────────────────────────────────────────────


def describe_supplier(moves: Moves) -> SupplierChange:
    """Compare the two runs of a supplier; the contributions sum to the changes."""
    return SupplierChange(
        supplier_id=moves.supplier_id,
        external_id=moves.external_id,
        name=moves.name,
        vendor_type=moves.vendor_type,
        plan=moves.plan,
        score=compare_scores(moves.before, moves.after),
        churn=compare_risks(moves.before, moves.after),
        description=describe_change(moves.before, moves.after),
    )


def compare_scores(before: Measured, after: Measured) -> ScoreChange:
    """The change of the score by dimension. One that became known or unknown counts with all its
    points, because the others are scaled with it."""
    return ScoreChange(
        before=before.score,
        after=after.score,
        change=after.score - before.score,
        risk_before=before.band,
        risk_after=after.band,
        contributions={
            name: (after.points[name] or 0.0) - (before.points[name] or 0.0) for name in DIMENSIONS
        },
    )


def compare_risks(before: Measured, after: Measured) -> ChurnChange | None:
    """The change of the churn risk by signal; null if one of the runs did not store it."""
    if before.churn_risk is None or after.churn_risk is None:
        return None
    if before.churn_level is None or after.churn_level is None:
        return None
    contributions: dict[ChurnCause, float] = {
        name: after.causes[name] - before.causes[name] for name in CAUSES
    }
    if abs(contributions["base"]) < _TOLERANCE:  # it did not change: signals have seven digits
        largest = max(CHURN_SIGNALS, key=lambda name: abs(contributions[name]))
        contributions[largest] += contributions["base"]
        contributions["base"] = 0.0
    return ChurnChange(
        before=before.churn_risk,
        after=after.churn_risk,
        change=after.churn_risk - before.churn_risk,
        level_before=before.churn_level,
        level_after=after.churn_level,
        contributions=contributions,
    )


def shown_points(change: SupplierChange) -> dict[Dimension, float]:
    """The contributions in whole points. They sum to the difference of the two scores as shown,
    which are rounded down."""
    parts = [change.score.contributions[name] for name in DIMENSIONS]
    return dict(zip(DIMENSIONS, _rounded(change.score, parts), strict=True))


def _rounded(score: ScoreChange, parts: Sequence[float]) -> list[float]:
    return round_to_sum(parts, int(score.after) - int(score.before), 0)


def shown_causes(change: ChurnChange) -> list[tuple[ChurnCause, float]]:
    """The contributions in hundredths, those that show, largest first. They sum to the difference
    of the two risks as shown."""
    parts = [change.contributions[name] for name in CAUSES]
    shown = round_to_sum(parts, round(change.after, 2) - round(change.before, 2), 2)
    found: list[tuple[ChurnCause, float]] = [
        (name, by) for name, by in zip(CAUSES, shown, strict=True) if abs(by) > _TOLERANCE
    ]
    return sorted(found, key=lambda one: -abs(one[1]))


# ── the sentence ──────────────────────────────────────────────────────────────────


def describe_change(before: Measured, after: Measured) -> str:
    """Say what moved most: the score if it moved, else the churn risk."""
    score = compare_scores(before, after)
    if abs(score.change) >= MOVED_POINTS - _TOLERANCE:
        return _describe_score(score, before, after)
    churn = compare_risks(before, after)
    if churn is not None and abs(churn.change) >= MOVED_RISK - _TOLERANCE:
        return _describe_risk(churn)
    return "No change of a point or more"


def describe_beside_score(change: SupplierChange) -> str:
    """The sentence without the change of the score, for a row that shows it."""
    text = change.description
    return sentence(text if text.startswith("Churn") else text.rpartition(": ")[2])


def _describe_score(score: ScoreChange, before: Measured, after: Measured) -> str:
    shown = _rounded(score, [score.contributions[name] for name in DIMENSIONS])
    parts = [
        (name, DIMENSION_LABELS[name].lower(), by)
        for name, by in zip(DIMENSIONS, shown, strict=True)
    ]
    # the others are scaled with one that became known, so they say nothing of the supplier
    turned: list[Dimension] = [
        name for name in DIMENSIONS if (before.points[name] is None) != (after.points[name] is None)
    ]
    main: Dimension = turned[0] if turned else _main(score.contributions, score.change)
    reason = _describe_dimension(main, before, after, score.contributions[main])
    total = int(score.after) - int(score.before)
    return _sentence(signed(total), reason, _split(parts, main), 0)


def _describe_risk(churn: ChurnChange) -> str:
    labels: dict[ChurnCause, str] = {"base": "without evidence"}
    labels |= {name: CHURN_LABELS[name].lower() for name in CHURN_SIGNALS}
    shown = dict(shown_causes(churn))
    parts = [(name, labels[name], shown.get(name, 0.0)) for name in CAUSES]
    main = _main(churn.contributions, churn.change)
    reason = _CAUSES[main][churn.contributions[main] > 0]
    total = round(churn.after, 2) - round(churn.before, 2)
    return _sentence(f"Churn risk {signed(total, 2)}", reason, _split(parts, main), 2)


def _main(contributions: Mapping[Name, float], change: float) -> Name:
    """What moved most in the direction of the whole."""
    sign = 1 if change > 0 else -1
    return max(contributions, key=lambda name: sign * contributions[name])


def _split(
    parts: Sequence[tuple[Name, str, float]], main: Name
) -> tuple[float, list[tuple[str, float]]]:
    """The main part, and the others by size."""
    others = [(label, by) for name, label, by in parts if name != main]
    return (
        next(by for name, _, by in parts if name == main),
        sorted(others, key=lambda one: -abs(one[1])),
    )


def _sentence(
    total: str, reason: str, parts: tuple[float, list[tuple[str, float]]], decimals: int
) -> str:
    """The change, the main reason with its part, and the largest of the others."""
    least = 10.0**-decimals - _TOLERANCE
    named = [f"{label} {signed(by, decimals)}" for label, by in parts[1] if abs(by) >= least]
    reasons = [f"{reason} ({signed(parts[0], decimals)})", *named[:_OTHERS_NAMED]]
    return f"{total}: {', '.join(reasons)}"


def _describe_dimension(name: Dimension, before: Measured, after: Measured, by: float) -> str:
    label = DIMENSION_LABELS[name].lower()
    if before.points[name] is None:
        return f"{label} known now"
    if after.points[name] is None:
        return f"{label} no longer known"
    match name:
        case "login":
            return _describe_login(before, after, by)
        case "feature_adoption":
            return _percents("key features", "in use", before.adoption, after.adoption, by)
        case "client_activity":
            return _percents("active clients", "", before.engagement, after.engagement, by)
        case "form_completion":
            return "more forms completed" if by > 0 else "fewer forms completed"
        case "journey_performance":
            return "more journey emails opened" if by > 0 else "fewer journey emails opened"


def _describe_login(before: Measured, after: Measured, by: float) -> str:
    last = after.last_login_at
    if by > 0:
        again = last and (before.last_login_at is None or last > before.last_login_at)
        return "logged in again" if again else "inactivity counts less now"
    if last is None:
        return "no login yet"
    days = max(0, _whole_days(last, after.scored_at))
    return f"no login for {plural(days, 'day')}" if days > 1 else "fewer points for the last login"


def _whole_days(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds() // 86_400)


def _percents(what: str, state: str, before: int | None, after: int | None, by: float) -> str:
    """How a share moved; what is expected of it depends on the season and on the stage."""
    label = f"{what} {state}".strip()
    if before is None or after is None:
        return label
    if by < 0 and after >= before:
        return f"more {what} expected now"
    if by > 0 and after <= before:
        return f"fewer {what} expected now"
    return f"{label} {before} → {after} %"


_CAUSES: dict[ChurnCause, tuple[str, str]] = {
    "base": ("lower without any evidence", "higher without any evidence"),
    "login": ("logins recovered", "logins declined"),
    "feature_usage": ("feature use recovered", "feature use declined"),
    "support_tickets": ("fewer tickets", "more tickets"),
    "client_churn": ("fewer clients lost", "clients lost"),
    "billing": ("payment recovered", "payment failed"),
}
"""What a contribution that fell, or rose, means."""


# ── totals ────────────────────────────────────────────────────────────────────────


def sum_up(groups: Sequence[GroupTotal]) -> ChangeTotals:
    """Sum up the suppliers by band before and after."""
    both = [one for one in groups if one.band_before and one.band_after]
    compared = sum(one.suppliers for one in both)
    fell, rose = sum(one.fell for one in both), sum(one.rose for one in both)
    return ChangeTotals(
        compared=compared,
        fell=fell,
        rose=rose,
        unchanged=compared - fell - rose,
        churn_rose=sum(one.churn_rose for one in both),
        churn_fell=sum(one.churn_fell for one in both),
        new=sum(one.suppliers for one in groups if not one.band_before),
        churned=sum(one.suppliers for one in groups if not one.band_after),
        bands=[
            BandMove(
                band,
                before=sum(one.suppliers for one in both if one.band_before == band),
                entered=sum(
                    one.suppliers for one in both if one.band_before != band == one.band_after
                ),
                exited=sum(
                    one.suppliers for one in both if one.band_before == band != one.band_after
                ),
                after=sum(one.suppliers for one in both if one.band_after == band),
            )
            for band in SCORED_BANDS
        ],
        average_before=sum(one.before for one in both) / compared if compared else None,
        average_after=sum(one.after for one in both) / compared if compared else None,
        contributions={
            name: sum(one.points[name] for one in both) / compared if compared else 0.0
            for name in DIMENSIONS
        },
    )


def describe_totals(totals: ChangeTotals) -> list[str]:
    """Sentences on the totals.

    >>> describe_totals(ChangeTotals(9, 2, 1, 6, 0, 1, 1, 0, [], 70.0, 69.5, {}))
    ['2 fell, 1 rose and 6 moved by less than a point', '1 is new', 'the churn risk fell for 1']
    """
    sentences = [
        f"{totals.fell:,} fell, {totals.rose:,} rose and {totals.unchanged:,} moved by less than"
        " a point"
    ]
    apart = [
        f"{count:,} {'is' if count == 1 else 'are'} new" if what == "new" else f"{count:,} churned"
        for what, count in (("new", totals.new), ("churned", totals.churned))
        if count
    ]
    risks = [
        f"{what} for {count:,}"
        for what, count in (("rose", totals.churn_rose), ("fell", totals.churn_fell))
        if count
    ]
    if apart:
        sentences.append(" and ".join(apart))
    if risks:
        sentences.append(f"the churn risk {' and '.join(risks)}")
    return sentences


def describe_missing(runs: Runs, view: ChangeView) -> str:
    """Say why there is nothing to compare."""
    if runs.latest is None or runs.first is None:
        return "The daily run has not run yet."
    if runs.first == runs.latest:
        return f"There is one run so far, on {format_day(runs.latest)}; changes show from the next."
    asked = f"{plural(view.days, 'day')} before the last one"
    if view.since:
        asked = f"on {format_day(view.since)}"
    return f"There was no run {asked} or earlier: the first was on {format_day(runs.first)}."


@dataclass(frozen=True, slots=True)
class Bar:
    """What a dimension adds to the change of the mean, as a bar in units of 100 with 0 at 50.

    kind: its CSS class.
    """

    dimension: Dimension
    by: float
    start: float
    size: float
    kind: str


def draw_contributions(totals: ChangeTotals) -> list[Bar]:
    """Draw the contributions to the change of the mean; they sum to it as shown, in one decimal."""
    if totals.average_before is None or totals.average_after is None:
        return []
    change = round(totals.average_after, 1) - round(totals.average_before, 1)
    shown = round_to_sum([totals.contributions[name] for name in DIMENSIONS], change)
    far = max((abs(by) for by in shown), default=0.0) or 1.0
    return [
        Bar(
            name,
            by,
            50 - (50 * -by / far if by < 0 else 0),
            50 * abs(by) / far,
            "hurts" if by < 0 else "helps",
        )
        for name, by in zip(DIMENSIONS, shown, strict=True)
    ]
