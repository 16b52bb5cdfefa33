"""Snapshots: what is kept of a scored frame, and what became of it. Pure."""

from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.activity.model import TIME
from everafter.learning.model import SNAPSHOT_SCHEMA
from everafter.learning.rules import Bools, Design, Floats, find_index, read_design

MEDIUM_ABOVE, HIGH_ABOVE = 0.4, 0.7
"""The spec's bands of the index. A playbook may have others; models are measured by these."""


def snapshot_rows(scored: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The rows of signal_snapshots.

    Args:
        scored: a scored frame; a column that it lacks is null.
    """
    return scored.select(
        _column(name, dtype, scored, as_of) for name, dtype in SNAPSHOT_SCHEMA.items()
    )


def _column(name: str, dtype: pl.DataType, scored: pl.DataFrame, as_of: datetime) -> pl.Expr:
    match name:
        case "snapshot_on":
            value = pl.lit(as_of.date())
        case "snapshot_at":
            value = pl.lit(as_of)
        case _:
            value = pl.col(name) if name in scored.columns else pl.lit(None)
    return value.cast(dtype).alias(name)


def month_of(day: date) -> date:
    """The first day of the month.

    >>> month_of(date(2026, 11, 29))
    datetime.date(2026, 11, 1)
    """
    return day.replace(day=1)


def list_months(first: date, last: date) -> list[date]:
    """The first days of the months from the first that begins on `first` or later up to `last`.

    >>> [str(day) for day in list_months(date(2025, 11, 2), date(2026, 1, 1))]
    ['2025-12-01', '2026-01-01']
    >>> list_months(date.max, date(2026, 1, 1))
    []
    """
    if first > last:
        return []
    months: list[date] = []
    day = first if first.day == 1 else _next_month(first)
    while day <= last:
        months.append(day)
        day = _next_month(day)
    return months


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


class Windows:
    """The predictions of one horizon whose windows are closed, in the order of their moments.

    Attributes:
        supplier: number of the supplier, from 0. Shape (rows,), as all of these.
        at: when the snapshot was taken, in days since 1970.
        churned: whether a cancellation came within the horizon.
        untouched: no intervention was triggered between one horizon before and the outcome.
        level: 0, 1 above 0.4 on the index, 2 above 0.7.
        design: inputs of the models.
    """

    def __init__(self, snapshots: pl.DataFrame, horizon: int, known_until: datetime) -> None:
        """Choose the closed windows.

        Args:
            snapshots: SNAPSHOT_SCHEMA and OUTCOME_SCHEMA.
            known_until: the moment up to which events are known. Later outcomes are ignored, and
                windows that end later are censored.
        """
        span = timedelta(days=horizon)
        end = pl.col("snapshot_at") + span
        frame = snapshots.filter(end <= pl.lit(known_until).cast(TIME)).sort(
            "snapshot_at", "supplier_id"
        )
        churned = (pl.col("cancelled_at") <= end).fill_null(False)
        until = pl.min_horizontal("cancelled_at", end)
        touched = (pl.col("touched_before") >= pl.col("snapshot_at") - span).fill_null(False) | (
            pl.col("touched_after") <= until
        ).fill_null(False)
        frame = frame.with_columns(churned.alias("churned"), (~touched).alias("untouched"))
        codes = frame["supplier_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
        self.horizon = horizon
        self.supplier: npt.NDArray[np.int64] = codes
        self.at: Floats = frame["snapshot_at"].dt.epoch("us").to_numpy() / 86_400e6
        self.churned: Bools = frame["churned"].to_numpy()
        self.untouched: Bools = frame["untouched"].to_numpy()
        self.design: Design = read_design(frame)
        index = find_index(self.design.evidence)
        self.level = ((index > MEDIUM_ABOVE).astype(np.int8) + (index > HIGH_ABOVE)).astype(np.int8)

    def __len__(self) -> int:
        return len(self.at)

    @property
    def weights(self) -> Floats:
        """min(1, 30 ÷ horizon) for each prediction: windows of monthly snapshots overlap."""
        return np.full(len(self), min(1.0, 30 / self.horizon))

    @property
    def churned_suppliers(self) -> int:
        """How many suppliers churned."""
        return len(np.unique(self.supplier[self.churned]))
