"""Reads of the intervention log, by day and by supplier."""

import uuid
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import LiteralString

from psycopg import sql
from psycopg.rows import class_row

from everafter.core.db import Connection
from everafter.interventions.log_model import LOG_ROWS, LogEntry, LogView

_ENTRY: LiteralString = """
SELECT
  i.id,
  i.supplier_id,
  coalesce(nullif(s.name, ''), s.external_id, '') AS supplier_name,
  i.trigger,
  i.action,
  i.channel,
  i.status,
  i.reason,
  i.priority,
  i.evaluated_at,
  i.evaluated_on,
  i.success_by,
  o.status AS message_status
"""

# The rows of a page are chosen before anything is joined to them.
_PAGE = sql.SQL(
    f"""
{_ENTRY}
FROM (
  SELECT *
  FROM interventions
  WHERE {{filters}}
  ORDER BY evaluated_on DESC, priority DESC, trigger, supplier_id
  LIMIT %(limit)s
  OFFSET %(offset)s
) i
LEFT JOIN suppliers s ON s.id = i.supplier_id
LEFT JOIN outbox o ON o.supplier_id = i.supplier_id AND o.id = i.id
ORDER BY i.evaluated_on DESC, i.priority DESC, i.trigger, i.supplier_id
"""
)

_OF_SUPPLIER: LiteralString = f"""
{_ENTRY}
FROM interventions i
LEFT JOIN suppliers s ON s.id = i.supplier_id
LEFT JOIN outbox o ON o.supplier_id = i.supplier_id AND o.id = i.id
WHERE i.supplier_id = %(supplier_id)s
  AND i.evaluated_on >= coalesce(%(since)s::date, '-infinity')
  AND i.evaluated_at <= coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY i.evaluated_on DESC, i.priority DESC, i.trigger
LIMIT %(limit)s
"""


async def find_latest_day(conn: Connection) -> date | None:
    """The last day in the intervention log; null: it is empty."""
    cursor = await conn.execute("SELECT max(evaluated_on) FROM interventions")
    (day,) = await cursor.fetchone() or (None,)
    return day


async def count_interventions(
    conn: Connection, latest: date, days: int
) -> list[tuple[str, str, str, int]]:
    """(trigger, status, skip reason or '', number) over the `days` up to `latest`."""
    cursor = await conn.execute(
        """
        SELECT
          trigger,
          status,
          CASE WHEN status = 'skipped' THEN reason ELSE '' END,
          count(*)
        FROM interventions
        WHERE evaluated_on > %s
          AND evaluated_on <= %s
        GROUP BY 1, 2, 3
        """,
        [latest - timedelta(days=days), latest],
    )
    return await cursor.fetchall()


async def list_interventions(conn: Connection, view: LogView, latest: date) -> list[LogEntry]:
    """One page of the intervention log, and one row more when there is another page; the latest day
    first, and on each day the highest priority."""
    filters = [sql.SQL("evaluated_on > %(since)s AND evaluated_on <= %(latest)s")]
    if view.trigger:
        filters.append(sql.SQL("trigger = %(trigger)s"))
    if view.status:
        filters.append(sql.SQL("status = %(status)s"))
    if view.reason:
        filters.append(sql.SQL("status = 'skipped' AND reason = %(reason)s"))
    values = {
        "since": latest - timedelta(days=view.days),
        "latest": latest,
        "trigger": view.trigger,
        "status": view.status,
        "reason": view.reason,
        "limit": LOG_ROWS + 1,
        "offset": (view.page - 1) * LOG_ROWS,
    }
    async with conn.cursor(row_factory=class_row(LogEntry)) as cursor:
        await cursor.execute(_PAGE.format(filters=sql.SQL(" AND ").join(filters)), values)
        return await _add_last(conn, await cursor.fetchall())


async def list_of_supplier(
    conn: Connection,
    supplier_id: uuid.UUID | str,
    *,
    limit: int | None,
    since: date | None = None,
    until: datetime | None = None,
) -> list[LogEntry]:
    """The log entries of one supplier, the latest first.

    Args:
        limit: null: all.
        since: the first day; null: no bound.
        until: the last moment; null: no bound.
    """
    async with conn.cursor(row_factory=class_row(LogEntry)) as cursor:
        await cursor.execute(
            _OF_SUPPLIER,
            {"supplier_id": supplier_id, "since": since, "until": until, "limit": limit},
        )
        return await _add_last(conn, await cursor.fetchall())


async def _add_last(conn: Connection, entries: list[LogEntry]) -> list[LogEntry]:
    """The entries with `acted_on` and `holdout_on` of those skipped by their cooldown.

    A statement of its own, because Citus refuses a lateral join with the rows of a page."""
    skipped = [one for one in entries if one.status == "skipped" and one.reason == "cooldown"]
    if not skipped:
        return entries
    # the primary key finds all rows
    cursor = await conn.execute(
        """
        SELECT
          i.supplier_id,
          i.evaluated_on,
          i.trigger,
          max(b.evaluated_on) FILTER (WHERE b.status = 'triggered') AS acted_on,
          max(b.evaluated_on) FILTER (WHERE b.status = 'holdout') AS holdout_on
        FROM unnest(%s::uuid[], %s::date[], %s::text[])
          AS skipped (supplier_id, evaluated_on, trigger)
        JOIN interventions i
          ON i.supplier_id = skipped.supplier_id
          AND i.evaluated_on = skipped.evaluated_on
          AND i.trigger = skipped.trigger
        JOIN interventions b
          ON b.supplier_id = i.supplier_id
          AND b.trigger = i.trigger
          AND b.evaluated_on < i.evaluated_on
          AND (i.replay OR NOT b.replay)
        GROUP BY i.supplier_id, i.evaluated_on, i.trigger
        """,
        [
            [one.supplier_id for one in skipped],
            [one.evaluated_on for one in skipped],
            [one.trigger for one in skipped],
        ],
    )
    last = {row[:3]: row[3:] for row in await cursor.fetchall()}
    return [
        replace(one, acted_on=days[0], holdout_on=days[1])
        if (days := last.get((one.supplier_id, one.evaluated_on, one.trigger)))
        else one
        for one in entries
    ]
