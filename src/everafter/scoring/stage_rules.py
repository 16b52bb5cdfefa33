"""The stage of an account, and what its health is measured by in that stage. Pure.

A supplier of a day cannot have used four features and have clients who answer. In the first 14 days
the steps of the onboarding path that are due stand for feature adoption, and what depends on
clients is too early to say; until day 90 a growing share of the key features is expected; after
that, and where the age of the account is unknown, the spec's function applies as it is."""

import polars as pl

NEW_DAYS = 14
GROWN_DAYS = 90
DORMANT_DAYS = 90
"""Calendar days without a login."""
DORMANT_SEASON_DAYS = 28
"""Season-adjusted days without a login that it also takes: a supplier who is away every winter is
not dormant."""


def add_stage(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the stage and the values that its health is measured by.

    Args:
        frame: tenure_days, days_since_login, days_inactive, feature_adoption, client_activity,
            form_completion_rate, journey_open_rate, onboarding_steps_done, onboarding_steps_due;
            units and nulls as in the registry (signals/model.py).

    Returns:
        The frame with `stage` and `card_<dimension>`, the values of feature_adoption,
        client_activity, form_completion and journey_performance that are scored, 0–1; null:
        unknown, or too early to say.
    """
    tenure = pl.col("tenure_days")
    is_dormant = (
        (pl.col("days_since_login") >= DORMANT_DAYS)
        & (pl.col("days_inactive") >= DORMANT_SEASON_DAYS)
        & (tenure.is_null() | (tenure >= GROWN_DAYS))
    )
    stage = (
        pl.when(is_dormant.fill_null(False))
        .then(pl.lit("dormant"))
        .when(tenure < NEW_DAYS)
        .then(pl.lit("new"))
        .when(tenure < GROWN_DAYS)
        .then(pl.lit("growing"))
        .otherwise(pl.lit("mature"))
    )
    due = pl.col("onboarding_steps_due")
    progress = pl.when(due > 0).then(pl.min_horizontal("onboarding_steps_done", due) / due)
    expected = tenure / GROWN_DAYS
    adoption = (
        pl.when(pl.col("stage") == "new")
        .then(pl.coalesce(progress, pl.lit(1.0)))
        .when(pl.col("stage") == "growing")
        .then((pl.col("feature_adoption") / expected).clip(upper_bound=1.0))
        .otherwise("feature_adoption")
    )
    is_early = pl.col("stage") == "new"
    return frame.with_columns(stage.alias("stage")).with_columns(
        pl.when(pl.col("feature_adoption").is_not_null())
        .then(adoption)
        .alias("card_feature_adoption"),
        *(
            pl.when(~is_early).then(pl.col(value)).alias(f"card_{dimension}")
            for dimension, value in (
                ("client_activity", "client_activity"),
                ("form_completion", "form_completion_rate"),
                ("journey_performance", "journey_open_rate"),
            )
        ),
    )
