"""Supplier activity: one row per supplier with all that a score needs, exact at any later moment
without reading history. Pure.

What changes by the passing of time is stored as moments (`last_login_at`) or as *ring buffers*:
fixed arrays with a slot for each UTC day or week, which are read backwards from any later day. Day
n is the n-th since 1970-01-01; week n = (day + 3) // 7, so weeks begin on Monday. The slot of day
(week) n is n modulo the buffer's length. A slot counts only while it is within the buffer's length
before the row's own `last_event_at`, so the row depends on the set of events and not on their
order.

    login_days          192 days, one bit each: whether there was a login that day
    clients_active_d    64 days: current clients, by the day they were last active
    feature_uses_d      128 days, one byte each: feature uses that day, at most 255
    feature_uses_w, clients_lost_w, tickets_w, payments_failed_w
                        16 weeks: events (losses, new tickets) of the week
    forms_sent_w, forms_answered_w, emails_sent_w, emails_opened_w
                        16 weeks, by the week of *sending*: how many were sent, and how many of
                        those have been answered by now
    feature_days        one slot for each feature that a playbook named (features.feature_id): the
                        last day it was used, 0 for never
    weddings            sorted epoch days of the current clients' weddings

Features that no playbook names are stored in the supplier's own row:

    other_features      JSON {feature: last day}, the MAX_OTHER_FEATURES used last
    features_beyond     whether the supplier ever used more of these; once a playbook names one,
                        `events` is read (activity/feature_queries.py)
    last_feature_at     the last use of any feature; null: not known, the slots have it

Slots of weeks are little-endian uint16 in a bytea: reading 200,000 rows took 0.3 s, against 1.3 s
as int2[] (docs/decisions/0003).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

LOGIN_SLOTS = 192
USE_SLOTS = 128
ACTIVE_SLOTS = 64
WEEK_SLOTS = 16
MAX_OTHER_FEATURES = 64
HOURS_DAYS = 40
"""Days of hourly totals of events that are kept and read."""
MAX_FEATURES = 512
"""Features that a playbook can name: each has a slot in every supplier's row."""
MAX_RESOURCES = 64

TIME = pl.Datetime("us", "UTC")
Matrix = npt.NDArray[np.int64]

FIRST_TIMES = (
    "account_created_at",
    "vendor_type_selected_at",
    "completed_wizard_at",
    "first_login_at",
    "import_clients_started_at",
    "first_form_at",
    "first_invite_at",
    "first_journey_at",
    "first_automation_at",
)
WEEK_RINGS = (
    "feature_uses_w",
    "clients_lost_w",
    "forms_sent_w",
    "forms_answered_w",
    "emails_sent_w",
    "emails_opened_w",
    "tickets_w",
    "payments_failed_w",
)

EVENTS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "type": pl.String(),
    "occurred_at": TIME,
    "properties": pl.String(),
}
CLIENTS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "client_id": pl.String(),
    "name": pl.String(),
    "name_at": TIME,
    "added_at": TIME,
    "readded_at": TIME,
    "wedding_date": pl.Date(),
    "wedding_date_at": TIME,
    "wedding_moment": TIME,
    "last_active_at": TIME,
    "archived_at": TIME,
    "lost_at": TIME,
}
ITEMS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "kind": pl.String(),
    "item_id": pl.String(),
    "client_id": pl.String(),
    "sent_at": TIME,
    "answered_at": TIME,
}
TICKETS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "ticket_id": pl.String(),
    "subject": pl.String(),
    "priority": pl.String(),
    "opened_at": TIME,
    "last_opened_at": TIME,
    "resolved_at": TIME,
}
ACTIVITY_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "events_total": pl.Int64(),
    "first_event_at": TIME,
    "last_event_at": TIME,
    **dict.fromkeys(FIRST_TIMES, TIME),
    "last_login_at": TIME,
    "login_days": pl.Binary(),
    "feature_days": pl.Binary(),
    "other_features": pl.String(),
    "features_beyond": pl.Boolean(),
    "last_feature_at": TIME,
    "clients_active_d": pl.Binary(),
    "feature_uses_d": pl.Binary(),
    **dict.fromkeys(WEEK_RINGS, pl.Binary()),
    "clients_added": pl.Int64(),
    "clients_total": pl.Int64(),
    "weddings": pl.List(pl.Int32()),
    "tickets_open": pl.Int64(),
    "payment_failed_at": TIME,
    "payment_recovered_at": TIME,
    "usage": pl.String(),
    "usage_ratio": pl.Float64(),
    "subscription": pl.String(),
    "subscription_at": TIME,
    "plan": pl.String(),
    "plan_at": TIME,
    "vendor_type": pl.String(),
    "vendor_type_at": TIME,
}


