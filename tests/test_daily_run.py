"""The daily run: its figures add up, it can be repeated and killed, and slices do not matter."""

import asyncio
import random
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from benchmarks.population import load
from msgspec import structs

from conftest import copy_database, with_database
from everafter.core.db import Connection
from everafter.core.errors import ConflictError, InputError
from everafter.core.locks import Lock
from everafter.core.settings import Settings, load_settings
from everafter.daily import queries
from everafter.daily import run as daily_run
from everafter.daily.jobs import run_when_due
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook

NOW = datetime.now(UTC).replace(microsecond=0)
PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
# Every table that a run writes, without columns that are random or read from the clock.
WRITTEN = {
    "customer_health": "calculated_on, supplier_id, health_score, risk_level, last_login, feature_adoption_score,"
    " client_engagement_score, calculated_at, score, login_points, feature_adoption_points, client_activity_points,"
    " form_completion_points, journey_performance_points, coverage, season_index, main_reason, playbook_version",
    "churn_risk": "calculated_on, supplier_id, calculated_at, risk, level, base, login, support_tickets, feature_usage, client_churn,"
    " billing, evidence, evidence_logins, evidence_uses, inactivity_probability, model_version",
    "interventions": "supplier_id, evaluated_on, trigger, id, action, channel, status, reason, priority, evaluated_at, success_by, facts",
    "outbox": "supplier_id, id, intervention_id, template, topic, to_email, to_name, facts, status, send_after, expires_at, created_at",
    "tasks": "supplier_id, id, kind, priority, title, reason, status, due_at, created_at",
    "success_milestones": "supplier_id, milestone_type, achieved_at",
    "season_index": "*",
    "vendor_type_norms": "*",
}


@pytest.fixture
def populated(database: str) -> str:
    """600 suppliers, whose activity rows end an hour ago."""
    asyncio.run(load(database, 600, NOW - timedelta(hours=1)))
    return database


def run(url: str, as_of: datetime | None = NOW, **terms: Any) -> RunSummary:
    return asyncio.run(run_day(url, PLAYBOOK, as_of, **terms))


def copy_of(url: str, server_url: str) -> AbstractContextManager[str]:
    """A copy of a database for a run to compare with."""
    return copy_database(server_url, str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))


