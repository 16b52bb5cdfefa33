"""The history that the eligibility check reads from the intervention log."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl
import psycopg
import pytest

from everafter.core.db import FrameReader
from everafter.interventions.queries import read_history

AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUPPLIER = "00000000-0000-4000-8000-000000000001"


def write(
    url: str,
    trigger: str,
    days_ago: float,
    status: str = "triggered",
    channel: str = "email",
    reason: str = "x",
) -> None:
    at = AS_OF - timedelta(days=days_ago)
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO interventions (id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at, evaluated_on,"
            " facts, playbook_version) VALUES (%s, %s, %s, 'x', %s, %s, %s, 50, %s, %s, '{}', 1)",
            [uuid4(), SUPPLIER, trigger, channel, status, reason, at, at.date()],
        )


def read(url: str, cooldown_days: int = 30) -> pl.DataFrame:
    reader = FrameReader(url)
    try:
        bounds = {"after": "00000000-0000-0000-0000-000000000000", "last": SUPPLIER}
        return asyncio.run(
            read_history(reader, **bounds, as_of=AS_OF, cooldown_days=cooldown_days, replay=False)
        ).sort("trigger")
    finally:
        reader.close()


@pytest.mark.parametrize("cooldown_days", [1, 30])
def test_the_week_of_the_frequency_cap_is_read_whole_however_short_the_cooldowns(
    database: str, cooldown_days: int
) -> None:
    write(database, "a", 6.5)
    write(database, "b", 2)
    write(database, "c", 7.5)
    assert read(database, cooldown_days)["messages_7d"].sum() == 2


def test_a_message_counts_for_seven_calendar_days(database: str) -> None:
    write(database, "a", 7 - 40 / 86_400)
    write(database, "b", 6)
    assert dict(read(database).select("trigger", "messages_7d").iter_rows()) == {"a": 0, "b": 1}


def test_rows_in_the_holdout_count_as_messages(database: str) -> None:
    write(database, "a", 3, status="holdout")
    write(database, "b", 3)
    write(database, "c", 3, status="skipped")
    write(database, "d", 3, channel="task")
    assert dict(read(database).select("trigger", "messages_7d").iter_rows()) == {
        "a": 1,
        "b": 1,
        "c": 0,
        "d": 0,
    }


def test_the_latest_row_of_a_trigger_gives_its_reason(database: str) -> None:
    write(database, "a", 9, status="skipped", reason="no_consent")
    write(database, "a", 4)
    write(database, "b", 4)
    write(database, "b", 2, status="skipped", reason="frequency_cap")
    found = {row["trigger"]: row for row in read(database).iter_rows(named=True)}
    assert found["a"]["last_reason"] == "" and found["b"]["last_reason"] == "frequency_cap"
    assert found["b"]["last_acted_at"] == AS_OF - timedelta(days=4)
