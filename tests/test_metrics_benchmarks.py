"""Benchmarks by vendor type, region and month: rules, SQL, API, page and command."""

import html
import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from everafter.activity.model import LOGIN_SLOTS
from everafter.cli import app
from everafter.core.errors import InputError
from everafter.metrics.benchmark_model import (
    CHURN_DAYS,
    LOGINS_SCHEMA,
    MIN_SUPPLIERS,
    SCORES_SCHEMA,
    Benchmark,
    PeerScores,
)
from everafter.metrics.benchmark_rules import (
    choose_login_days,
    choose_runs,
    describe_merged,
    describe_peers,
    find_peers,
    first_day,
    login_window,
    measure_month,
    parse_group,
    parse_month,
    quantiles,
)
from everafter.seasonality.prior_rules import region_of
from helpers_pages import TODAY, add_activity, add_day, add_supplier, signed_in
from helpers_server import Server

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = date(2026, 10, 31)
RUN = (DAY, datetime(2026, 10, 31, 5, tzinfo=UTC))
PATH = "/api/metrics/benchmarks"


def scores_of(*groups: tuple[str | None, str | None, list[int]], churned: int = 0) -> pl.DataFrame:
    """Scores of vendor types in regions."""
    rows = [
        (kind, region, DAY, score, 1, int(score >= 70), 1, 50, int(number < churned))
        for kind, region, scores in groups
        for number, score in enumerate(scores)
    ]
    return pl.DataFrame(rows, schema=SCORES_SCHEMA, orient="row")


NO_LOGINS = pl.DataFrame(schema=LOGINS_SCHEMA)


def found(
    scores: pl.DataFrame, logins: pl.DataFrame = NO_LOGINS
) -> dict[tuple[Any, Any], Benchmark]:
    month = measure_month(RUN, scores, logins, NOW)
    return {(one.vendor_type, one.region): one for one in month.benchmarks}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_are_those_of_the_values(values: list[int], share: float) -> None:
    counts = pl.DataFrame({"x": values, "n": [1] * len(values)})
    assert quantiles(counts, "x", (share,))[0] == pytest.approx(float(np.quantile(values, share)))


@pytest.mark.parametrize(("here", "shown"), [(19, False), (20, True)])
def test_a_group_is_shown_from_20_suppliers_on(here: int, shown: bool) -> None:
    scores = scores_of(("dj", "us", [80] * here), ("dj", "britain", [60] * 20))
    groups = found(scores)
    assert (("dj", "us") in groups) == shown
    assert groups["dj", None].suppliers == here + 20 and groups["dj", "britain"].median == 60
    merged = measure_month(RUN, scores, NO_LOGINS, NOW).merged
    assert describe_merged(merged) == (
        [] if shown else ["DJs in the United States are counted in DJs as a whole"]
    )


def test_a_small_vendor_type_is_counted_in_all() -> None:
    scores = scores_of(
        ("dj", "us", [80] * 10),
        ("dj", "britain", [80] * 9),
        (None, None, [50] * 20),
        ("cake", "us", [1]),
    )
    month = measure_month(RUN, scores, NO_LOGINS, NOW)
    assert [(one.vendor_type, one.region, one.suppliers) for one in month.benchmarks] == [
        (None, None, 40),
        ("none", None, 20),
        ("none", "unknown", 20),
    ]
    assert describe_merged(month.merged) == ["DJs and cake makers are counted in all suppliers"]


def test_with_fewer_than_20_in_all_nothing_is_shown() -> None:
    month = measure_month(RUN, scores_of(("dj", "us", [80] * 19)), NO_LOGINS, NOW)
    assert month.benchmarks == [] and month.merged[0].into is None
    assert describe_merged(month.merged) == []
    everyone = scores_of(("dj", "us", [80] * 19), ("venue", "us", [80]))
    assert [one.level for one in measure_month(RUN, everyone, NO_LOGINS, NOW).benchmarks] == ["all"]


