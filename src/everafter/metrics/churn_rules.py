"""Was it foretold? Churn predictions against the cancellations that came. Pure.

Source: docs/methods.md, Churn (Report): AUC, precision and recall of the warnings with lead time,
by month and level, on predictions made before anyone intervened, against the base rate. Here
"untouched" asks more: nothing decided afterwards either."""

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
"""Predictions that are alike in all of these, and how many; risk to three decimals."""

LEADS_SCHEMA = {
    "group": pl.String(),
    "churned": pl.Int64(),
    "cancelled_at": TIME,
    "day": pl.Date(),
    "level": pl.String(),
}
"""Of each cancellation in the period, the level on each day looked at before it; one row with null
day when there is none."""

FEWEST = 5
"""Churned suppliers, and stayers, under which no AUC is given: one churned supplier's place says
nothing."""
DAYS_APART = 30
LOOKED_AT_EVERY_DAYS = 7
LOOKED_BACK_DAYS = 90
_LEVELS: tuple[Literal["low", "medium", "high"], ...] = ("low", "medium", "high")


def choose_prediction_days(scored: Sequence[date], period: Period) -> list[date]:
    """The days whose predictions are looked at: the latest scored one whose horizon has ended in
    the period, and back from it every DAYS_APART days or the next scored day before, as long as the
    horizon ends in the period.

    Args:
        scored: in order.

    >>> days = [date(2026, 1, 1) + timedelta(days=n) for n in range(0, 120, 7)]
    >>> [str(day) for day in choose_prediction_days(days, Period(date(2026, 2, 15), date(2026, 4, 30), 30))]
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
    """The days on which standing warnings are looked for: a week or more apart, back to
    LOOKED_BACK_DAYS before the period."""
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
    """The area under the curve: the chance that a churned supplier had the higher risk than one who
    stayed, ties counting half.

    Args:
        predictions: risk, churned, n.

    Returns:
        0 to 1; null when fewer than FEWEST churned, or stayed.
    """
    by_risk = predictions.group_by("risk").agg(
        pl.col("n").filter(pl.col("churned")).sum().alias("churned"),
        pl.col("n").filter(~pl.col("churned")).sum().alias("stayed"),
    )
    by_risk = by_risk.sort("risk")
    churned, stayed = (by_risk[name].to_numpy().astype(np.float64) for name in ("churned", "stayed"))
    if min(left.sum(), stayed.sum()) < FEWEST:
        return None
    below = np.cumsum(stayed) - stayed
    return float((left * (below + stayed / 2)).sum() / (left.sum() * stayed.sum()))


def auc_range(auc: float, left: int, stayed: int) -> tuple[float, float]:
    """The 95 % range of an AUC of so many who left and stayed, by Hanley and McNeil (1982).

    A supplier that is scored on several days counts each time, so with horizons over 30 days the
    range is a little too narrow.

    >>> [round(bound, 4) for bound in auc_range(0.8, 30, 970)]
    [0.704, 0.896]
    """
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (left - 1) * (one - auc**2) + (stayed - 1) * (two - auc**2)) / (
        left * stayed
    )
    half = 1.959964 * sqrt(max(0.0, variance))
    return max(0.0, auc - half), min(1.0, auc + half)


def compare(predictions: pl.DataFrame) -> Accuracy:
    """How these predictions (PREDICTIONS_SCHEMA) compare with what came."""
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
        churned=left,
        base_rate=left / n if n else None,
        warned=warned_n,
        precision_warned=warned_churned / warned_n if warned_n else None,
        recall_warned=warned_churned / left if left else None,
        high=high_n,
        precision_high=high_churned / high_n if high_n else None,
        recall_high=high_churned / left if left else None,
    )


def _count(predictions: pl.DataFrame) -> int:
    return int(predictions["n"].sum())


def find_leads(leads: pl.DataFrame) -> pl.DataFrame:
    """Of each churned supplier how many days before the cancellation the warning began that stood
    at the end.

    Args:
        leads: LEADS_SCHEMA.

    Returns: group, churned supplier, lead_days (null: no warning stood), seen (false: not scored in
        that time)."""
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
    """How good the predictions were, by group.

    Args: predictions: PREDICTIONS_SCHEMA. leads: LEADS_SCHEMA. order: the groups in which to
        answer. horizon: days."""
    led = find_leads(leads)
    levels: list[LevelRow] = []
    for level in _LEVELS:
        at_level = predictions.filter(pl.col("level") == level)
        n, churned = _count(at_level), _count(at_level.filter("churned"))
        levels.append(LevelRow(level, n, churned, left / n if n else None))
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