def rows(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        return {
            table: conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table, columns in WRITTEN.items()
        }


def test_a_run_scores_every_supplier_and_its_figures_add_up(populated: str) -> None:
    summary = run(populated)
    found = rows(populated)
    assert summary.suppliers == 600 == len(found["customer_health"]) == len(found["churn_risk"])
    assert sum(summary.by_risk.values()) == 600 and min(summary.by_risk.values()) > 0
    results = summary.interventions
    assert (
        results.triggered + results.holdout + sum(results.skipped.values())
        == len(found["interventions"])
        > 100
    )
    with psycopg.connect(populated, options="-c search_path=everafter") as conn:
        for column in ("health_score = floor(score)", "abs(score - coalesce(login_points, 0) - coalesce(feature_adoption_points, 0)"
                       " - coalesce(client_activity_points, 0) - coalesce(form_completion_points, 0)"
                       " - coalesce(journey_performance_points, 0)) < 1e-9",
                       "risk_level = CASE WHEN health_score < 40 THEN 'critical' WHEN health_score < 70 THEN 'at_risk' ELSE 'healthy' END"):  # fmt: skip
            assert conn.execute(
                f"SELECT count(*) FROM customer_health WHERE NOT ({column})"
            ).fetchone() == (0,)  # type: ignore[arg-type]
        assert conn.execute(
            "SELECT count(*) FROM churn_risk WHERE abs(risk - base - coalesce(login, 0) - coalesce(support_tickets, 0)"
            " - coalesce(feature_usage, 0) - coalesce(client_churn, 0) - coalesce(billing, 0)) > 1e-6"
        ).fetchone() == (0,)
        # One message for each triggered email, one task for each triggered task, and no others.
        assert conn.execute(
            "SELECT count(*) FROM interventions i FULL JOIN outbox o ON o.supplier_id = i.supplier_id AND o.intervention_id = i.id"
            " WHERE (i.status = 'triggered' AND i.channel = 'email') <> (o.id IS NOT NULL)"
        ).fetchone() == (0,)
        assert conn.execute(
            "SELECT count(*) FROM interventions i FULL JOIN tasks t ON t.supplier_id = i.supplier_id AND t.intervention_id = i.id"
            " WHERE (i.status = 'triggered' AND i.channel = 'task') <> (t.id IS NOT NULL)"
        ).fetchone() == (0,)


def test_the_slice_size_does_not_matter(populated: str, server_url: str) -> None:
    with copy_of(populated, server_url) as sliced:
        run(populated)
        run(sliced, slice_size=37)
        assert rows(populated) == rows(sliced)


def test_a_repeated_run_triggers_nothing_twice_and_reports_the_same(populated: str) -> None:
    summary = run(populated)
    first = rows(populated)
    assert figures(summary) == logged(populated)
    again = run(populated)
    assert figures(again) == figures(summary) == figures(stored(populated))
    assert rows(populated) == first
    later = run(populated, NOW + timedelta(minutes=1))
    assert later.interventions == summary.interventions, "a minute later the day's log is the same"
    assert len(rows(populated)["interventions"]) == len(first["interventions"])


def test_tips_are_not_in_the_figures_of_a_run(populated: str) -> None:
    summary = run(populated)
    with psycopg.connect(populated, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO interventions SELECT gen_random_uuid(), id, 'tip_anything', 'show_tip', 'tip', 'triggered', 'r', 50, %s, %s,"
            " NULL, '{}', 1, false FROM suppliers ORDER BY id LIMIT 3",
            [NOW, NOW.date()],
        )
    assert run(populated).interventions == summary.interventions


def figures(summary: RunSummary) -> dict[str, Any]:
    """A summary without its duration."""
    return {name: value for name, value in structs.asdict(summary).items() if name != "seconds"}


def stored(url: str, day: date | None = None) -> RunSummary:
    """The stored summary of that day; default: today."""
    day = day or NOW.date()
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        row = conn.execute(
            "SELECT summary::text FROM runs WHERE run_on = %s AND finished_at IS NOT NULL", [day]
        ).fetchone()
    assert row
    return msgspec.json.decode(row[0], type=RunSummary)


def logged(url: str) -> dict[str, Any]:
    """The day's figures counted one row at a time."""
    summary = RunSummary(as_of=NOW, playbook_version=1)
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        scores = conn.execute("SELECT risk_level, score FROM customer_health").fetchall()
        levels = conn.execute("SELECT level FROM churn_risk").fetchall()
        results = conn.execute("SELECT status, reason, trigger FROM interventions").fetchall()
    summary.suppliers, summary.unscored = len(levels), len(levels) - len(scores)
    summary.average_score = round(sum(score for _, score in scores) / len(scores), 1)
    for risk, _ in scores:
        summary.by_risk[risk] += 1
    for (level,) in levels:
        summary.by_churn[level] += 1
    reported = summary.interventions
    for status, reason, trigger in results:
        reported.triggered += status == "triggered"
        reported.holdout += status == "holdout"
        for counted, name, matches in (
            (reported.skipped, reason, "skipped"),
            (reported.by_trigger, trigger, "triggered"),
        ):
            if status == matches:
                counted[name] = counted.get(name, 0) + 1
    return figures(summary)


def test_a_run_killed_anywhere_and_repeated_leaves_the_rows_of_one_run(
    populated: str, server_url: str
) -> None:
    script = (
        "import asyncio, sys; from datetime import datetime; from everafter.daily.run import run_day;"
        "from everafter.playbook.loading import load_playbook; from everafter.core.settings import load_settings;"
        "print('ready', flush=True);"
        "asyncio.run(run_day(sys.argv[1], load_playbook(load_settings({'EVERAFTER_SECRET': 'x' * 32})), datetime.fromisoformat(sys.argv[2]), slice_size=5))"
    )
    kills, chance = 0, random.Random(1)
    with copy_of(populated, server_url) as clean:
        whole = run(clean, slice_size=5)
        for _ in range(12):
            process = subprocess.Popen(
                [sys.executable, "-c", script, populated, NOW.isoformat()], stdout=subprocess.PIPE
            )
            assert process.stdout
            process.stdout.readline()
            try:
                code = process.wait(chance.uniform(0.15, 0.6) * (1 + kills / 4))
                assert code == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            finally:
                process.stdout.close()
            _wait_for_lock(populated)
        last = run(populated, slice_size=5)
        assert kills >= 2, "no run was killed in the middle"
        assert rows(populated) == rows(clean)
        assert (
            figures(last) == figures(whole) == figures(stored(populated)) == figures(stored(clean))
        )


class Killed(BaseException):
    """The program does not catch it, as it could not catch a kill."""


STEPS = ("insert_interventions", "save_slice", "finish_run")


@pytest.mark.parametrize("step", STEPS)
def test_a_run_stopped_after_a_step_of_its_second_slice_resumes(
    populated: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Stopped right after the step wrote its rows; finish_run, which has no slices, before."""
    place = queries if hasattr(queries, step) else daily_run
    real, calls = getattr(place, step), 0
    expected = run_on_a_copy(populated)

    async def stop_after(*args: Any, **terms: Any) -> None:
        nonlocal calls
        calls += 1
        if step == "finish_run":
            raise Killed
        await real(*args, **terms)
        if calls == 2:
            raise Killed

    monkeypatch.setattr(place, step, stop_after)
    with pytest.raises(Killed):
        run(populated, slice_size=200)
    monkeypatch.setattr(place, step, real)
    with psycopg.connect(populated, options="-c search_path=everafter") as conn:
        assert conn.execute("SELECT count(*) FROM runs WHERE finished_at IS NULL").fetchone() == (
            1,
        )
    resumed = run(populated, slice_size=200)
    assert (rows(populated), figures(resumed)) == expected and figures(
        stored(populated)
    ) == expected[1]


def run_on_a_copy(url: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The rows and figures of one clean run of the same database."""
    with copy_of(url, with_database(url, "postgres")) as clean:
        summary = run(clean, slice_size=200)
        return rows(clean), figures(summary)


def test_the_worker_finishes_an_interrupted_run_of_yesterday_without_sending(
    populated: str, settings: Settings
) -> None:
    """It ends as of its own moment and with its own playbook, though that has changed since."""
    yesterday = NOW - timedelta(days=1)
    loud = structs.replace(PLAYBOOK, name="yesterday", triggers={"t": structs.replace(PLAYBOOK.triggers["no_login_7_days"], when="true")})  # fmt: skip
    with psycopg.connect(populated, options="-c search_path=everafter", autocommit=True) as conn:
        # No event of these suppliers is later than yesterday, so the run reads their current rows.
        conn.execute(
            "UPDATE supplier_activity SET last_event_at = %s", [yesterday - timedelta(hours=1)]
        )

        def stop(done: int, total: int) -> None:
            if done > 200:
                raise Killed

        with pytest.raises(Killed):
            asyncio.run(run_day(populated, loud, yesterday, slice_size=200, progress=stop))
        begun = conn.execute("SELECT count(*) FROM run_slices").fetchone()
        assert begun and begun[0] in (1, 2)
        reported = asyncio.run(run_when_due(populated, settings))
        assert reported and f"finished {yesterday:%Y-%m-%d}: 600 suppliers scored" in reported
        summary = stored(populated, yesterday.date())
        assert summary.suppliers == 600 and summary.as_of == yesterday
        of_day = conn.execute(
            "SELECT DISTINCT trigger, playbook_version FROM interventions WHERE evaluated_on = %s AND trigger NOT LIKE 'celebrate%%'",
            [yesterday.date()],
        ).fetchall()
        assert of_day == [("t", summary.playbook_version)]
        queued = conn.execute(
            "SELECT count(*) FROM outbox o JOIN interventions i ON i.id = o.intervention_id"
            " WHERE i.evaluated_on = %s AND o.status = 'queued'",
            [yesterday.date()],
        ).fetchone()
        in_time = conn.execute(
            "SELECT count(*) FROM interventions WHERE evaluated_on = %s AND status = 'triggered' AND NOT replay",
            [yesterday.date()],
        ).fetchone()
        after = conn.execute(
            "SELECT count(*) FROM interventions WHERE evaluated_on = %s AND replay",
            [yesterday.date()],
        ).fetchone()
        assert queued == in_time and after and after[0] > 200
        assert f"finished {yesterday:%Y-%m-%d}" not in (
            asyncio.run(run_when_due(populated, settings)) or ""
        )


def _wait_for_lock(url: str) -> None:
    """Wait until the server has noticed that the client was killed."""
    with psycopg.connect(url, autocommit=True) as conn:
        for _ in range(200):
            if conn.execute(f"SELECT pg_try_advisory_lock({Lock.RUN:d})").fetchone() == (True,):
                conn.execute(f"SELECT pg_advisory_unlock({Lock.RUN:d})")
                return
            time.sleep(0.05)
    raise AssertionError("the killed run still holds its lock")


def test_a_dry_run_writes_nothing_and_reports_what_a_run_would_write(populated: str) -> None:
    with psycopg.connect(populated, options="-c search_path=everafter") as conn:
        tables = [
            row[0]
            for row in conn.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'everafter'::regnamespace AND relkind = 'r'"
            )
        ]

        def snapshot() -> dict[str, Any]:
            return {
                t: conn.execute(
                    f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {t} t"
                ).fetchone()
                for t in tables
            }  # type: ignore[arg-type]

        before = snapshot()
        dry = run(populated, dry_run=True)
        assert snapshot() == before
        conn.rollback()
    wet = run(populated)
    assert (
        dry.by_risk == wet.by_risk
        and dry.interventions == wet.interventions
        and dry.interventions.triggered > 50
    )


def test_a_second_run_at_the_same_time_is_refused(populated: str) -> None:
    with psycopg.connect(populated, autocommit=True) as conn:
        conn.execute(f"SELECT pg_advisory_lock({Lock.RUN:d})")
        with pytest.raises(ConflictError, match="another run"):
            run(populated)


def test_a_moment_in_the_future_or_before_the_first_event_is_refused(
    database: str, populated: str
) -> None:
    with pytest.raises(InputError, match="future"):
        run(populated, NOW + timedelta(days=2))
    with pytest.raises(InputError, match="the first event is from"):
        run(populated, datetime(2001, 1, 1, tzinfo=UTC))


def test_the_day_of_a_run_is_the_utc_day(populated: str) -> None:
    ahead = next(
        hours
        for hours in (14, -12)
        if NOW.astimezone(timezone(timedelta(hours=hours))).date() != NOW.date()
    )
    summary = run(populated, NOW.astimezone(timezone(timedelta(hours=ahead))))
    assert summary.as_of == NOW and summary.as_of.utcoffset() == timedelta(0)
    with psycopg.connect(populated, options="-c search_path=everafter -c timezone=UTC") as conn:
        for days in ("SELECT run_on FROM runs", "SELECT DISTINCT calculated_on FROM customer_health", "SELECT DISTINCT evaluated_on FROM interventions"):  # fmt: skip
            assert conn.execute(days).fetchall() == [(NOW.date(),)]  # type: ignore[arg-type]


def test_a_supplier_that_signs_up_during_a_run_pushes_nobody_out_of_a_slice(
    populated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = queries.list_slice_ends

    async def cut_and_sign_up(conn: Connection, *, after: str, size: int) -> list[str]:
        ends = await cut(conn, after=after, size=size)
        await conn.execute(
            "INSERT INTO suppliers (id, name) VALUES ('00000000-0000-4000-8000-000000000001', 'new')"
        )
        return ends

    monkeypatch.setattr(queries, "list_slice_ends", cut_and_sign_up)
    assert run(populated, slice_size=40).suppliers == 601
    with psycopg.connect(populated, options="-c search_path=everafter") as conn:
        assert conn.execute("SELECT count(*) FROM churn_risk").fetchone() == (601,)


def test_a_playbook_without_triggers_still_scores(populated: str) -> None:
    off = {
        name: structs.replace(trigger, enabled=False) for name, trigger in PLAYBOOK.triggers.items()
    }
    for triggers in (off, {}):
        summary = asyncio.run(
            run_day(populated, structs.replace(PLAYBOOK, triggers=triggers, milestones={}), NOW)
        )
        assert summary.suppliers == 600 and summary.interventions.triggered == 0
    assert not rows(populated)["interventions"]


def test_a_run_without_suppliers(database: str) -> None:
    assert run(database, None).suppliers == 0
    with pytest.raises(InputError, match="no suppliers"):
        run(database, NOW)


def test_the_command_prints_the_summary_as_json_and_refuses_bad_moments(
    populated: str, tmp_path: Path
) -> None:
    import json
    import os

    env = {**os.environ, "EVERAFTER_DATABASE_URL": populated, "EVERAFTER_DATA": str(tmp_path)}
    everafter = Path(sys.executable).parent / "everafter"
    done = subprocess.run(
        [everafter, "run", "--json"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert (
        reported["suppliers"] == 600
        and set(reported["by_risk"]) == {"healthy", "at_risk", "critical"}
        and reported["seconds"] > 0
    )
    assert (
        set(reported["interventions"]) >= {"triggered", "skipped", "holdout"} and reported["as_of"]
    )
    for words, says in (
        (["--as-of", "yesterday"], "expected a date"),
        (["--as-of", "1999-01-01"], "the first event is from"),
        (["--as-of", "2999-01-01"], "future"),
    ):
        refused = subprocess.run(
            [everafter, "run", *words], env=env, capture_output=True, text=True, timeout=60
        )
        assert (
            refused.returncode == 2 and says in refused.stderr and "Traceback" not in refused.stderr
        )
    away = {**env, "EVERAFTER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    refused = subprocess.run(
        [everafter, "run"], env=away, capture_output=True, text=True, timeout=60
    )
    assert (
        refused.returncode == 4 and "cannot reach PostgreSQL at 127.0.0.1:9/none" in refused.stderr
    )
