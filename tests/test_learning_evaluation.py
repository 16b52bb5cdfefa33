"""Windows, predictions out of time, and what is measured of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from everafter.learning.evaluation_rules import (
    OutOfTime,
    bootstrap_mean,
    find_auc,
    find_bins,
    find_slope,
    measure,
    predict_out_of_time,
    recalibrate,
)
from everafter.learning.model import Quality
from everafter.learning.rules import Bools, Design, Floats, logit
from everafter.learning.snapshot_rules import Windows
from everafter.learning.training_rules import needs_recalibration, train_models
from helpers_learning import make_snapshots, snapshot_frame

AT = datetime(2026, 3, 1, tzinfo=UTC)
LATER = AT + timedelta(days=400)


def day(days: float) -> datetime:
    return AT + timedelta(days=days)


def windows(known_until: datetime = LATER, horizon: int = 45, **columns: Any) -> Windows:
    rows = len(next(iter(columns.values())))
    columns = {"supplier_id": [str(n) for n in range(rows)], "snapshot_at": [AT] * rows, **columns}
    return Windows(snapshot_frame(**columns), horizon, known_until)


# ── outcomes ──────────────────────────────────────────────────────────────────────


def test_a_window_is_closed_at_its_last_moment() -> None:
    assert len(windows(day(45), cancelled_at=[None])) == 1
    assert len(windows(day(45) - timedelta(seconds=1), cancelled_at=[None])) == 0


def test_an_open_window_is_censored_even_if_the_supplier_churned_in_it() -> None:
    found = windows(day(44), cancelled_at=[day(3), None])
    assert len(found) == 0, "or those that churned would be counted earlier than the others"


def test_a_cancellation_counts_up_to_the_end_of_the_window() -> None:
    found = windows(cancelled_at=[day(0.1), day(45), day(45) + timedelta(seconds=1), None])
    assert found.churned.tolist() == [True, True, False, False]
    assert found.churned_suppliers == 2


def test_touched_is_from_one_horizon_before_until_the_outcome() -> None:
    cases = {
        "nothing": (None, None, None, True),
        "at one horizon before": (day(-45), None, None, False),
        "earlier than that": (day(-46), None, None, True),
        "on the day": (None, day(0), None, False),
        "at the end of the window": (None, day(45), None, False),
        "after it": (None, day(46), None, True),
        "before it churned": (None, day(9), day(10), False),
        "after it churned": (None, day(11), day(10), True),
    }
    found = windows(
        touched_before=[one[0] for one in cases.values()],
        touched_after=[one[1] for one in cases.values()],
        cancelled_at=[one[2] for one in cases.values()],
    )
    # in the order of the suppliers
    assert dict(zip(cases, found.untouched.tolist(), strict=True)) == {
        name: one[3] for name, one in cases.items()
    }


@pytest.mark.parametrize(("horizon", "weight"), [(45, 2 / 3), (90, 1 / 3)])
def test_overlapping_windows_weigh_less(horizon: int, weight: float) -> None:
    assert windows(horizon=horizon, cancelled_at=[None]).weights == pytest.approx([weight])


def test_the_bands_are_those_of_the_index() -> None:
    found = windows(churn_evidence=[0.40, 0.41, 0.99, 1.0, -2.0])
    assert found.level.tolist() == [0, 1, 1, 2, 0]


# ── out of time ───────────────────────────────────────────────────────────────────


class Spy:
    """A fit that records how many rows it is given, and predicts a constant."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, design: Design, churned: Bools, weights: Floats) -> Any:
        self.rows.append(len(design))
        return lambda asked: np.full(len(asked), -3.0)


@pytest.mark.parametrize(("horizon", "gap"), [(45, 2), (90, 3)])
def test_a_month_is_predicted_from_windows_that_had_closed(horizon: int, gap: int) -> None:
    snapshots = make_snapshots(200, 10, base=0.1)
    last = snapshots["snapshot_at"].max()
    assert isinstance(last, datetime)
    found = Windows(snapshots, horizon, last)
    spy = Spy()
    made = predict_out_of_time(found, spy, least_churned=1)
    months = np.unique(found.at)
    assert made.months == len(months) - gap, "the first months have nothing before them"
    assert spy.rows == [200 * number for number in range(1, made.months + 1)]


