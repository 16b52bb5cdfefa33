"""Fit all models on the snapshots, and measure them out of time. Pure."""

from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from msgspec.structs import replace

from everafter.learning.evaluation_rules import (
    FEWEST,
    Fit,
    OutOfTime,
    Random,
    bootstrap_mean,
    find_losses,
    measure,
    predict_out_of_time,
    recalibrate,
)
from everafter.learning.frame_rules import find_index_map
from everafter.learning.model import (
    CALIBRATED_FROM,
    HORIZONS,
    LOGISTIC_FROM,
    Fitted,
    Metrics,
    Quality,
)
from everafter.learning.rules import (
    find_index,
    find_logit,
    fit_calibrated,
    fit_logistic,
    read_design,
    sigmoid,
)
from everafter.learning.snapshot_rules import Windows

SLOPES = (0.8, 1.2)
"""Calibration slopes within which a model is left as it is."""
LOGISTIC_FITTED_FROM = 50
"""Churned suppliers that a logistic model or trees are fitted on for a prediction out of time."""
TREES_EVERY, TREES_MONTHS = 3, 12
"""Trees are fitted again every third month, and measured on the last twelve: they cost the most."""
_MAP_DAYS = 366

_FITS = {"calibrated": fit_calibrated, "logistic": fit_logistic}


def train_models(
    snapshots: pl.DataFrame, known_until: datetime, fit_trees: Fit | None, random: Random
) -> list[Fitted]:
    """Fit and measure every model for every horizon.

    Args:
        snapshots: SNAPSHOT_SCHEMA and OUTCOME_SCHEMA.
        known_until: the moment of the training, or the last event if that is earlier.
        fit_trees: null: boosted trees cannot be fitted here.
        random: for intervals.
    """
    return [
        fitted
        for horizon in HORIZONS
        for fitted in _train_horizon(snapshots, horizon, known_until, fit_trees, random)
    ]


def _train_horizon(
    snapshots: pl.DataFrame,
    horizon: int,
    known_until: datetime,
    fit_trees: Fit | None,
    random: Random,
) -> list[Fitted]:
    windows = Windows(snapshots, horizon, known_until)
    base = Metrics(snapshots=len(windows), churned=windows.churned_suppliers)
    if base.churned < CALIBRATED_FROM:
        return [
            Fitted("index", horizon, base),
            *(Fitted(kind, horizon, base) for kind in ("calibrated", "logistic", "trees")),
        ]
    calibrated, made = _train_parameters(windows, base, "calibrated", None, random)
    index = Fitted("index", horizon, _measure_index(windows, base, random))
    if base.churned < LOGISTIC_FROM:
        return [index, calibrated, *(Fitted(k, horizon, base) for k in ("logistic", "trees"))]
    logistic, _ = _train_parameters(windows, base, "logistic", made, random)
    trees = (
        Fitted("trees", horizon, base, problem="missing")
        if fit_trees is None
        else _train_trees(windows, base, fit_trees, made, random)
    )
    return [index, calibrated, _add_index_map(logistic, snapshots, known_until), trees]


def _measure_index(windows: Windows, base: Metrics, random: Random) -> Metrics:
    """Measure the index itself: bands and AUC of the same predictions, without a probability."""
    made = predict_out_of_time(
        windows, lambda _, __, ___: lambda design: design.evidence, least_churned=1
    )
    kept = {"auc", "predictions", "suppliers", "churned", "observed", "base_rate"} | {
        f"{part}_{band}" for part in ("precision", "recall") for band in ("medium", "high")
    }
    qualities = [
        Quality(**{name: getattr(one, name) for name in kept})
        for one in (_quality(windows, made, only, random) for only in (True, False))
    ]
    return replace(base, months=made.months, untouched=qualities[0], all=qualities[1])


def _quality(windows: Windows, made: OutOfTime, only_untouched: bool, random: Random) -> Quality:
    untouched = windows.untouched[made.rows]
    chosen = untouched if only_untouched else np.ones_like(untouched)
    return measure(windows, made, chosen, random)


