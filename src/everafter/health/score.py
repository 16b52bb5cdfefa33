"""The health score: the spec's function on frames, and the same for one supplier."""

import math

import polars as pl

from everafter.health.model import Component, HealthMetrics, HealthScore
from everafter.playbook.model import DIMENSIONS, Health, Segment, Weights

VALUES = {
    "login": "quiet_days",
    "feature_adoption": "feature_adoption",
    "client_activity": "client_activity",
    "form_completion": "form_completion_rate",
    "journey_performance": "journey_open_rate",
}


def score_health(frame: pl.DataFrame, segments: dict[str, Segment], bands: Health) -> pl.DataFrame:
    """Score every row.

    With pace 1, the default segment and nothing missing this is the spec's calculateHealthScore. Season: silence counts
    `days × pace`, and the share of active couples is compared with what the pace lets one expect. Missing: a null value leaves
    its dimension out and the others are scaled up to 100; `coverage` says what share of the weights was known.

    Args:
        frame: columns segment, pace (0–1], quiet_days (days × pace), feature_adoption, client_activity,
            form_completion_rate, journey_open_rate (0–1); null is unknown.

    Returns:
        The frame with `<dimension>_points` and `<dimension>_max` (null and 0 where unknown), `health_score` (their sum, null when
        nothing is known), `risk_level`, `coverage`, `main_reason` (the dimension that costs most; 'none' when all are full).

    Source: spec, Health Score Calculation and Notes 1 and 2; docs/methods.md.
    """
    frame = frame.join(_terms(segments), on="segment", how="left", maintain_order="left")
    quiet = pl.col("quiet_days")
    thirds = (
        pl.when(quiet < pl.col("_all_days"))
        .then(3)
        .when(quiet < pl.col("_two_thirds_days"))
        .then(2)
        .when(quiet < pl.col("_third_days"))
        .then(1)
        .otherwise(0)
    )
    earned = {"login": pl.when(quiet.is_not_null()).then(pl.col("_login_weight") * thirds / 3)}
    for dimension in DIMENSIONS[1:]:
        value = pl.col(VALUES[dimension])
        if dimension == "client_activity":
            value = value / pl.col("pace")
        whole = pl.col(f"_{dimension}_weight")
        earned[dimension] = pl.when(value.is_not_null()).then(pl.min_horizontal(whole, value * whole))
    frame = frame.with_columns(expr.alias(f"{d}_points") for d, expr in earned.items())
    known = {d: pl.when(pl.col(f"{d}_points").is_not_null()).then(pl.col(f"_{d}_weight")).otherwise(0.0) for d in DIMENSIONS}
    frame = frame.with_columns(sum(known.values(), start=pl.lit(0.0)).alias("_known"))
    # exactly 1 when all is known: 100 ÷ 100 would differ from it by the rounding of the weights' sum
    scale = (
        pl.when(pl.all_horizontal(pl.col(f"{d}_points").is_not_null() for d in DIMENSIONS))
        .then(1.0)
        .otherwise(100 / pl.col("_known"))
    )
    frame = frame.with_columns(
        *((pl.col(f"{d}_points") * scale).alias(f"{d}_points") for d in DIMENSIONS),
        *(pl.when(known[d] > 0).then(known[d] * scale).otherwise(0.0).alias(f"{d}_max") for d in DIMENSIONS),
        (pl.col("_known") / 100).clip(0, 1).alias("coverage"),
    )
    # added in the spec's order, so that the floating-point sum is the spec's too
    total = sum((pl.col(f"{d}_points").fill_null(0.0) for d in DIMENSIONS[1:]), start=pl.col("login_points").fill_null(0.0))
    frame = frame.with_columns(pl.when(pl.col("_known") > 0).then(total).alias("health_score"))
    lost = {d: (pl.col(f"{d}_max") - pl.col(f"{d}_points")).fill_null(0.0) for d in DIMENSIONS}
    most = pl.max_horizontal(*lost.values())
    reason = pl.when(most <= 1e-9).then(pl.lit("none"))
    for dimension in DIMENSIONS:
        reason = reason.when(lost[dimension] == most).then(pl.lit(dimension))
    return frame.with_columns(risk_of(pl.col("health_score"), bands).alias("risk_level"), reason.alias("main_reason")).drop(
        "_known", "_all_days", "_two_thirds_days", "_third_days", *(f"_{d}_weight" for d in DIMENSIONS)
    )


def _terms(segments: dict[str, Segment]) -> pl.DataFrame:
    """A row per segment: its weights scaled to 100, and the days of silence of its login dimension."""
    rows: list[dict[str, str | float]] = []
    for name, segment in segments.items():
        total = sum(getattr(segment.weights, d) for d in DIMENSIONS)
        first, second, third = segment.login_days
        rows.append(
            {"segment": name, "_all_days": float(first), "_two_thirds_days": float(second), "_third_days": float(third)}
            | {f"_{d}_weight": 100 * float(getattr(segment.weights, d)) / total for d in DIMENSIONS}
        )
    return pl.DataFrame(rows)


def risk_of(score: pl.Expr, bands: Health) -> pl.Expr:
    """The spec's bands: under 40 critical, under 70 at risk, else healthy; null stays null."""
    return (
        pl.when(score.is_null())
        .then(None)
        .when(score < bands.critical_below)
        .then(pl.lit("critical"))
        .when(score < bands.at_risk_below)
        .then(pl.lit("at_risk"))
        .otherwise(pl.lit("healthy"))
    )


def calculate_health_score(
    metrics: HealthMetrics, *, pace: float = 1.0, weights: Weights | None = None, bands: Health | None = None
) -> HealthScore:
    """The spec's calculateHealthScore for one supplier, by the very rule that judges frames.

    Args:
        metrics: the five metrics; None is unknown.
        pace: activity expected now against the own peak, (0, 1]; 1 when nothing is known of the season.

    Raises:
        ValueError: a metric is not a finite number, or pace is outside (0, 1].
    """
    values = {name: getattr(metrics, name) for name in HealthMetrics.__dataclass_fields__}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: expected a finite number, or None for unknown")
    if not 0 < pace <= 1:
        raise ValueError(f"pace is {pace}: expected more than 0 and at most 1")
    login = metrics.login_frequency
    segment = Segment(title="", key_features=[], weights=weights or Weights())
    frame = pl.DataFrame(
        {
            "segment": ["default"],
            "pace": [float(pace)],
            "quiet_days": [None if login is None else login * pace],
            "feature_adoption": [metrics.feature_adoption],
            "client_activity": [metrics.client_activity],
            "form_completion_rate": [metrics.form_completion_rate],
            "journey_open_rate": [metrics.journey_performance],
        },
        schema_overrides=dict.fromkeys(VALUES.values(), pl.Float64),
    )
    row = score_health(frame, {"default": segment}, bands or Health()).row(0, named=True)
    return HealthScore(row["health_score"], row["risk_level"], read_components(row, login), row["coverage"])


def read_components(row: dict[str, float | None], login_days: float | None) -> dict[str, Component]:
    """The five components of a scored row; `login_days` is the value shown for login (days, before the season)."""
    return {
        d: Component(row[f"{d}_points"], row[f"{d}_max"] or 0.0, login_days if d == "login" else row[VALUES[d]]) for d in DIMENSIONS
    }
