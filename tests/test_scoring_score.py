"""The health score equals the spec's function, and its contributions sum to it."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.health import HealthMetrics, calculate_health_score
from everafter.playbook.model import DIMENSIONS, Health, Segment, Weights
from everafter.scoring.health_rules import score_health


def spec(
    login: float, adoption: float, activity: float, forms: float, journeys: float
) -> tuple[float, str]:
    """The spec's TypeScript function in Python."""
    score = 0.0
    if login < 3:
        score += 30
    elif login < 7:
        score += 20
    elif login < 14:
        score += 10
    score += min(25, adoption * 25)
    score += min(25, activity * 25)
    score += min(10, forms * 10)
    score += min(10, journeys * 10)
    return score, "critical" if score < 40 else "at_risk" if score < 70 else "healthy"


days = st.one_of(
    st.floats(0, 40), st.sampled_from([0, 2.999, 3, 3.0001, 6.999, 7, 13.999, 14, 365])
)
share = st.one_of(st.floats(0, 1), st.floats(0, 3), st.sampled_from([0, 0.5, 1]))
maybe_days = st.none() | days
maybe_share = st.none() | share


@given(days, share, share, share, share)
def test_with_all_known_and_no_season_the_score_is_the_specs(
    a: float, b: float, c: float, d: float, e: float
) -> None:
    found = calculate_health_score(HealthMetrics(a, b, c, d, e))
    assert (found.score, found.risk) == spec(a, b, c, d, e)
    assert found.coverage == 1


@given(maybe_days, maybe_share, maybe_share, maybe_share, maybe_share, st.floats(0.05, 1))
def test_contributions_sum_to_the_score_and_unknown_metrics_are_left_out(
    a: float | None,
    b: float | None,
    c: float | None,
    d: float | None,
    e: float | None,
    season_index: float,
) -> None:
    values = dict(zip(DIMENSIONS, (a, b, c, d, e), strict=True))
    found = calculate_health_score(HealthMetrics(a, b, c, d, e), season_index=season_index)
    weights = {d: getattr(Weights(), d) for d in DIMENSIONS}
    known = sum(weights[d] for d, value in values.items() if value is not None)
    assert found.coverage == pytest.approx(known / 100)
    if not known:
        assert found.score is None and found.risk is None
        return
    assert found.score == sum(part.points or 0.0 for part in found.components.values())
    assert 0 <= found.score <= 100 + 1e-9
    assert sum(part.max for part in found.components.values()) == pytest.approx(100)
    for dimension, part in found.components.items():
        assert (part.points is None) == (values[dimension] is None)
        if part.points is not None:
            assert -1e-9 <= part.points <= part.max + 1e-9
            assert part.max == pytest.approx(100 * weights[dimension] / known)


@given(days, share, share, share, share, st.floats(0, 20), st.floats(0.05, 1))
def test_a_better_metric_never_lowers_the_score(
    a: float, b: float, c: float, d: float, e: float, more: float, season_index: float
) -> None:
    base = calculate_health_score(HealthMetrics(a, b, c, d, e), season_index=season_index).score
    assert base is not None
    for better in (
        HealthMetrics(max(a - more, 0), b, c, d, e),
        HealthMetrics(a, b + more, c, d, e),
        HealthMetrics(a, b, c + more, d, e),
        HealthMetrics(a, b, c, d + more, e),
        HealthMetrics(a, b, c, d, e + more),
    ):
        assert (calculate_health_score(better, season_index=season_index).score or 0) >= base - 1e-9
    slower = calculate_health_score(
        HealthMetrics(a, b, c, d, e), season_index=season_index / 2
    ).score
    assert slower is not None and slower >= base - 1e-9, (
        "a lower season_index never lowers the score"
    )


def test_inactivity_is_multiplied_by_the_season_index() -> None:
    assert calculate_health_score(HealthMetrics(10, 1, 1, 1, 1)).components["login"].points == 10
    assert (
        calculate_health_score(HealthMetrics(10, 1, 1, 1, 1), season_index=0.5)
        .components["login"]
        .points
        == 20
    )
    assert (
        calculate_health_score(HealthMetrics(10, 1, 1, 1, 1), season_index=0.25)
        .components["login"]
        .points
        == 30
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_a_number_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match="form_completion_rate"):
        calculate_health_score(HealthMetrics(1, 1, 1, bad, 1))
    with pytest.raises(ValueError, match="season_index"):
        calculate_health_score(HealthMetrics(1, 1, 1, 1, 1), season_index=bad)


