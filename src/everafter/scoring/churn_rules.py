"""The churn risk index: the spec's five signals with open weights. Pure."""

import polars as pl

from everafter.playbook.model import CHURN_SIGNALS, Churn


def score_churn(frame: pl.DataFrame, churn: Churn) -> pl.DataFrame:
    """Add the churn risk index and what each signal contributes to it.

    Each signal is a severity from 0 to 1 times its weight (weights are scaled to sum to 1); the
    index is the sum. An unknown signal contributes null and adds nothing: a warning rests on what
    was seen.

    Args:
        frame: days_inactive, tickets_4w, feature_use_ratio, client_loss_rate, payment_past_due,
            days_past_due, payments_failed_13w; units and nulls as in the registry
            (signals/model.py).

    Returns:
        The frame with `churn_<signal>` (contribution; null: unknown), `churn_risk` (0–1) and
        `churn_level`: 'high' above `high_above` (the spec's 0.7), 'medium' above `medium_above`
        (0.4), else 'low'.

    Source: spec, Churn Prevention Workflow; docs/methods.md for where each severity is full.
    """
    total = sum(getattr(churn, name) for name in CHURN_SIGNALS)
    # A payment that failed today is half the severity, one unpaid for past_due_full_days all of it;
    # failures that recovered still count a little.
    overdue = (pl.col("days_past_due") / churn.past_due_full_days).clip(0, 1)
    recovered = (pl.col("payments_failed_13w") * 0.15).clip(0, 0.3)
    severities = {
        "login": (pl.col("days_inactive") / churn.login_full_days).clip(0, 1),
        "support_tickets": (pl.col("tickets_4w") / churn.tickets_full).clip(0, 1),
        "feature_usage": ((1 - pl.col("feature_use_ratio")) / churn.feature_drop_full).clip(0, 1),
        "client_churn": (pl.col("client_loss_rate") / churn.client_churn_full).clip(0, 1),
        "billing": pl.when("payment_past_due").then(0.5 + 0.5 * overdue).otherwise(recovered),
    }
    frame = frame.with_columns(
        (severities[name] * getattr(churn, name) / total).alias(f"churn_{name}")
        for name in CHURN_SIGNALS
    )
    contributions = [pl.col(f"churn_{name}").fill_null(0.0) for name in CHURN_SIGNALS]
    risk = pl.sum_horizontal(contributions).clip(0, 1)
    return frame.with_columns(risk.alias("churn_risk")).with_columns(
        pl.when(pl.col("churn_risk") > churn.high_above)
        .then(pl.lit("high"))
        .when(pl.col("churn_risk") > churn.medium_above)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low"))
        .alias("churn_level")
    )
