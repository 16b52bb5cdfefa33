"""The churn risk index: evidence from the spec's five signals, in the open. Pure.

Logins and feature use enter as decline evidence (seasonality.decline_rules), the others as a
severity from 0 to 1 times their weight. The sum is the evidence; the index is a logistic function
of it, in which 0.4 and 1.0 fall on the spec's bands of 0.4 and 0.7."""

import polars as pl

from everafter.learning.rules import INDEX_SHIFT, INDEX_SLOPE
from everafter.playbook.model import CHURN_SIGNALS, Churn

EVIDENCE_OF_WEIGHTS = 6.0
"""Evidence that a signal with the whole weight would give at full severity."""


def risk_of_evidence(evidence: pl.Expr) -> pl.Expr:
    """The index at this evidence.

    >>> evidence = pl.DataFrame({"z": [0.0, 0.4, 1.0, -1.0]})
    >>> evidence.select(risk_of_evidence(pl.col("z")).round(6)).to_series().to_list()
    [0.2227, 0.398912, 0.700567, 0.033895]
    """
    return 1 / (1 + (-(INDEX_SLOPE * evidence + INDEX_SHIFT)).exp())


def score_churn(frame: pl.DataFrame, churn: Churn) -> pl.DataFrame:
    """Add the churn risk index and what each signal contributes to it.

    The index without evidence (`churn_base`) and the contributions sum to the index: each signal
    has the share of the difference that it has of the evidence. A contribution is negative where
    the signal speaks against a decline. An unknown signal contributes null and adds nothing; if
    logins or feature use are unknown, the other has the weight of both.

    Args:
        frame: evidence_logins, evidence_uses, tickets_4w, client_loss_rate, payment_past_due,
            days_past_due, payments_failed_13w; units and nulls as in the registry
            (signals/model.py).

    Returns:
        The frame with `churn_<signal>` (contribution; null: unknown), `churn_base`,
        `churn_evidence`, `evidence_billing`, `evidence_tickets` and `evidence_clients` (the parts
        of the evidence besides logins and feature use; null: unknown) and `churn_risk` (0–1).

    Source: spec, Churn Prevention Workflow; docs/methods.md.
    """
    parts = _evidence(churn)
    evidence = pl.sum_horizontal(part.fill_null(0.0) for part in parts.values())
    frame = frame.with_columns(
        *(part.alias(f"churn_{name}") for name, part in parts.items()),
        parts["billing"].alias("evidence_billing"),
        parts["support_tickets"].alias("evidence_tickets"),
        parts["client_churn"].alias("evidence_clients"),
        evidence.alias("churn_evidence"),
    )
    risk, base = risk_of_evidence(pl.col("churn_evidence")), risk_of_evidence(pl.lit(0.0))
    # the slope of the chord; where there is no evidence, of the tangent
    chord = (
        pl.when(pl.col("churn_evidence").abs() > 1e-9)
        .then((risk - base) / pl.col("churn_evidence"))
        .otherwise(INDEX_SLOPE * base * (1 - base))
    )
    return frame.with_columns(
        *(pl.col(f"churn_{name}") * chord for name in CHURN_SIGNALS),
        base.alias("churn_base"),
        risk.alias("churn_risk"),
    )


def add_level(frame: pl.DataFrame, churn: Churn) -> pl.DataFrame:
    """Add `churn_level`, by `churn_risk`: 'high' above `high_above` (the spec's 0.7), 'medium'
    above `medium_above` (0.4), else 'low'."""
    level = (
        pl.when(pl.col("churn_risk") > churn.high_above)
        .then(pl.lit("high"))
        .when(pl.col("churn_risk") > churn.medium_above)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low"))
    )
    return frame.with_columns(level.alias("churn_level"))


def _evidence(churn: Churn) -> dict[str, pl.Expr]:
    """The evidence of each signal; null: unknown."""
    total = sum(getattr(churn, name) for name in CHURN_SIGNALS)
    # A payment that failed today is half the severity, one unpaid for past_due_full_days all of it;
    # failures that recovered still count a little.
    overdue = (pl.col("days_past_due") / churn.past_due_full_days).clip(0, 1)
    recovered = (pl.col("payments_failed_13w") * 0.15).clip(0, 0.3)
    severities = {
        "support_tickets": (pl.col("tickets_4w") / churn.tickets_full).clip(0, 1),
        "client_churn": (pl.col("client_loss_rate") / churn.client_churn_full).clip(0, 1),
        "billing": pl.when("payment_past_due").then(0.5 + 0.5 * overdue).otherwise(recovered),
    }
    evidence = {
        name: severity * EVIDENCE_OF_WEIGHTS * getattr(churn, name) / total
        for name, severity in severities.items()
    }
    logins, uses = pl.col("evidence_logins"), pl.col("evidence_uses")
    share = churn.login / max(churn.login + churn.feature_usage, 1e-9)
    evidence["login"] = logins * pl.when(uses.is_null()).then(1.0).otherwise(share)
    evidence["feature_usage"] = uses * pl.when(logins.is_null()).then(1.0).otherwise(1 - share)
    return {name: evidence[name] for name in CHURN_SIGNALS}