def moment(at: datetime) -> pl.Expr:
    """A moment as a literal of type TIME; 30 times faster than passing a datetime to Polars."""
    return pl.lit(round(at.timestamp() * 1_000_000)).cast(TIME)


@dataclass(frozen=True, slots=True)
class State:
    """The folded state of some suppliers: their activity rows, clients, sent items and tickets."""

    activity: pl.DataFrame
    clients: pl.DataFrame
    items: pl.DataFrame
    tickets: pl.DataFrame


def empty_state() -> State:
    """The state before any event."""
    return State(
        pl.DataFrame(schema=ACTIVITY_SCHEMA),
        pl.DataFrame(schema=CLIENTS_SCHEMA),
        pl.DataFrame(schema=ITEMS_SCHEMA),
        pl.DataFrame(schema=TICKETS_SCHEMA),
    )


def _joined(column: pl.Series, width: int) -> bytes:
    """All values concatenated; null becomes zero bytes. In Python, because each Series operation
    costs as much as 1,000 rows."""
    values: list[bytes | None] = column.to_list()
    if column.has_nulls():
        zero = b"\0" * width
        return b"".join(zero if value is None else value for value in values)
    return b"".join(values)  # pyright: ignore[reportArgumentType] no nulls


def read_ring(column: pl.Series, slots: int) -> npt.NDArray[np.uint16]:
    """A Binary column of uint16 slots → (rows, slots), read-only; null is all zero."""
    return np.frombuffer(_joined(column, slots * 2), dtype="<u2").reshape(len(column), slots)


def unpack_ring(column: pl.Series, slots: int) -> Matrix:
    """The same as signed numbers, which can be changed."""
    return read_ring(column, slots).astype(np.int64)


def pack_ring(matrix: Matrix) -> pl.Series:
    """(rows, slots) → a Binary column; a slot counts up to 65,535."""
    data = np.clip(matrix, 0, 65535).astype("<u2")
    return pl.Series([row.tobytes() for row in data], dtype=pl.Binary)


def read_bytes(column: pl.Series, slots: int) -> npt.NDArray[np.uint8]:
    """A Binary column of one byte a slot → (rows, slots), read-only; null is all zero."""
    return np.frombuffer(_joined(column, slots), dtype=np.uint8).reshape(len(column), slots)


def pack_bytes(matrix: Matrix) -> pl.Series:
    """(rows, slots) → a Binary column; a slot counts up to 255."""
    data = np.clip(matrix, 0, 255).astype(np.uint8)
    return pl.Series([row.tobytes() for row in data], dtype=pl.Binary)


def read_daily_uses(frame: pl.DataFrame) -> npt.NDArray[np.uint8]:
    """The ring buffer of daily feature uses: (rows, 128).

    A row that was last written before the buffer existed has none: the uses of its weeks are
    spread over their days.

    Args:
        frame: feature_uses_d, feature_uses_w and last_event_at.
    """
    ring = read_bytes(frame["feature_uses_d"], USE_SLOTS)
    rows = np.flatnonzero(frame["feature_uses_d"].is_null().to_numpy())
    if not len(rows):
        return ring
    old = frame[rows.tolist()]
    heads = old["last_event_at"].dt.epoch("d").cast(pl.Int64).fill_null(0).to_numpy()
    ring = ring.copy()
    ring[rows] = _spread_weeks(read_ring(old["feature_uses_w"], WEEK_SLOTS), heads)
    return ring


