"""Training in a process of its own: what it stores, what speaks as of a moment, and how it fails."""

import asyncio
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import psycopg
import pytest

from conftest import copy_database
from everafter.core.db import FrameReader, connection
from everafter.core.errors import ConflictError
from everafter.core.locks import Lock
from everafter.learning import jobs, queries, snapshot_queries
from everafter.learning.checks import describe_training
from everafter.learning.jobs import TrainingError, train_as_of, train_when_due
from everafter.learning.model import SNAPSHOT_SCHEMA, Training
from everafter.learning.trees import has_trees
from helpers_learning import make_snapshots, month_moments

MOMENTS = month_moments(12)


def sql(url: str, text: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, options="-c search_path=everafter -c timezone=UTC") as conn:
        cursor = conn.execute(text, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


async def store(url: str, snapshots: pl.DataFrame) -> None:
    """Store snapshots, the cancellations after them, and the months."""
    ids = pl.col("supplier_id").str.replace(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", "$1-$2-$3-$4-$5")
    snapshots = snapshots.with_columns(ids)
    first, last = "00000000-0000-0000-0000-000000000000", "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12
    async with connection(url, autocommit=True) as conn:
        for (day,), part in snapshots.group_by("snapshot_on", maintain_order=True):
            month = day.replace(day=1)  # type: ignore[attr-defined]
            moment = part["snapshot_at"][0]
            await snapshot_queries.begin_snapshots(conn, month, moment, backfilled=True)
            await snapshot_queries.save_snapshots(
                conn, part.select(list(SNAPSHOT_SCHEMA)), month=month, after=first, last=last
            )
            await snapshot_queries.finish_snapshots(conn, month)
        touched = snapshots.drop_nulls("touched_after")
        await conn.execute(
            """
            INSERT INTO interventions (
              id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at,
              evaluated_on, facts, playbook_version
            )
            SELECT gen_random_uuid(), id, 'x', 'send', 'email', 'triggered', '', 50, at, at, '{}', 1
            FROM unnest(%s::uuid[], %s::timestamptz[]) AS touched (id, at)
            """,
            [touched["supplier_id"].to_list(), touched["touched_after"].to_list()],
        )
        churned = snapshots.drop_nulls("cancelled_at").unique(["supplier_id", "cancelled_at"])
        await conn.execute(
            "INSERT INTO cancellations SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])",
            [churned["supplier_id"].to_list(), churned["cancelled_at"].to_list()],
        )


@pytest.fixture(scope="module")
def learned(module_database: str) -> str:
    asyncio.run(store(module_database, make_snapshots(400, 12, base=0.06, extra=0.8)))
    return module_database


@pytest.fixture
def snapshots(server_url: str, learned: str) -> Iterator[str]:
    name = str(psycopg.conninfo.conninfo_to_dict(learned)["dbname"])
    with copy_database(server_url, name) as url:
        yield url


def read(url: str, as_of: datetime) -> Any:
    reader = FrameReader(url)
    try:
        return queries.read_models(reader, as_of)
    finally:
        reader.close()


def test_only_numbers_are_stored_and_the_latest_training_speaks(snapshots: str) -> None:
    done = asyncio.run(train_as_of(snapshots, MOMENTS[2:]))
    assert [one.as_of for one in done] == MOMENTS[2:]
    assert done[-1].snapshots == 12 * 400
    assert done[-1].speaking[45] in {"calibrated", "logistic"}
    rows = sql(snapshots, "SELECT kind, horizon, parameters, metrics, status, promoted_at, trained_as_of FROM model_versions")  # fmt: skip
    assert len(rows) == 8 * len(done)

    def leaves(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            for one in value.values():
                yield from leaves(one)
        elif isinstance(value, list):
            for one in value:
                yield from leaves(one)
        else:
            yield value

    for kind, _, parameters, _, status, promoted_at, trained_as_of in rows:
        named = {"features"}
        numbers = {k: v for k, v in (parameters or {}).items() if k not in named}
        assert all(isinstance(one, int | float) for one in leaves(numbers))
        assert (status == "candidate") == (promoted_at is None)
        if promoted_at:
            assert status == ("promoted" if trained_as_of == MOMENTS[-1] else "retired")
        assert kind != "trees" or (parameters is None and status == "candidate")
    spoken = [(at, h) for _, h, _, _, _, promoted, at in rows if promoted]
    assert len(spoken) == len(set(spoken)) == 2 * len(done), (
        "one model for each horizon and training"
    )


def test_a_replay_uses_what_was_known_then(snapshots: str) -> None:
    asyncio.run(train_as_of(snapshots, MOMENTS[4:]))
    assert not read(snapshots, MOMENTS[4]).by_horizon, "that training followed the run"
    for before, after in zip(
        MOMENTS[4:], [*MOMENTS[5:], datetime(2030, 1, 1, tzinfo=UTC)], strict=True
    ):
        for moment in (before + timedelta(seconds=1), after):
            models = read(snapshots, moment)
            assert {one.trained_as_of for one in models.by_horizon.values()} == {before}

    async def over_another_connection() -> Any:
        async with connection(snapshots) as conn:
            return await queries.get_models(conn, MOMENTS[6])

    assert asyncio.run(over_another_connection()) == read(snapshots, MOMENTS[6])


def test_what_came_later_does_not_change_a_training(snapshots: str) -> None:
    at = MOMENTS[8]
    query = "SELECT horizon, kind, parameters, metrics FROM model_versions WHERE trained_as_of = %s ORDER BY 1, 2"
    asyncio.run(train_as_of(snapshots, [at]))
    whole = sql(snapshots, query, at)
    sql(snapshots, "DELETE FROM signal_snapshots WHERE snapshot_at > %s RETURNING 1", at)
    sql(snapshots, "DELETE FROM cancellations WHERE cancelled_at > %s RETURNING 1", at)
    asyncio.run(train_as_of(snapshots, [at]))
    assert sql(snapshots, query, at) == whole


def test_the_logistic_model_is_promoted_in_the_second_month(snapshots: str) -> None:
    asyncio.run(train_as_of(snapshots, MOMENTS[2:]))
    found = sql(
        snapshots,
        """
        SELECT trained_as_of, (metrics ->> 'churned')::int, (metrics ->> 'rival_low')::float8 > 0,
          promoted_at IS NOT NULL, reason
        FROM model_versions
        WHERE horizon = 45 AND kind = 'logistic'
        ORDER BY trained_as_of
        """,
    )
    first = next(n for n, row in enumerate(found) if row[1] >= 150 and row[2])
    assert not any(row[3] for row in found[: first + 1])
    assert "next month" in found[first][4] and found[first + 1][2] and found[first + 1][3]
    # Twice in one month is not two months.
    again = found[first][0] + timedelta(days=9)
    done = asyncio.run(train_as_of(snapshots, [found[first][0], again]))
    assert [one.speaking[45] for one in done] == ["calibrated", "calibrated"]


@pytest.mark.skipif(not has_trees(), reason="scikit-learn is not installed")
def test_trees_are_measured_at_the_last_trainings(snapshots: str) -> None:
    asyncio.run(train_as_of(snapshots, MOMENTS[7:]))
    found = dict(
        sql(
            snapshots,
            "SELECT trained_as_of, (metrics ->> 'rival_gain')::float8 FROM model_versions WHERE kind = 'trees' AND horizon = 45",
        )
    )
    assert found[MOMENTS[-1]] is not None and found[MOMENTS[7]] is None


# ── failures ──────────────────────────────────────────────────────────────────────


def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sleep 60", "took longer than 1 s, and was ended"),
        ("echo 'Traceback'; echo 'MemoryError' >&2; exit 1", "the training failed: MemoryError"),
        ("exit 3", "exit code 3"),
        ("echo '[]'", "its result is not readable"),
    ],
)
def test_a_training_that_fails_is_recorded(
    snapshots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    fake_python(tmp_path, monkeypatch, script)
    with pytest.raises(TrainingError, match=message):
        asyncio.run(train_as_of(snapshots, [MOMENTS[-1]], seconds=1))
    ((error, finished),) = sql(snapshots, "SELECT error, finished_at FROM model_trainings")
    assert message.split(":")[-1].strip() in error and finished is not None
    assert not sql(snapshots, "SELECT 1 FROM model_versions")


def test_the_process_is_ended_when_it_takes_too_long(
    snapshots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(TrainingError):
        asyncio.run(train_as_of(snapshots, [MOMENTS[-1]], seconds=1))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_backfill_has_time_for_each_month(
    snapshots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path, monkeypatch, "sleep 1.2; exit 3")
    with pytest.raises(TrainingError, match="exit code 3"):
        asyncio.run(train_as_of(snapshots, MOMENTS[-10:], seconds=1))


def test_a_failure_never_reaches_the_run_that_started_it(
    snapshots: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_python(tmp_path, monkeypatch, "exit 3")
    assert asyncio.run(train_when_due(snapshots, MOMENTS[-1])) is None
    assert "were not trained: the training failed: exit code 3" in caplog.text
    # The models of the training before it still speak.
    monkeypatch.undo()
    asyncio.run(train_as_of(snapshots, [MOMENTS[-2]]))
    later = MOMENTS[-1] + timedelta(seconds=1)
    assert read(snapshots, later).by_horizon[45].trained_as_of == MOMENTS[-2]


def test_a_run_trains_once_after_its_months_snapshots(snapshots: str) -> None:
    before = MOMENTS[-1] - timedelta(seconds=1)
    sql(snapshots, "UPDATE snapshot_months SET snapshot_at = %s WHERE month = %s", before + timedelta(days=4), MOMENTS[-1].date())  # fmt: skip
    assert asyncio.run(train_when_due(snapshots, MOMENTS[-1])) is None, "snapshots are taken later"
    sql(snapshots, "UPDATE snapshot_months SET snapshot_at = month")
    assert asyncio.run(train_when_due(snapshots, MOMENTS[1])) is None, "no window had closed"
    line = asyncio.run(train_when_due(snapshots, MOMENTS[-1]))
    assert line and line.startswith("trained on 4,800 snapshots: ")
    assert asyncio.run(train_when_due(snapshots, MOMENTS[-1] + timedelta(days=1))) is None


@pytest.mark.parametrize(
    ("finished_at", "error"), [(None, ""), (MOMENTS[-1], "killed"), (False, "")]
)
def test_a_later_run_makes_up_for_a_training_that_did_not_come_to_its_end(
    snapshots: str, finished_at: datetime | bool | None, error: str
) -> None:
    """finished_at: False: the process was killed before the training began."""
    if finished_at is not False:
        sql(snapshots, "INSERT INTO model_trainings (trained_as_of, finished_at, error) VALUES (%s, %s, %s)", MOMENTS[-1], finished_at, error)  # fmt: skip
    next_day = MOMENTS[-1] + timedelta(days=1)
    line = asyncio.run(train_when_due(snapshots, next_day))
    assert line and line.startswith("trained on 4,800 snapshots: ")
    assert read(snapshots, next_day).by_horizon[45].trained_as_of == MOMENTS[-1], "as of then"
    assert asyncio.run(train_when_due(snapshots, next_day + timedelta(days=1))) is None


def test_one_training_at_a_time(snapshots: str) -> None:
    with psycopg.connect(snapshots, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [Lock.TRAIN])
        with pytest.raises(ConflictError, match="another training is in progress"):
            asyncio.run(train_as_of(snapshots, [MOMENTS[-1]]))


def test_nothing_to_learn_from_is_no_failure(database: str) -> None:
    (done,) = asyncio.run(train_as_of(database, [MOMENTS[-1]]))
    assert done.snapshots == 0 and done.speaking == {45: "index", 90: "index"}


def test_a_large_history_is_sampled(snapshots: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from everafter.learning import train

    monkeypatch.setattr(train, "MOST_SNAPSHOTS", 1_200)
    moment = train.Moment(MOMENTS[-1], MOMENTS[-1])
    result = train.train(train.Request(snapshots, (moment,), MOMENTS[-1] + timedelta(1)))
    assert result.trained[0].snapshots < 4_800
    assert msgspec.json.decode(msgspec.json.encode(result), type=train.Result) == result


def test_the_line_of_doctor() -> None:
    now = datetime(2026, 11, 29, tzinfo=UTC)
    good = Training(now - timedelta(days=3), now, now, 4_800, 2.0, "")
    assert describe_training(good, now).status == "ok"
    assert "3 days ago, on 4,800 snapshots" in describe_training(good, now).found
    failed = Training(now, now, now, 0, 2.0, "MemoryError")
    assert describe_training(failed, now).status == "warn"
    assert describe_training(failed, now).do == "everafter churn train"
    for hours, status in ((1, "ok"), (3, "warn")):
        running = Training(now, now - timedelta(hours=hours), None, 0, 0.0, "")
        assert describe_training(running, now).status == status
    assert jobs.describe_error(ValueError("")) == "ValueError"
