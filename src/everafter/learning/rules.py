"""Probabilities of churn from the index and a few signals: features, fits, predictions. Pure.

Fits are maximum a posteriori with normal priors, by Newton's method: few churned suppliers move the
prior a little, many move it far. Source: docs/methods.md, Churn probability.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.learning.model import EVIDENCE, Parameters

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EVIDENCE_BOUNDS = (-1.5, 3.0)
EVIDENCE_OFFSET = 0.6
"""The evidence z enters as clip(z, −1.5, 3) + 0.6: alpha is then the logit of a usual supplier."""
ALPHA_SD = 1.0
BETA_PRIORS: dict[int, tuple[float, float]] = {45: (0.8, 0.4), 90: (0.5, 0.3)}
"""Mean and standard deviation of beta by horizon."""
BASE_PRIOR = 0.03
"""Share of suppliers that churn within 45 days, before any is seen; it weighs half a snapshot."""
FEATURE_SD = 0.2
"""Prior of the logistic model's weights: a signal that is one standard deviation off changes the
logit by 0.2 or so, until the data say otherwise."""
INDEX_SLOPE, INDEX_SHIFT = 2.1, -1.25
"""The churn risk index of the evidence z is 1 ÷ (1 + e^−(2.1 z − 1.25)): z = 0.4 and 1 are at the
spec's bands of 0.4 and 0.7."""
_NEWTON_STEPS = 60
_LONGEST_STEP = 2.0


def _log1p(name: str) -> pl.Expr:
    return (pl.col(name).cast(pl.Float64).clip(0) + 1).log()


_FEATURES: dict[str, pl.Expr] = {
    **{name: pl.col(name).clip(*EVIDENCE_BOUNDS) for name in EVIDENCE},
    "inactivity": -pl.col("inactivity_probability").clip(1e-3, 1).log(),
    "feature_adoption": pl.col("feature_adoption"),
    "client_activity": (pl.col("client_activity") / pl.col("client_season")).clip(0, 1),
    "clients": _log1p("clients_total"),
    "weddings": _log1p("weddings_365d"),
    "forms": pl.col("form_completion_rate"),
    "tenure": _log1p("tenure_days"),
}
FEATURES = tuple(_FEATURES)
"""Signals of the logistic model besides the evidence as a whole. None falls because a season is
off: the index that the model is mapped onto would call that a decline."""

FEATURE_LABELS: dict[str, str] = {
    "evidence": "evidence of decline",
    "evidence_logins": "logins, beyond the evidence",
    "evidence_uses": "feature use, beyond the evidence",
    "evidence_billing": "billing, beyond the evidence",
    "evidence_tickets": "support tickets, beyond the evidence",
    "evidence_clients": "clients lost, beyond the evidence",
    "inactivity": "unusual inactivity",
    "feature_adoption": "feature adoption",
    "client_activity": "active clients",
    "clients": "number of clients",
    "weddings": "weddings in a year",
    "forms": "forms completed",
    "tenure": "age of the account",
}


@dataclass(frozen=True, slots=True)
class Design:
    """Inputs of a model, a row per supplier.

    Attributes:
        evidence: z, not clipped.
        features: FEATURES, not standardized; NaN where unknown. Shape (rows, features).
    """

    evidence: Floats
    features: Floats

    def __len__(self) -> int:
        return len(self.evidence)

    def take(self, chosen: npt.NDArray[np.intp] | Bools | slice) -> "Design":
        """These rows."""
        return Design(self.evidence[chosen], self.features[chosen])


