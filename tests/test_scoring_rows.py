"""The rows that a run stores of a score, and a past day that is explained."""

from datetime import UTC, date, datetime, timedelta

import pytest

from everafter.learning.model import ChurnModels
from everafter.scoring.explain import _end_of
from everafter.scoring.rules import churn_rows, health_rows, score_suppliers
from test_signals_values import (
    FEATURES,
    NOW,
    PLAYBOOK,
    Case,
    added,
    event,
    inputs_of,
    login,
    of_client,
    used,
)

BILLING = [event("payment_failed", NOW - timedelta(days=2))]


def scored(case: Case):
    return score_suppliers(inputs_of(case), PLAYBOOK, NOW, FEATURES)


def test_stored_whole_numbers_are_floored() -> None:
    # two of three key features and a login in time: 30 + 25 × 2/3 of 55 points
    events = [*login(NOW), *used(NOW), *used(NOW, feature="gallery")]
    case = Case("health_score", "", None, events, {"vendor_type": "venue"})
    [row] = health_rows(scored(case), NOW, 7).to_dicts()
    assert row["score"] == pytest.approx(100 * (30 + 50 / 3) / 55)
    assert (row["health_score"], row["feature_adoption_score"]) == (84, 66)
    assert row["client_engagement_score"] is None and row["playbook_version"] == 7
    clients = [
        *(added(name) for name in "abc"),
        *(of_client("client_active", NOW, c) for c in "ab"),
    ]
    [row] = health_rows(scored(Case("", "", None, clients)), NOW, 1).to_dicts()
    assert row["client_engagement_score"] == 66
    assert (row["calculated_at"], row["calculated_on"]) == (NOW, NOW.date())


def test_a_supplier_of_whom_nothing_is_known_has_a_churn_row_only() -> None:
    frame = scored(Case("health_score", "", None))
    assert (
        health_rows(frame, NOW, 1).is_empty() and churn_rows(frame, NOW, ChurnModels()).height == 1
    )


def test_a_failed_payment_is_the_main_reason_before_any_dimension() -> None:
    [late] = scored(Case("", "", None, login(NOW - timedelta(days=30)))).to_dicts()
    assert late["main_reason"] == "login"
    [both] = scored(Case("", "", None, [*login(NOW - timedelta(days=30)), *BILLING])).to_dicts()
    assert both["main_reason"] == "billing"
    [row] = health_rows(scored(Case("", "", None, [*login(NOW), *BILLING])), NOW, 1).to_dicts()
    assert row["main_reason"] == "billing"


def test_a_past_day_is_explained_as_of_its_end() -> None:
    assert _end_of(date(2026, 7, 14)) == datetime(2026, 7, 15, tzinfo=UTC)
    today = datetime.now(UTC)
    assert today <= _end_of(today.date()) <= datetime.now(UTC)
    assert today <= _end_of(None) <= datetime.now(UTC)
