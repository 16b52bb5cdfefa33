"""Predict out of time and measure the predictions. Pure.

Rolling origin: the snapshots of each month are predicted by a model fitted on the windows that had
closed by then (embargo = horizon). Intervals are by supplier, because a supplier is predicted every
month: a Bayesian bootstrap (Rubin 1981) for the gain, a sandwich estimate for the slope.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from msgspec import structs

from everafter.learning.model import Bin, Quality
from everafter.learning.rules import (
    Bools,
    Design,
    Floats,
    find_base_rate,
    fit_map,
    sigmoid,
)
from everafter.learning.snapshot_rules import Windows

Predictor = Callable[[Design], Floats]
"""Returns log odds."""
Random = np.random.Generator
Fit = Callable[[Design, Bools, Floats], Predictor]
"""Fits on a design, what followed, and weights."""

DRAWS = 1000
_DRAWS_AT_ONCE = 50
FEWEST = 5
"""Churned suppliers that a gain, an AUC, a slope, a precision or a recall needs at least."""
_BINS = 10
_LEAST_IN_BIN = 20
_Z = 1.959964
RECALIBRATION_SD = (0.5, 0.3)
"""Priors of shift ~ N(0, 0.5) and slope ~ N(1, 0.3): few churned suppliers correct little."""


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """Predictions that were made out of time.

    Attributes:
        rows: their places in the windows. Shape (predictions,), as all of these.
        logits: log odds.
        base: the base rate known at the time.
        level: the band, 0 low, 1 medium, 2 high: the index's, or the model's with the same shares.
        months: how many months were predicted.
    """

    rows: npt.NDArray[np.int64]
    logits: Floats
    base: Floats
    level: npt.NDArray[np.int8]
    months: int


def predict_out_of_time(
    windows: Windows,
    fit: Fit,
    *,
    least_churned: int,
    own_bands: bool = False,
    every: int = 1,
    last: int | None = None,
) -> OutOfTime:
    """Predict each month's snapshots from the windows that had closed by then.

    Args:
        least_churned: churned suppliers that a fit needs.
        own_bands: bands by the model's logit, with the index's shares among the fitted windows.
        every: fit again only every so many months.
        last: predict only the last so many months.
    """
    months = np.unique(windows.at)
    months = months if last is None else months[-last:]
    parts: list[tuple[npt.NDArray[np.int64], Floats, float, npt.NDArray[np.int8]]] = []
    predictor: Predictor | None = None
    limits = (np.inf, np.inf)
    for number, month in enumerate(months):
        closed = int(np.searchsorted(windows.at, month - windows.horizon, side="right"))
        churned = windows.churned[:closed]
        if len(np.unique(windows.supplier[:closed][churned])) < least_churned:
            continue
        design, weights = windows.design.take(slice(0, closed)), windows.weights[:closed]
        if predictor is None or number % every == 0:
            predictor = fit(design, churned, weights)
            limits = (
                _band_limits(predictor(design), windows.level[:closed]) if own_bands else limits
            )
        rows = np.flatnonzero(windows.at == month)
        logits = predictor(windows.design.take(rows))
        level = _levels(logits, limits) if own_bands else windows.level[rows]
        parts.append((rows, logits, find_base_rate(churned, weights, windows.horizon), level))
    if not parts:
        return OutOfTime(
            np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int8), months=0
        )
    return OutOfTime(
        rows=np.concatenate([rows for rows, _, _, _ in parts]),
        logits=np.concatenate([logits for _, logits, _, _ in parts]),
        base=np.concatenate([np.full(len(rows), base) for rows, _, base, _ in parts]),
        level=np.concatenate([level for _, _, _, level in parts]),
        months=len(parts),
    )


def _band_limits(logits: Floats, level: npt.NDArray[np.int8]) -> tuple[float, float]:
    """Logits above which as many suppliers are medium and high as on the index."""
    ordered = np.sort(logits)[::-1]
    return tuple(
        float(ordered[count]) if (count := int((level >= least).sum())) < len(ordered) else -np.inf
        for least in (1, 2)
    )  # pyright: ignore[reportReturnType] two


def _levels(logits: Floats, limits: tuple[float, float]) -> npt.NDArray[np.int8]:
    return ((logits > limits[0]).astype(np.int8) + (logits > limits[1])).astype(np.int8)


def recalibrate(windows: Windows, made: OutOfTime) -> tuple[OutOfTime, float, float]:
    """Correct predictions by those that were made, and whose windows had closed, before them.

    Returns:
        The corrected predictions, and the shift and slope that correct the next ones.
    """
    at = windows.at[made.rows]
    corrected = made.logits.copy()
    for month in np.unique(at):
        known = at + windows.horizon <= month
        shift, slope = _fit_recalibration(windows, made, known)
        now = at == month
        corrected[now] = shift + slope * made.logits[now]
    everything = np.ones(len(made.rows), dtype=np.bool_)
    return replace(made, logits=corrected), *_fit_recalibration(windows, made, everything)


def _fit_recalibration(windows: Windows, made: OutOfTime, known: Bools) -> tuple[float, float]:
    rows = made.rows[known]
    if not windows.churned[rows].any():
        return 0.0, 1.0
    # Around the mean, so that the priors of shift and slope do not contradict each other.
    middle = float(made.logits[known].mean())
    x = np.column_stack([np.ones(len(rows)), made.logits[known] - middle])
    shift, turn = fit_map(
        x,
        windows.churned[rows],
        windows.weights[rows],
        made.logits[known],
        np.zeros(2),
        np.array(RECALIBRATION_SD),
    ).tolist()
    return shift - turn * middle, 1 + turn


def measure(windows: Windows, made: OutOfTime, chosen: Bools, random: Random) -> Quality:
    """Measure the chosen predictions.

    Args:
        chosen: of the predictions made. Shape (predictions,).
        random: for the bootstrap.
    """
    rows = made.rows[chosen]
    churned, supplier = windows.churned[rows], windows.supplier[rows]
    logits, base = made.logits[chosen], made.base[chosen]
    p = sigmoid(logits)
    who = len(np.unique(supplier[churned]))
    quality = Quality(
        predictions=len(rows),
        suppliers=len(np.unique(supplier)),
        churned=who,
        expected=float(p.sum()),
        observed=int(churned.sum()),
        base_rate=float(churned.mean()) if len(rows) else None,
        bins=find_bins(p, churned),
    )
    if who < FEWEST or churned.all():
        return quality
    own, of_base = find_losses(p, churned), find_losses(base, churned)
    gain, low, high = bootstrap_mean(of_base - own, supplier, random)
    slope, slope_low, slope_high = find_slope(logits, churned, supplier)
    return structs.replace(
        quality,
        **_measure_bands(made.level[chosen], churned),
        auc=find_auc(logits, churned),
        log_loss=float(own.mean()),
        base_log_loss=float(of_base.mean()),
        gain=gain,
        gain_low=low,
        gain_high=high,
        slope=slope,
        slope_low=slope_low,
        slope_high=slope_high,
    )


def find_losses(p: Floats, churned: Bools) -> Floats:
    """The log loss of each prediction."""
    kept = np.clip(p, 1e-9, 1 - 1e-9)
    return -np.where(churned, np.log(kept), np.log1p(-kept))


def bootstrap_mean(
    values: Floats, supplier: npt.NDArray[np.int64], random: Random
) -> tuple[float, float, float]:
    """The mean and its 95 % interval, resampled by supplier."""
    _, codes = np.unique(supplier, return_inverse=True)
    sums = np.bincount(codes, weights=values)
    counts = np.bincount(codes).astype(np.float64)
    drawn: list[Floats] = []
    for _ in range(DRAWS // _DRAWS_AT_ONCE):
        weights = random.standard_exponential((_DRAWS_AT_ONCE, len(sums)), dtype=np.float32)
        drawn.append((weights @ sums) / (weights @ counts))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def find_auc(value: Floats, churned: Bools) -> float:
    """The probability that a supplier that churned has a higher value than one that did not, ties
    counting half.

    >>> find_auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    _, codes, counts = np.unique(value, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    ones = int(churned.sum())
    return float((ranks[churned].sum() - ones * (ones + 1) / 2) / (ones * (len(value) - ones)))


def find_slope(
    logits: Floats, churned: Bools, supplier: npt.NDArray[np.int64]
) -> tuple[float | None, float | None, float | None]:
    """The calibration slope (1: as spread as it should be; under 1: too extreme) and its 95 %
    interval, by supplier; nulls where all predictions are equal."""
    if float(logits.std()) < 1e-6:
        return None, None, None
    middle = float(logits.mean())
    x = np.column_stack([np.ones(len(logits)), logits - middle])
    nothing = np.zeros(len(logits))
    found = fit_map(
        x, churned, nothing + 1, nothing, np.array([middle, 1.0]), np.array([10.0, 10.0])
    )
    p = sigmoid(x @ found)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    _, codes = np.unique(supplier, return_inverse=True)
    scores = np.column_stack(
        [np.bincount(codes, weights=(churned - p) * x[:, column]) for column in (0, 1)]
    )
    variance = bread @ (scores.T @ scores) @ bread
    half = _Z * sqrt(max(0.0, float(variance[1, 1])))
    return float(found[1]), float(found[1]) - half, float(found[1]) + half


def _measure_bands(level: npt.NDArray[np.int8], churned: Bools) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    total = int(churned.sum())
    for name, least in (("medium", 1), ("high", 2)):
        warned = level >= least
        hits = int((warned & churned).sum())
        found[f"precision_{name}"] = hits / int(warned.sum()) if warned.any() else None
        found[f"recall_{name}"] = hits / total if total else None
    return found


def find_bins(p: Floats, churned: Bools) -> tuple[Bin, ...]:
    """Up to ten equal parts of the predictions, from the lowest, with the share that churned."""
    parts = min(_BINS, len(p) // _LEAST_IN_BIN)
    if not parts:
        return ()
    order = np.argsort(p, kind="stable")
    bins: list[Bin] = []
    for chosen in np.array_split(order, parts):
        n, ones = len(chosen), int(churned[chosen].sum())
        low, high = wilson(ones, n)
        bins.append(Bin(float(p[chosen].mean()), ones / n, low, high, n))
    return tuple(bins)


def wilson(ones: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927).

    >>> [round(bound, 4) for bound in wilson(3, 50)]
    [0.0206, 0.1622]
    """
    share, z2 = ones / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