def sigmoid(x: Floats) -> Floats:
    """1 ÷ (1 + e^−x), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def logit(p: Floats | float) -> Floats:
    """Log odds; probabilities are kept within 1e-9 of 0 and 1."""
    kept = np.clip(np.asarray(p, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.log(kept) - np.log1p(-kept)


def read_design(frame: pl.DataFrame) -> Design:
    """Read the inputs from snapshots or from a scored frame.

    Args:
        frame: churn_evidence, and the columns that _FEATURES name.
    """
    evidence = frame["churn_evidence"].cast(pl.Float64).to_numpy()
    columns = frame.select(
        expression.cast(pl.Float64).fill_null(float("nan")).alias(name)
        for name, expression in _FEATURES.items()
    )
    return Design(evidence, columns.to_numpy().astype(np.float64))


def find_index(evidence: Floats) -> Floats:
    """The churn risk index of the evidence, as the rule has it.

    >>> find_index(np.array([0.0, 0.4, 1.0, -1.0])).round(6)
    array([0.2227  , 0.398912, 0.700567, 0.033895])
    """
    return sigmoid(INDEX_SLOPE * evidence + INDEX_SHIFT)


def center(evidence: Floats) -> Floats:
    """clip(z, −1.5, 3) + 0.6.

    >>> center(np.array([0.4, -1.0, 5.0, -9.0]))
    array([ 1. , -0.4,  3.6, -0.9])
    """
    return np.clip(evidence, *EVIDENCE_BOUNDS) + EVIDENCE_OFFSET


def fit_map(
    design: Floats, churned: Bools, weights: Floats, offset: Floats, mean: Floats, sd: Floats
) -> Floats:
    """The posterior mode of a logistic regression with independent normal priors.

    Args:
        design: shape (rows, coefficients).
        weights: of the rows' log likelihoods.
        offset: added to the linear predictor.
        mean, sd: of the priors.
    """
    precision = 1 / sd**2
    found = mean.astype(np.float64).copy()
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(offset + design @ found)
        gradient = design.T @ (weights * (churned - p)) - precision * (found - mean)
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, _LONGEST_STEP / max(1e-12, float(np.abs(step).max())))
        found = found + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return found


def find_base_rate(churned: Bools, weights: Floats, horizon: int) -> float:
    """The share that churns within the horizon; half a snapshot's weight is the prior.

    >>> round(find_base_rate(np.array([True, False, False, False]), np.full(4, 2 / 3), 45), 6)
    0.215263
    """
    prior = BASE_PRIOR * horizon / 45
    return float((weights @ churned + 0.5 * prior) / (weights.sum() + 0.5))


def fit_calibrated(design: Design, churned: Bools, weights: Floats, horizon: int) -> Parameters:
    """Calibrate the evidence with two numbers: alpha ~ N(logit base rate, 1), beta ~ N(0.8, 0.4)
    for 45 days and N(0.5, 0.3) for 90."""
    base = find_base_rate(churned, weights, horizon)
    mean, sd = BETA_PRIORS[horizon]
    x = np.column_stack([np.ones(len(design)), center(design.evidence)])
    alpha, beta = fit_map(
        x,
        churned,
        weights,
        np.zeros(len(design)),
        np.array([float(logit(base)), mean]),
        np.array([ALPHA_SD, sd]),
    )
    return Parameters(base_rate=base, alpha=float(alpha), beta=float(beta))


def fit_logistic(design: Design, churned: Bools, weights: Floats, horizon: int) -> Parameters:
    """Fit a logistic regression whose prior is the calibrated index.

    The evidence keeps its priors; every other signal is standardized and has a weight ~ N(0, 0.2),
    so with few churned suppliers this is the calibrated index.
    """
    base = find_base_rate(churned, weights, horizon)
    mean, sd = BETA_PRIORS[horizon]
    means, scales = _standards(design.features)
    x = np.column_stack(
        [
            np.ones(len(design)),
            center(design.evidence),
            _standardize(design.features, means, scales),
        ]
    )
    found = fit_map(
        x,
        churned,
        weights,
        np.zeros(len(design)),
        np.array([float(logit(base)), mean, *np.zeros(len(FEATURES))]),
        np.array([ALPHA_SD, sd, *np.full(len(FEATURES), FEATURE_SD)]),
    )
    return Parameters(
        base_rate=base,
        alpha=float(found[0]),
        beta=float(found[1]),
        features=FEATURES,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        weights=tuple(found[2:].tolist()),
    )


def _standards(features: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column without NaN; 0 and 1 where nothing is known."""
    known = ~np.isnan(features)
    count = np.maximum(1, known.sum(axis=0))
    filled = np.where(known, features, 0.0)
    means = filled.sum(axis=0) / count
    spread = np.sqrt((np.where(known, features - means, 0.0) ** 2).sum(axis=0) / count)
    return means, np.where(spread > 1e-6, spread, 1.0)


def _standardize(features: Floats, means: Floats, scales: Floats) -> Floats:
    """Standard deviations from the mean, at most 3; unknown counts as the mean."""
    return np.nan_to_num(np.clip((features - means) / scales, -3, 3), nan=0.0)


def split_logit(parameters: Parameters, design: Design) -> Floats:
    """What each input adds to the logit, shape (rows, 2 + features): the constant, the evidence,
    and the features of the parameters. The rows sum to the logit."""
    x = np.column_stack([np.ones(len(design)), center(design.evidence)])
    weights = np.array([parameters.alpha, parameters.beta])
    if parameters.features:
        places = [FEATURES.index(name) for name in parameters.features]
        standardized = _standardize(
            design.features[:, places], np.array(parameters.means), np.array(parameters.scales)
        )
        x = np.column_stack([x, standardized])
        weights = np.concatenate([weights, np.array(parameters.weights)])
    parts = parameters.slope * x * weights
    parts[:, 0] += parameters.shift
    return parts


def find_logit(parameters: Parameters, design: Design) -> Floats:
    """Log odds of churning within the horizon."""
    return split_logit(parameters, design).sum(axis=1)


def predict(parameters: Parameters, design: Design) -> Floats:
    """The probability of churning within the horizon, 0–1."""
    return sigmoid(find_logit(parameters, design))
