"""The history that the eligibility check reads from the intervention log."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl
import psycopg
import pytest

from everafter.core.db import FrameReader
from everafter.core.errors import InputError
from everafter.interventions.log_queries import list_of_supplier
from everafter.interventions.log_rules import count_triggers, parse_log_view
from everafter.interventions.outcome_queries import read_windows
from everafter.interventions.queries import read_history
from helpers_mail import with_connection

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


def test_only_rows_of_the_day_itself_are_scored_today(database: str) -> None:
    write(database, "before", 1)
    write(database, "today", 0)
    write(database, "after", -1)
    assert dict(read(database).select("trigger", "scored_today").iter_rows()) == {
        "after": False,
        "before": False,
        "today": True,
    }


def test_the_whole_of_the_longest_cooldown_is_read(database: str) -> None:
    write(database, "a", 29)
    assert read(database, cooldown_days=30).height == 1


def test_the_entries_of_a_supplier_include_the_first_day_and_the_last_moment(database: str) -> None:
    write(database, "before", 2)
    write(database, "first", 1)
    write(database, "last", 0)

    def triggers(since: datetime, until: datetime) -> list[str]:
        entries = with_connection(
            database,
            lambda conn: list_of_supplier(
                conn, SUPPLIER, limit=None, since=since.date(), until=until
            ),
        )
        return [entry.trigger for entry in entries]

    day = timedelta(days=1)
    assert triggers(AS_OF - day, AS_OF) == ["last", "first"]
    assert triggers(AS_OF - day, AS_OF - timedelta(microseconds=1)) == ["first"]


def test_windows_are_open_from_the_day_after_until_their_last_day(database: str) -> None:
    day = AS_OF.date()
    rows = {
        # trigger: evaluated_on, success_by, succeeded_on, whether its window is read
        "last_day": (day - timedelta(days=7), day, None, True),
        "over": (day - timedelta(days=8), day - timedelta(days=1), None, False),
        "first_day": (day - timedelta(days=1), day + timedelta(days=6), None, True),
        "opened_today": (day, day + timedelta(days=7), None, False),
        "succeeded_today": (day - timedelta(days=2), day + timedelta(days=5), day, True),
        "succeeded_before": (
            day - timedelta(days=2),
            day + timedelta(days=5),
            day - timedelta(days=1),
            False,
        ),
    }
    for name, (evaluated_on, success_by, succeeded_on, _) in rows.items():
        write(database, name, (day - evaluated_on).days)
        with psycopg.connect(database, options="-c search_path=everafter") as conn:
            conn.execute(
                "UPDATE interventions SET success_by = %s, succeeded_on = %s WHERE trigger = %s",
                [success_by, succeeded_on, name],
            )
    reader = FrameReader(database)
    try:
        bounds = {"after": "00000000-0000-0000-0000-000000000000", "last": SUPPLIER}
        found = asyncio.run(read_windows(reader, **bounds, day=day))
    finally:
        reader.close()
    assert set(found["trigger"]) == {name for name, (*_, is_read) in rows.items() if is_read}


def test_triggers_are_listed_by_total_then_name_and_reasons_by_frequency() -> None:
    counts = count_triggers(
        [
            ("b", "triggered", "", 2),
            ("a", "holdout", "", 2),
            ("c", "skipped", "cooldown", 1),
            ("c", "skipped", "frequency_cap", 3),
        ]
    )
    assert [(count.trigger, count.total) for count in counts] == [("c", 4), ("a", 2), ("b", 2)]
    assert counts[0].skipped == [("frequency_cap", 3), ("cooldown", 1)]


@pytest.mark.parametrize(
    ("page", "is_page"), [("0", False), ("1", True), ("100000", True), ("100001", False)]
)
def test_pages_of_the_log_are_numbered_from_1_to_100000(page: str, is_page: bool) -> None:
    if is_page:
        assert parse_log_view({"page": page}).page == int(page)
    else:
        with pytest.raises(InputError, match="page"):
            parse_log_view({"page": page})
