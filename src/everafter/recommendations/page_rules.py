"""Next steps and what they do, as pages show them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from everafter.core.formatting import percent, plural, signed
from everafter.playbook.model import Dimension
from everafter.recommendations.model import MIN_TO_COMPARE, EffectAnswer, EffectConclusion

SHOWN = 5
"""Next steps on a supplier's page."""

_CONCLUSIONS: dict[EffectConclusion, str] = {
    "helps": "helps",
    "hurts": "does harm",
    "not_yet_known": "not yet known",
    "too_few": f"too few to say: {MIN_TO_COMPARE} are needed on either side",
}

_WIDEST = 0.5  # a difference beyond 50 points of a hundred ends at the edge


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference drawn between −50 and +50 points of a hundred; all of it in percent of the
    width."""

    low: float
    high: float
    middle: float


@dataclass(frozen=True, slots=True)
class Effect:
    """One recommendations and what came of it over all vendor types, with its vendor types below
    it."""

    answer: EffectAnswer
    conclusion: str
    interval: Interval | None
    vendor_types: list["Effect"]


def shown_steps(
    recommendations: pl.DataFrame, vendor_type: str, dimension_labels: Mapping[Dimension, str]
) -> list[dict[str, Any]]:
    """Next steps with, in words, what each can win back (`gain`) and what came of offering it
    (`worked`); both empty where it serves no dimension.

    Args: recommendations: rows of `RECOMMENDATION_SCHEMA`. vendor type: how the supplier's vendor
        type is called."""
    return [
        {
            **row,
            "gain": _describe_gain(row, dimension_labels[row["closes"]].lower()),
            "worked": _describe_worked(row["worked"], vendor_type),
        }
        if row["closes"]
        else {**row, "gain": "", "worked": ""}
        for row in recommendations.iter_rows(named=True)
    ]


def _describe_gain(row: Mapping[str, Any], dimension: str) -> str:
    missing, expected = row["closes_points"], row["expected_points"]
    if missing < 0.05:
        return f"Nothing is missing in {dimension}."
    return f"{missing:.1f} points are missing in {dimension}; offering this can be expected to win back {expected:.1f}."


def _describe_worked(worked: Mapping[str, Any] | None, vendor_type: str) -> str:
    if worked is None:
        return "What offering it does: too few to say."
    whom = vendor_type if worked["vendor_type"] else "All vendor types"
    treated, control = (
        percent(worked["better"] / worked["treated"]),
        percent(worked["control_improved"] / worked["control"]),
    )
    numbers = f"of {plural(worked['treated'], 'supplier')} offered it {treated} were better after two weeks"
    return f"{whom}: {numbers}, of {worked['control']:,} not offered it {control}."


def group_effects(answers: Sequence[EffectAnswer]) -> list[Effect]:
    """Each recommendations with the vendor types in which there are enough to say."""
    vendor_types: dict[str, list[Effect]] = {}
    for answer in answers:
        if answer.vendor_type is not None and answer.difference is not None:
            vendor_types.setdefault(answer.id, []).append(_effect(answer, []))
    return [
        _effect(answer, vendor_types.get(answer.id, []))
        for answer in answers
        if answer.vendor_type is None
    ]


def _effect(answer: EffectAnswer, vendor_types: list[Effect]) -> Effect:
    conclusion = _CONCLUSIONS[answer.conclusion]
    if answer.difference is None or answer.low is None or answer.high is None:
        return Effect(answer, conclusion, None, vendor_types)
    interval = Interval(_at(answer.low), _at(answer.high), _at(answer.difference))
    return Effect(answer, conclusion, interval, vendor_types)


def _at(difference: float) -> float:
    return round(50 + 50 * max(-1.0, min(1.0, difference / _WIDEST)), 2)


def describe_difference(answer: EffectAnswer) -> str:
    """`+12 (+3 to +21)`, in points of a hundred."""
    if answer.difference is None or answer.low is None or answer.high is None:
        return "–"
    return f"{signed(100 * answer.difference)} ({signed(100 * answer.low)} to {signed(100 * answer.high)})"
