"""Fits with priors, probabilities, and what a model adds to a scored frame."""

import itertools
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from everafter.learning.frame_rules import (
    SIGNAL_OF,
    add_probability,
    explain_features,
    find_index_map,
    map_to_index,
)
from everafter.learning.model import (
    EVIDENCE,
    NO_MODELS,
    ChurnModels,
    Kind,
    Metrics,
    ModelVersion,
    Parameters,
)
from everafter.learning.rules import (
    FEATURE_LABELS,
    FEATURES,
    INDEX_SHIFT,
    INDEX_SLOPE,
    Design,
    find_base_rate,
    find_index,
    find_logit,
    fit_calibrated,
    fit_logistic,
    fit_map,
    logit,
    predict,
    read_design,
    sigmoid,
)
from everafter.playbook.model import CHURN_SIGNALS, Churn
from everafter.scoring.churn_rules import add_level, risk_of_evidence, score_churn
from helpers_learning import snapshot_frame


def design_of(evidence: list[float] | np.ndarray, **features: np.ndarray) -> Design:
    values = np.full((len(evidence), len(FEATURES)), np.nan)
    for name, column in features.items():
        values[:, FEATURES.index(name)] = column
    return Design(np.asarray(evidence, dtype=float), values)


# ── reference values ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("evidence", "probability"), [(0.4, 0.083173), (-1.0, 0.028748), (5.0, 0.420676)]
)
def test_the_probability_of_a_calibrated_index(evidence: float, probability: float) -> None:
    parameters = Parameters(base_rate=0.04, alpha=-3.2, beta=0.8)
    assert predict(parameters, design_of([evidence]))[0] == pytest.approx(probability, abs=5e-7)


def test_the_evidence_is_cut_off_at_both_ends() -> None:
    parameters = Parameters(base_rate=0.04, alpha=-3.2, beta=0.8)
    found = predict(parameters, design_of([-9.0, -1.5, 3.0, 40.0]))
    assert found[0] == found[1] and found[2] == found[3] and found[1] < found[2]


def test_the_index_of_the_evidence_is_that_of_scoring() -> None:
    evidence = np.linspace(-3, 5, 41)
    frame = pl.DataFrame({"z": evidence})
    scored = frame.select(risk_of_evidence(pl.col("z"))).to_series().to_numpy()
    assert np.allclose(find_index(evidence), scored, atol=1e-12)
    assert (INDEX_SLOPE, INDEX_SHIFT) == (2.1, -1.25)


@pytest.mark.parametrize(("horizon", "prior"), [(45, 0.03), (90, 0.06)])
def test_the_base_rate_before_anyone_churned(horizon: int, prior: float) -> None:
    nobody = np.zeros(0, dtype=bool)
    assert find_base_rate(nobody, np.zeros(0), horizon) == pytest.approx(prior)
    hundred = np.arange(100) < 8
    rate = find_base_rate(hundred, np.ones(100), horizon)
    assert rate == pytest.approx((8 + 0.5 * prior) / 100.5)


# ── fits ──────────────────────────────────────────────────────────────────────────


def invented(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(rows), random.normal(size=(rows, 2))])
    p = sigmoid(x @ np.array([-2.0, 0.9, -0.4]))
    return x, random.uniform(size=rows) < p, random.choice([1.0, 1 / 3], rows)


def test_the_mode_is_where_no_step_of_a_grid_is_better() -> None:
    x, churned, weights = invented(300)
    mean, sd = np.array([-3.0, 0.8, 0.0]), np.array([1.0, 0.4, 0.2])

    def log_posterior(b: np.ndarray) -> float:
        p = sigmoid(x @ b)
        likelihood = weights @ np.where(churned, np.log(p), np.log1p(-p))
        return float(likelihood - (((b - mean) / sd) ** 2).sum() / 2)

    found = fit_map(x, churned, weights, np.zeros(300), mean, sd)
    best = log_posterior(found)
    for step in itertools.product((-0.01, 0.0, 0.01), repeat=3):
        assert log_posterior(found + np.array(step)) <= best