def test_figures_of_a_group() -> None:
    scores = scores_of(("dj", "us", [60] * 10 + [80] * 10), churned=3)
    logins = pl.DataFrame(
        [("dj", "us", DAY, days, 10) for days in (2, 9)], schema=LOGINS_SCHEMA, orient="row"
    )
    one = found(scores, logins)["dj", "us"]
    assert (one.lower_quartile, one.median, one.upper_quartile) == (60, 70, 80)
    assert (one.healthy, one.login_days, one.feature_adoption) == (0.5, 5.5, 0.5)
    assert one.churned_45d is None, "the 45 days are not over"


@pytest.mark.parametrize(("late", "share"), [(0, 0.15), (1, None)])
def test_churn_is_known_when_the_45_days_are_over(late: int, share: float | None) -> None:
    now = RUN[1] + timedelta(days=CHURN_DAYS) - timedelta(microseconds=late)
    scores = scores_of(("dj", "us", [60] * 20), churned=3)
    month = measure_month(RUN, scores, NO_LOGINS, now)
    assert month.benchmarks[0].churned_45d == share
    assert month.churn_known_on == date(2026, 12, 16)


def test_login_days_need_20_suppliers_and_a_platform_that_sends_logins() -> None:
    scores = scores_of(("dj", "us", [60] * 25))
    for days, n, expected in ((4, 20, 4.0), (4, 19, None), (0, 25, None)):
        logins = pl.DataFrame([("dj", "us", DAY, days, n)], schema=LOGINS_SCHEMA, orient="row")
        assert found(scores, logins)["dj", "us"].login_days == expected


def test_the_last_run_of_each_month() -> None:
    days = [date(2026, 9, 1), date(2026, 9, 30), date(2026, 10, 1), date(2026, 11, 2)]
    runs = [(day, datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in days]
    assert [day for day, _ in choose_runs(runs)] == [days[3], days[2], days[1]]
    assert [day for day, _ in choose_runs(runs, "2026-09")] == [days[1]]
    assert first_day(date(2026, 1, 31)) == date(2025, 1, 1)
    assert choose_login_days([TODAY - timedelta(days=back) for back in (160, 161)], TODAY) == [
        TODAY - timedelta(days=160)
    ]


@pytest.mark.parametrize("text", ["2026-13", "2026", "x", "2026-1"])
def test_a_month_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="is not a month such as 2026-08"):
        parse_month(text)


def test_groups_in_the_url() -> None:
    assert parse_group({}) is None and parse_group({"vendor": "all"}) == (None, None)
    assert parse_group({"vendor": "dj", "region": "us"}) == ("dj", "us")
    for wrong in ({"region": "us"}, {"vendor": "dj", "region": "mars"}):
        with pytest.raises(InputError):
            parse_group(wrong)


# ── one supplier ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("score", "rank"),
    [
        (59.9, "59, in the lowest quarter"),
        (60.0, "60, below the median"),
        (70.9, "70, at the median"),
        (71.0, "71, above the median"),
        (80.0, "80, above the median"),
        (81.0, "81, in the highest quarter"),
    ],
)
def test_a_supplier_among_its_peers(score: float, rank: str) -> None:
    peers = PeerScores(DAY, scores_of(("dj", "us", [60] * 10 + [80] * 10)))
    group = find_peers(peers, "dj", "US")
    assert group is not None
    assert describe_peers(group, score, DAY, DAY) == (
        f"DJs in the United States this month: median score 70 (20 suppliers); this one: {rank}"
    )
    assert "in Oct 2026: median" in describe_peers(group, score, DAY, date(2026, 11, 1))


def test_peers_of_a_small_group_are_those_of_the_larger_one() -> None:
    peers = PeerScores(
        DAY, scores_of(("dj", "us", [60] * 10), ("dj", None, [70] * 10), ("cake", "us", [9] * 19))
    )
    found_levels = [
        (group.level, group.suppliers) if (group := find_peers(peers, kind, country)) else None
        for kind, country in (("dj", "US"), ("cake", "US"), (None, None))
    ]
    assert found_levels == [("vendor_type", 20), ("all", 39), ("all", 39)]
    assert find_peers(PeerScores(DAY, scores_of(("dj", "us", [60] * 19))), "dj", "US") is None


# ── SQL ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_run(server: Server, day: date) -> None:
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, %s, 1, now())",
        day,
        datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
    )


