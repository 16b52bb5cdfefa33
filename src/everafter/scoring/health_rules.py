"""The health score: the spec's function on frames, and the same for one supplier."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.playbook.model import DIMENSIONS, Health, Segment, Weights
from everafter.scoring.model import Component, HealthMetrics, HealthScore

Floats = npt.NDArray[np.float64]

VALUES = {
    "login": "days_inactive",
    "feature_adoption": "feature_adoption",
    "client_activity": "client_activity",
    "form_completion": "form_completion_rate",
    "journey_performance": "journey_open_rate",
}


def score_health(frame: pl.DataFrame, segments: dict[str, Segment], bands: Health) -> pl.DataFrame:
    """Score every row.

    With season index 1, the default segment and nothing missing this is the spec's
    calculateHealthScore. Season: silence counts `days × season_index`, and the share of active
    clients is compared with what the season index lets one expect. Missing: a null value leaves its
    dimension out and the others are scaled up to 100; `coverage` says what share of the weights was
    known.

    Args: frame: columns segment, season index (0–1], days_inactive (days × season index),
        feature_adoption, client_activity, form_completion_rate, journey_open_rate (0–1); null is
        unknown.

    Returns: The frame with `<dimension>_points` and `<dimension>_max` (null and 0 where unknown),
        `health_score` (their sum, null when nothing is known), `risk_level`, `coverage`,
        `main_reason` (the dimension that costs most; 'none' when all are full).

    Source: spec, Health Score Calculation and Notes 1 and 2; docs/methods.md.
    """
    weights, days = _terms(segments)
    row = {name: number for number, name in enumerate(segments)}
    chosen = np.fromiter(
        (row[name] for name in frame["segment"]), dtype=np.intp, count=frame.height
    )
    weight = weights[chosen]
    earned = _earned(frame, weight, days[chosen])
    known = ~np.isnan(earned)
    total = (weight * known).sum(axis=1)
    # exactly 1 when all is known: 100 ÷ 100 would differ from it by the rounding of the weights'
    # sum
    scale = np.where(known.all(axis=1), 1.0, 100 / np.where(total > 0, total, np.nan))[:, None]
    points, most = earned * scale, np.where(known, weight * scale, 0.0)
    something = known.any(axis=1)
    counted = np.where(known, points, 0.0)
    score = counted[:, 0]
    for number in range(
        1, len(DIMENSIONS)
    ):  # added in the spec's order, so that the floating-point sum is the spec's too
        score = score + counted[:, number]
    score = np.where(something, score, np.nan)
    lost = np.where(known, most - points, 0.0)
    reason = np.where(
        lost.max(axis=1, initial=0.0) > 1e-9, np.array(DIMENSIONS)[lost.argmax(axis=1)], "none"
    )
    return frame.with_columns(
        *(
            pl.Series(f"{d}_points", points[:, number], nan_to_null=True)
            for number, d in enumerate(DIMENSIONS)
        ),
        *(pl.Series(f"{d}_max", most[:, number]) for number, d in enumerate(DIMENSIONS)),
        pl.Series("health_score", score, nan_to_null=True),
        pl.Series("risk_level", _bands(score, bands), dtype=pl.String),
        pl.Series("coverage", np.clip(total / 100, 0, 1)),
        pl.Series("main_reason", reason.tolist(), dtype=pl.String),
    )


def _terms(segments: dict[str, Segment]) -> tuple[Floats, Floats]:
    """Per segment: the weights scaled to 100, and the days of silence under which login earns all,
    two thirds, a third."""
    weights = np.array(
        [[float(getattr(segment.weights, d)) for d in DIMENSIONS] for segment in segments.values()]
    )
    return 100 * weights / weights.sum(axis=1, keepdims=True), np.array(
        [segment.login_days for segment in segments.values()], dtype=float
    )


def _earned(frame: pl.DataFrame, weight: Floats, days: Floats) -> Floats:
    """The points of each dimension before what is missing is left out; NaN where unknown."""
    values = frame.select(*VALUES.values(), "season_index").cast(pl.Float64).to_numpy()
    quiet, season_index = values[:, 0], values[:, -1]
    thirds = np.select(
        [quiet < days[:, 0], quiet < days[:, 1], quiet < days[:, 2]], [3.0, 2.0, 1.0], 0.0
    )
    earned = np.empty_like(weight)
    earned[:, 0] = np.where(np.isnan(quiet), np.nan, weight[:, 0] * thirds / 3)
    for number, dimension in enumerate(DIMENSIONS[1:], start=1):
        value = (
            values[:, number] / season_index
            if dimension == "client_activity"
            else values[:, number]
        )
        earned[:, number] = np.minimum(weight[:, number], value * weight[:, number])
    return earned


def _bands(score: Floats, bands: Health) -> list[str | None]:
    """The spec's bands: under 40 critical, under 70 at risk, else healthy; unknown stays null."""
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
    """The spec's calculateHealthScore for one supplier, by the very rule that scores frames.

    Args: metrics: the five metrics; None is unknown. season index: activity expected now against
        the own peak, (0, 1]; 1 when nothing is known of the season.

    Raises:
        ValueError: a metric is not a finite number, or season index is outside (0, 1].
    """
    values = {name: getattr(metrics, name) for name in HealthMetrics.__dataclass_fields__}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: expected a finite number, or None for unknown")
    if not 0 < season_index <= 1:
        raise ValueError(f"season index is {season_index}: expected more than 0 and at most 1")
    login = metrics.login_frequency
    segment = Segment(title="", key_features=[], weights=weights or Weights())
    frame = pl.DataFrame(
        {
            "segment": ["default"],
            "season_index": [float(season_index)],
            "days_inactive": [None if login is None else login * season_index],
            "feature_adoption": [metrics.feature_adoption],
            "client_activity": [metrics.client_activity],
            "form_completion_rate": [metrics.form_completion_rate],
            "journey_open_rate": [metrics.journey_performance],
        },
        schema_overrides=dict.fromkeys(VALUES.values(), pl.Float64),
    )
    row = score_health(frame, {"default": segment}, bands or Health()).row(0, named=True)
    return HealthScore(
        row["health_score"], row["risk_level"], read_components(row, login), row["coverage"]
    )


def read_components(row: dict[str, float | None], login_days: float | None) -> dict[str, Component]:
    """The five components of a scored row; `login_days` is the value shown for login (days, before
    the season)."""
    return {
        d: Component(
            row[f"{d}_points"],
            row[f"{d}_max"] or 0.0,
            login_days if d == "login" else row[VALUES[d]],
        )
        for d in DIMENSIONS
    }