def test_without_a_prior_it_is_the_regression_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, churned, weights = invented(2_000)
    # C is the variance of a normal prior around 0, which scikit-learn does not put on the intercept
    known = linear_model.LogisticRegression(C=0.25, tol=1e-10, max_iter=1_000)
    known.fit(x[:, 1:], churned, sample_weight=weights)
    found = fit_map(x, churned, weights, np.zeros(2_000), np.zeros(3), np.array([1e6, 0.5, 0.5]))
    assert found == pytest.approx([known.intercept_[0], *known.coef_[0]], abs=1e-4)


def test_separated_data_do_not_run_off() -> None:
    evidence = np.concatenate([np.full(200, -1.0), np.full(6, 3.0)])
    churned = evidence > 0
    found = fit_calibrated(design_of(evidence), churned, np.ones(206), 45)
    assert 0.8 < found.beta < 2.5 and -8 < found.alpha < -2


def test_with_nobody_churned_the_slope_is_the_prior_s() -> None:
    found = fit_calibrated(
        design_of(np.zeros(50)), np.zeros(50, dtype=bool), np.full(50, 1 / 3), 90
    )
    assert found.beta == pytest.approx(0.5, abs=0.02)
    assert predict(found, design_of([0.0]))[0] < 0.02


def test_with_few_churned_the_logistic_model_is_the_calibrated_index() -> None:
    random = np.random.default_rng(5)
    evidence, activity = random.normal(0, 0.8, 400), random.uniform(size=400)
    churned = np.arange(400) < 6
    design = design_of(evidence, client_activity=activity)
    few = [fit(design, churned, np.ones(400), 45) for fit in (fit_calibrated, fit_logistic)]
    assert np.abs(predict(few[0], design) - predict(few[1], design)).max() < 0.02


def test_with_many_churned_the_logistic_model_finds_what_the_index_does_not_know() -> None:
    random = np.random.default_rng(5)
    evidence, activity = random.normal(0, 0.8, 20_000), random.uniform(size=20_000)
    truth = -3 + 0.7 * (evidence + 0.6) - 0.6 * (activity - 0.5) / 0.29
    churned = random.uniform(size=20_000) < sigmoid(truth)
    found = fit_logistic(
        design_of(evidence, client_activity=activity), churned, np.ones(20_000), 45
    )
    weights = dict(zip(found.features, found.weights, strict=True))
    assert weights.pop("client_activity") == pytest.approx(-0.6, abs=0.1)
    assert max(map(abs, weights.values())) < 1e-9, "what is never known has no weight"


def test_unknown_features_count_as_the_mean() -> None:
    parameters = Parameters(
        base_rate=0.04,
        alpha=-3.0,
        beta=0.8,
        features=("client_activity",),
        means=(0.4,),
        scales=(0.2,),
        weights=(0.5,),
    )
    known = design_of([0.0, 0.0, 0.0], client_activity=np.array([0.4, 0.6, 99.0]))
    found = find_logit(parameters, known)
    assert found[1] - found[0] == pytest.approx(0.5)
    assert found[2] - found[0] == pytest.approx(1.5), "at most three standard deviations"
    assert find_logit(parameters, design_of([0.0]))[0] == pytest.approx(found[0])


def test_the_design_is_read_from_a_frame_with_everything_unknown() -> None:
    frame = snapshot_frame(supplier_id=["a"], snapshot_at=[datetime(2026, 1, 1, tzinfo=UTC)])
    assert np.isnan(read_design(frame).features).all()
    assert set(EVIDENCE) <= set(FEATURES) and set(FEATURES) | {"evidence"} == set(FEATURE_LABELS)
    assert set(SIGNAL_OF) | {"tenure"} == set(FEATURES)


def test_a_season_that_is_off_changes_no_feature() -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    frame = snapshot_frame(
        supplier_id=["in", "off"],
        snapshot_at=at,
        season_index=[1.0, 0.4],
        client_season=[1.0, 0.4],
        client_activity=[0.5, 0.2],
        login_days_28d=[20, 8],
    )
    busy, off = read_design(frame).features
    assert np.allclose(busy, off, equal_nan=True)


# ── a scored frame ────────────────────────────────────────────────────────────────


