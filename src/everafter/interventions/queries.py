"""Reads for the eligibility check, and writes of its results."""

from datetime import date, datetime, timedelta
from typing import LiteralString

import polars as pl

from everafter.core.db import Connection, FrameReader, copy_frame, read_copy
from everafter.interventions.model import HISTORY_SCHEMA
from everafter.playbook.model import TIP_PREFIX

_HISTORY: LiteralString = """
SELECT
  supplier_id::text,
  trigger,
  max(evaluated_at) FILTER (WHERE status <> 'skipped') AS last_acted_at,
  count(*) FILTER (
    WHERE status <> 'skipped' AND channel <> 'task' AND evaluated_on > {week_ago}
  ) AS messages_7d,
  bool_or(evaluated_on = {today}) AS scored_today,
  substr(
    max(evaluated_on::text || CASE WHEN status = 'skipped' THEN reason ELSE '' END), 11
  ) AS last_reason
FROM interventions
"""


async def read_history(
    reader: FrameReader, *, after: str, last: str, as_of: datetime, cooldown_days: int, replay: bool
) -> pl.DataFrame:
    """The history of a slice, by supplier and trigger.

    Rows after `as_of` count as well: a past day that is replayed must not repeat what was done soon
    after it. Rows in the holdout count as messages (docs/decisions/0006).

    Args:
        after, last: bounds of the supplier ids, the first excluded, the last included.
        cooldown_days: the playbook's longest. Rows older than that and the frequency cap's week
            are not read, so the read does not grow with the intervention log.
        replay: whether this run is a replay. A live run does not count the rows of replays,
            because nothing was sent.

    Returns:
        HISTORY_SCHEMA.
    """
    frame = await reader.fetch(
        f"""
        {_HISTORY}
        WHERE supplier_id > {{after}}::uuid
          AND supplier_id <= {{last}}::uuid
          AND evaluated_on >= {{since}}
          AND ({{replay}} OR NOT replay)
        GROUP BY supplier_id, trigger
        """,
        after=after,
        last=last,
        replay=replay,
        **_history_days(as_of, cooldown_days),
    )
    return frame.cast(pl.Schema(HISTORY_SCHEMA))


async def read_history_of(
    conn: Connection, supplier_ids: list[str], *, as_of: datetime, cooldown_days: int
) -> pl.DataFrame:
    """The history of these suppliers, without replays: HISTORY_SCHEMA.

    It is read on the caller's connection, so inside the transaction that holds their locks.
    """
    return await read_copy(
        conn,
        f"""
        {_HISTORY}
        WHERE supplier_id = ANY ({{ids}}::uuid[])
          AND evaluated_on >= {{since}}
          AND NOT replay
        GROUP BY supplier_id, trigger
        """,
        HISTORY_SCHEMA,
        {"ids": supplier_ids, **_history_days(as_of, cooldown_days)},
    )


def _history_days(as_of: datetime, cooldown_days: int) -> dict[str, date]:
    """The parameters of _HISTORY. Rows before `since` matter neither to a cooldown nor to the
    frequency cap."""
    today = as_of.date()
    return {
        "since": today - timedelta(days=max(cooldown_days, 7) + 1),
        "week_ago": today - timedelta(days=7),
        "today": today,
    }


async def read_open_tasks(reader: FrameReader, *, after: str, last: str) -> pl.DataFrame:
    """supplier_id and kind of every open task of a slice."""
    frame = await reader.fetch(
        """
        SELECT supplier_id::text, kind
        FROM tasks
        WHERE status = 'open'
          AND supplier_id > {after}::uuid
          AND supplier_id <= {last}::uuid
        """,
        after=after,
        last=last,
    )
    return frame.cast({"supplier_id": pl.String(), "kind": pl.String()})


async def get_suppressed(conn: Connection) -> frozenset[str]:
    """Addresses that must receive no message of the topic 'success'; with a leading '*': no message
    at all."""
    cursor = await conn.execute(
        "SELECT email, topic FROM suppressions WHERE topic IN ('success', '*')"
    )
    return frozenset(
        f"*{email}" if topic == "*" else email for email, topic in await cursor.fetchall()
    )


async def insert_interventions(
    conn: Connection, results: pl.DataFrame, messages: pl.DataFrame, tasks: pl.DataFrame
) -> None:
    """Append rows to the intervention log, with their messages and tasks."""
    columns = (
        "id",
        "supplier_id",
        "trigger",
        "action",
        "channel",
        "status",
        "reason",
        "priority",
        "evaluated_at",
        "evaluated_on",
        "success_by",
        "facts",
        "playbook_version",
        "replay",
    )
    await copy_frame(conn, "interventions", results.select(columns))
    await copy_frame(conn, "outbox", messages)
    await copy_frame(conn, "tasks", tasks)


async def count_run_results(conn: Connection, day: date) -> list[tuple[str, str, int]]:
    """(status, trigger or skip reason, number) of one day's log entries by the run; tips, which the
    coach chooses, are not counted."""
    cursor = await conn.execute(
        """
        SELECT
          status,
          CASE WHEN status = 'skipped' THEN reason ELSE trigger END,
          count(*)
        FROM interventions
        WHERE evaluated_on = %s
          AND NOT starts_with(trigger, %s::text)
        GROUP BY 1, 2
        ORDER BY 1, 2
        """,
        [day, TIP_PREFIX],
    )
    return await cursor.fetchall()
