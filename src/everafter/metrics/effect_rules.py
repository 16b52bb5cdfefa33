"""Lift of interventions: treatment against control group, valid for repeated looks. Pure.

The confidence sequence holds for a sample that only grows (same first day, later last day). For a
moving period, or one chosen after looking, the interval holds for a single look.

Source: docs/methods.md (asymptotic confidence sequence: Waudby-Smith and others 2024, arXiv
2103.06476; exact two-armed e-value by universal inference; e-BH over many triggers).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, lgamma, log, sqrt

import polars as pl

from everafter.metrics.model import Conclusion, SuccessMetric, SuccessRow

ALPHA = 0.05
TUNED_FOR = 500
"""Number of suppliers at which the confidence sequence is narrowest; fixed in advance."""
FEWEST = 50
FEWEST_IN_ARM = 10


@dataclass(frozen=True, slots=True)
class Arms:
    """Treatment and control group of one trigger: sizes and successes."""

    treated: int
    succeeded: int
    holdout: int
    control_succeeded: int


def tune(at: int, alpha: float = ALPHA) -> float:
    """Compute ρ, which makes the sequence narrowest after `at` observations.

    >>> round(tune(500), 7)
    0.1259854
    """
    return sqrt((-2 * log(alpha) + log(1 - 2 * log(alpha))) / at)


def half_width(deviation: float, count: int, rho: float, alpha: float = ALPHA) -> float:
    """Compute half the width of the asymptotic confidence sequence of a mean.

    >>> [round(half_width(1, count, tune(500)), 6) for count in (100, 500, 1000)]
    [0.336389, 0.135739, 0.096812]
    """
    spread = count * rho**2
    return deviation * sqrt(2 * (spread + 1) / (count * spread) * log(sqrt(spread + 1) / alpha))


def confidence_sequence(
    arms: Sequence[Arms], *, smoothed: bool = True, tuned_for: int = TUNED_FOR, alpha: float = ALPHA
) -> tuple[float, float, float]:
    """Compute the lift (treatment minus control) and its bounds, which hold at all looks at one
    growing sample together with probability 1 − alpha.

    Strata (triggers) are compared within themselves and averaged, weighted by treated suppliers:
    holdout shares differ, so pooling would compare triggers instead of treatment.

    Args:
        arms: both groups of each must not be empty.
        smoothed: add one success and one failure to each group; without it, rare failures are taken
            for certainty.

    Returns:
        lift, low, high; not clipped to −1 and 1.

    >>> found = confidence_sequence([Arms(2000, 1800, 1000, 800)], smoothed=False, tuned_for=3000)
    >>> [round(value, 7) for value in found]
    [0.1, 0.0565424, 0.1434576]
    """
    extra = 1 if smoothed else 0
    total = sum(one.treated + one.holdout for one in arms)
    weights = sum(one.treated for one in arms)
    lift = variance = 0.0
    for one in arms:
        weight = one.treated / weights
        treated = (one.succeeded + extra) / (one.treated + 2 * extra)
        holdout = (one.control_succeeded + extra) / (one.holdout + 2 * extra)
        lift += weight * (treated - holdout)
        variance += weight**2 * (
            treated * (1 - treated) / one.treated + holdout * (1 - holdout) / one.holdout
        )
    half = half_width(sqrt(total * variance), total, tune(tuned_for, alpha), alpha)
    return lift, lift - half, lift + half


def log_evidence(arms: Arms) -> float:
    """Compute the natural logarithm of the exact e-value against equal success rates; a single
    trigger is declared at ln 20.

    >>> [round(log_evidence(a), 6) for a in (Arms(200, 180, 100, 80), Arms(2000, 1800, 1000, 800))]
    [-2.494978, 19.917675]
    """
    succeeded = arms.succeeded + arms.control_succeeded
    failed = arms.treated + arms.holdout - succeeded
    rate = succeeded / (succeeded + failed)
    alike = (succeeded * log(rate) if succeeded else 0.0) + (
        failed * log(1 - rate) if failed else 0.0
    )
    return (
        _log_beta(1 + arms.succeeded, 1 + arms.treated - arms.succeeded)
        + _log_beta(1 + arms.control_succeeded, 1 + arms.holdout - arms.control_succeeded)
        - alike
    )


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def declare(evidence: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Decide which triggers are declared, by e-BH: the k largest e-values, for the largest k whose
    k-th value is at least m/(kα).

    Args:
        evidence: natural logarithms of e-values.

    >>> declare([log(45), log(41), 0.0, -2.0]), declare([log(79), 0.0, 0.0, 0.0])
    ([True, True, False, False], [False, False, False, False])
    """
    ranked = sorted(evidence, reverse=True)
    count = max(
        (k for k, value in enumerate(ranked, 1) if value >= log(len(ranked) / (k * alpha)) - 1e-12),
        default=0,
    )
    bound = ranked[count - 1] if count else inf
    return [value >= bound for value in evidence]


