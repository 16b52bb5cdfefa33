"""The stage of an account, and what its health is measured by in that stage. Pure.

A supplier of a day cannot have used four features and have clients who answer. In the first 14 days
the steps of the onboarding path that are due stand for feature adoption, and what depends on
clients is too early to say; until day 90 a growing share of the key features is expected; after
that, and where the age of the account is unknown, the spec's function applies as it is."""

import polars as pl

from everafter.core.formatting import percent
from everafter.playbook.model import Dimension
from everafter.signals.row_model import Stage

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


def describe_adoption(
    stage: Stage, tenure_days: float | None, steps_done: int, steps_due: int | None
) -> str:
    """What feature adoption is compared with in a stage; empty: with all key features.

    >>> describe_adoption("growing", 53.4, 1, 5), describe_adoption("mature", 400, 5, 5)
    ('59 % of them are expected at this age', '')
    >>> describe_adoption("new", 2.0, 3, 2), describe_adoption("new", 0.1, 0, 0)
    ('in the first 14 days, 2 of 2 onboarding steps due count', 'no onboarding step is due yet')
    """
    if stage == "growing" and tenure_days is not None:
        return f"{percent(tenure_days / GROWN_DAYS)} of them are expected at this age"
    if stage == "new":
        if not steps_due:
            return "no onboarding step is due yet"
        done = min(steps_done, steps_due)
        return f"in the first {NEW_DAYS} days, {done} of {steps_due} onboarding steps due count"
    return ""


def is_too_early(stage: Stage, dimension: Dimension) -> bool:
    """Whether a dimension is left out because the account is too young for it."""
    return stage == "new" and dimension not in {"login", "feature_adoption"}