def test_the_future_changes_no_prediction() -> None:
    snapshots = make_snapshots(300, 10, base=0.1)
    moments = sorted(snapshots["snapshot_at"].unique())
    early = [
        train_models(part, moments[-1], None, np.random.default_rng(0))[1]
        for part in (snapshots, snapshots.filter(snapshots["snapshot_at"] < moments[7]))
    ]
    whole, cut = (
        predict_out_of_time(Windows(part, 45, moments[-1]), _calibrated, least_churned=1)
        for part in (snapshots, snapshots.filter(snapshots["snapshot_at"] < moments[7]))
    )
    assert early[0].kind == early[1].kind == "calibrated"
    assert np.allclose(whole.logits[: len(cut.logits)], cut.logits)


def _calibrated(design: Design, churned: Bools, weights: Floats) -> Any:
    from functools import partial

    from everafter.learning.rules import find_logit, fit_calibrated

    return partial(find_logit, fit_calibrated(design, churned, weights, 45))


def test_too_few_churned_are_not_fitted() -> None:
    found = Windows(make_snapshots(50, 6, base=0.01), 45, LATER)
    made = predict_out_of_time(found, Spy(), least_churned=10_000)
    assert made.months == 0 and len(made.rows) == 0
    quality = measure(found, made, np.zeros(0, dtype=bool), np.random.default_rng(0))
    assert quality.predictions == 0 and quality.auc is None and quality.bins == ()


@pytest.mark.parametrize(("churned", "is_measured"), [(4, False), (5, True)])
def test_precision_and_recall_need_five_churned_suppliers(churned: int, is_measured: bool) -> None:
    found = Windows(make_snapshots(200, 6, base=0.05), 45, LATER)
    made = predict_out_of_time(found, _calibrated, least_churned=1)
    lost = found.supplier[made.rows[found.churned[made.rows]]]
    few = list(dict.fromkeys(lost.tolist()))[:churned]
    who = found.supplier[made.rows]
    chosen = ~np.isin(who, lost) | np.isin(who, few)
    quality = measure(found, made, chosen, np.random.default_rng(0))
    assert quality.churned == churned
    measured = [quality.precision_medium, quality.recall_medium, quality.recall_high]
    assert [one is not None for one in measured] == [is_measured] * 3


def test_own_bands_have_the_shares_of_the_index() -> None:
    found = Windows(make_snapshots(800, 8, base=0.1), 45, LATER)
    noise = np.random.default_rng(0)

    def fit(design: Design, churned: Bools, weights: Floats) -> Any:
        return lambda asked: noise.normal(size=len(asked)) - 3

    made = predict_out_of_time(found, fit, least_churned=1, own_bands=True)
    for least in (1, 2):
        share = (found.level[made.rows] >= least).mean()
        assert (made.level >= least).mean() == pytest.approx(share, abs=0.03)


# ── measures ──────────────────────────────────────────────────────────────────────


def made_of(probabilities: np.ndarray, base: float) -> OutOfTime:
    n = len(probabilities)
    return OutOfTime(
        rows=np.arange(n),
        logits=logit(probabilities),
        base=np.full(n, base),
        level=np.zeros(n, dtype=np.int8),
        months=1,
    )


def invented_windows(probabilities: np.ndarray, seed: int = 1) -> Windows:
    churned = np.random.default_rng(seed).uniform(size=len(probabilities)) < probabilities
    return windows(cancelled_at=[day(5) if one else None for one in churned])


def order_of(found: Windows, probabilities: np.ndarray) -> np.ndarray:
    """Windows are in the order of the suppliers' ids, which are texts."""
    return probabilities[np.argsort([str(n) for n in range(len(probabilities))])]


def test_probabilities_that_are_true_have_a_gain_and_a_slope_of_one() -> None:
    truth = np.random.default_rng(2).beta(1, 15, 20_000)
    found = invented_windows(truth)
    made = made_of(order_of(found, truth), float(truth.mean()))
    quality = measure(found, made, np.ones(20_000, dtype=bool), np.random.default_rng(0))
    assert quality.gain is not None and quality.gain_low is not None and quality.gain_low > 0
    assert quality.slope == pytest.approx(1, abs=0.1)
    assert quality.slope_low < 1 < quality.slope_high  # type: ignore[operator]
    assert quality.expected == pytest.approx(quality.observed, rel=0.05)
    assert len(quality.bins) == 10 and sum(one.n for one in quality.bins) == 20_000
    inside = [one.low <= one.predicted <= one.high for one in quality.bins]
    assert sum(inside) >= 8


