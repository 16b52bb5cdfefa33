"""The health score: the spec's function on frames, and the same for one supplier."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.playbook.model import DIMENSIONS, Dimension, Health, Segment, Weights
from everafter.scoring.model import Component, HealthMetrics, HealthScore

Floats = npt.NDArray[np.float64]

VALUES: dict[Dimension, str] = {
    "login": "days_inactive",
    "feature_adoption": "feature_adoption",
    "client_activity": "client_activity",
    "form_completion": "form_completion_rate",
    "journey_performance": "journey_open_rate",
}
"""The signal that each dimension measures."""

_SCORED: dict[Dimension, str] = {
    "login": "days_inactive",
    "feature_adoption": "card_feature_adoption",
    "client_activity": "card_client_activity",
    "form_completion": "card_form_completion",
    "journey_performance": "card_journey_performance",
}
"""The column that each dimension is scored by: the signal as the stage of the account takes it
(stage_rules.add_stage)."""


def score_health(frame: pl.DataFrame, segments: dict[str, Segment], bands: Health) -> pl.DataFrame:
    """Score every row.

    With season_index 1, the default segment and nothing missing this is the spec's
    calculateHealthScore. The season enters twice: each day of inactivity counts by its season
    index, and client activity is divided by that of the last 30 days. A null value leaves its
    dimension out; the others are scaled up to 100, and `coverage` says what share of the weights
    was known.

    Args:
        frame: segment; client_season, (0, 1], the season index of the last 30 days;
            days_inactive (season-adjusted days); card_feature_adoption, card_client_activity,
            card_form_completion, card_journey_performance, 0–1. Null means unknown.

    Returns:
        The frame with `<dimension>_points` (null: unknown) and `<dimension>_max` (0: unknown),
        `health_score` (their sum; null: nothing is known), `risk_level` (null likewise),
        `coverage` (0–1) and `main_reason` (the dimension that loses the most points; 'none': all
        are full).

    Source: spec, Health Score Calculation and Notes 1 and 2; docs/methods.md.
    """
    weights, days = _segment_terms(segments)
    position = {name: number for number, name in enumerate(segments)}
    chosen = np.fromiter(
        (position[name] for name in frame["segment"]), dtype=np.intp, count=frame.height
    )
    weight = weights[chosen]
    earned = _earned(frame, weight, days[chosen])
    known = ~np.isnan(earned)
    total = (weight * known).sum(axis=1)
    # Exactly 1 when all is known: 100 ÷ total would be off by the rounding of the sum.
    scale = np.where(known.all(axis=1), 1.0, 100 / np.where(total > 0, total, np.nan))[:, None]
    points, most = earned * scale, np.where(known, weight * scale, 0.0)
    score = np.where(known.any(axis=1), _sum_in_order(np.where(known, points, 0.0)), np.nan)
    lost = np.where(known, most - points, 0.0)
    reason = np.where(
        lost.max(axis=1, initial=0.0) > 1e-9, np.array(DIMENSIONS)[lost.argmax(axis=1)], "none"
    )
    return frame.with_columns(
        *(
            pl.Series(f"{name}_points", points[:, number], nan_to_null=True)
            for number, name in enumerate(DIMENSIONS)
        ),
        *(pl.Series(f"{name}_max", most[:, number]) for number, name in enumerate(DIMENSIONS)),
        pl.Series("health_score", score, nan_to_null=True),
        pl.Series("risk_level", _risk_levels(score, bands), dtype=pl.String),
        pl.Series("coverage", np.clip(total / 100, 0, 1)),
        pl.Series("main_reason", reason.tolist(), dtype=pl.String),
    )


def _segment_terms(segments: dict[str, Segment]) -> tuple[Floats, Floats]:
    """Per segment: the weights scaled to 100, and login_days."""
    weights = np.array(
        [[float(getattr(segment.weights, d)) for d in DIMENSIONS] for segment in segments.values()]
    )
    days = np.array([segment.login_days for segment in segments.values()], dtype=float)
    return 100 * weights / weights.sum(axis=1, keepdims=True), days


def _earned(frame: pl.DataFrame, weight: Floats, days: Floats) -> Floats:
    """Points per dimension, before known dimensions are scaled up; NaN where unknown."""
    values = frame.select(*_SCORED.values(), "client_season").cast(pl.Float64).to_numpy()
    inactive, client_season = values[:, 0], values[:, -1]
    thirds = np.select(
        [inactive < days[:, 0], inactive < days[:, 1], inactive < days[:, 2]], [3.0, 2.0, 1.0], 0.0
    )
    # Where logins are all that is known, a step would decide the band: the points fall evenly from
    # each step to the next.
    alone = np.isnan(values[:, 1:-1]).all(axis=1)
    thirds = np.where(alone, _even_thirds(inactive, days), thirds)
    earned = np.empty_like(weight)
    earned[:, 0] = np.where(np.isnan(inactive), np.nan, weight[:, 0] * thirds / 3)
    for number, dimension in enumerate(DIMENSIONS[1:], start=1):
        value = values[:, number]
        if dimension == "client_activity":
            value = value / client_season
        earned[:, number] = np.minimum(weight[:, number], value * weight[:, number])
    return earned


def _even_thirds(inactive: Floats, days: Floats) -> Floats:
    """The same thirds at the steps' days, with straight lines between them.

    >>> week = np.array([[3.0, 7, 14]])
    >>> _even_thirds(np.array([2.0, 3, 5, 7, 14, 21, 30]), week.repeat(7, axis=0)).tolist()
    [3.0, 3.0, 2.5, 2.0, 1.0, 0.0, 0.0]
    """
    first, second, third = days.T

    def used_up(start: Floats, length: Floats) -> Floats:
        return np.clip((inactive - start) / np.maximum(length, 1e-9), 0.0, 1.0)

    return 3.0 - (
        used_up(first, second - first)
        + used_up(second, third - second)
        + used_up(third, third - second)
    )


def _sum_in_order(points: Floats) -> Floats:
    """Sum the dimensions from left to right, so that the floating-point sum is the spec's too."""
    score = points[:, 0]
    for number in range(1, points.shape[1]):
        score = score + points[:, number]
    return score


