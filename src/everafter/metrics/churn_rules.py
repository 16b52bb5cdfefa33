"""Compare churn predictions with the cancellations that followed. Pure.

Source: docs/methods.md: AUC, precision and recall of warnings with lead time, by level, against the
base rate; "untouched" predictions had no intervention before or after.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from math import sqrt
from typing import Literal

import numpy as np
import polars as pl

from everafter.activity.model import TIME
from everafter.metrics.model import Accuracy, ChurnDay, ChurnMetric, ChurnRow, LevelRow, Period
from everafter.metrics.time_rules import of_group

PREDICTIONS_SCHEMA = {
    "group": pl.String(),
    "day": pl.Date(),
    "level": pl.String(),
    "risk": pl.Float64(),
    "churned": pl.Boolean(),
    "untouched": pl.Boolean(),
    "n": pl.Int64(),
}
"""Number of predictions (n) per combination of the other columns; risk rounded to 3 decimals."""

LEADS_SCHEMA = {
    "group": pl.String(),
    "churned": pl.Int64(),
    "cancelled_at": TIME,
    "day": pl.Date(),
    "level": pl.String(),
}
"""For each cancellation in the period, the level on each day read before it; one row with a null
day if there is none."""

FEWEST = 5
"""Minimum number of churned, and of retained, suppliers for an AUC."""
DAYS_APART = 30
LOOKED_AT_EVERY_DAYS = 7
LOOKED_BACK_DAYS = 90
_LEVELS: tuple[Literal["low", "medium", "high"], ...] = ("low", "medium", "high")


def choose_prediction_days(scored: Sequence[date], period: Period) -> list[date]:
    """Choose the prediction days: scored days at least DAYS_APART apart, latest first, whose
    horizon ends in the period.

    Args:
        scored: sorted.

    >>> days = [date(2026, 1, 1) + timedelta(days=n) for n in range(0, 120, 7)]
    >>> period = Period(date(2026, 2, 15), date(2026, 4, 30), 30)
    >>> [str(day) for day in choose_prediction_days(days, period)]
    ['2026-02-19', '2026-03-26']
    """
    horizon = timedelta(days=period.horizon)
    open_days = [day for day in scored if period.first - horizon <= day <= period.last - horizon]
    chosen: list[date] = []
    for day in reversed(open_days):
        if not chosen or (chosen[-1] - day).days >= DAYS_APART:
            chosen.append(day)
    return chosen[::-1]


def choose_lead_days(scored: Sequence[date], period: Period) -> list[date]:
    """Choose the days on which to look for warnings: a week or more apart, back to
    LOOKED_BACK_DAYS before the period.
    """
    chosen: list[date] = []
    for day in reversed(
        [
            day
            for day in scored
            if period.first - timedelta(days=LOOKED_BACK_DAYS + 7) <= day <= period.last
        ]
    ):
        if not chosen or (chosen[-1] - day).days >= LOOKED_AT_EVERY_DAYS:
            chosen.append(day)
    return chosen[::-1]


def find_auc(predictions: pl.DataFrame) -> float | None:
    """Compute the AUC: the probability that a churned supplier had a higher risk than a retained
    one, ties counting half.

    Args:
        predictions: risk, churned, n.

    Returns:
        0 to 1; null if fewer than FEWEST churned, or were retained.
    """
    by_risk = predictions.group_by("risk").agg(
        pl.col("n").filter(pl.col("churned")).sum().alias("churned"),
        pl.col("n").filter(~pl.col("churned")).sum().alias("retained"),
    )
    by_risk = by_risk.sort("risk")
    churned, retained = (
        by_risk[name].to_numpy().astype(np.float64) for name in ("churned", "retained")
    )
    if min(churned.sum(), retained.sum()) < FEWEST:
        return None
    below = np.cumsum(retained) - retained
    return float((churned * (below + retained / 2)).sum() / (churned.sum() * retained.sum()))


def auc_range(auc: float, churned: int, retained: int) -> tuple[float, float]:
    """Compute the 95 % interval of an AUC by Hanley and McNeil (1982).

    A supplier scored on several days counts each time, so with horizons over 30 days the interval
    is slightly too narrow.

    >>> [round(bound, 4) for bound in auc_range(0.8, 30, 970)]
    [0.704, 0.896]
    """
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (churned - 1) * (one - auc**2) + (retained - 1) * (two - auc**2)
    ) / (churned * retained)
    half = 1.959964 * sqrt(max(0.0, variance))
    return max(0.0, auc - half), min(1.0, auc + half)


def compare(predictions: pl.DataFrame) -> Accuracy:
    """Measure the accuracy of these predictions (PREDICTIONS_SCHEMA)."""
    n, churned = _count(predictions), _count(predictions.filter("churned"))
    warned = predictions.filter(pl.col("level") != "low")
    high = predictions.filter(pl.col("level") == "high")
    warned_n, high_n = _count(warned), _count(high)
    warned_churned, high_churned = _count(warned.filter("churned")), _count(high.filter("churned"))
    auc = find_auc(predictions)
    low, high_bound = (None, None) if auc is None else auc_range(auc, churned, n - churned)
    return Accuracy(
        auc=auc,
        auc_low=low,
        auc_high=high_bound,
        n=n,
        churned=churned,
        base_rate=churned / n if n else None,
        warned=warned_n,
        precision_warned=warned_churned / warned_n if warned_n else None,
        recall_warned=warned_churned / churned if churned else None,
        high=high_n,
        precision_high=high_churned / high_n if high_n else None,
        recall_high=high_churned / churned if churned else None,
    )


def _count(predictions: pl.DataFrame) -> int:
    return int(predictions["n"].sum())


def find_leads(leads: pl.DataFrame) -> pl.DataFrame:
    """Compute lead times: days from the start of the last warning to the cancellation.

    Args:
        leads: LEADS_SCHEMA.

    Returns:
        group, churned (row number of the cancellation), lead_days (null: no warning at the end),
        seen (false: never scored in that time).
    """
    low = pl.col("level") == "low"
    last_low = pl.col("day").filter(low).max()
    return leads.group_by("group", "churned").agg(
        (
            pl.col("cancelled_at").first().dt.date()
            - pl.col("day").filter(last_low.is_null() | (pl.col("day") > last_low)).min()
        )
        .dt.total_days()
        .alias("lead_days"),
        pl.col("day").is_not_null().any().alias("seen"),
    )


def measure_churn(
    predictions: pl.DataFrame, leads: pl.DataFrame, order: Sequence[str | None], horizon: int
) -> ChurnMetric:
    """Measure the predictions by group.

    Args:
        predictions: PREDICTIONS_SCHEMA.
        leads: LEADS_SCHEMA.
        order: the groups of the result, in order.
        horizon: days.
    """
    led = find_leads(leads)
    levels: list[LevelRow] = []
    for level in _LEVELS:
        at_level = predictions.filter(pl.col("level") == level)
        n, churned = _count(at_level), _count(at_level.filter("churned"))
        levels.append(LevelRow(level, n, churned, churned / n if n else None))
    return ChurnMetric(
        horizon=horizon,
        all=_churn_row(None, predictions, led),
        rows=[
            _churn_row(group, of_group(predictions, group), of_group(led, group)) for group in order
        ],
        levels=levels,
        days=[
            ChurnDay(day, compare(predictions.filter(pl.col("day") == day)))
            for day in sorted(predictions["day"].unique())
        ],
    )


def _churn_row(group: str | None, predictions: pl.DataFrame, led: pl.DataFrame) -> ChurnRow:
    everyone = compare(predictions)
    lead = led["lead_days"].drop_nulls()
    median = lead.median()
    return ChurnRow(
        group=group,
        value=everyone.auc,
        n=everyone.n,
        everyone=everyone,
        untouched=compare(predictions.filter("untouched")),
        lead_days=float(median) if isinstance(median, int | float) else None,
        lead_n=len(lead),
        unwarned=int((led["seen"] & led["lead_days"].is_null()).sum()),
        unseen=int((~led["seen"]).sum()),
    )
