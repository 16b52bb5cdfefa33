"""Scoring a frame of suppliers: season, signals, onboarding, health, churn. Pure."""

from datetime import datetime

import polars as pl

from everafter.activity.model import TIME
from everafter.learning.frame_rules import add_probability
from everafter.learning.model import HORIZONS, PROBABILITIES, ChurnModels
from everafter.onboarding.rules import add_onboarding
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS, Playbook
from everafter.scoring.churn_rules import add_level, score_churn
from everafter.scoring.health_rules import score_health
from everafter.scoring.platform import UNKNOWN_PLATFORM, PlatformState
from everafter.scoring.stage_rules import add_stage
from everafter.scoring.stopped_rules import add_season_as_of_feeds
from everafter.signals.rules import compute_signals

CHURN_MODEL = "rule-2"


def score_suppliers(
    inputs: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    feature_ids: dict[str, int],
    platform: PlatformState = UNKNOWN_PLATFORM,
) -> pl.DataFrame:
    """Score every supplier that has not cancelled.

    Args:
        inputs: rows of signals.queries, for a million suppliers or one.
        as_of: the moment scored; with a time zone.
        feature_ids: slots of the features in `feature_days`.
        platform: what is known of the platform as of that moment.

    Returns:
        A row per supplier: the columns of `signals.row_model.ScoredRow`.
    """
    frame = evaluate_signals(
        inputs.filter(pl.col("subscription").fill_null("active") != "cancelled"),
        playbook,
        as_of,
        feature_ids,
        platform,
    )
    frame = score_health(add_stage(frame), playbook.segments, playbook.health).with_columns(
        pl.lit(platform.feeds.as_of(*platform.feeds.dimension_types(name)), pl.Date).alias(
            f"{name}_as_of"
        )
        for name in DIMENSIONS
    )
    # A failed payment is a more urgent reason than any dimension.
    reason = pl.when("payment_past_due").then(pl.lit("billing")).otherwise("main_reason")
    frame = score_churn(frame.with_columns(reason.alias("main_reason")), playbook.churn)
    return add_level(add_probability(frame, platform.churn), playbook.churn)


def evaluate_signals(
    inputs: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    feature_ids: dict[str, int],
    platform: PlatformState = UNKNOWN_PLATFORM,
) -> pl.DataFrame:
    """Compute all that scoring starts from: season, signals and onboarding path, also of suppliers
    that have cancelled.

    Returns:
        A row per supplier: the columns of `signals.row_model.SignalRow`.
    """
    frame = add_season_as_of_feeds(inputs, playbook, as_of, platform)
    frame = compute_signals(frame, playbook, as_of, feature_ids, platform.feeds)
    return add_onboarding(frame, playbook, as_of, feature_ids)


def health_rows(scored: pl.DataFrame, as_of: datetime, playbook_version: int) -> pl.DataFrame:
    """The rows of customer_health. Suppliers without a score (nothing known) have none."""
    return scored.filter(pl.col("health_score").is_not_null()).select(
        "supplier_id",
        pl.col("health_score").floor().cast(pl.Int32).alias("health_score"),
        "risk_level",
        pl.col("last_login_at").alias("last_login"),
        (pl.col("feature_adoption") * 100).floor().cast(pl.Int32).alias("feature_adoption_score"),
        (pl.col("client_activity") * 100).floor().cast(pl.Int32).alias("client_engagement_score"),
        pl.lit(as_of).cast(TIME).alias("calculated_at"),
        pl.lit(as_of.date()).alias("calculated_on"),
        pl.col("health_score").alias("score"),
        *(f"{dimension}_points" for dimension in DIMENSIONS),
        "coverage",
        "season_index",
        "main_reason",
        pl.lit(playbook_version, pl.Int64).alias("playbook_version"),
        pl.col("vendor_type", "plan").fill_null(""),
    )


def churn_rows(scored: pl.DataFrame, as_of: datetime, models: ChurnModels) -> pl.DataFrame:
    """The rows of churn_risk."""
    model = models.index_model
    return scored.select(
        "supplier_id",
        pl.lit(as_of.date()).alias("calculated_on"),
        pl.lit(as_of).cast(TIME).alias("calculated_at"),
        pl.col("churn_risk").alias("risk"),
        pl.col("churn_level").alias("level"),
        pl.col("churn_base").cast(pl.Float32).alias("base"),
        *(pl.col(f"churn_{name}").cast(pl.Float32).alias(name) for name in CHURN_SIGNALS),
        pl.col("churn_evidence").cast(pl.Float32).alias("evidence"),
        pl.col("evidence_logins", "evidence_uses", "inactivity_probability").cast(pl.Float32),
        pl.lit(model.name if model else CHURN_MODEL).alias("model_version"),
        *(
            pl.col(PROBABILITIES[horizon]).cast(pl.Float32).alias(f"probability_{horizon}d")
            for horizon in HORIZONS
        ),
    )
