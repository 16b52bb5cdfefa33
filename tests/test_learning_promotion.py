"""Which model speaks: every boundary of the stages, and what is said of the others."""

from datetime import UTC, datetime
from typing import Any

import pytest

from everafter.learning.jobs import find_before
from everafter.learning.model import Fitted, Kind, Metrics, ModelVersion, Parameters, Quality
from everafter.learning.promotion_rules import Before, choose

GOOD = Quality(
    churned=60,
    gain=0.004,
    gain_low=0.001,
    gain_high=0.007,
    log_loss=0.2,
    base_log_loss=0.204,
    slope=0.95,
    slope_low=0.7,
    slope_high=1.2,
)
PARAMETERS = Parameters(base_rate=0.04, alpha=-3.2, beta=0.8)


def quality(**changes: Any) -> Quality:
    fields = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    return Quality(**(fields | changes))


def fitted(kind: Kind, churned: int, *, of: Quality = GOOD, **metrics: Any) -> Fitted:
    return Fitted(kind, 45, Metrics(churned=churned, untouched=of, **metrics), PARAMETERS)


def models(
    churned: int, *, calibrated: Quality = GOOD, logistic: Quality = GOOD, **more: Any
) -> list[Fitted]:
    """more: of the logistic model's comparison."""
    better = {"rival": "calibrated", "rival_gain": 0.002, "rival_low": 0.0005, "rival_high": 0.004}
    return [
        fitted("index", churned),
        fitted("calibrated", churned, of=calibrated),
        fitted("logistic", churned, of=logistic, **(better | more)),
        fitted("trees", churned, **better),
    ]


AGAIN = Before("calibrated", frozenset({"logistic"}))


@pytest.mark.parametrize(("churned", "speaking"), [(0, "index"), (4, "index"), (5, "calibrated")])
def test_a_probability_needs_five_churned_suppliers(churned: int, speaking: Kind) -> None:
    choice = choose(models(churned), Before())
    assert choice.speaking == speaking
    if speaking == "index":
        assert f"so far {churned}" in choice.reasons["calibrated"]


@pytest.mark.parametrize(
    ("gain", "speaking"), [(0.00001, "calibrated"), (0.0, "index"), (-0.1, "index")]
)
def test_it_is_shown_only_while_it_beats_the_base_rate(gain: float, speaking: Kind) -> None:
    choice = choose(models(60, calibrated=quality(gain=gain)), Before("calibrated"))
    assert choice.speaking == speaking
    assert ("no better than the base rate" in choice.reasons["calibrated"]) == (speaking == "index")


def test_it_is_not_shown_before_it_was_measured() -> None:
    choice = choose(models(60, calibrated=Quality(churned=3)), Before())
    assert choice.speaking == "index" and "3 suppliers churned" in choice.reasons["calibrated"]


@pytest.mark.parametrize(
    ("low", "high", "speaking"),
    [
        (0.3, 0.79, "index"),
        (0.3, 0.81, "calibrated"),
        (1.19, 2.0, "calibrated"),
        (1.21, 2.0, "index"),
    ],
)
def test_a_slope_that_is_off_beyond_chance_gives_way_to_the_index(
    low: float, high: float, speaking: Kind
) -> None:
    of = quality(slope=(low + high) / 2, slope_low=low, slope_high=high)
    choice = choose(models(60, calibrated=of), Before("calibrated"))
    assert choice.speaking == speaking
    if speaking == "index":
        assert ("too extreme" if low < 1 else "too close to the base rate") in choice.reasons[
            "calibrated"
        ]


@pytest.mark.parametrize(("churned", "speaking"), [(149, "calibrated"), (150, "logistic")])
def test_the_logistic_model_needs_150(churned: int, speaking: Kind) -> None:
    assert choose(models(churned), AGAIN).speaking == speaking


def test_it_must_be_better_beyond_chance_in_two_months() -> None:
    first = choose(models(200), Before("calibrated"))
    assert first.speaking == "calibrated" and "next month" in first.reasons["logistic"]
    assert choose(models(200), AGAIN).speaking == "logistic"
    for low in (0.0, -0.0001):
        not_now = choose(models(200, rival_low=low), AGAIN)
        assert not_now.speaking == "calibrated"
        assert "beyond chance" in not_now.reasons["logistic"]


@pytest.mark.parametrize(("gain", "speaking"), [(0.0001, "logistic"), (0.0, "calibrated")])
def test_once_promoted_it_stays_while_it_is_better_at_all(gain: float, speaking: Kind) -> None:
    choice = choose(models(200, rival_gain=gain, rival_low=-0.1), Before("logistic"))
    assert choice.speaking == speaking
    assert ("no longer better" in choice.reasons["logistic"]) == (speaking == "calibrated")


def test_it_may_speak_where_the_calibrated_index_may_not() -> None:
    choice = choose(models(200, calibrated=quality(gain=-0.001)), AGAIN)
    assert choice.speaking == "logistic"
    choice = choose(models(200, logistic=quality(gain=-0.001)), AGAIN)
    assert choice.speaking == "calibrated"


def test_trees_never_speak() -> None:
    choice = choose(models(5_000), Before("calibrated", frozenset({"trees"})))
    assert choice.speaking == "calibrated" and "comparison only" in choice.reasons["trees"]
    missing = [one for one in models(5_000) if one.kind != "trees"]
    trees = Fitted("trees", 45, Metrics(churned=5_000), problem="missing")
    assert "scikit-learn is not installed" in choose([*missing, trees], Before()).reasons["trees"]


def test_the_index_says_that_no_probability_is_shown() -> None:
    reason = choose(models(0), Before()).reasons["index"]
    assert reason.startswith("No probability is shown, because no model was found better")


def test_every_model_has_a_sentence() -> None:
    for churned in (0, 5, 200):
        reasons = choose(models(churned), AGAIN).reasons
        assert set(reasons) == {"index", "calibrated", "logistic", "trees"}
        assert all(one.endswith(".") and one[0].isupper() for one in reasons.values())


def test_what_the_month_before_found() -> None:
    at = datetime(2026, 10, 1, tzinfo=UTC)
    better = Metrics(rival_low=0.001)
    versions = [
        ModelVersion(1, at, "calibrated", 45, PARAMETERS, Metrics(), "promoted", at, ""),
        ModelVersion(2, at, "logistic", 45, PARAMETERS, better, "candidate", None, ""),
        ModelVersion(3, at, "logistic", 90, PARAMETERS, Metrics(), "candidate", None, ""),
    ]
    assert find_before(versions, 45) == Before("calibrated", frozenset({"logistic"}))
    assert find_before(versions, 90) == Before("index", frozenset())
    assert find_before([], 45) == Before()
