"""Snapshots in the database, and what became of the suppliers."""

from datetime import date, datetime
from typing import LiteralString

import polars as pl

from everafter.core.db import Connection, FrameReader, append_frame
from everafter.learning.model import (
    HORIZONS,
    OUTCOME_SCHEMA,
    SNAPSHOT_SCHEMA,
    SnapshotMonth,
)

_MARGIN_DAYS = max(HORIZONS)


async def get_snapshot_month(conn: Connection, month: date) -> SnapshotMonth | None:
    """The snapshots of a month; null: none was begun."""
    cursor = await conn.execute(
        """
        SELECT month, snapshot_at, backfilled, suppliers, finished_at
        FROM snapshot_months
        WHERE month = %s
        """,
        [month],
    )
    row = await cursor.fetchone()
    return SnapshotMonth(*row) if row else None


async def list_snapshot_months(conn: Connection) -> list[SnapshotMonth]:
    """All months with snapshots, the earliest first."""
    cursor = await conn.execute(
        """
        SELECT month, snapshot_at, backfilled, suppliers, finished_at
        FROM snapshot_months
        ORDER BY month
        """
    )
    return [SnapshotMonth(*row) for row in await cursor.fetchall()]


async def begin_snapshots(
    conn: Connection, month: date, snapshot_at: datetime, *, backfilled: bool
) -> None:
    """Record that the snapshots of a month are being written."""
    await conn.execute(
        """
        INSERT INTO snapshot_months (month, snapshot_at, backfilled)
        VALUES (%(month)s, %(at)s, %(backfilled)s)
        ON CONFLICT (month) DO UPDATE SET
          snapshot_at = %(at)s,
          backfilled = %(backfilled)s,
          suppliers = 0,
          finished_at = NULL
        """,
        {"month": month, "at": snapshot_at, "backfilled": backfilled},
    )


async def save_snapshots(
    conn: Connection, snapshots: pl.DataFrame, *, month: date, after: str, last: str
) -> None:
    """Write a slice's snapshots, replacing those of the same month and suppliers.

    Args:
        after, last: bounds of the slice's supplier ids, the first excluded, the last included.
    """
    await conn.execute(
        """
        DELETE FROM signal_snapshots
        WHERE snapshot_on >= %(month)s
          AND snapshot_on < (%(month)s::date + interval '1 month')
          AND supplier_id > %(after)s
          AND supplier_id <= %(last)s
        """,
        {"month": month, "after": after, "last": last},
    )
    await append_frame(conn, "signal_snapshots", snapshots)


async def finish_snapshots(conn: Connection, month: date) -> None:
    """Record that the snapshots of a month are complete."""
    await conn.execute(
        """
        UPDATE snapshot_months
        SET
          finished_at = clock_timestamp(),
          suppliers = %(suppliers)s
        WHERE month = %(month)s
        """,
        {"month": month, "suppliers": await _count_snapshots(conn, month)},
    )


async def _count_snapshots(conn: Connection, month: date) -> int:
    cursor = await conn.execute(
        """
        SELECT count(*)
        FROM signal_snapshots
        WHERE snapshot_on >= %(month)s
          AND snapshot_on < (%(month)s::date + interval '1 month')
        """,
        {"month": month},
    )
    row = await cursor.fetchone()
    return row[0] if row else 0


async def get_history(conn: Connection) -> tuple[datetime | None, datetime | None]:
    """The first and the last event; null: there are none."""
    cursor = await conn.execute(
        "SELECT min(first_event_at), max(last_event_at) FROM supplier_activity"
    )
    row = await cursor.fetchone()
    return row or (None, None)


