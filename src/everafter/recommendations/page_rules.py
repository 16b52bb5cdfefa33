"""Recommendations and their effects, as pages show them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from everafter.core.formatting import percent, plural, signed
from everafter.playbook.model import Dimension
from everafter.recommendations.model import MIN_TO_COMPARE, EffectAnswer, EffectConclusion

SHOWN = 5
"""Recommendations on a supplier's page."""

_CONCLUSIONS: dict[EffectConclusion, str] = {
    "helps": "helps",
    "hurts": "hurts",
    "not_yet_known": "not yet known",
    "too_few": f"too few: each group needs {MIN_TO_COMPARE}",
}

_WIDEST = 0.5  # a lift beyond 50 percentage points is drawn at the edge


@dataclass(frozen=True, slots=True)
class Interval:
    """A lift between −50 and +50 percentage points, in percent of the chart's width."""

    low: float
    high: float
    middle: float


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a recommendation over all vendor types, with those of single vendor types."""

    answer: EffectAnswer
    conclusion: str
    interval: Interval | None
    vendor_types: list["Effect"]


def describe_recommendations(
    recommendations: pl.DataFrame, vendor_type: str, dimension_labels: Mapping[Dimension, str]
) -> list[dict[str, Any]]:
    """The rows with `gain`, what the recommendation can win back, and `outcome`, what showing it
    did. Both are empty for one that improves no dimension.

    Args:
        recommendations: rows of `RECOMMENDATION_SCHEMA`.
        vendor_type: the title of the supplier's vendor type.
    """
    return [
        {
            **row,
            "gain": _describe_gain(row, dimension_labels[row["dimension"]].lower()),
            "outcome": _describe_effect(row["effect"], vendor_type),
        }
        if row["dimension"]
        else {**row, "gain": "", "outcome": ""}
        for row in recommendations.iter_rows(named=True)
    ]


def _describe_gain(row: Mapping[str, Any], dimension: str) -> str:
    missing, expected = row["missing_points"], row["expected_points"]
    if missing < 0.05:
        return f"No points missing in {dimension}."
    points = f"Points missing in {dimension}: {missing:.1f}."
    if expected <= 0:
        return f"{points} Not expected to win any back, so it comes after those that are."
    shown = f"{expected:.1f}" if expected >= 0.05 else "less than 0.1"
    return f"{points} Expected to win back: {shown}."


def _describe_effect(effect: Mapping[str, Any] | None, vendor_type: str) -> str:
    if effect is None:
        return "Effect: too few suppliers to compare."
    whom = vendor_type if effect["vendor_type"] else "All vendor types"
    treated = percent(effect["treated_improved"] / effect["treated"])
    control = percent(effect["control_improved"] / effect["control"])
    return (
        f"{whom}: {treated} of {plural(effect['treated'], 'supplier')} that saw it improved within"
        f" two weeks, {control} of the control group ({effect['control']:,})."
    )


def group_effects(answers: Sequence[EffectAnswer]) -> list[Effect]:
    """Each recommendation with the vendor types in which there are enough to compare, the highest
    expected share first.
    """
    vendor_types: dict[str, list[Effect]] = {}
    for answer in answers:
        if answer.vendor_type is not None and answer.lift is not None:
            vendor_types.setdefault(answer.id, []).append(_effect(answer, []))
    ranked = sorted(answers, key=lambda answer: -answer.expected_share)
    return [
        _effect(answer, vendor_types.get(answer.id, []))
        for answer in ranked
        if answer.vendor_type is None
    ]


def _effect(answer: EffectAnswer, vendor_types: list[Effect]) -> Effect:
    conclusion = _CONCLUSIONS[answer.conclusion]
    if answer.lift is None or answer.low is None or answer.high is None:
        return Effect(answer, conclusion, None, vendor_types)
    interval = Interval(_at(answer.low), _at(answer.high), _at(answer.lift))
    return Effect(answer, conclusion, interval, vendor_types)


def _at(lift: float) -> float:
    return round(50 + 50 * max(-1.0, min(1.0, lift / _WIDEST)), 2)


def describe_lift(answer: EffectAnswer) -> str:
    """`+12 (+3 to +21)`, in percentage points."""
    if answer.lift is None or answer.low is None or answer.high is None:
        return "–"
    low, high = signed(100 * answer.low), signed(100 * answer.high)
    return f"{signed(100 * answer.lift)} ({low} to {high})"