def points(score: float) -> dict[str, float | None]:
    names = (
        "login",
        "feature_adoption",
        "client_activity",
        "form_completion",
        "journey_performance",
    )
    return dict.fromkeys(names) | {"login": score}


def add_scored(server: Server, number: int, day: date, score: float, **more: Any) -> uuid.UUID:
    activity = more.pop("activity", {})
    supplier = add_supplier(server, f"Supplier {number}", **more)
    add_activity(server, supplier, **activity)
    add_day(server, supplier, day, points(score), feature_adoption_score=50)
    return supplier


def ring(days: set[int]) -> bytes:
    bits = np.zeros(LOGIN_SLOTS, dtype=np.uint8)
    for day in days:
        bits[day % LOGIN_SLOTS] = 1
    return np.packbits(bits).tobytes()


def number_of(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(0, 60))
def test_login_windows_hold_the_days(day: date, age: int) -> None:
    byte, masks = login_window(day)
    assert [mask.count("1") for mask in masks] == list(range(28, -1, -1))
    mask = masks[min(age, 28)]
    slots = {(8 * byte + bit) % LOGIN_SLOTS for bit, kept in enumerate(mask) if kept == "1"}
    last = number_of(day)
    assert slots == {number % LOGIN_SLOTS for number in range(last - 27, last - age + 1)}


@pytest.mark.parametrize("back", range(8))
def test_login_windows_go_around_the_end(server: Server, back: int) -> None:
    """28 days that begin in any bit of a byte; the ring buffer ends after 192 days."""
    day = TODAY - timedelta(days=(number_of(TODAY) - 10 - 3 * back) % LOGIN_SLOTS % 150)
    add_run(server, day)
    window = {number_of(day) - step for step in (0, 3, 27)}
    bits = ring(window | {number_of(day) - 28, number_of(day) + 1})
    for number in range(20):
        add_scored(server, number, day, 60, activity={"login_days": bits})
    with server.client("read") as client:
        (month,) = client.get(PATH).json()["months"]
    assert month["benchmarks"][0]["login_days"] == 3


def test_login_days_are_read_from_the_ring_buffer(server: Server) -> None:
    """Days of the round before, after the last event, do not count."""
    day = TODAY - timedelta(days=40)
    today = number_of(day)
    add_run(server, day)
    for number in range(20):
        old = {today - 191 + step for step in range(150)} if number % 2 else set[int]()
        logins = {today - 27, today - 28, today - 12} | old
        last = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=10)
        add_scored(
            server, number, day, 60, activity={"login_days": ring(logins), "last_event_at": last}
        )
    # the window begins 27 days before: 2 logins of 3, and none of the round before
    with server.client("read") as client:
        (month,) = client.get(PATH).json()["months"]
    assert month["benchmarks"][0]["login_days"] == 2


COUNTRIES = [
    "GB",
    "uk",
    " gb ",
    "GB-SCT",
    "IE",
    "US",
    "us-ca",
    "NZ",
    "AU",
    "ZA",
    "FR",
    "IN",
    "",
    None,
    "USA",
    "G",
    "GBR-X",
]


