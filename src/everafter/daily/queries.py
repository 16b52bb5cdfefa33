"""Records of the daily run: the playbook versions, the runs, and which slices are done."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
from psycopg.types.json import Jsonb

from everafter.core.db import Connection, append_frame
from everafter.core.errors import ConflictError
from everafter.core.locks import Lock
from everafter.daily.model import RunSummary, SliceFigures
from everafter.interventions.queries import count_run_results

FIRST_ID = "00000000-0000-0000-0000-000000000000"
"""Lower bound of the first slice."""


async def lock_runs(conn: Connection) -> bool:
    """Take the lock of the daily run, until the connection ends; false: another run has it.

    The lock of the frequency cap comes with it: those who count messages elsewhere are waited for,
    and from then on find it taken (coach.queries.may_spend).
    """
    cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", [Lock.RUN])
    row = await cursor.fetchone()
    if not (row and row[0]):
        return False
    await conn.execute("SELECT pg_advisory_lock(%s)", [Lock.FREQUENCY_CAP])
    return True


async def lock_out_runs(conn: Connection) -> bool:
    """Keep daily runs and backfills from beginning, until the connection ends; false: one has
    begun. The frequency cap stays free: nothing is sent meanwhile."""
    cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", [Lock.RUN])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def unlock_runs(conn: Connection) -> None:
    """Give the right to run back at once: a closed connection keeps it until the server has
    noticed."""
    await conn.execute("SELECT pg_advisory_unlock_all()")


async def get_unfinished_run(conn: Connection, day: date) -> datetime | None:
    """The moment scored by that day's run, if it did not finish; else null."""
    cursor = await conn.execute(
        "SELECT as_of FROM runs WHERE run_on = %s AND finished_at IS NULL", [day]
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def list_unfinished_runs(
    conn: Connection, since: date, before: date
) -> list[tuple[datetime, int]]:
    """(as_of, playbook_version) of the runs that did not finish, the earliest first.

    Args:
        since, before: days; the first included, the last excluded.
    """
    cursor = await conn.execute(
        """
        SELECT as_of, playbook_version
        FROM runs
        WHERE run_on >= %s
          AND run_on < %s
          AND finished_at IS NULL
        ORDER BY run_on
        """,
        [since, before],
    )
    return await cursor.fetchall()


async def is_run_due(conn: Connection, day: date) -> bool:
    """Whether there are suppliers and that day's run has not finished."""
    cursor = await conn.execute(
        """
        SELECT EXISTS (SELECT 1 FROM suppliers)
          AND NOT EXISTS (SELECT 1 FROM runs WHERE run_on = %s AND finished_at IS NOT NULL)
        """,
        [day],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def start_run(
    conn: Connection, as_of: datetime, playbook_version: int, *, replay: bool
) -> str:
    """Record the start of the day's run, or resume the one that was interrupted.

    Returns:
        The last supplier id that is done. An interrupted run of the same moment and playbook
        version is resumed; any other is begun again, from FIRST_ID.

    Raises:
        ConflictError: a replay of a day that has been scored live.
    """
    day = as_of.date()
    cursor = await conn.execute(
        """
        SELECT 1
        FROM runs
        WHERE run_on = %s
          AND as_of = %s
          AND playbook_version = %s
          AND finished_at IS NULL
        """,
        [day, as_of, playbook_version],
    )
    if await cursor.fetchone():
        cursor = await conn.execute(
            "SELECT coalesce(max(last_id::text), %s) FROM run_slices WHERE run_on = %s",
            [FIRST_ID, day],
        )
        row = await cursor.fetchone()
        return row[0] if row else FIRST_ID
    cursor = await conn.execute(
        "SELECT 1 FROM runs WHERE run_on = %s AND NOT replay AND finished_at IS NOT NULL", [day]
    )
    if replay and await cursor.fetchone():
        raise ConflictError(
            f"{day} was scored live, and a replay would overwrite its results. To see that day, use"
            " `everafter explain SUPPLIER --to DAY`; to score it by today's rules, `--dry-run`"
        )
    await conn.execute("DELETE FROM run_slices WHERE run_on = %s", [day])
    await conn.execute(
        """
        INSERT INTO runs (run_on, as_of, playbook_version, replay)
        VALUES (%(day)s, %(as_of)s, %(version)s, %(replay)s)
        ON CONFLICT (run_on) DO UPDATE SET
          as_of = %(as_of)s,
          playbook_version = %(version)s,
          replay = %(replay)s,
          started_at = clock_timestamp(),
          finished_at = NULL,
          summary = NULL
        """,
        {"day": day, "as_of": as_of, "version": playbook_version, "replay": replay},
    )
    return FIRST_ID


async def save_scores(
    conn: Connection, health: pl.DataFrame, churn: pl.DataFrame, *, day: date, after: str, last: str
) -> None:
    """Write a slice's scores, replacing those of the same day and suppliers.

    Args:
        after, last: bounds of the slice's supplier ids, the first excluded, the last included.
    """
    bounds: dict[str, Any] = {"day": day, "after": after, "last": last}
    await conn.execute(
        """
        DELETE FROM customer_health
        WHERE calculated_on = %(day)s
          AND supplier_id > %(after)s
          AND supplier_id <= %(last)s
        """,
        bounds,
    )
    await conn.execute(
        """
        DELETE FROM churn_risk
        WHERE calculated_on = %(day)s
          AND supplier_id > %(after)s
          AND supplier_id <= %(last)s
        """,
        bounds,
    )
    await append_frame(conn, "customer_health", health)
    await append_frame(conn, "churn_risk", churn)


async def save_slice(conn: Connection, *, day: date, last: str, figures: SliceFigures) -> None:
    """Record that every supplier up to `last` is done."""
    await conn.execute(
        """
        INSERT INTO run_slices (run_on, last_id, suppliers, summary)
        VALUES (%s, %s, %s, %s)
        """,
        [day, last, figures.suppliers, Jsonb(msgspec.to_builtins(figures))],
    )


async def add_figures(conn: Connection, summary: RunSummary, day: date) -> None:
    """Fill an empty summary with the day's figures, counted from its rows."""
    cursor = await conn.execute(
        """
        SELECT risk_level, count(*), sum(score::numeric)
        FROM customer_health
        WHERE calculated_on = %s
        GROUP BY risk_level
        """,
        [day],
    )
    score_sum, scored = Decimal(0), 0
    for risk, count, total in await cursor.fetchall():
        summary.by_risk[risk] = count
        score_sum, scored = score_sum + total, scored + count
    cursor = await conn.execute(
        "SELECT level, count(*) FROM churn_risk WHERE calculated_on = %s GROUP BY level", [day]
    )
    for level, count in await cursor.fetchall():
        summary.by_churn[level] = count
    summary.suppliers = sum(summary.by_churn.values())
    summary.unscored = summary.suppliers - scored
    summary.average_score = round(float(score_sum / scored), 1) if scored else None
    for status, name, count in await count_run_results(conn, day):
        match status:
            case "triggered":
                summary.interventions.by_trigger[name] = count
                summary.interventions.triggered += count
            case "skipped":
                summary.interventions.skipped[name] = count
            case _:
                summary.interventions.holdout += count


async def finish_run(conn: Connection, day: date, summary: RunSummary) -> None:
    """Record that the day's run has finished."""
    await conn.execute(
        "UPDATE runs SET finished_at = clock_timestamp(), summary = %s::jsonb WHERE run_on = %s",
        [msgspec.json.encode(summary).decode(), day],
    )


async def get_bounds(conn: Connection) -> tuple[int, datetime | None, datetime | None]:
    """(number of suppliers, first event, last event); the events are null when there are none."""
    cursor = await conn.execute(
        """
        SELECT
          (SELECT count(*) FROM suppliers),
          (SELECT min(first_event_at) FROM supplier_activity),
          (SELECT max(last_event_at) FROM supplier_activity)
        """
    )
    row = await cursor.fetchone()
    assert row  # noqa: S101 a SELECT without FROM returns one row
    return row


async def list_slice_ends(conn: Connection, *, after: str, size: int) -> list[str]:
    """The last supplier id of each slice of `size` suppliers after `after`, in order."""
    cursor = await conn.execute(
        """
        SELECT id::text
        FROM (
          SELECT
            id,
            row_number() OVER (ORDER BY id) AS place,
            count(*) OVER () AS total
          FROM suppliers
          WHERE id > %(after)s
        ) numbered
        WHERE place %% %(size)s = 0
           OR place = total
        ORDER BY id
        """,
        {"after": after, "size": size},
    )
    return [row[0] for row in await cursor.fetchall()]