def scored_frame(rows: int, seed: int = 1) -> pl.DataFrame:
    """Scored by the rule, with some signals unknown."""
    random = np.random.default_rng(seed)

    def some(values: np.ndarray) -> list[float | None]:
        return [None if random.uniform() < 0.15 else float(value) for value in values]

    frame = snapshot_frame(
        supplier_id=[str(number) for number in range(rows)],
        snapshot_at=[datetime(2026, 1, 1, tzinfo=UTC)] * rows,
        client_activity=some(random.uniform(size=rows)),
        tenure_days=some(random.uniform(0, 900, rows)),
        login_days_28d=random.integers(0, 28, rows),
        inactivity_probability=some(random.uniform(size=rows)),
    ).with_columns(
        pl.Series("evidence_logins", some(random.normal(0, 1.2, rows)), dtype=pl.Float64),
        pl.Series("evidence_uses", some(random.normal(0, 1.2, rows)), dtype=pl.Float64),
        pl.Series("tickets_4w", random.integers(0, 4, rows)),
        pl.Series("client_loss_rate", some(random.uniform(0, 0.3, rows)), dtype=pl.Float64),
        pl.Series("payment_past_due", random.uniform(size=rows) < 0.1),
        pl.Series("days_past_due", [3.0] * rows),
        pl.Series("payments_failed_13w", random.integers(0, 2, rows)),
    )
    return add_level(score_churn(frame, Churn()), Churn())


def speaking(kind: Kind, parameters: Parameters | None, horizon: int = 45) -> ChurnModels:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ChurnModels(
        {horizon: ModelVersion(1, at, kind, horizon, parameters, Metrics(), "promoted", at, "")}
    )


CALIBRATED = Parameters(base_rate=0.04, alpha=-3.2, beta=0.8)


def learned(frame: pl.DataFrame, **more: float) -> Parameters:
    """A logistic model with its map onto the index."""
    random = np.random.default_rng(9)
    parameters = Parameters(
        base_rate=0.04,
        alpha=-3.0,
        beta=0.7,
        features=FEATURES,
        means=tuple([0.5] * len(FEATURES)),
        scales=tuple([0.6] * len(FEATURES)),
        weights=tuple(random.normal(0, 0.3, len(FEATURES)).tolist()),
        **more,
    )
    design = read_design(frame)
    knots, values = find_index_map(find_logit(parameters, design), find_index(design.evidence))
    fields = {name: getattr(parameters, name) for name in parameters.__struct_fields__}
    return Parameters(**(fields | {"index_from": knots, "index_to": values}))


def test_without_a_model_there_is_no_probability() -> None:
    frame = scored_frame(20)
    for models in (NO_MODELS, speaking("index", None)):
        found = add_probability(frame, models)
        assert found["churn_probability_45d"].null_count() == 20
        assert found["churn_probability_90d"].null_count() == 20
        assert found["churn_risk"].equals(frame["churn_risk"])


def test_a_calibrated_index_leaves_the_index_as_it_is() -> None:
    frame = scored_frame(50)
    found = add_probability(frame, speaking("calibrated", CALIBRATED))
    for name in ("churn_risk", "churn_base", "churn_login"):
        assert found[name].equals(frame[name])
    p = found["churn_probability_45d"]
    assert p.null_count() == 0 and found["churn_probability_90d"].null_count() == 50
    assert (p.arg_sort() == frame["churn_evidence"].arg_sort()).mean() > 0.8  # pyright: ignore[reportOptionalOperand]


def test_each_horizon_has_its_own_model() -> None:
    found = add_probability(scored_frame(5), speaking("calibrated", CALIBRATED, 90))
    assert found["churn_probability_45d"].null_count() == 5
    assert found["churn_probability_90d"].null_count() == 0


def test_churning_within_90_days_is_never_less_likely_than_within_45() -> None:
    low = Parameters(base_rate=0.01, alpha=-4.0, beta=0.2)
    both = ChurnModels(
        speaking("calibrated", CALIBRATED).by_horizon | speaking("calibrated", low, 90).by_horizon
    )
    found = add_probability(scored_frame(50), both)
    assert (found["churn_probability_90d"] >= found["churn_probability_45d"]).all()
    alone = add_probability(scored_frame(50), speaking("calibrated", low, 90))
    assert (found["churn_probability_90d"] > alone["churn_probability_90d"]).any()


