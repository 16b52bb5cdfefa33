"""Next steps and what they do, as pages show them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from everafter.core.words import percent, plural, signed
from everafter.playbook.model import Dimension
from everafter.recommendations.model import LEAST_TO_SAY, EffectAnswer, EffectVerdict

SHOWN = 5
"""Next steps on a supplier's page."""

_VERDICTS: dict[EffectVerdict, str] = {
    "helps": "helps",
    "hurts": "does harm",
    "not_yet_known": "not yet known",
    "too_few": f"too few to say: {LEAST_TO_SAY} are needed on either side",
}

_WIDEST = 0.5  # a difference beyond 50 points of a hundred ends at the edge


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference drawn between −50 and +50 points of a hundred; all of it in percent of the width."""

    low: float
    high: float
    middle: float


@dataclass(frozen=True, slots=True)
class Effect:
    """One advice and what came of it over all trades, with its trades below it."""

    answer: EffectAnswer
    verdict: str
    interval: Interval | None
    trades: list["Effect"]


def shown_steps(advice: pl.DataFrame, trade: str, dimension_words: Mapping[Dimension, str]) -> list[dict[str, Any]]:
    """Next steps with, in words, what each can win back (`gain`) and what came of offering it (`worked`); both empty where it
    serves no dimension.

    Args:
        advice: rows of `ADVICE_SCHEMA`. trade: how the supplier's trade is called.
    """
    return [
        {**row, "gain": _say_gain(row, dimension_words[row["closes"]].lower()), "worked": _say_worked(row["worked"], trade)}
        if row["closes"]
        else {**row, "gain": "", "worked": ""}
        for row in advice.iter_rows(named=True)
    ]


def _say_gain(row: Mapping[str, Any], dimension: str) -> str:
    missing, expected = row["closes_points"], row["expected_points"]
    if missing < 0.05:
        return f"Nothing is missing in {dimension}."
    return f"{missing:.1f} points are missing in {dimension}; offering this can be expected to win back {expected:.1f}."


def _say_worked(worked: Mapping[str, Any] | None, trade: str) -> str:
    if worked is None:
        return "What offering it does: too few to say."
    whom = trade if worked["vendor_type"] else "All trades"
    told, untold = percent(worked["better"] / worked["told"]), percent(worked["untold_better"] / worked["untold"])
    numbers = f"of {plural(worked['told'], 'supplier')} offered it {told} were better after two weeks"
    return f"{whom}: {numbers}, of {worked['untold']:,} not offered it {untold}."


def group_effects(answers: Sequence[EffectAnswer]) -> list[Effect]:
    """Each advice with the trades in which there are enough to say."""
    trades: dict[str, list[Effect]] = {}
    for answer in answers:
        if answer.vendor_type is not None and answer.difference is not None:
            trades.setdefault(answer.id, []).append(_effect(answer, []))
    return [_effect(answer, trades.get(answer.id, [])) for answer in answers if answer.vendor_type is None]


def _effect(answer: EffectAnswer, trades: list[Effect]) -> Effect:
    verdict = _VERDICTS[answer.verdict]
    if answer.difference is None or answer.low is None or answer.high is None:
        return Effect(answer, verdict, None, trades)
    interval = Interval(_at(answer.low), _at(answer.high), _at(answer.difference))
    return Effect(answer, verdict, interval, trades)


def _at(difference: float) -> float:
    return round(50 + 50 * max(-1.0, min(1.0, difference / _WIDEST)), 2)


def say_difference(answer: EffectAnswer) -> str:
    """`+12 (+3 to +21)`, in points of a hundred."""
    if answer.difference is None or answer.low is None or answer.high is None:
        return "–"
    return f"{signed(100 * answer.difference)} ({signed(100 * answer.low)} to {signed(100 * answer.high)})"
