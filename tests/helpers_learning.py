"""Snapshots of invented suppliers, whose churn follows a known model."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from everafter.learning.model import OUTCOME_SCHEMA, SNAPSHOT_SCHEMA


def make_id(number: int) -> str:
    """An id of 32 digits, as random as a real one."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def month_moments(count: int, first: datetime = datetime(2024, 1, 1, tzinfo=UTC)) -> list[datetime]:
    """The first moments of consecutive months."""
    found = [first]
    while len(found) < count:
        found.append((found[-1].replace(day=1) + timedelta(days=32)).replace(day=1))
    return found


def make_snapshots(
    suppliers: int,
    months: int,
    *,
    base: float = 0.04,
    beta: float = 0.8,
    extra: float = 0.0,
    touched: float = 0.0,
    seed: int = 1,
    first: datetime = datetime(2024, 1, 1, tzinfo=UTC),
) -> pl.DataFrame:
    """Snapshots with outcomes. A supplier that churned is replaced by a new one.

    Args:
        base: churn a month of a usual supplier.
        beta: effect of the evidence z on the log odds of churning within a month.
        extra: effect of one standard deviation of `client_activity`.
        touched: share of the snapshots with an intervention on their day.
    """
    random = np.random.default_rng(seed)
    moments = month_moments(months, first)
    number = np.arange(suppliers)
    level = random.normal(0, 0.6, suppliers)
    frames: list[pl.DataFrame] = []
    for at in moments:
        z = np.clip(level + random.gumbel(-0.5, 0.6, suppliers), -2, 6)
        activity = random.uniform(0, 1, suppliers)
        logit = np.log(base / (1 - base)) + beta * (np.clip(z, -1.5, 3) + 0.3)
        logit = logit + extra * (activity - 0.5) / 0.29
        churns = random.uniform(size=suppliers) < 1 / (1 + np.exp(-logit))
        when = [
            at + timedelta(days=float(day)) if churned else None
            for churned, day in zip(churns, random.uniform(1, 28, suppliers), strict=True)
        ]
        frames.append(
            snapshot_frame(
                supplier_id=[make_id(int(one)) for one in number],
                snapshot_at=[at] * suppliers,
                churn_evidence=z,
                evidence_logins=z / 2,
                evidence_uses=z / 2,
                client_activity=activity,
                cancelled_at=when,
                touched_after=[
                    at if one else None for one in random.uniform(size=suppliers) < touched
                ],
            )
        )
        # the place of one that churned is taken by a new one
        number = np.where(churns, number + 10**6, number)
        level = np.where(churns, random.normal(0, 0.6, suppliers), level)
    return _first_cancellations(pl.concat(frames))


def _first_cancellations(frame: pl.DataFrame) -> pl.DataFrame:
    """A cancellation follows all earlier snapshots of its supplier too."""
    return frame.with_columns(
        pl.col("cancelled_at").max().over("supplier_id").alias("cancelled_at")
    )


def snapshot_frame(**columns: Any) -> pl.DataFrame:
    """SNAPSHOT_SCHEMA and OUTCOME_SCHEMA with these columns; others are null, or plain."""
    rows = len(columns["supplier_id"])
    plain: dict[str, Any] = {
        "churn_evidence": [0.0] * rows,
        "season_index": [1.0] * rows,
        "client_season": [1.0] * rows,
        "holdout": [False] * rows,
        "snapshot_on": [at.date() for at in columns["snapshot_at"]],
    }
    schema = SNAPSHOT_SCHEMA | OUTCOME_SCHEMA
    values = plain | columns
    return pl.DataFrame({name: values.get(name, [None] * rows) for name in schema}).cast(
        pl.Schema(schema)
    )
