"""Add what the models say to a scored frame. Pure."""

import numpy as np
import polars as pl

from everafter.learning.model import HORIZONS, PROBABILITIES, ChurnModels, Parameters
from everafter.learning.rules import (
    INDEX_SLOPE,
    Design,
    Floats,
    center,
    find_index,
    predict,
    read_design,
    split_logit,
)
from everafter.playbook.model import CHURN_SIGNALS, ChurnSignal

INDEX_KNOTS = tuple(round(step / 50, 2) for step in range(51))
"""Values of the index at which a learned model is given the same share of suppliers below; the
bands' 0.4 and 0.7 are among them."""
_KNOT_GAP = 1e-6
_SMALL = 1e-9

SIGNAL_OF: dict[str, ChurnSignal] = {
    "evidence_logins": "login",
    "inactivity": "login",
    "evidence_uses": "feature_usage",
    "feature_adoption": "feature_usage",
    "evidence_billing": "billing",
    "evidence_tickets": "support_tickets",
    "evidence_clients": "client_churn",
    "client_activity": "client_churn",
    "clients": "client_churn",
    "weddings": "client_churn",
    "forms": "client_churn",
}
"""The signal of the index that each feature of a learned model belongs to. The age of the
account changes what a supplier without evidence has, `churn_base`."""


def add_probability(frame: pl.DataFrame, models: ChurnModels) -> pl.DataFrame:
    """Add churn_probability_45d and _90d, null where no model speaks, and put a learned model's
    index in the place of the rule's.

    A learned model is mapped onto the index so that as many suppliers are above each value as
    before. `churn_base` and the contributions sum to the index, whatever model speaks.

    Args:
        frame: as scored by churn_rules.score_churn.
    """
    if frame.is_empty() or not any(models.parameters(horizon) for horizon in HORIZONS):
        return frame.with_columns(
            pl.lit(None, pl.Float64).alias(PROBABILITIES[horizon]) for horizon in HORIZONS
        )
    design = read_design(frame)
    frame = frame.with_columns(_predict(models, design))
    version = models.index_model
    if version is None or version.parameters is None:
        return frame
    return _replace_index(frame, version.parameters, design)


def _predict(models: ChurnModels, design: Design) -> list[pl.Series]:
    """The probability of each horizon, null where no model speaks.

    Models of two horizons are fitted apart; a longer one is never less likely than a shorter one.
    """
    columns: list[pl.Series] = []
    least = np.zeros(len(design))
    for horizon in HORIZONS:
        name, parameters = PROBABILITIES[horizon], models.parameters(horizon)
        if parameters is None:
            columns.append(pl.Series(name, [None] * len(design), dtype=pl.Float64))
            continue
        least = np.maximum(least, predict(parameters, design))
        columns.append(pl.Series(name, least))
    return columns


def _replace_index(frame: pl.DataFrame, parameters: Parameters, design: Design) -> pl.DataFrame:
    base, contributions = share_index(parameters, design, read_evidence(frame, design.evidence))
    risk = map_to_index(parameters, split_logit(parameters, design).sum(axis=1))
    return frame.with_columns(
        pl.Series("churn_risk", risk),
        pl.Series("churn_base", base),
        *(
            pl.Series(f"churn_{name}", contributions[:, number], nan_to_null=True)
            for number, name in enumerate(CHURN_SIGNALS)
        ),
    )


def read_evidence(frame: pl.DataFrame, evidence: Floats) -> Floats:
    """The evidence of each signal of the rule, NaN where unknown. Shape (rows, 5); the known ones
    of a row sum to its evidence.

    Args:
        frame: as scored by churn_rules.score_churn: contributions are evidence times one factor a
            row.
    """
    base = float(find_index(np.zeros(1))[0])
    risk = find_index(evidence)
    is_small = np.abs(evidence) <= _SMALL
    factor = np.where(
        is_small, INDEX_SLOPE * base * (1 - base), (risk - base) / np.where(is_small, 1.0, evidence)
    )
    contributions = frame.select(
        pl.col(f"churn_{name}").cast(pl.Float64).fill_null(float("nan")) for name in CHURN_SIGNALS
    )
    return contributions.to_numpy().astype(np.float64) / factor[:, None]


def share_index(parameters: Parameters, design: Design, rule: Floats) -> tuple[Floats, Floats]:
    """The index without evidence, and what each of the five signals adds to it by a learned model.

    A signal has the share of the difference that it has of the log odds, as in the rule's index.

    Args:
        rule: evidence of each signal (read_evidence). What it does not know stays unknown; what a
            model says of such a signal belongs to the base.

    Returns:
        Shapes (rows,) and (rows, 5), NaN where unknown. With it, each row sums to its index.
    """
    parts = split_logit(parameters, design)
    known = ~np.isnan(rule)
    whole = parts.sum(axis=1)
    # Of the evidence only what is within its bounds counts; the signals share in that.
    at_zero = parameters.slope * parameters.beta * float(center(np.zeros(1))[0])
    evidence = design.evidence
    is_small = np.abs(evidence) <= _SMALL
    per_unit = np.where(
        is_small,
        parameters.slope * parameters.beta,
        (parts[:, 1] - at_zero) / np.where(is_small, 1.0, evidence),
    )
    added = np.where(known, rule, 0.0) * per_unit[:, None]
    for place, name in enumerate(parameters.features):
        if signal := SIGNAL_OF.get(name):
            added[:, CHURN_SIGNALS.index(signal)] += parts[:, 2 + place]
    added = np.where(known, added, 0.0)
    sums = added.sum(axis=1)
    base = map_to_index(parameters, whole - sums)
    chord = _find_chord(parameters, whole, sums, base)
    return base, np.where(known, added * chord[:, None], np.nan)


def _find_chord(parameters: Parameters, whole: Floats, sums: Floats, base: Floats) -> Floats:
    """Index per log odds between the base and the whole; where they are equal, of the tangent."""
    risk = map_to_index(parameters, whole)
    is_small = np.abs(sums) <= _SMALL
    step = 1e-3
    above, below = (map_to_index(parameters, whole + one) for one in (step, -step))
    return np.where(
        is_small, (above - below) / (2 * step), (risk - base) / np.where(is_small, 1.0, sums)
    )


def map_to_index(parameters: Parameters, logits: Floats) -> Floats:
    """The churn risk index of log odds by a learned model, 0–1."""
    return np.interp(logits, np.array(parameters.index_from), np.array(parameters.index_to))


def find_index_map(logits: Floats, risk: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The map from log odds to the index under which as many suppliers are above each of
    INDEX_KNOTS as with the index.

    Args:
        logits: of recent snapshots, by the learned model.
        risk: the rule's index of the same snapshots.

    Returns:
        Knots of a piecewise linear map: log odds (rising), and the index.
    """
    ordered = np.sort(logits)
    knots: list[float] = []
    for value in INDEX_KNOTS:
        below = int((risk <= value).sum())
        if below <= 0:
            at = float(ordered[0]) - 1.0
        elif below >= len(ordered):
            at = float(ordered[-1]) + 1.0
        else:
            at = float(ordered[below - 1] + ordered[below]) / 2
        knots.append(max(at, knots[-1] + _KNOT_GAP) if knots else at)
    return tuple(knots), INDEX_KNOTS


def explain_features(parameters: Parameters, design: Design) -> list[dict[str, float]]:
    """For each row, what each input adds to the log odds: `usual` (a usual supplier), `evidence`,
    and the features of the parameters."""
    names = ("usual", "evidence", *parameters.features)
    return [dict(zip(names, row, strict=True)) for row in split_logit(parameters, design).tolist()]
