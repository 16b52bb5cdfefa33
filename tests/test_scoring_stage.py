"""What health is measured by in each stage of an account, at the edges."""

from typing import Any

import polars as pl
import pytest

from everafter.scoring.stage_rules import add_stage

USUAL: dict[str, Any] = {
    "tenure_days": 400.0,
    "days_since_login": 1.0,
    "days_inactive": 1.0,
    "feature_adoption": 0.3,
    "client_activity": 0.5,
    "form_completion_rate": 0.6,
    "journey_open_rate": 0.7,
    "onboarding_steps_done": 1,
    "onboarding_steps_due": 4,
}


def stage(**changes: Any) -> dict[str, Any]:
    schema = dict.fromkeys(USUAL, pl.Float64) | {
        name: pl.Int64 for name in USUAL if name.startswith("onboarding")
    }
    return add_stage(pl.DataFrame([USUAL | changes], schema=schema)).row(0, named=True)


@pytest.mark.parametrize(
    ("tenure", "adoption"),
    [
        (13.999, 0.25),  # of four steps due one is done
        (14.0, 1.0),
        (27.0, 1.0),  # 27 ÷ 90 = 0.3: all that is expected
        (45.0, 0.6),
        (89.999, 0.3),
        (90.0, 0.3),
        (None, 0.3),
    ],
)
def test_feature_adoption_is_compared_with_what_is_expected_at_that_age(
    tenure: float | None, adoption: float
) -> None:
    row = stage(tenure_days=tenure)
    assert row["card_feature_adoption"] == pytest.approx(adoption, abs=1e-5)


@pytest.mark.parametrize(
    ("done", "due", "share"), [(0, 0, 1.0), (0, None, 1.0), (0, 2, 0.0), (1, 2, 0.5), (5, 2, 1.0)]
)
def test_in_the_first_days_only_steps_that_are_due_count(
    done: int, due: int | None, share: float
) -> None:
    row = stage(tenure_days=2.0, onboarding_steps_done=done, onboarding_steps_due=due)
    assert row["card_feature_adoption"] == share


@pytest.mark.parametrize("tenure", [0.0, 45.0, 400.0])
def test_what_the_platform_never_sends_stays_unknown_in_every_stage(tenure: float) -> None:
    row = stage(tenure_days=tenure, feature_adoption=None)
    assert row["card_feature_adoption"] is None


@pytest.mark.parametrize(("tenure", "is_early"), [(13.999, True), (14.0, False), (None, False)])
def test_what_depends_on_clients_is_too_early_in_the_first_14_days(
    tenure: float | None, is_early: bool
) -> None:
    row = stage(tenure_days=tenure)
    found = [
        row[f"card_{n}"] for n in ("client_activity", "form_completion", "journey_performance")
    ]
    assert found == ([None] * 3 if is_early else [0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"days_since_login": 90.0, "days_inactive": 28.0}, "dormant"),
        ({"days_since_login": 89.999, "days_inactive": 89.0}, "mature"),
        ({"days_since_login": 90.0, "days_inactive": 27.999}, "mature"),  # away in winter
        ({"days_since_login": 90.0, "days_inactive": 28.0, "tenure_days": None}, "dormant"),
        ({"days_since_login": None, "days_inactive": None}, "mature"),
    ],
)
def test_dormant_is_long_in_the_calendar_and_in_the_season(
    changes: dict[str, Any], found: str
) -> None:
    assert stage(**changes)["stage"] == found