def _spread_weeks(weekly: npt.NDArray[np.uint16], heads: Matrix) -> npt.NDArray[np.uint8]:
    """(rows, 16) uses by week → (rows, 128) by day, as even as whole numbers can be."""
    days = np.zeros((len(heads), USE_SLOTS), dtype=np.uint8)
    for age in range(7 * WEEK_SLOTS):
        day = heads - age
        week = (day + 3) // 7
        inside = week > (heads + 3) // 7 - WEEK_SLOTS
        length = np.minimum(6, heads + 3 - 7 * week) + 1  # days of that week that have come
        uses = weekly[np.arange(len(heads)), week % WEEK_SLOTS].astype(np.int64)
        place = (day + 3) % 7
        share = uses * (place + 1) // length - uses * place // length
        days[np.arange(len(heads)), day % USE_SLOTS] = np.minimum(share * inside, 255)
    return days


def unpack_bits(column: pl.Series, slots: int) -> npt.NDArray[np.bool_]:
    """A Binary column of bits → (rows, slots) of booleans; null is all false."""
    return np.unpackbits(read_packed_bits(column, slots), axis=1).view(bool)


def read_packed_bits(column: pl.Series, slots: int) -> npt.NDArray[np.uint8]:
    """A Binary column of bits → (rows, slots ÷ 8) bytes, read-only; null is all false."""
    width = slots // 8
    return np.frombuffer(_joined(column, width), dtype=np.uint8).reshape(len(column), width)


def pack_bits(matrix: npt.NDArray[np.bool_]) -> pl.Series:
    """(rows, slots) of booleans → a Binary column."""
    return pl.Series([row.tobytes() for row in np.packbits(matrix, axis=1)], dtype=pl.Binary)


def unpack_slots(column: pl.Series, slots: int) -> Matrix:
    """A Binary column of uint16 slots → (rows, slots); shorter rows are filled with zeros, longer
    ones cut.

    >>> unpack_slots(pl.Series([b"\\7\\0\\2\\0", None]), 1).tolist()
    [[7], [0]]
    """
    padded = b"".join(
        (value or b"")[: slots * 2].ljust(slots * 2, b"\0") for value in column.to_list()
    )
    return np.frombuffer(padded, dtype="<u2").reshape(len(column), slots).astype(np.int64)


def pack_slots(matrix: Matrix) -> pl.Series:
    """(rows, slots) → a Binary column without trailing zeros."""
    data = matrix.astype("<u2")
    return pl.Series(
        [
            row.tobytes().rstrip(b"\0") + (b"\0" * (len(row.tobytes().rstrip(b"\0")) % 2))
            for row in data
        ],
        dtype=pl.Binary,
    )


def ring_age(heads: Matrix, slots: int) -> Matrix:
    """(rows, slots): how many days (weeks) each slot is before the row's head, its latest day
    (week)."""
    return np.mod(heads[:, None] - np.arange(slots)[None, :], slots)


class Ages:
    """The age of each slot of some rows, computed once for all ring buffers with the same heads.

    Args:
        heads: (rows,), the day or week of each row's last event.
        slots: the buffers' length.
    """

    def __init__(self, heads: Matrix, slots: int) -> None:
        self.heads = heads
        ages = (heads % slots).astype(np.int16)[:, None] - np.arange(slots, dtype=np.int16)[None, :]
        ages += (ages < 0) * np.int16(slots)
        self.ages = ages

    def window(self, now: int | Matrix, length: int, *, skip: int = 0) -> npt.NDArray[np.bool_]:
        """(rows, slots): which slots are in the `length` days (weeks) that end `skip` before `now`,
        inclusive."""
        newest = np.clip(self.heads - now + skip, -20_000, 20_000).astype(np.int16)[:, None]
        return (self.ages >= newest) & (self.ages < newest + np.int16(length))


def sum_window(ring: npt.NDArray[Any], window: npt.NDArray[np.bool_]) -> Matrix:
    """(rows,): the sum of each row's slots in the window."""
    return np.einsum("ij,ij->i", ring, window, dtype=np.int64, casting="unsafe")
