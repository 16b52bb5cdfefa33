"""The churn risk index: bands, the value at which each signal is full, and its billing part."""

from typing import Any

import polars as pl
import pytest

from everafter.playbook.model import CHURN_SIGNALS, Churn
from everafter.scoring.churn_rules import score_churn

NOTHING: dict[str, Any] = {
    "days_inactive": None,
    "tickets_4w": 0,
    "feature_use_ratio": None,
    "client_loss_rate": None,
    "payment_past_due": False,
    "days_past_due": None,
    "payments_failed_13w": 0,
}
SCHEMA = {
    "days_inactive": pl.Float64(),
    "tickets_4w": pl.Int64(),
    "feature_use_ratio": pl.Float64(),
    "client_loss_rate": pl.Float64(),
    "payment_past_due": pl.Boolean(),
    "days_past_due": pl.Float64(),
    "payments_failed_13w": pl.Int64(),
}


def churn(policy: Churn | None = None, **signals: Any) -> dict[str, Any]:
    frame = pl.DataFrame([NOTHING | signals], schema=SCHEMA)
    return score_churn(frame, policy or Churn()).row(0, named=True)


@pytest.mark.parametrize(
    ("name", "half", "full", "beyond"),
    [
        ("login", {"days_inactive": 10.5}, {"days_inactive": 21.0}, {"days_inactive": 99.0}),
        ("support_tickets", {"tickets_4w": 2}, {"tickets_4w": 4}, {"tickets_4w": 9}),
        ("feature_usage", {"feature_use_ratio": 0.65}, {"feature_use_ratio": 0.3}, {"feature_use_ratio": 0.0}),
        ("client_churn", {"client_loss_rate": 0.125}, {"client_loss_rate": 0.25}, {"client_loss_rate": 1.0}),
    ],
)  # fmt: skip
def test_a_signal_counts_in_proportion_up_to_its_weight(
    name: str, half: dict[str, Any], full: dict[str, Any], beyond: dict[str, Any]
) -> None:
    weight = getattr(Churn(), name)
    assert churn(**half)[f"churn_{name}"] == pytest.approx(weight / 2)
    assert churn(**full)[f"churn_{name}"] == pytest.approx(weight)
    assert churn(**beyond)[f"churn_{name}"] == pytest.approx(weight)


def test_more_use_than_expected_is_no_risk() -> None:
    assert churn(feature_use_ratio=1.5)["churn_feature_usage"] == 0


@pytest.mark.parametrize(
    ("signals", "severity"),
    [
        ({"payment_past_due": True, "days_past_due": 0.0}, 0.5),
        ({"payment_past_due": True, "days_past_due": 7.0}, 0.75),
        ({"payment_past_due": True, "days_past_due": 14.0}, 1.0),
        ({"payment_past_due": True, "days_past_due": 90.0}, 1.0),
        ({"payments_failed_13w": 1}, 0.15),
        ({"payments_failed_13w": 2}, 0.3),
        ({"payments_failed_13w": 3}, 0.3),
        ({}, 0.0),
    ],
)
def test_the_severity_of_billing(signals: dict[str, Any], severity: float) -> None:
    assert churn(**signals)["churn_billing"] == pytest.approx(Churn().billing * severity)


@pytest.mark.parametrize(
    ("days_inactive", "level"),
    [(0.0, "low"), (5.0, "low"), (5.01, "medium"), (7.5, "medium"), (7.51, "high"), (10.0, "high")],
)
def test_a_band_begins_above_its_limit(days_inactive: float, level: str) -> None:
    """With login alone and a full value of 10 days, the index is days ÷ 10."""
    policy = Churn(
        medium_above=0.5,
        high_above=0.75,
        login=1,
        support_tickets=0,
        feature_usage=0,
        client_churn=0,
        billing=0,
        login_full_days=10,
    )
    row = churn(policy, days_inactive=days_inactive)
    assert row["churn_risk"] == pytest.approx(days_inactive / 10)
    assert row["churn_level"] == level


def test_unknown_signals_contribute_null_and_the_rest_sums_to_the_index() -> None:
    row = churn(days_inactive=21.0, tickets_4w=4)
    assert row["churn_feature_usage"] is None and row["churn_client_churn"] is None
    total = sum(row[f"churn_{name}"] or 0.0 for name in CHURN_SIGNALS)
    assert row["churn_risk"] == pytest.approx(total) == pytest.approx(0.45)
