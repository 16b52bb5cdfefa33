"""The moments of a daily run: which are accepted, which are replays, when the worker runs it."""

import asyncio
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from rich.console import Console

from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.daily import jobs
from everafter.daily.commands import is_replay, print_summary
from everafter.daily.model import InterventionCounts, RunSummary, add_slices, summarize_slice
from everafter.daily.queries import list_slice_ends, list_unfinished_runs
from everafter.daily.run import _check_moment
from helpers_mail import sql, with_connection
from test_scoring_rows import scored
from test_signals_values import NOW, Case, login

FIRST = datetime(2026, 1, 1, 8, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        (NOW + timedelta(minutes=5), None),
        (NOW + timedelta(minutes=5) + TICK, "future"),
        (FIRST, None),
        (FIRST - TICK, "the first event is from"),
    ],
)
def test_a_moment_is_accepted_from_the_first_event_to_five_minutes_ahead(
    moment: datetime, says: str | None
) -> None:
    if says is None:
        _check_moment(moment, NOW, 1, FIRST)
    else:
        with pytest.raises(InputError, match=says):
            _check_moment(moment, NOW, 1, FIRST)


def test_a_moment_without_events_needs_suppliers() -> None:
    _check_moment(NOW, NOW, 1, None)
    with pytest.raises(InputError, match="no suppliers"):
        _check_moment(NOW, NOW, 0, None)


def test_a_moment_more_than_a_day_ago_is_a_replay() -> None:
    assert not is_replay(NOW - timedelta(days=1), NOW)
    assert is_replay(NOW - timedelta(days=1) - TICK, NOW)


@pytest.mark.parametrize(("hour", "minute", "runs"), [(4, 59, False), (5, 0, True), (23, 59, True)])
def test_the_worker_runs_from_five_oclock_on(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, hour: int, minute: int, runs: bool
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 7, 15, hour, minute, tzinfo=UTC)

    async def nothing_earlier(*_: Any) -> list[str]:
        return []

    async def is_due(*_: Any) -> bool:
        return True

    async def run(*_: Any) -> RunSummary:
        return RunSummary(as_of=NOW, suppliers=2)

    monkeypatch.setattr(jobs, "datetime", Clock)
    monkeypatch.setattr(jobs, "_finish_earlier_runs", nothing_earlier)
    monkeypatch.setattr(jobs, "_is_due", is_due)
    monkeypatch.setattr(jobs, "run_day", run)
    done = asyncio.run(jobs.run_when_due("postgresql://nowhere/none", settings))
    assert (done is not None) == runs
    assert not runs or done == "2 suppliers scored, 0 interventions triggered, in 0.0 s"


@pytest.mark.parametrize(
    ("number", "suppliers", "triggered"),
    [
        (0, "0 suppliers scored", None),
        (1, "1 supplier scored", "1 intervention triggered, 1 in the holdout"),
        (2, "2 suppliers scored", "2 interventions triggered, 2 in the holdout"),
        (5, "5 suppliers scored", "5 interventions triggered, 5 in the holdout"),
    ],
)
def test_a_summary_counts_suppliers_and_interventions(
    number: int, suppliers: str, triggered: str | None
) -> None:
    output = io.StringIO()
    counts = InterventionCounts(triggered=number, holdout=number)
    summary = RunSummary(as_of=NOW, suppliers=number, interventions=counts)
    print_summary(summary, Console(file=output, width=200))
    assert output.getvalue().startswith(suppliers)
    assert triggered is None or triggered in output.getvalue()


def test_unfinished_runs_are_listed_from_the_first_day_to_before_the_last(database: str) -> None:
    days = [date(2026, 7, day) for day in (7, 8, 14, 15)]
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        for number, day in enumerate(days):
            conn.execute(
                "INSERT INTO playbook_versions (sha256, source) VALUES (%s, '{}')", [str(number)]
            )
            conn.execute(
                "INSERT INTO runs (run_on, as_of, playbook_version, replay) VALUES (%s, %s, %s, false)",
                [day, datetime(day.year, day.month, day.day, 6, tzinfo=UTC), number + 1],
            )
    found = with_connection(database, lambda conn: list_unfinished_runs(conn, days[1], days[3]))
    assert [as_of.date() for as_of, _ in found] == days[1:3]


@pytest.mark.parametrize(("size", "ends"), [(1, "1234"), (2, "24"), (3, "34"), (4, "4"), (5, "4")])
def test_slices_end_at_every_size_and_at_the_last_supplier(
    database: str, size: int, ends: str
) -> None:
    ids = {str(n): f"00000000-0000-4000-8000-00000000000{n}" for n in range(5)}
    sql(
        database,
        "INSERT INTO suppliers (id, name) SELECT unnest(%s::uuid[]), 'Ann'",
        list(ids.values()),
    )
    found = with_connection(database, lambda conn: list_slice_ends(conn, after=ids["0"], size=size))
    assert found == [ids[end] for end in ends]


def test_the_average_score_of_a_dry_run_has_one_decimal() -> None:
    frame = scored(Case("", "", None, login(NOW)))
    summary = RunSummary(as_of=NOW)
    results = frame.select(status="supplier_id", reason="supplier_id", trigger="supplier_id")
    add_slices(summary, [summarize_slice(frame, results.clear())])
    assert summary.average_score == 54.5, "100 × 30 / 55 is 54.545…"
