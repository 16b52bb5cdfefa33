"""The churn risk index: its bands, what each signal adds, and its billing part."""

from typing import Any

import polars as pl
import pytest

from everafter.playbook.model import CHURN_SIGNALS, Churn
from everafter.scoring.churn_rules import add_level, score_churn

NOTHING: dict[str, Any] = {
    "evidence_logins": 0.0,
    "evidence_uses": 0.0,
    "tickets_4w": 0,
    "client_loss_rate": None,
    "payment_past_due": False,
    "days_past_due": None,
    "payments_failed_13w": 0,
}
SCHEMA = {
    "evidence_logins": pl.Float64(),
    "evidence_uses": pl.Float64(),
    "tickets_4w": pl.Int64(),
    "client_loss_rate": pl.Float64(),
    "payment_past_due": pl.Boolean(),
    "days_past_due": pl.Float64(),
    "payments_failed_13w": pl.Int64(),
}
BASE = 0.222700


def churn(policy: Churn | None = None, **signals: Any) -> dict[str, Any]:
    frame = pl.DataFrame([NOTHING | signals], schema=SCHEMA)
    policy = policy or Churn()
    return add_level(score_churn(frame, policy), policy).row(0, named=True)


@pytest.mark.parametrize(
    ("signals", "evidence", "risk"),
    [
        ({}, 0, BASE),
        ({"evidence_uses": 0.8}, 0.4, 0.398912),
        ({"evidence_uses": 1.2, "evidence_logins": 0.8}, 1.0, 0.700567),
        ({"evidence_uses": -2.0}, -1, 0.033895),
        (
            {
                "evidence_uses": 1.2,
                "evidence_logins": 0.8,
                "payment_past_due": True,
                "days_past_due": 0.0,
                "client_loss_rate": 0.05,
            },
            1.51,
            0.872250,
        ),
    ],
)
def test_the_index_is_a_function_of_the_evidence(
    signals: dict[str, Any], evidence: float, risk: float
) -> None:
    row = churn(**signals)
    assert row["churn_evidence"] == pytest.approx(evidence)
    assert row["churn_risk"] == pytest.approx(risk, abs=1e-6)


@pytest.mark.parametrize(
    ("signals", "name", "evidence"),
    [
        ({"tickets_4w": 2}, "support_tickets", 0.15),
        ({"tickets_4w": 4}, "support_tickets", 0.3),
        ({"tickets_4w": 9}, "support_tickets", 0.3),
        ({"client_loss_rate": 0.125}, "client_churn", 0.15),
        ({"client_loss_rate": 0.25}, "client_churn", 0.3),
        ({"client_loss_rate": 1.0}, "client_churn", 0.3),
        ({"payment_past_due": True, "days_past_due": 0.0}, "billing", 0.45),
        ({"payment_past_due": True, "days_past_due": 7.0}, "billing", 0.675),
        ({"payment_past_due": True, "days_past_due": 14.0}, "billing", 0.9),
        ({"payment_past_due": True, "days_past_due": 90.0}, "billing", 0.9),
        ({"payments_failed_13w": 1}, "billing", 0.135),
        ({"payments_failed_13w": 2}, "billing", 0.27),
        ({"payments_failed_13w": 3}, "billing", 0.27),
    ],
)
def test_a_severity_counts_in_proportion_up_to_its_weight(
    signals: dict[str, Any], name: str, evidence: float
) -> None:
    row = churn(**signals)
    assert row["churn_evidence"] == pytest.approx(evidence)
    assert row[f"churn_{name}"] == pytest.approx(row["churn_risk"] - row["churn_base"])


@pytest.mark.parametrize(
    ("evidence", "level"),
    [(0.4019, "low"), (0.4023, "medium"), (0.9986, "medium"), (0.9991, "high"), (5.0, "high")],
)
def test_a_band_begins_above_its_limit(evidence: float, level: str) -> None:
    row = churn(evidence_uses=2 * evidence)
    assert row["churn_level"] == level


def test_a_supplier_at_the_limit_is_below_the_band() -> None:
    at = churn()["churn_risk"]
    assert churn(Churn(medium_above=at, high_above=0.9))["churn_level"] == "low"
    below = Churn(medium_above=at - 1e-12, high_above=0.9)
    assert churn(below)["churn_level"] == "medium"


@pytest.mark.parametrize(
    ("logins", "uses", "evidence"), [(None, 2.0, 2.0), (2.0, None, 2.0), (None, None, 0.0)]
)
def test_a_channel_that_is_never_sent_leaves_its_weight_to_the_other(
    logins: float | None, uses: float | None, evidence: float
) -> None:
    row = churn(evidence_logins=logins, evidence_uses=uses)
    assert row["churn_evidence"] == pytest.approx(evidence)
    assert (row["churn_login"] is None, row["churn_feature_usage"] is None) == (
        logins is None,
        uses is None,
    )


@pytest.mark.parametrize(
    "signals",
    [
        {},
        {"evidence_uses": 3.0, "evidence_logins": -1.0, "tickets_4w": 3},
        {"evidence_uses": -3.0, "evidence_logins": None, "client_loss_rate": 0.2},
        {"evidence_uses": 1.0, "evidence_logins": -1.0},  # they cancel each other out
        {"evidence_uses": 40.0, "evidence_logins": 40.0, "payment_past_due": True, "days_past_due": 3.0},
    ],
)  # fmt: skip
def test_base_and_contributions_sum_to_the_index(signals: dict[str, Any]) -> None:
    row = churn(**signals)
    parts = [row[f"churn_{name}"] for name in CHURN_SIGNALS]
    assert row["churn_risk"] == pytest.approx(
        row["churn_base"] + sum(part or 0.0 for part in parts), abs=1e-9
    )
    assert 0 <= row["churn_risk"] <= 1
