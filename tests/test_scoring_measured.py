"""Invented markets (`benchmarks.markets`), their replay (`benchmarks.replay`), and
scripts/measure_scoring.py."""

import asyncio
import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmarks.markets.dialects import DIALECTS, season_table
from benchmarks.markets.writing import Damage, write_market
from benchmarks.replay import first_day
from benchmarks.replay.damage import play_outage
from benchmarks.replay.market import NEVER, Market, read_market
from benchmarks.replay.replay import Replay, start
from benchmarks.replay.statistics import (
    area_under_curve,
    calibration_slope,
    find_alarms,
    log_loss,
    ratio_interval,
    threshold_for,
)
from polars.testing import assert_frame_equal

from everafter.activity.feature_rules import assign_slots
from everafter.cli import main
from everafter.core.db import FrameReader
from everafter.core.settings import Settings
from everafter.signals.queries import read_past_inputs

ROOT = Path(__file__).parent.parent
UNTIL = date(2026, 11, 20)
FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small market of dialect a: 40 suppliers, 300 days."""
    path = tmp_path_factory.mktemp("markets") / "small"
    write_market(path, "a", 5, 40, 300, UNTIL)
    return path


@pytest.fixture(scope="module")
def market(folder: Path) -> Market:
    return read_market(folder)


@pytest.fixture(scope="module")
def midway(market: Market) -> Replay:
    """The replay of its first 110 days; tests advance a copy of it."""
    replay = start(market)
    while replay.day < 110:
        replay.advance()
    return replay


def rows_of(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return list(csv.DictReader(io.StringIO(text)))


# ── markets ───────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_files_and_another_does_not(
    folder: Path, tmp_path: Path
) -> None:
    write_market(tmp_path / "again", "a", 5, 40, 300, UNTIL)
    write_market(tmp_path / "other", "a", 6, 40, 300, UNTIL)
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert (folder / "events.csv.gz").read_bytes() != (
        tmp_path / "other" / "events.csv.gz"
    ).read_bytes()


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_market_is_consistent_with_its_truth(dialect: str, tmp_path: Path) -> None:
    write_market(tmp_path, dialect, 2, 60, 400, UNTIL)
    truth = {row["supplier_id"]: row for row in rows_of(tmp_path / "truth.csv")}
    created = {row["id"]: row["created_on"] for row in rows_of(tmp_path / "suppliers.csv")}
    first = (UNTIL - timedelta(days=400)).isoformat()
    cancelled: set[str] = set()
    for event in rows_of(tmp_path / "events.csv.gz"):
        day, fate = event["occurred_at"][:10], truth[event["supplier_id"]]
        assert first <= day < UNTIL.isoformat()
        assert day >= max(created[event["supplier_id"]], first)
        assert not fate["cancelled_on"] or day <= fate["cancelled_on"]
        if event["type"] == "subscription_cancelled":
            assert day == fate["cancelled_on"]
            cancelled.add(event["supplier_id"])
    due = {s for s, row in truth.items() if row["cancelled_on"] < UNTIL.isoformat()}
    assert cancelled == {s for s in due if truth[s]["cancelled_on"]}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_season_has_a_mean_of_one_and_a_slow_november_where_it_is_published(
    dialect: str,
) -> None:
    table = season_table(DIALECTS[dialect], np.arange(365.0))
    assert table.mean(axis=2) == pytest.approx(1.0, abs=0.01)
    if dialect != "d":
        november, peak = table[0, :, 304:334].mean(axis=1), table[0].max(axis=1)
        assert (november < 0.5 * peak).all()


def test_an_outage_takes_ten_days_of_logins_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    begins = date(2026, 6, 1)
    write_market(tmp_path / "all", "a", 5, 40, 300, UNTIL, Damage(outage=begins))
    write_market(tmp_path / "half", "a", 5, 40, 300, UNTIL, Damage(outage=begins, half=True))
    ends = begins + timedelta(days=10)

    def logins(path: Path, inside: bool) -> int:
        return sum(
            row["type"] == "login"
            and (begins.isoformat() <= row["occurred_at"] < ends.isoformat()) == inside
            for row in rows_of(path / "events.csv.gz")
        )

    assert logins(tmp_path / "all", True) == 0 < logins(folder, True)
    assert 0 < logins(tmp_path / "half", True) < logins(folder, True)
    assert logins(tmp_path / "all", False) == logins(folder, False)


def test_only_logins_can_be_sent(tmp_path: Path) -> None:
    write_market(tmp_path, "b", 5, 20, 100, UNTIL, Damage(only_logins=True))
    assert {row["type"] for row in rows_of(tmp_path / "events.csv.gz")} == {"login"}


# ── replay ────────────────────────────────────────────────────────────────────────


def test_a_replay_sees_what_the_product_reads_after_an_import(
    folder: Path, midway: Replay, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The market's files import without a reject, and the rows of a replayed day are those that
    the database gives for that moment."""
    assert settings.database_url
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))
    files = [str(folder / name) for name in ("suppliers.csv", "clients.csv", "events.csv.gz")]
    monkeypatch.setattr(sys, "argv", ["everafter", "import", *files])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    read = asyncio.run(read_at(settings.database_url, midway.playbook.features, midway.now))
    varying = ["added_at", "consent", "external_id"]
    assert_frame_equal(
        midway.inputs().select(read.columns).drop(varying), read.drop(varying), check_dtypes=False
    )