def test_each_row_is_scored_by_its_own_segment() -> None:
    segments = {
        "default": Segment(title="", key_features=["forms"]),
        "venue": Segment(
            title="",
            key_features=["forms"],
            weights=Weights(20, 20, 20, 20, 20),
            login_days=(5, 10, 20),
        ),
    }
    rows = [
        ("default", 4.0, 0.5, 0.5, None, 0.4),
        ("venue", 4.0, 0.5, 0.5, None, 0.4),
        ("venue", None, None, None, None, None),
        ("default", 0.0, 2.0, 2.0, 2.0, 2.0),
    ]
    names = (
        "segment",
        "days_inactive",
        "card_feature_adoption",
        "card_client_activity",
        "card_form_completion",
        "card_journey_performance",
    )
    frame = pl.DataFrame(
        rows,
        schema=dict.fromkeys(names[:1], pl.String) | dict.fromkeys(names[1:], pl.Float64),
        orient="row",
    )
    frame = frame.with_columns(pl.lit(1.0).alias("client_season"))
    whole = score_health(frame, segments, Health())
    alone = pl.concat(
        [score_health(frame[i : i + 1], segments, Health()) for i in range(frame.height)]
    )
    assert whole.equals(alone)
    assert whole["login_max"].to_list() == pytest.approx([30 * 100 / 90, 25, 0, 30])
    assert whole["login_points"][1] == pytest.approx(25), "a venue is allowed five days"
    assert whole["main_reason"].to_list() == [
        "feature_adoption",
        "journey_performance",
        "none",
        "none",
    ]
    assert whole["health_score"][2] is None and whole["risk_level"][2] is None


def only_adoption(adoption: float) -> HealthMetrics:
    """A supplier of whom nothing but feature adoption is known: the score is 100 × that."""
    return HealthMetrics(None, adoption, None, None, None)


@pytest.mark.parametrize(
    ("adoption", "risk"),
    [(0.39, "critical"), (0.4, "at_risk"), (0.69, "at_risk"), (0.7, "healthy"), (1.0, "healthy")],
)
def test_a_band_includes_its_lower_limit(adoption: float, risk: str) -> None:
    found = calculate_health_score(only_adoption(adoption))
    assert found.score == pytest.approx(100 * adoption) and found.risk == risk


@pytest.mark.parametrize(
    ("days", "points"), [(2.999, 30), (3, 20), (6.999, 20), (7, 10), (13.999, 10), (14, 0)]
)
def test_the_login_dimension_loses_points_on_its_days(days: float, points: float) -> None:
    found = calculate_health_score(HealthMetrics(days, 1, 1, 1, 1))
    assert found.components["login"].points == points


def main_reason(**values: float) -> str:
    full = {
        "days_inactive": 0.0,
        "card_feature_adoption": 1.0,
        "card_client_activity": 1.0,
        "card_form_completion": 1.0,
        "card_journey_performance": 1.0,
    }
    frame = pl.DataFrame([{"segment": "default", "client_season": 1.0} | full | values])
    segments = {"default": Segment(title="", key_features=["forms"])}
    return score_health(frame, segments, Health())["main_reason"].item()


@pytest.mark.parametrize(
    ("days", "points"),
    [(2.9, 100), (3, 100), (5, 250 / 3), (7, 200 / 3), (14, 100 / 3), (17.5, 50 / 3), (21, 0)],
)
def test_logins_alone_fall_evenly_between_the_steps(days: float, points: float) -> None:
    alone = calculate_health_score(HealthMetrics(days, None, None, None, None))
    assert alone.score == pytest.approx(points) and alone.coverage == pytest.approx(0.3)
    beside = calculate_health_score(HealthMetrics(days, 1.0, None, None, None))
    assert beside.score == pytest.approx((spec(days, 1, 0, 0, 0)[0]) / 0.55)


def test_the_main_reason_is_the_dimension_that_loses_most_and_of_two_the_first() -> None:
    assert main_reason() == "none"
    assert main_reason(card_journey_performance=0.0) == "journey_performance"
    assert main_reason(card_client_activity=0.0, card_form_completion=0.0) == "client_activity"
    assert main_reason(card_feature_adoption=0.5, card_client_activity=0.5) == "feature_adoption"
    assert main_reason(card_client_activity=0.5, card_form_completion=0.0) == "client_activity"