def _train_parameters(
    windows: Windows,
    base: Metrics,
    kind: Literal["calibrated", "logistic"],
    rival: OutOfTime | None,
    random: Random,
) -> tuple[Fitted, OutOfTime]:
    """Fit and measure a model that is numbers: the calibrated index or the logistic model.

    Args:
        rival: predictions of the calibrated index, for the logistic model.

    Returns:
        The model, and the predictions that it was measured by.
    """
    horizon = windows.horizon
    fit = partial(_FITS[kind], horizon=horizon)
    made = predict_out_of_time(
        windows,
        lambda design, churned, weights: partial(find_logit, fit(design, churned, weights)),
        least_churned=1 if rival is None else LOGISTIC_FITTED_FROM,
        own_bands=rival is not None,
    )
    corrected, shift, slope = recalibrate(windows, made)
    plain, better = (_quality(windows, one, True, random) for one in (made, corrected))
    is_recalibrated = needs_recalibration(plain, better)
    parameters = fit(windows.design, windows.churned, windows.weights)
    if is_recalibrated:
        made, parameters = corrected, replace(parameters, shift=shift, slope=slope)
    metrics = replace(
        base,
        months=made.months,
        untouched=better if is_recalibrated else plain,
        all=_quality(windows, made, False, random),
        is_recalibrated=is_recalibrated,
    )
    if rival is not None:
        metrics = _compare(windows, metrics, made, rival, random)
    return Fitted(kind, horizon, metrics, parameters), made


def _train_trees(
    windows: Windows, base: Metrics, fit: Fit, rival: OutOfTime, random: Random
) -> Fitted:
    made = predict_out_of_time(
        windows,
        fit,
        least_churned=LOGISTIC_FITTED_FROM,
        own_bands=True,
        every=TREES_EVERY,
        last=TREES_MONTHS,
    )
    metrics = replace(
        base,
        months=made.months,
        untouched=_quality(windows, made, True, random),
        all=_quality(windows, made, False, random),
    )
    return Fitted("trees", windows.horizon, _compare(windows, metrics, made, rival, random))


def needs_recalibration(plain: Quality, corrected: Quality) -> bool:
    """Whether the slope is outside 0.8–1.2 and correcting it helps: it lowers the log loss, or ends
    a slope that is off beyond chance."""
    if plain.slope is None or SLOPES[0] <= plain.slope <= SLOPES[1]:
        return False
    if plain.log_loss is None or corrected.log_loss is None:
        return False
    ended = is_miscalibrated(plain) and not is_miscalibrated(corrected)
    return ended or corrected.log_loss <= plain.log_loss


def is_miscalibrated(quality: Quality) -> bool:
    """Whether the slope is outside 0.8–1.2 beyond chance: with all of its 95 % interval."""
    if quality.slope_low is None or quality.slope_high is None:
        return False
    return quality.slope_high < SLOPES[0] or quality.slope_low > SLOPES[1]


def _compare(
    windows: Windows, metrics: Metrics, made: OutOfTime, rival: OutOfTime, random: Random
) -> Metrics:
    """Add the gain over the rival, on the untouched predictions that both made."""
    common, own, other = np.intersect1d(made.rows, rival.rows, return_indices=True)
    untouched = windows.untouched[common]
    rows, own, other = common[untouched], own[untouched], other[untouched]
    churned, supplier = windows.churned[rows], windows.supplier[rows]
    metrics = replace(metrics, rival="calibrated")
    if len(np.unique(supplier[churned])) < FEWEST:
        return metrics
    difference = find_losses(sigmoid(rival.logits[other]), churned) - find_losses(
        sigmoid(made.logits[own]), churned
    )
    gain, low, high = bootstrap_mean(difference, supplier, random)
    return replace(metrics, rival_gain=gain, rival_low=low, rival_high=high)


def _add_index_map(fitted: Fitted, snapshots: pl.DataFrame, known_until: datetime) -> Fitted:
    """Add the map onto the index, from the snapshots of the last year."""
    recent = snapshots.filter(
        pl.col("snapshot_at") > pl.lit(known_until - timedelta(days=_MAP_DAYS)),
        pl.col("snapshot_at") <= pl.lit(known_until),
    )
    if fitted.parameters is None or recent.is_empty():
        return fitted
    design = read_design(recent)
    logits = find_logit(fitted.parameters, design)
    knots, values = find_index_map(logits, find_index(design.evidence))
    return replace(fitted, parameters=replace(fitted.parameters, index_from=knots, index_to=values))