async def read_at(url: str, features: frozenset[str], as_of: datetime) -> pl.DataFrame:
    reader = FrameReader(url)
    try:
        return await read_past_inputs(
            reader, assign_slots({}, features), as_of, after=FIRST_ID, last=LAST_ID
        )
    finally:
        reader.close()


def test_a_market_without_truth_measures_its_season(folder: Path, tmp_path: Path) -> None:
    for name in ("suppliers.csv", "clients.csv", "events.csv.gz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    bare, whole = read_market(tmp_path), read_market(folder)
    assert bare.fade_start is None
    assert whole.fade_start is not None
    north = np.flatnonzero(~bare.south)[0]
    june, november = 150, 290
    assert bare.season[june, north] > 1.3 * bare.season[november, north]
    known = bare.cancelled < NEVER
    assert (bare.cancelled[known] == whole.cancelled[known]).all()


def test_an_outage_of_nobody_changes_nothing_and_one_of_all_does(
    market: Market, midway: Replay
) -> None:
    replay = midway.copy()
    before = replay.state
    nobody = play_outage(replay, np.zeros(market.suppliers.height, dtype=bool))
    assert replay.day == 110
    assert replay.state is before
    assert (nobody.newly_at_risk, nobody.newly_critical, nobody.newly_churn) == (
        nobody.usual_at_risk,
        nobody.usual_critical,
        nobody.usual_churn,
    )
    assert (nobody.only_at_risk, nobody.only_critical, nobody.only_churn) == (0, 0, 0)
    everybody = play_outage(replay)
    assert everybody.usual_at_risk == nobody.usual_at_risk
    assert everybody.suppliers == nobody.suppliers
    assert everybody.inactive_alarms == 0
    assert everybody.only_at_risk + everybody.only_churn <= 2


def test_the_replay_knows_the_feeds_as_a_run_would(market: Market) -> None:
    replay = start(market.only("login", "feature_used"))
    while replay.day < 60:
        replay.advance()
    feeds = replay.platform.known.feeds
    assert feeds.sent == {"login", "feature_used"}
    assert not feeds.stopped
    aside = replay.copy()
    for _ in range(2):
        aside.advance(aside.market.days[aside.day].filter(pl.col("type") != "login"))
    assert set(aside.platform.known.feeds.stopped) == {"login"}
    since = market.at(60) - aside.platform.known.feeds.stopped["login"]
    assert timedelta() <= since < timedelta(hours=12)
    replay.advance()
    assert not replay.platform.known.feeds.stopped


def test_the_first_day_has_a_score() -> None:
    assert first_day.score_first_day() == {"health_score": 100.0, "risk_level": "healthy"}


# ── statistics ────────────────────────────────────────────────────────────────────


def test_area_under_curve_counts_ties_half_and_weighs_rows() -> None:
    churned, value = np.array([True, False, True, False]), np.array([0.9, 0.9, 0.1, 0.5])
    pairs = [(0.9, 0.9), (0.9, 0.5), (0.1, 0.9), (0.1, 0.5)]
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert area_under_curve(churned, value) == pytest.approx(expected)
    twice = np.array([1.0, 1.0, 0.0, 2.0])
    assert area_under_curve(churned, value, twice) == pytest.approx((0.5 + 2) / 3)


def test_an_alarm_begins_a_state_and_rests_thirty_days() -> None:
    state = np.zeros((80, 3), dtype=bool)
    state[0:5, 0] = True  # from the first day on: nothing began
    state[10, 1] = state[39, 1] = True  # 29 days apart
    state[10, 2] = state[40, 2] = True  # 30 days apart
    alarms = find_alarms(state, np.ones_like(state))
    assert [np.flatnonzero(alarms[:, n]).tolist() for n in range(3)] == [[], [10], [10, 40]]


def test_an_alarm_needs_the_supplier_the_day_before() -> None:
    state = np.zeros((5, 1), dtype=bool)
    state[3] = True
    there = np.array([[False], [False], [False], [True], [True]])
    assert not find_alarms(state, there).any()


def test_a_threshold_gives_the_wanted_number_of_alarms() -> None:
    random = np.random.default_rng(3)
    risk = np.repeat(random.random((60, 200)), 7, axis=0)
    there = np.ones_like(risk, dtype=bool)
    above = threshold_for(risk, there, 2.0)
    alarms = find_alarms(risk > above, there).sum() / (there.sum() / 365.25)
    assert alarms == pytest.approx(2.0, rel=0.1)


def test_calibration_slope_finds_overconfidence() -> None:
    random = np.random.default_rng(1)
    logit = random.normal(-2, 1, 40_000)
    happened = random.random(len(logit)) < 1 / (1 + np.exp(-logit))
    assert calibration_slope(happened, 1 / (1 + np.exp(-logit))) == pytest.approx(1, abs=0.05)
    assert calibration_slope(happened, 1 / (1 + np.exp(-2 * logit))) == pytest.approx(0.5, abs=0.03)
    base = np.full(len(logit), happened.mean())
    assert log_loss(happened, 1 / (1 + np.exp(-logit))) < log_loss(happened, base)


def test_the_interval_of_a_ratio_contains_it() -> None:
    random = np.random.default_rng(2)
    above = np.stack([random.poisson(3.0, 300).astype(float), np.ones(300)], axis=1)
    below = np.stack([random.poisson(1.5, 300).astype(float), np.ones(300)], axis=1)
    low, high = ratio_interval(above, below)
    ratio = above[:, 0].sum() / below[:, 0].sum()
    assert 0.8 * ratio < low < ratio < high < 1.25 * ratio


# ── the script ────────────────────────────────────────────────────────────────────


def test_the_script_prints_each_figure_with_its_bar(tmp_path: Path) -> None:
    folder, figures = tmp_path / "small", tmp_path / "figures.json"
    write_market(folder, "a", 5, 40, 120, UNTIL)
    script = [sys.executable, str(ROOT / "scripts" / "measure_scoring.py")]

    def run(*words: Any) -> str:
        done = subprocess.run(
            [*script, *map(str, words)], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout

    table = run(folder, "--from", "2026-10-01", "--json", figures)
    assert "AUC 45 days" in table
    assert "mean ≥ .634" in table
    measured = json.loads(figures.read_text())["small"]
    assert 0 <= measured["auc_45"][0] <= 1
    assert 0 <= measured["login_only_full"] <= 1
    assert measured["outage_suppliers"] > 10
    line = next(line for line in table.splitlines() if line.startswith("P(45 days): log loss"))
    assert ("not measured" in line) == (measured["loss_45"] is None)
    short = tmp_path / "short" / "small"
    write_market(short, "a", 5, 40, 40, UNTIL)
    again = run(short, "--from", "2026-11-01", "--damage", "none", "--against", figures)
    assert f"({measured['alarms_medium']:.2f}".replace("(0.", "(.") in again
    assert pl.Series([measured["alarms_medium"]]).is_finite().all()
