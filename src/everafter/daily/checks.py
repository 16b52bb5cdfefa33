"""What `everafter doctor` checks of the daily run."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from everafter.core.checks import Check, Status, format_age
from everafter.core.db import Connection
from everafter.core.settings import Settings


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of the runs.

    Attributes:
        last_run: the moment of the last finished run that was not a replay; null: none.
        unfinished_since, unfinished_as_of: when a run began that has not ended, and its moment.
    """

    has_suppliers: bool
    last_run: datetime | None
    unfinished_since: datetime | None
    unfinished_as_of: datetime | None


async def check_run(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether the last daily run is recent, and none was interrupted."""
    async with conn.cursor(row_factory=class_row(RunFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              EXISTS (SELECT 1 FROM suppliers) AS has_suppliers,
              (
                SELECT max(as_of)
                FROM runs
                WHERE finished_at IS NOT NULL AND NOT replay
              ) AS last_run,
              (SELECT min(started_at) FROM runs WHERE finished_at IS NULL) AS unfinished_since,
              (
                SELECT as_of
                FROM runs
                WHERE finished_at IS NULL
                ORDER BY started_at
                LIMIT 1
              ) AS unfinished_as_of
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return [describe_last_run(facts, now)]


def describe_last_run(facts: RunFacts, now: datetime) -> Check:
    """The line on the daily run."""
    since, as_of = facts.unfinished_since, facts.unfinished_as_of
    if since is not None and as_of is not None and now - since > timedelta(hours=1):
        # without --as-of a run scores today
        command = (
            "everafter run"
            if as_of.date() == now.date()
            else f"everafter run --as-of {as_of.isoformat()}"
        )
        return Check(
            "daily run",
            "bad",
            f"one began {format_age(now - since)} ago and did not end",
            f"{command} takes it up where it stopped",
        )
    if facts.last_run is None:
        if not facts.has_suppliers:
            return Check("daily run", "ok", "none yet")
        return Check(
            "daily run", "warn", "none yet", "everafter run, or keep everafter work running"
        )
    age = now - facts.last_run
    status: Status = (
        "bad" if age > timedelta(hours=50) else "warn" if age > timedelta(hours=26) else "ok"
    )
    return Check(
        "daily run",
        status,
        f"the last was {format_age(age)} ago",
        "" if status == "ok" else "is everafter work running, or cron?",
    )