def test_probabilities_that_overstate_have_a_slope_below_one() -> None:
    truth = np.random.default_rng(2).beta(1, 15, 20_000)
    found = invented_windows(truth)
    middle = logit(truth).mean()
    overstated = 1 / (1 + np.exp(-(middle + 2 * (logit(truth) - middle))))
    made = made_of(order_of(found, overstated), float(truth.mean()))
    quality = measure(found, made, np.ones(20_000, dtype=bool), np.random.default_rng(0))
    assert quality.slope == pytest.approx(0.5, abs=0.06)


def test_the_same_supplier_many_times_is_one() -> None:
    """Copies of a prediction add nothing to what is known."""
    random = np.random.default_rng(4)
    values = random.normal(0.1, 1, 200)
    alone = bootstrap_mean(values, np.arange(200), np.random.default_rng(0))
    copied = bootstrap_mean(
        np.repeat(values, 10), np.repeat(np.arange(200), 10), np.random.default_rng(0)
    )
    assert copied == pytest.approx(alone, abs=1e-6)
    counted = bootstrap_mean(np.repeat(values, 10), np.arange(2_000), np.random.default_rng(0))
    assert counted[2] - counted[1] < (alone[2] - alone[1]) / 2


def test_the_interval_of_a_mean_is_the_known_one() -> None:
    values = np.random.default_rng(4).normal(0.1, 1, 1_000)
    mean, low, high = bootstrap_mean(values, np.arange(1_000), np.random.default_rng(0))
    half = 1.96 * values.std() / np.sqrt(1_000)
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.012)


def test_auc_of_nothing_but_ties_is_a_half() -> None:
    assert find_auc(np.zeros(10), np.arange(10) < 3) == 0.5


def test_the_slope_of_equal_predictions_is_unknown() -> None:
    assert find_slope(np.full(50, -2.0), np.arange(50) < 9, np.arange(50)) == (None, None, None)


def test_few_predictions_have_few_bins() -> None:
    assert find_bins(np.linspace(0, 1, 19), np.zeros(19, dtype=bool)) == ()
    assert len(find_bins(np.linspace(0, 1, 65), np.zeros(65, dtype=bool))) == 3


# ── recalibration ─────────────────────────────────────────────────────────────────


def test_recalibration_uses_only_what_was_known_before() -> None:
    found = Windows(make_snapshots(600, 12, base=0.08), 45, LATER)
    made = predict_out_of_time(found, _calibrated, least_churned=1)
    extreme = OutOfTime(made.rows, made.logits * 2.5 + 4, made.base, made.level, made.months)
    corrected, shift, slope = recalibrate(found, extreme)
    at = found.at[extreme.rows]
    first = at == at.min()
    assert np.array_equal(corrected.logits[first], extreme.logits[first]), "nothing was known yet"
    last = at == at.max()
    assert not np.allclose(corrected.logits[last], extreme.logits[last])
    assert 0.2 < slope < 0.7
    before, after = (
        measure(found, one, last, np.random.default_rng(0)) for one in (extreme, corrected)
    )
    assert after.log_loss < before.log_loss  # type: ignore[operator]
    assert np.isfinite(shift)


@pytest.mark.parametrize(
    ("slope", "corrected_loss", "needed"),
    [
        (0.79, 0.10, True),
        (0.8, 0.10, False),
        (1.2, 0.10, False),
        (1.21, 0.10, True),
        (0.5, 0.3, False),
    ],
)
def test_recalibration_is_for_slopes_outside(
    slope: float, corrected_loss: float, needed: bool
) -> None:
    plain = Quality(slope=slope, slope_low=slope - 1, slope_high=slope + 1, log_loss=0.2)
    corrected = Quality(slope=1.0, slope_low=0.0, slope_high=2.0, log_loss=corrected_loss)
    assert needs_recalibration(plain, corrected) is needed


def test_recalibration_ends_a_slope_that_is_off_beyond_chance() -> None:
    plain = Quality(slope=0.4, slope_low=0.3, slope_high=0.5, log_loss=0.2)
    assert needs_recalibration(
        plain, Quality(slope=0.9, slope_low=0.7, slope_high=1.1, log_loss=0.2001)
    )
    assert not needs_recalibration(
        plain, Quality(slope=0.5, slope_low=0.4, slope_high=0.6, log_loss=0.2001)
    )
