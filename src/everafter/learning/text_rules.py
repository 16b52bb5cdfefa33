"""Sentences on probabilities and models, for pages and the command line. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from everafter.core.formatting import day, plural
from everafter.learning.model import (
    CALIBRATED_FROM,
    HORIZONS,
    KIND_LABELS,
    PROBABILITIES,
    ChurnModels,
    ChurnProbability,
    Kind,
    ModelVersion,
    Quality,
    SnapshotMonth,
)


def find_probabilities(row: Mapping[str, Any], models: ChurnModels) -> list[ChurnProbability]:
    """The probabilities of a scored row, the shorter horizon first.

    Args:
        models: those that the row was scored with.
    """
    return [
        ChurnProbability(horizon, row[PROBABILITIES[horizon]], parameters.base_rate, version.kind)
        for horizon, version in sorted(models.by_horizon.items())
        if (parameters := models.parameters(horizon)) and row[PROBABILITIES[horizon]] is not None
    ]


def describe_chance(probability: float, base_rate: float, horizon: int) -> str:
    """A probability in whole suppliers of a hundred, with the base rate.

    >>> describe_chance(0.0612, 0.031, 45)
    'about 6 in 100 suppliers like this cancel within 45 days; base rate 3'
    >>> describe_chance(0.004, 0.031, 90)
    'fewer than 1 in 100 suppliers like this cancel within 90 days; base rate 3'
    """
    return (
        f"{_per_hundred(probability, about=True)} in 100 suppliers like this cancel within"
        f" {horizon} days; base rate {_per_hundred(base_rate)}"
    )


def _per_hundred(share: float, *, about: bool = False) -> str:
    if share < 0.005:
        return "fewer than 1" if about else "under 1"
    if share > 0.995:
        return "more than 99" if about else "over 99"
    return f"{'about ' if about else ''}{share * 100:.0f}"


def describe_speaking(kind: Kind, horizon: int) -> str:
    """Which model speaks, as a headline.

    >>> describe_speaking("calibrated", 45), describe_speaking("index", 90)
    ('45 days: calibrated index', '90 days: no probability')
    """
    name = "no probability" if kind == "index" else KIND_LABELS[kind]
    return f"{horizon} days: {name}"


def describe_quality(quality: Quality, kind: Kind) -> list[str]:
    """How good out-of-time predictions were, a sentence each.

    >>> describe_quality(Quality(), "calibrated")
    ['No predictions out of time yet.']
    """
    if not quality.predictions:
        return ["No predictions out of time yet."]
    found = [
        f"{quality.predictions:,} predictions of {plural(quality.suppliers, 'supplier')}, of which"
        f" {quality.churned:,} churned."
    ]
    if quality.auc is not None:
        found.append(
            f"AUC {quality.auc:.2f}: a churned supplier was ranked above one that stayed in"
            f" {quality.auc * 100:.0f} of 100 pairs."
        )
    if kind == "index":
        return found
    if quality.log_loss is not None and quality.base_log_loss is not None:
        better = "lower" if quality.log_loss < quality.base_log_loss else "not lower"
        found.append(
            f"Log loss {quality.log_loss:.4f}, {better} than {quality.base_log_loss:.4f} by the"
            " base rate alone."
        )
    if quality.slope is not None:
        found.append(f"Calibration slope {quality.slope:.2f}: {describe_slope(quality.slope)}.")
    if quality.observed:
        found.append(
            f"Expected {quality.expected:.0f} churned, observed {quality.observed:,}"
            " (a supplier counts each month)."
        )
    return found


def describe_slope(slope: float) -> str:
    """What a calibration slope means.

    >>> describe_slope(0.5), describe_slope(1.1), describe_slope(1.6)
    ('differences between suppliers are overstated', 'as it should be', 'differences between \
suppliers are understated')
    """
    if slope < 0.8:
        return "differences between suppliers are overstated"
    return "as it should be" if slope <= 1.2 else "differences between suppliers are understated"


def describe_wait(months: Sequence[SnapshotMonth], now: datetime) -> str:
    """What has to happen before anything can be learned; empty: enough has."""
    finished = [one for one in months if one.finished_at is not None]
    if not finished:
        return (
            "There are no snapshots yet. The first daily run of a month takes them; everafter"
            " churn backfill takes those of past months from the stored events."
        )
    first = finished[0].snapshot_at + timedelta(days=HORIZONS[0])
    if first > now:
        return (
            f"The first predictions can be compared with what happened on {day(first)}, when"
            f" {HORIZONS[0]} days are over. No probability is shown until then."
        )
    return ""


def find_speaking(versions: Sequence[ModelVersion]) -> Mapping[int, ModelVersion]:
    """The version that speaks for each horizon that this program knows."""
    return {
        one.horizon: one
        for one in versions
        if one.promoted_at is not None and one.horizon in HORIZONS
    }


def describe_need(churned: int) -> str:
    """How far the first model is.

    >>> describe_need(3)
    '3 of 5 churned suppliers'
    """
    return f"{churned:,} of {CALIBRATED_FROM} churned suppliers"