def test_an_empty_frame_is_no_trouble() -> None:
    found = add_probability(scored_frame(3).clear(), speaking("calibrated", CALIBRATED))
    assert found.is_empty() and found.schema["churn_probability_45d"] == pl.Float64


@pytest.mark.parametrize("recalibration", [{}, {"shift": -0.4, "slope": 0.7}])
def test_a_learned_model_keeps_the_share_of_each_band(recalibration: dict[str, float]) -> None:
    frame = scored_frame(4_000)
    parameters = learned(frame, **recalibration)
    found = add_level(add_probability(frame, speaking("logistic", parameters)), Churn())
    for above in (0.2, 0.4, 0.7):
        before, after = (int((one["churn_risk"] > above).sum()) for one in (frame, found))
        assert before > 20 and abs(before - after) <= 2, above
    for level in ("low", "medium", "high"):
        before, after = (int((one["churn_level"] == level).sum()) for one in (frame, found))
        assert abs(before - after) <= 2
    assert not found["churn_risk"].equals(frame["churn_risk"])
    risk = found["churn_risk"]
    assert risk.min() >= 0 and risk.max() <= 1  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


@pytest.mark.parametrize("recalibration", [{}, {"shift": -0.4, "slope": 0.7}])
def test_contributions_sum_to_the_index_whatever_model_speaks(
    recalibration: dict[str, float],
) -> None:
    frame = scored_frame(4_000)
    parameters = learned(frame, **recalibration)
    for models in (
        NO_MODELS,
        speaking("calibrated", CALIBRATED),
        speaking("logistic", parameters),
    ):
        found = add_probability(frame, models)
        parts = [pl.col(f"churn_{name}").fill_null(0.0) for name in CHURN_SIGNALS]
        total = found.select(pl.col("churn_base") + pl.sum_horizontal(parts)).to_series()
        assert np.allclose(total.to_numpy(), found["churn_risk"].to_numpy(), atol=1e-9)
        for name in CHURN_SIGNALS:
            column = f"churn_{name}"
            assert found[column].is_null().equals(frame[column].is_null()), "unknown stays unknown"


def test_contributions_without_any_evidence_still_sum() -> None:
    frame = scored_frame(500)
    parameters = learned(frame)
    nothing = frame.with_columns(
        pl.lit(0.0).alias("churn_evidence"),
        *(pl.lit(0.0).alias(f"churn_{s}") for s in CHURN_SIGNALS),
    )
    found = add_probability(nothing, speaking("logistic", parameters))
    parts = [pl.col(f"churn_{name}") for name in CHURN_SIGNALS]
    total = found.select(pl.col("churn_base") + pl.sum_horizontal(parts)).to_series()
    assert np.allclose(total.to_numpy(), found["churn_risk"].to_numpy(), atol=1e-9)


def test_the_map_onto_the_index_rises_and_survives_ties() -> None:
    logits = np.repeat([-3.0, -2.0, -1.0], [50, 30, 20])
    knots, values = find_index_map(logits, np.linspace(0.1, 0.9, 100))
    assert (np.diff(knots) > 0).all() and len(knots) == len(values)
    parameters = Parameters(base_rate=0.1, alpha=0, beta=0, index_from=knots, index_to=values)
    low, middle, high = map_to_index(parameters, np.array([-3.0, -2.0, -1.0]))
    assert 0 <= low < middle < high <= 1


def test_the_parts_of_the_log_odds_sum_to_the_probability() -> None:
    frame = scored_frame(30)
    parameters = learned(frame, shift=0.1, slope=0.9)
    design = read_design(frame)
    for explained, p in zip(
        explain_features(parameters, design), predict(parameters, design), strict=True
    ):
        assert float(logit(p)) == pytest.approx(sum(explained.values()))
        assert list(explained)[:2] == ["usual", "evidence"]