_COLUMNS: LiteralString = """
  s.snapshot_on,
  s.supplier_id::text,
  s.snapshot_at,
  s.vendor_type,
  s.plan,
  s.country,
  s.stage,
  s.tenure_days::float8,
  s.mrr_minor,
  s.churn_evidence::float8,
  s.evidence_logins::float8,
  s.evidence_uses::float8,
  s.evidence_billing::float8,
  s.evidence_tickets::float8,
  s.evidence_clients::float8,
  s.inactivity_probability::float8,
  s.health_score::float8,
  s.coverage::float8,
  s.season_index::float8,
  s.client_season::float8,
  s.login_days_28d::bigint,
  s.feature_adoption::float8,
  s.client_activity::float8,
  s.form_completion_rate::float8,
  s.clients_total::bigint,
  s.weddings_365d::bigint,
  s.payment_past_due
"""

# The share is taken by supplier, so that one has all its months or none. The last seven digits of
# the id are as good as random in both versions of UUID that are used.
_SNAPSHOTS: LiteralString = f"""
SELECT {_COLUMNS}
FROM signal_snapshots s
WHERE s.snapshot_on >= {{since}}
  AND s.snapshot_at <= {{until}}
  AND ('x' || right(s.supplier_id::text, 7))::bit(28)::int < {{share}} * 268435456
"""

_CANCELLATIONS: LiteralString = """
SELECT
  s.supplier_id::text,
  s.snapshot_on,
  min(c.cancelled_at) AS cancelled_at
FROM signal_snapshots s
JOIN cancellations c
  ON c.supplier_id = s.supplier_id
  AND c.cancelled_at > s.snapshot_at
WHERE s.snapshot_on >= {since}
  AND s.snapshot_at <= {until}
  AND c.cancelled_at <= {until}
GROUP BY 1, 2
"""

_TOUCHES: LiteralString = """
SELECT
  s.supplier_id::text,
  s.snapshot_on,
  max(i.evaluated_at) FILTER (
    WHERE i.status = 'triggered' AND i.evaluated_at < s.snapshot_at
  ) AS touched_before,
  min(i.evaluated_at) FILTER (
    WHERE i.status = 'triggered' AND i.evaluated_at >= s.snapshot_at
  ) AS touched_after,
  bool_or(i.status = 'holdout') AS holdout
FROM signal_snapshots s
JOIN interventions i
  ON i.supplier_id = s.supplier_id
  AND i.evaluated_on >= s.snapshot_on - {days}::integer
  AND i.evaluated_on <= s.snapshot_on + {days}::integer
WHERE s.snapshot_on >= {since}
  AND s.snapshot_at <= {until}
  AND i.status IN ('triggered', 'holdout')
  AND NOT i.replay
  AND i.evaluated_at <= {until}
GROUP BY 1, 2
"""


def count_snapshots(reader: FrameReader, since: date, until: datetime) -> int:
    """How many snapshots there are from a day up to a moment. Blocks."""
    found = reader.read(
        """
        SELECT count(*) AS n
        FROM signal_snapshots s
        WHERE s.snapshot_on >= {since}
          AND s.snapshot_at <= {until}
        """,
        since=since,
        until=until,
    )
    return int(found["n"][0])


def read_snapshots(
    reader: FrameReader, since: date, until: datetime, share: float = 1.0
) -> pl.DataFrame:
    """Read snapshots with what became of them up to a moment. Blocks.

    Args:
        share: of the suppliers, by their ids.

    Returns:
        SNAPSHOT_SCHEMA and OUTCOME_SCHEMA.
    """
    keys = ["supplier_id", "snapshot_on"]
    frame = reader.read(_SNAPSHOTS, since=since, until=until, share=share)
    cancelled = reader.read(_CANCELLATIONS, since=since, until=until)
    touches = reader.read(_TOUCHES, since=since, until=until, days=_MARGIN_DAYS)
    return (
        frame.cast(pl.Schema(SNAPSHOT_SCHEMA))
        .join(cancelled, on=keys, how="left")
        .join(touches, on=keys, how="left")
        .with_columns(
            pl.col(name).cast(dtype).alias(name) for name, dtype in OUTCOME_SCHEMA.items()
        )
        .with_columns(pl.col("holdout").fill_null(False))
    )
