"""Ring buffers as matrices by day, from which the peer activity index is measured. Pure."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.seasonality.bit_rules import WINDOW, Small, Words, read_login_ring
from everafter.seasonality.count_model import PeerCounts
from everafter.seasonality.model import HEMISPHERES, TYPES, Ints
from everafter.seasonality.prior_rules import hemisphere_of, vendor_type_of

LONG_AGO, FAR_AHEAD = -1_000_000, 1_000_000


def groups_of(frame: pl.DataFrame) -> Ints:
    """(n,): the group of each row, by its `vendor_type` and `country`; both may be null."""
    # Only distinct spellings are looked up, however many rows there are. Of an empty mapping Polars
    # does not take the dtype, hence the casts.
    halves = {c: HEMISPHERES.index(hemisphere_of(c)) for c in frame["country"].unique()}
    types = {t: TYPES.index(vendor_type_of(t)) for t in frame["vendor_type"].unique()}
    return (
        frame.select(
            pl.col("country").replace_strict(halves).cast(pl.Int64) * len(TYPES)
            + pl.col("vendor_type").replace_strict(types).cast(pl.Int64)
        )
        .to_series()
        .to_numpy()
    )


def epoch_days(column: pl.Series, missing: int) -> Ints:
    """(n,): the day of each moment, since 1970-01-01 (UTC)."""
    return column.dt.epoch("d").cast(pl.Int64).fill_null(missing).to_numpy()


def login_bits(frame: pl.DataFrame, today: int) -> Words:
    """(n, 3): the 192 days up to a day.

    Args:
        frame: login_days and last_event_at.
    """
    heads = epoch_days(frame["last_event_at"], LONG_AGO)
    return read_login_ring(frame["login_days"], heads, today)


def use_matrix(frame: pl.DataFrame, days: Sequence[int] | Ints) -> Small:
    """(n, days): feature uses of each day, at most 255.

    Args:
        frame: feature_uses_d, feature_uses_w and last_event_at.
        days: within the ring buffer's 128 days.
    """
    ring = model.read_daily_uses(frame)
    return _align(ring, frame["last_event_at"], np.asarray(days))


def _align(ring: Small, last_event_at: pl.Series, days: Ints) -> Small:
    """A ring buffer's slots in the order of days; 0 where a slot is not of that day."""
    slots = ring.shape[1]
    heads = epoch_days(last_event_at, LONG_AGO)
    matrix = ring[:, days % slots]
    newest, oldest = days[None, :] <= heads[:, None], days[None, :] > heads[:, None] - slots
    return matrix * (newest & oldest)


def to_counts(frame: pl.DataFrame, last: int) -> PeerCounts:
    """The counts of suppliers from their activity rows.

    Args:
        frame: a row per supplier, as seasonality.queries reads it.
        last: the last day. The first is 191 days before it; the ring buffer of uses reaches back
            128 days, and days before that are 0.
    """
    first = last - WINDOW + 1
    uses_from = last - model.USE_SLOTS + 1
    uses = np.zeros((frame.height, WINDOW), dtype=np.uint8)
    uses[:, uses_from - first :] = use_matrix(frame, np.arange(uses_from, last + 1))
    return PeerCounts(
        groups_of(frame),
        epoch_days(frame["began_at"], LONG_AGO),
        epoch_days(frame["ended_at"], FAR_AHEAD),
        first,
        login_bits(frame, last).astype(">u8").view(np.uint8).reshape(frame.height, -1),
        uses,
    )


def counts_from_events(
    suppliers: pl.DataFrame, daily: pl.DataFrame, first: int, last: int
) -> PeerCounts:
    """The counts of suppliers from their events, for days that the ring buffers have left.

    Args:
        suppliers: supplier_id, vendor_type, country, began_at, ended_at.
        daily: supplier_id, day (Date), logins, uses.
    """
    width = last - first + 1
    logins = np.zeros((suppliers.height, width), dtype=np.uint8)
    uses = np.zeros((suppliers.height, width), dtype=np.uint8)
    index = suppliers.select("supplier_id").with_row_index("row")
    found = daily.join(index, on="supplier_id").select(
        "row", (pl.col("day").cast(pl.Int64) - first).alias("column"), "logins", "uses"
    )
    found = found.filter(pl.col("column").is_between(0, width - 1))
    rows, columns = found["row"].to_numpy(), found["column"].to_numpy()
    logins[rows, columns] = found["logins"].to_numpy() > 0
    uses[rows, columns] = np.minimum(found["uses"].to_numpy(), 255)
    return PeerCounts(
        groups_of(suppliers),
        epoch_days(suppliers["began_at"], LONG_AGO),
        epoch_days(suppliers["ended_at"], FAR_AHEAD),
        first,
        np.packbits(logins, axis=1),
        uses,
    )