def _risk_levels(score: Floats, bands: Health) -> list[str | None]:
    """'critical' below critical_below, 'at_risk' below at_risk_below, else 'healthy'; null for
    NaN."""
    level = np.select(
        [np.isnan(score), score < bands.critical_below, score < bands.at_risk_below], [0, 1, 2], 3
    )
    return np.array([None, "critical", "at_risk", "healthy"], dtype=object)[level].tolist()


def calculate_health_score(
    metrics: HealthMetrics,
    *,
    season_index: float = 1.0,
    weights: Weights | None = None,
    bands: Health | None = None,
) -> HealthScore:
    """The spec's calculateHealthScore for one supplier; it calls `score_health` on one row.

    Args:
        metrics: the five metrics; None is unknown.
        season_index: activity expected now against the supplier's own peak, (0, 1]; 1 when nothing
            is known of the season.

    Raises:
        ValueError: a metric is not a finite number, or season_index is outside (0, 1].
    """
    values = {name: getattr(metrics, name) for name in HealthMetrics.__dataclass_fields__}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: expected a finite number, or None for unknown")
    if not 0 < season_index <= 1:
        raise ValueError(f"season_index is {season_index}: expected more than 0 and at most 1")
    login = metrics.login_frequency
    segment = Segment(title="", key_features=[], weights=weights or Weights())
    frame = pl.DataFrame(
        {
            "segment": ["default"],
            "client_season": [float(season_index)],
            "days_inactive": [None if login is None else login * season_index],
            "card_feature_adoption": [metrics.feature_adoption],
            "card_client_activity": [metrics.client_activity],
            "card_form_completion": [metrics.form_completion_rate],
            "card_journey_performance": [metrics.journey_performance],
        },
        schema_overrides=dict.fromkeys(_SCORED.values(), pl.Float64),
    ).with_columns(
        pl.col(_SCORED[name]).alias(signal) for name, signal in VALUES.items() if name != "login"
    )
    row = score_health(frame, {"default": segment}, bands or Health()).row(0, named=True)
    return HealthScore(
        row["health_score"], row["risk_level"], read_components(row, login), row["coverage"]
    )


def read_components(row: Mapping[str, Any], login_days: float | None) -> dict[str, Component]:
    """The five components of a row of `score_health`.

    Args:
        login_days: the value shown for login: days since the last login, without the season.
    """
    return {
        name: Component(
            points=row[f"{name}_points"],
            max=row[f"{name}_max"],
            value=login_days if name == "login" else row[VALUES[name]],
            as_of=row.get(f"{name}_as_of"),
        )
        for name in DIMENSIONS
    }