def test_regions_in_sql_are_those_of_the_season(server: Server) -> None:
    add_run(server, TODAY)
    for number in range(len(COUNTRIES) * 20):
        add_scored(server, number, TODAY, 60, country=COUNTRIES[number // 20])
    expected: dict[str, int] = {}
    for country in COUNTRIES:
        region = region_of(country) or "unknown"
        expected[region] = expected.get(region, 0) + 20
    with server.client("read") as client:
        (month,) = client.get(PATH).json()["months"]
    assert {
        one["region"]: one["suppliers"] for one in month["benchmarks"] if one["region"]
    } == expected


@pytest.fixture
def full(server: Server) -> Server:
    """Two months; the earlier one is closed, and two of its suppliers cancelled, one of them later."""
    last = TODAY - timedelta(days=60)
    for day in (last - timedelta(days=1), last, TODAY):
        add_run(server, day)
    for number in range(40):
        kind, country = ("dj", "GB") if number < 21 else ("venue", "US")
        supplier = add_scored(server, number, last, 50 + number, vendor_type=kind, country=country)
        add_day(server, supplier, last - timedelta(days=1), points(1.0))
        if number != 20:
            add_day(server, supplier, TODAY, points(60.0 + number))
        if number < 2:
            at = datetime(last.year, last.month, last.day, 5, tzinfo=UTC) + timedelta(
                days=CHURN_DAYS, microseconds=number
            )
            server.sql(
                "INSERT INTO cancellations (supplier_id, cancelled_at) VALUES (%s, %s)",
                supplier,
                at,
            )
    return server


def test_the_api(full: Server) -> None:
    with full.client("read") as client:
        body = client.get(PATH).json()
        assert body["min_suppliers"] == MIN_SUPPLIERS
        now, then = body["months"][0], body["months"][-1]
        assert now["day"] == f"{TODAY}" and then["day"] == f"{TODAY - timedelta(days=60)}"
        groups = [
            {(one["vendor_type"], one["region"]): one for one in month["benchmarks"]}
            for month in (now, then)
        ]
        assert groups[0].keys() == {(None, None), ("dj", None), ("dj", "britain")}
        assert groups[0]["dj", None]["suppliers"] == 20 and groups[1]["dj", None]["suppliers"] == 21
        assert groups[1]["dj", "britain"]["median"] == 60
        # exactly 45 days later counts, a moment later does not
        assert groups[1]["dj", "britain"]["churned_45d"] == pytest.approx(1 / 21)
        assert groups[0]["dj", "britain"]["churned_45d"] is None
        assert now["merged"] == [{"vendor_type": "venue", "region": None, "into": "all"}]
        month = f"{TODAY:%Y-%m}"
        assert [one["month"] for one in client.get(f"{PATH}?month={month}").json()["months"]] == [
            month
        ]
        assert client.get(f"{PATH}?month=2001-01").json()["months"] == []
        assert "is not a month" in client.get(f"{PATH}?month=x").json()["detail"]
    for scope, status in (("ingest", 403), ("read", 200)):
        with full.client(scope) as keyed:  # type: ignore[arg-type]
            assert keyed.get(PATH).status_code == status


def text_of(page: httpx.Response) -> str:
    assert page.status_code == 200, page.text
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))


def test_the_pages(full: Server) -> None:
    with signed_in(full) as client:
        page = text_of(client.get("/insights/benchmarks"))
        assert (
            "All suppliers" in page
            and "Britain and Ireland" in page
            and "Venues are counted in all suppliers" in page
        )
        group = text_of(client.get("/insights/benchmarks?vendor=dj&region=britain"))
        assert "DJs in Britain and Ireland" in group and "4.8 %" in group
        assert "There were never 20 suppliers" in text_of(
            client.get("/insights/benchmarks?vendor=cake")
        )
        assert group.count("fewer than 20 suppliers") == 1, "in the note alone"
        assert "No daily run in this month" in text_of(
            client.get("/insights/benchmarks?month=2001-01")
        )
        assert client.get("/insights/benchmarks?month=x").status_code == 400
        assert 'href="/insights/benchmarks"' in client.get("/insights").text
        ((dj,),) = full.sql("SELECT id FROM suppliers WHERE name = 'Supplier 3'")
        assert re.search(
            r"DJs in Britain and Ireland this month: median score 70 \(20 suppliers\); this one: \d+, in",
            text_of(client.get(f"/suppliers/{dj}")),
        )


def test_without_runs(server: Server) -> None:
    with signed_in(server) as client:
        assert "Nothing to compare yet" in client.get("/insights/benchmarks").text
    with server.client("read") as keyed:
        assert keyed.get(PATH).json() == {"min_suppliers": 20, "months": []}


def test_the_command(full: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", full.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(full.settings.data))

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["benchmarks", *words])

    shown = run()
    assert shown.exit_code == 0, shown.output
    assert re.search(r"DJs in Britain and Ireland +20 +69\.5 +65–74", shown.output), shown.output
    assert "Venues are counted in all suppliers." in shown.output
    with full.client("read") as client:
        assert json.loads(run("--json").output) == client.get(PATH).json()
    assert run("--month", "2001-01").exit_code == 1 and run("--month", "x").exit_code == 1
