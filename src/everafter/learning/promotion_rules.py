"""Which model speaks, and why not the others. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from everafter.core.formatting import plural, signed
from everafter.learning.evaluation_rules import FEWEST
from everafter.learning.model import (
    CALIBRATED_FROM,
    HORIZONS,
    KIND_LABELS,
    LOGISTIC_FROM,
    Fitted,
    Kind,
    Metrics,
    Quality,
)
from everafter.learning.training_rules import is_miscalibrated


@dataclass(frozen=True, slots=True)
class Before:
    """What the training of the month before found, for one horizon.

    Attributes:
        speaking: the model that spoke since.
        better: models whose gain over the calibrated index was above zero beyond chance.
    """

    speaking: Kind = "index"
    better: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model speaks for a horizon, and a sentence on each model."""

    speaking: Kind
    reasons: Mapping[Kind, str] = field(default_factory=dict[Kind, str])


def choose(models: Sequence[Fitted], before: Before) -> Choice:
    """Choose the model that speaks for one horizon.

    The calibrated index speaks while it beats the base rate out of time. The logistic model takes
    its place when it was better beyond chance at the trainings of two consecutive months, and keeps
    it while it is better at all. Trees never speak. Without any, the index speaks alone.
    """
    by_kind = {one.kind: one for one in models}
    calibrated, logistic = by_kind["calibrated"], by_kind["logistic"]
    problem = find_problem(calibrated, CALIBRATED_FROM)
    logistic_problem = find_problem(logistic, LOGISTIC_FROM) or _find_logistic_problem(
        logistic.metrics, before
    )
    speaking: Kind = "index" if problem else "calibrated"
    if not logistic_problem:
        speaking = "logistic"
    reasons: dict[Kind, str] = {
        "index": _describe_index(speaking, calibrated.horizon),
        "calibrated": problem or _describe_calibrated(calibrated.metrics, speaking),
        "logistic": logistic_problem or _describe_logistic(logistic.metrics),
        "trees": _describe_trees(by_kind["trees"]),
    }
    return Choice(speaking, reasons)


def find_better(models: Iterable[Fitted]) -> frozenset[Kind]:
    """Models whose gain over the calibrated index is above zero beyond chance."""
    return frozenset(
        one.kind
        for one in models
        if one.metrics.rival_low is not None and one.metrics.rival_low > 0
    )


def find_problem(fitted: Fitted, least: int) -> str:
    """Why a model cannot speak, as a sentence; empty: it can.

    Args:
        least: churned suppliers that it needs.
    """
    metrics, quality, days = fitted.metrics, fitted.metrics.untouched, fitted.horizon
    if metrics.churned < least:
        return (
            f"Needs {plural(least, 'churned supplier')} whose {days} days are over; so far"
            f" {metrics.churned}."
        )
    if quality.gain is None:
        found = plural(quality.churned, "supplier")
        return (
            f"Not measured yet: {found} churned among untouched predictions out of time, and"
            f" {FEWEST} are needed."
        )
    if quality.gain <= 0:
        return f"Predicts no better than the base rate: log loss {_losses(quality)}."
    if is_miscalibrated(quality):
        extreme = "too extreme" if (quality.slope or 0) < 1 else "too close to the base rate"
        return (
            f"Its probabilities are {extreme}: calibration slope {_slope(quality)}, and"
            " recalibration does not help."
        )
    return ""


def _find_logistic_problem(metrics: Metrics, before: Before) -> str:
    gain, low = metrics.rival_gain, metrics.rival_low
    if gain is None or low is None:
        return (
            "Not compared yet: too few suppliers churned among predictions that both models made."
        )
    if before.speaking == "logistic":
        return "" if gain > 0 else f"Was promoted, and is no longer better: {_gain(metrics)}."
    if low <= 0:
        return f"Not better than the calibrated index beyond chance: {_gain(metrics)}."
    if "logistic" not in before.better:
        return (
            f"Better than the calibrated index: {_gain(metrics)}. It is used if it is so again at"
            " next month’s training."
        )
    return ""


def _describe_index(speaking: Kind, horizon: int) -> str:
    if speaking == "index":
        return (
            "No probability is shown, because no model was found better than the base rate yet. The"
            " churn risk and its levels do not need one."
        )
    if speaking == "logistic" and horizon == HORIZONS[0]:
        return (
            "The logistic model has taken its place; as many suppliers are in each band as before."
        )
    return f"The bands rest on it; the probability is that of the {KIND_LABELS[speaking]}."


def _describe_calibrated(metrics: Metrics, speaking: Kind) -> str:
    quality = metrics.untouched
    found = f"log loss {_losses(quality)}, calibration slope {_slope(quality)}"
    again = " after recalibration" if metrics.is_recalibrated else ""
    if speaking == "calibrated":
        return f"In use: it predicts better than the base rate ({found}{again})."
    return f"Better than the base rate ({found}{again}), and the logistic model is better than it."


def _describe_logistic(metrics: Metrics) -> str:
    return f"In use: better than the calibrated index: {_gain(metrics)}."


def _describe_trees(fitted: Fitted) -> str:
    metrics = fitted.metrics
    if metrics.churned < LOGISTIC_FROM:
        return (
            f"Measured from {LOGISTIC_FROM} churned suppliers on, for comparison only; so far"
            f" {metrics.churned}."
        )
    if fitted.problem == "missing":
        return (
            "Not measured, because scikit-learn is not installed (the extra everafter[trees])."
            " It is for comparison only."
        )
    if metrics.rival_gain is None:
        return "Not compared yet: too few suppliers churned. It is for comparison only."
    return f"For comparison only, to show what could be gained: {_gain(metrics)}."


def _losses(quality: Quality) -> str:
    return f"{quality.log_loss or 0:.4f} against {quality.base_log_loss or 0:.4f}"


def _slope(quality: Quality) -> str:
    if quality.slope is None:
        return "unknown"
    return (
        f"{quality.slope:.2f} (95 %: {quality.slope_low or 0:.2f} to {quality.slope_high or 0:.2f})"
    )


def _gain(metrics: Metrics) -> str:
    """
    >>> _gain(Metrics(rival_gain=0.0012, rival_low=-0.0003, rival_high=0.0027))
    'gain in log loss +0.0012 (95 %: −0.0003 to +0.0027)'
    """
    gain, low, high = (
        signed(value or 0.0, 4)
        for value in (metrics.rival_gain, metrics.rival_low, metrics.rival_high)
    )
    return f"gain in log loss {gain} (95 %: {low} to {high})"
