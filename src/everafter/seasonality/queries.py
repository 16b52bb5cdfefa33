"""Reads and writes of the peer activity index, and of what it is measured from."""

from datetime import date, datetime
from typing import LiteralString

import polars as pl

from everafter.core.db import Connection, FrameReader, append_frame, read_copy
from everafter.seasonality.history_rules import History
from everafter.seasonality.model import KEPT_DAYS
from everafter.seasonality.table_rules import INDEX_SCHEMA, NORMS_SCHEMA, read_history, to_date
from everafter.seasonality.view_model import SHOWN_DAYS, VIEW_SCHEMA

_INDEX: LiteralString = """
SELECT
  day,
  hemisphere,
  vendor_type,
  season_index,
  login_activity,
  login_state,
  login_precision,
  login_seen,
  login_expected,
  login_usual,
  login_counted,
  login_stopped,
  use_activity,
  use_state,
  use_precision,
  use_seen,
  use_expected,
  use_usual,
  use_counted,
  use_stopped
FROM season_index
WHERE day >= {first}
  AND day <= {last}
"""

_NORMS: LiteralString = """
SELECT
  day,
  vendor_type,
  gaps,
  rare_gaps,
  rarity,
  login_burst,
  login_drift,
  use_burst,
  use_drift,
  inactivity_share,
  inactivity_power
FROM vendor_type_norms
WHERE day >= {first}
  AND day <= {last}
"""

# The rows of suppliers without events say nothing about the season.
_RINGS: LiteralString = """
SELECT
  s.id::text AS supplier_id,
  coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
  s.country,
  coalesce(p.account_created_at, s.created_at, p.first_event_at) AS began_at,
  CASE WHEN p.subscription = 'cancelled' THEN p.subscription_at END AS ended_at,
  p.last_event_at,
  p.login_days,
  p.feature_uses_d,
  p.feature_uses_w
FROM suppliers s
JOIN supplier_activity p ON p.supplier_id = s.id
ORDER BY s.id
"""

_SUPPLIERS: LiteralString = """
SELECT
  s.id::text AS supplier_id,
  coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
  s.country,
  coalesce(p.account_created_at, s.created_at, p.first_event_at) AS began_at,
  CASE WHEN p.subscription = 'cancelled' THEN p.subscription_at END AS ended_at
FROM suppliers s
JOIN supplier_activity p ON p.supplier_id = s.id
ORDER BY s.id
"""

_DAILY: LiteralString = """
SELECT
  supplier_id::text AS supplier_id,
  (occurred_at AT TIME ZONE 'UTC')::date AS day,
  count(*) FILTER (WHERE type = 'login') AS logins,
  count(*) FILTER (WHERE type = 'feature_used') AS uses
FROM events
WHERE type IN ('login', 'feature_used')
  AND occurred_at >= {first}
  AND occurred_at < {before}
GROUP BY 1, 2
"""


async def read_view(conn: Connection) -> pl.DataFrame:
    """VIEW_SCHEMA of the last SHOWN_DAYS days measured."""
    return await read_copy(
        conn,
        """
        SELECT
          day,
          hemisphere,
          vendor_type,
          season_index,
          login_activity,
          login_expected,
          login_stopped,
          use_activity,
          use_expected,
          use_stopped
        FROM season_index
        WHERE day > (SELECT max(day) FROM season_index) - {days}::integer
        """,
        VIEW_SCHEMA,
        {"days": SHOWN_DAYS},
    )


def read_days(reader: FrameReader, until: int) -> History:
    """The days measured up to a day, KEPT_DAYS of them at most. Blocks; call it in a thread."""
    first, last = to_date(until - KEPT_DAYS + 1), to_date(until)
    return read_history(
        reader.read(_INDEX, first=first, last=last).cast(pl.Schema(INDEX_SCHEMA)),
        reader.read(_NORMS, first=first, last=last).cast(pl.Schema(NORMS_SCHEMA)),
    )


def read_last_day(reader: FrameReader) -> date | None:
    """The last day measured; null: none. Blocks; call it in a thread."""
    return reader.read("SELECT max(day) AS day FROM season_index")["day"][0]


async def read_rings(reader: FrameReader) -> pl.DataFrame:
    """The ring buffers that the index is measured from: a row for each supplier with events."""
    return await reader.fetch(_RINGS)


async def read_daily(
    reader: FrameReader, first: datetime, before: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Suppliers, and their logins and uses by day, from the events of a period: for days that the
    ring buffers have left.

    Args:
        first, before: the first included, the last excluded.

    Returns:
        (supplier_id, vendor_type, country, began_at, ended_at) and (supplier_id, day, logins,
        uses).
    """
    return await reader.fetch(_SUPPLIERS), await reader.fetch(_DAILY, first=first, before=before)


async def save_days(conn: Connection, index: pl.DataFrame, norms: pl.DataFrame) -> None:
    """Write the rows of some days, replacing those of the same days.

    Args:
        conn: in a transaction.
        index, norms: INDEX_SCHEMA and NORMS_SCHEMA.
    """
    days = index["day"].unique().to_list()
    await conn.execute("DELETE FROM season_index WHERE day = ANY (%s)", [days])
    await conn.execute("DELETE FROM vendor_type_norms WHERE day = ANY (%s)", [days])
    await append_frame(conn, "season_index", index)
    await append_frame(conn, "vendor_type_norms", norms)