# ── the metric ────────────────────────────────────────────────────────────────────

SUCCESS_SCHEMA = {
    "group": pl.String(),
    "trigger": pl.String(),
    "holdout": pl.Boolean(),
    "windows": pl.Int64(),
    "n": pl.Int64(),
    "succeeded": pl.Int64(),
}
"""Rows of `queries.read_success`. windows: ended windows. n: those that were the first of their
supplier and trigger. succeeded: of n."""


def measure_success(counts: pl.DataFrame, order: Sequence[str | None]) -> SuccessMetric:
    """Compute success rates by group and by trigger.

    Args:
        counts: SUCCESS_SCHEMA.
        order: the groups of the result, in order.
    """
    by_trigger = _arms(
        counts.filter(pl.col("n") > 0)
        .group_by("trigger", "holdout")
        .agg(pl.col("n", "succeeded").sum())
    )
    names = sorted(by_trigger, key=lambda name: (-by_trigger[name].treated, name))
    compared = [name for name in names if _both(by_trigger[name])]
    evidence = {name: log_evidence(by_trigger[name]) for name in compared}
    declared = dict(zip(compared, declare(list(evidence.values())), strict=True))
    return SuccessMetric(
        all=_row(None, list(by_trigger.values())),
        rows=[
            _row(
                group,
                list(
                    _arms(
                        counts.filter(pl.col("group").eq_missing(pl.lit(group, pl.String)))
                    ).values()
                ),
            )
            for group in order
        ],
        triggers=[
            _row(name, [by_trigger[name]], evidence.get(name), declared=declared.get(name, False))
            for name in names
        ],
        windows=int(counts["windows"].sum()),
    )


def _arms(counts: pl.DataFrame) -> dict[str, Arms]:
    found: dict[str, list[int]] = {}
    for trigger, holdout, n, succeeded in counts.select(
        "trigger", "holdout", "n", "succeeded"
    ).iter_rows():
        cells = found.setdefault(trigger, [0, 0, 0, 0])
        place = 2 if holdout else 0
        cells[place] += n
        cells[place + 1] += succeeded
    return {trigger: Arms(*cells) for trigger, cells in found.items()}


def _both(arms: Arms) -> bool:
    return arms.treated > 0 and arms.holdout > 0


def _row(
    group: str | None,
    arms: Iterable[Arms],
    evidence: float | None = None,
    *,
    declared: bool = False,
) -> SuccessRow:
    strata = list(arms)
    treated, holdout = sum(one.treated for one in strata), sum(one.holdout for one in strata)
    both = [one for one in strata if _both(one)]
    compared = sum(one.treated + one.holdout for one in both)
    enough = compared >= FEWEST and all(
        sum(counts) >= FEWEST_IN_ARM
        for counts in ([one.treated for one in both], [one.holdout for one in both])
    )
    _, low, high = confidence_sequence(both) if enough else (None, None, None)
    conclusion: Conclusion = "not_yet_known" if enough else "too_few" if holdout else "no_control"
    if declared and enough:
        conclusion = (
            "helps"
            if both[0].succeeded * both[0].holdout > both[0].control_succeeded * both[0].treated
            else "hurts"
        )
    elif (
        enough
        and evidence is None
        and low is not None
        and high is not None
        and not low <= 0 <= high
    ):
        conclusion = "helps" if low > 0 else "hurts"
    return SuccessRow(
        group=group,
        value=sum(one.succeeded for one in strata) / treated if treated else None,
        n=treated,
        control_value=sum(one.control_succeeded for one in strata) / holdout if holdout else None,
        control_n=holdout,
        lift=confidence_sequence(both, smoothed=False)[0] if enough else None,
        low=None if low is None else max(-1.0, low),
        high=None if high is None else min(1.0, high),
        compared=compared if enough else 0,
        conclusion=conclusion,
        evidence=evidence,
    )
