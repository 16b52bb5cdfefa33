"""Average health scores and feature adoption over scored days. Pure."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from everafter.metrics.model import (
    MOST_ROWS,
    AdoptionMetric,
    AdoptionRow,
    DayAverage,
    HealthMetric,
    HealthRow,
)
from everafter.metrics.time_rules import of_group

HEALTH_SCHEMA = {
    "group": pl.String(),
    "day": pl.Date(),
    "n": pl.Int64(),
    "total": pl.Float64(),
    "healthy": pl.Int64(),
    "at_risk": pl.Int64(),
    "critical": pl.Int64(),
}
"""Scores by group and day: count, sum, and count per band."""

ADOPTION_SCHEMA = {"group": pl.String(), "day": pl.Date(), "percent": pl.Int64(), "n": pl.Int64()}
"""Suppliers by group, day and percent of their key features in use."""


def choose_days(scored: Sequence[date], suppliers: int, most_rows: int = MOST_ROWS) -> list[date]:
    """Choose the days to read: all, or as many as `most_rows` allows, evenly spread, always with
    the first and the last.

    >>> days = [date(2026, 1, day) for day in range(1, 10)]
    >>> [day.day for day in choose_days(days, 100, 500)]
    [1, 3, 5, 7, 9]
    >>> len(choose_days(days, 10, 500)), choose_days([], 10)
    (9, [])
    """
    count = min(len(scored), max(2, most_rows // max(1, suppliers)))
    return (
        [scored[int(place)] for place in np.linspace(0, len(scored) - 1, count).round()]
        if scored
        else []
    )


def measure_health(
    scores: pl.DataFrame, order: Sequence[str | None], days_scored: int
) -> HealthMetric:
    """Average the health scores by group.

    Args:
        scores: HEALTH_SCHEMA.
        order: the groups of the result, in order.
        days_scored: days in the period with a finished run, read or not.
    """
    by_day = scores.group_by("day").agg(pl.col("n", "total").sum()).sort("day")
    days = by_day["day"].to_list()
    first, last = (days[0], days[-1]) if days else (None, None)
    return HealthMetric(
        all=_health_row(None, scores, first, last),
        rows=[_health_row(group, of_group(scores, group), first, last) for group in order],
        days=[DayAverage(day, total / n, n) for day, n, total in by_day.iter_rows()],
        days_scored=days_scored,
        days_read=len(days),
    )


def _health_row(
    group: str | None, scores: pl.DataFrame, first: date | None, last: date | None
) -> HealthRow:
    n = int(scores["n"].sum())
    then, now = (_on(scores, day) for day in (first, last))
    began, latest = _mean(then), _mean(now)
    suppliers = int(now["n"].sum())
    healthy, at_risk, critical = (
        int(now[band].sum()) / suppliers if suppliers else None
        for band in ("healthy", "at_risk", "critical")
    )
    return HealthRow(
        group=group,
        value=_mean(scores),
        n=n,
        suppliers=suppliers,
        latest=latest,
        change=None if latest is None or began is None or first == last else latest - began,
        healthy=healthy,
        at_risk=at_risk,
        critical=critical,
    )


def _on(frame: pl.DataFrame, day: date | None) -> pl.DataFrame:
    return frame.clear() if day is None else frame.filter(pl.col("day") == day)


def _mean(scores: pl.DataFrame) -> float | None:
    n = int(scores["n"].sum())
    return float(scores["total"].sum()) / n if n else None


# ── adoption ──────────────────────────────────────────────────────────────────────


def measure_adoption(
    shares: pl.DataFrame, order: Sequence[str | None], days: Sequence[date]
) -> AdoptionMetric:
    """Measure the use of key features by group.

    Args:
        shares: ADOPTION_SCHEMA of the first and the last scored day.
        order: the groups of the result, in order.
        days: these two days, or one, or none.
    """
    first, last = (days[0], days[-1]) if days else (None, None)
    return AdoptionMetric(
        all=_adoption_row(None, shares, first, last),
        rows=[_adoption_row(group, of_group(shares, group), first, last) for group in order],
        day=last,
        first_day=first,
    )


def _adoption_row(
    group: str | None, shares: pl.DataFrame, first: date | None, last: date | None
) -> AdoptionRow:
    then, now = (_on(shares, day) for day in (first, last))
    n = int(now["n"].sum())
    began, value = _mean_share(then), _mean_share(now)
    percent = pl.col("percent")
    none, some, half, most, whole = (
        int(now.filter(within)["n"].sum()) / n if n else None
        for within in (
            percent <= 0,
            percent.is_between(1, 49),
            percent.is_between(50, 74),
            percent.is_between(75, 99),
            percent >= 100,
        )
    )
    return AdoptionRow(
        group=group,
        value=value,
        n=n,
        change=None if value is None or began is None or first == last else value - began,
        none=none,
        some=some,
        half=half,
        most=most,
        all=whole,
    )


def _mean_share(shares: pl.DataFrame) -> float | None:
    n = int(shares["n"].sum())
    return float((shares["percent"] * shares["n"]).sum()) / n / 100 if n else None
