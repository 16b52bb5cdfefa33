"""Hourly totals as arrays. Pure."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from everafter.activity.model import HOURS_DAYS
from everafter.events.model import CANONICAL
from everafter.feeds.model import OTHER, HourTotals

TYPES = (*CANONICAL, OTHER)


def to_totals(hours: pl.DataFrame) -> HourTotals:
    """Put hourly totals into arrays, with a row for each canonical type and one for the others.

    Args:
        hours: HOURS_SCHEMA; of any number of hours, of which the HOURS_DAYS before the newest are
            used.
    """
    numbers = hours["hour"].dt.epoch("s").to_numpy() // 3600
    newest = int(numbers.max()) if len(numbers) else 0
    first = max(int(numbers.min()) if len(numbers) else 0, newest - 24 * HOURS_DAYS) // 24 * 24
    columns = (newest // 24 + 1) * 24 - first
    rows = np.array([TYPES.index(name) for name in hours["type"]], dtype=np.intp)
    used = numbers >= first
    places = (rows[used], (numbers - first)[used])
    counts = np.zeros((len(TYPES), columns))
    counts[places] = hours["events"].to_numpy()[used]
    seen_at = hours["first_seen_at"]
    if seen_at.null_count():
        return HourTotals(TYPES, first, counts, None)
    arrivals = np.full((len(TYPES), columns), np.nan)
    arrivals[places] = seen_at.dt.epoch("us").to_numpy()[used] / 3.6e9
    return HourTotals(TYPES, first, counts, arrivals)


def subtract_pending(stored: pl.DataFrame, pending: pl.DataFrame) -> pl.DataFrame:
    """The totals of stored events without those that will be counted when they are folded.

    Args:
        stored, pending: HOURS_SCHEMA.
    """
    keys = ["type", "hour"]
    waiting = pending.select(*keys, pl.col("events").alias("pending"))
    return (
        stored.join(waiting, on=keys, how="left")
        .with_columns(pl.col("events") - pl.col("pending").fill_null(0))
        .filter(pl.col("events") > 0)
        .drop("pending")
    )


def window_start(newest: datetime) -> datetime:
    """The first hour of the window that ends with this moment."""
    hour = newest.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour - timedelta(days=HOURS_DAYS)
