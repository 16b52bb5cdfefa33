"""season_index on frames: against a slow oracle, in slices, and from day to day."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.playbook.model import Playbook, Season, Segment
from everafter.seasonality.prior_model import VENDOR_TYPES
from everafter.seasonality.prior_rules import (
    _day_of_year,
    _interpolate,
    _parts,
    add_season_index,
    add_season_trend,
    region_of,
    vendor_type_of,
    workload_index,
)

PLAYBOOK = Playbook("test", {"default": Segment("Any", ["forms"])}, {}, season=Season(floor=0.2))
AS_OF = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
EPOCH = date(1970, 1, 1)
SCHEMA = {"country": pl.String(), "vendor_type": pl.String(), "weddings": pl.List(pl.Int32())}

Row = tuple[str | None, str | None, list[int] | None]


def frame_of(rows: list[Row], as_of: datetime = AS_OF) -> pl.DataFrame:
    """Rows of country, vendor type and weddings in days from `as_of`."""
    today = (as_of.astimezone(UTC).date() - EPOCH).days
    data = [(c, v, None if w is None else [today + day for day in w]) for c, v, w in rows]
    return pl.DataFrame(data, schema=SCHEMA, orient="row")


def season_index_of(row: Row, as_of: datetime = AS_OF, playbook: Playbook = PLAYBOOK) -> float:
    return add_season_index(frame_of([row], as_of), playbook, as_of)["season_index"][0]


rows = st.tuples(
    st.sampled_from([None, "GB", "US", "AU", "NZ", "ZA", "FR", "XX"]),
    st.sampled_from([None, "photographer", "dj", "venue", "florist", "cake", "juggler"]),
    st.none() | st.lists(st.integers(-400, 900), max_size=40),
)


def oracle(row: Row, season: Season, as_of: datetime) -> float:
    """season_index in plain Python: one wedding and one fortnight after the other."""
    country, vendor_type, weddings = row
    name = vendor_type_of(vendor_type)
    vendor = VENDOR_TYPES[name]
    today = as_of.astimezone(UTC).date()
    near = [w for w in weddings or [] if -28 < w < 14 * 27]

    def prior(day: date) -> tuple[float, float]:
        work, rest = _parts(region_of(country), name)
        place = _day_of_year([day])
        return float(_interpolate(work, place)[0]), float(_interpolate(rest, place)[0])

    def kernel(ahead: float) -> float:
        if ahead >= 0:
            return max(0.0, 1 - ahead / vendor.ahead_days)
        return max(0.0, 1 + ahead / vendor.behind_days)

    def expected(step: int) -> float:
        work, rest = prior(today + timedelta(days=14 * step))
        load = (
            sum(kernel(w - 14 * step) for w in near)
            * 365.25
            * 2
            / (vendor.ahead_days + vendor.behind_days)
        )
        weight = season.own_weddings_weight
        return (work * weight + vendor.work * load) / (weight + len(near)) + rest

    work, rest = _parts(region_of(country), name)
    seen_peak = max(sum(prior(today + timedelta(days=14 * step))) for step in range(27))
    peak = max(expected(step) for step in range(27)) * float((work + rest).max()) / seen_peak
    return min(1.0, max(season.floor, expected(0) / peak))


@settings(max_examples=60)
@given(rows, st.dates(date(2024, 1, 1), date(2030, 12, 31)))
def test_the_season_index_equals_the_oracle(row: Row, day: date) -> None:
    as_of = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    assert season_index_of(row, as_of) == pytest.approx(
        oracle(row, PLAYBOOK.season, as_of), abs=2e-6
    )


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=12), st.integers(1, 5))
def test_the_slice_size_does_not_matter(many: list[Row], size: int) -> None:
    frame = frame_of(many)
    whole = add_season_trend(add_season_index(frame, PLAYBOOK, AS_OF), PLAYBOOK, AS_OF)
    parts = [
        add_season_trend(add_season_index(part, PLAYBOOK, AS_OF), PLAYBOOK, AS_OF)
        for part in frame.iter_slices(size)
    ]
    assert pl.concat(parts).equals(whole)
    assert whole["season_index"].is_between(PLAYBOOK.season.floor, 1).all()
    assert whole.null_count().select("season_index", "off_season", "season_trend").row(0) == (
        0,
        0,
        0,
    )


def test_rows_at_the_edges_of_a_block_have_their_own_values() -> None:
    many = (
        [("GB", "dj", [day % 300, day % 70]) for day in range(4096 + 5)]
        + [("GB", "dj", None)] * 4096
        + [("US", "venue", [3])]
    )
    whole = add_season_index(frame_of(many), PLAYBOOK, AS_OF)["season_index"]
    for row in (0, 4095, 4096, 4100, 4101, len(many) - 1):
        assert whole[row] == season_index_of(many[row]), row


@pytest.mark.parametrize("country", [None, "XX"])
def test_without_a_known_season_the_index_is_exactly_1(country: str | None) -> None:
    result = add_season_index(
        frame_of(
            [(country, "photographer", None), (country, None, []), (country, "dj", [-300, 800])]
        ),
        PLAYBOOK,
        AS_OF,
    )
    assert result["season_index"].to_list() == [1.0, 1.0, 1.0]
    assert result["off_season"].to_list() == [False, False, False]
    assert add_season_trend(result, PLAYBOOK, AS_OF)["season_trend"].to_list() == pytest.approx(
        [1.0, 1.0, 1.0]
    )


def test_a_disabled_season_is_exactly_1() -> None:
    off = msgspec.structs.replace(PLAYBOOK, season=Season(enabled=False))
    result = add_season_trend(
        add_season_index(frame_of([("GB", "florist", [200] * 30)]), off, AS_OF), off, AS_OF
    )
    assert result.select("season_index", "off_season", "season_trend").row(0) == (1.0, False, 1.0)


def test_an_empty_frame_keeps_its_columns() -> None:
    result = add_season_trend(
        add_season_index(pl.DataFrame(schema=SCHEMA), PLAYBOOK, AS_OF), PLAYBOOK, AS_OF
    )
    assert result.schema == {
        **SCHEMA,
        "season_index": pl.Float64,
        "off_season": pl.Boolean,
        "season_trend": pl.Float64,
    }
    assert result.is_empty()


def test_without_own_weddings_the_middle_of_a_month_has_the_workload_index() -> None:
    index = workload_index("GB", "venue", PLAYBOOK.season.floor)
    for month in (1, 3, 4, 6, 9, 11):
        days = (date(2026, month % 12 + 1, 1) - date(2026, month, 1)).days
        before, after = (
            season_index_of(
                ("GB", "venue", None), datetime(2026, month, days // 2 + offset, tzinfo=UTC)
            )
            for offset in (0, 1)
        )
        low, high = sorted((before, after))
        assert low - 0.01 <= index[month - 1] <= high + 0.01


@pytest.mark.parametrize("weddings", [None, [10, 45, 80, 120, 250, 251, 252, 360]])
def test_the_index_changes_little_from_day_to_day(weddings: list[int] | None) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    fixed = None if weddings is None else [(start.date() - EPOCH).days + day for day in weddings]
    season_indexes: list[float] = []
    for day in range(-30, 400):
        frame = pl.DataFrame([("GB", "photographer", fixed)], schema=SCHEMA, orient="row")
        season_indexes.append(
            add_season_index(frame, PLAYBOOK, start + timedelta(days=day))["season_index"][0]
        )
    steps = [abs(a - b) for a, b in pairwise(season_indexes)]
    assert max(steps) < 0.035
    assert max(season_indexes) > 0.9


def test_own_weddings_soon_raise_the_index_and_distant_ones_lower_it() -> None:
    prior = season_index_of(("GB", "photographer", None))
    busy_now = season_index_of(("GB", "photographer", [-5, 3, 5, 9, 12, 20, 24, 30]))
    busy_later = season_index_of(("GB", "photographer", [240, 250, 255, 260, 266, 271, 280, 290]))
    assert busy_later < prior < busy_now


def test_more_known_weddings_weigh_more() -> None:
    prior = season_index_of(("GB", "photographer", None))
    few, many = (season_index_of(("GB", "photographer", [250, 264] * times)) for times in (1, 15))
    assert many < few < prior


def test_weddings_outside_the_grid_do_not_count() -> None:
    assert season_index_of(("GB", "dj", [-400, -90, 500, 2000])) == season_index_of(
        ("GB", "dj", None)
    )


@pytest.mark.parametrize(("days", "counts"), [(-28, False), (-27, True), (377, True), (378, False)])
def test_the_grid_ends_four_weeks_ago_and_in_54_weeks(days: int, counts: bool) -> None:
    prior = season_index_of(("GB", "dj", None))
    assert (season_index_of(("GB", "dj", [days])) != prior) == counts


def test_null_weddings_in_a_list_are_ignored() -> None:
    frame = frame_of([("GB", "dj", [10, 200])])
    with_null = frame.with_columns(
        pl.col("weddings").list.concat(pl.lit([None], pl.List(pl.Int32)))
    )
    assert (
        add_season_index(with_null, PLAYBOOK, AS_OF)["season_index"][0]
        == add_season_index(frame, PLAYBOOK, AS_OF)["season_index"][0]
    )


def test_the_day_is_the_utc_day() -> None:
    evening = datetime(2026, 11, 21, 20, 0, tzinfo=timezone(timedelta(hours=-8)))
    assert season_index_of(("US", "dj", [40])) == season_index_of(
        ("US", "dj", [40]), evening
    )  # both are 22 November in UTC


def test_off_season_is_below_the_playbooks_mark() -> None:
    frame = frame_of([("GB", "florist", None)], datetime(2026, 1, 15, tzinfo=UTC))
    for mark, expected in ((0.9, True), (0.3, False)):
        playbook = msgspec.structs.replace(PLAYBOOK, season=Season(off_season_below=mark))
        assert (
            add_season_index(frame, playbook, datetime(2026, 1, 15, tzinfo=UTC))["off_season"][0]
            is expected
        )


def test_the_trend_falls_in_autumn_and_rises_in_spring() -> None:
    frame = frame_of([("GB", "florist", None), ("NZ", "florist", None), (None, "florist", None)])

    def trend(day: datetime) -> list[float]:
        return add_season_trend(frame, PLAYBOOK, day)["season_trend"].to_list()

    late_november, early_june = trend(AS_OF), trend(datetime(2026, 6, 10, tzinfo=UTC))
    assert late_november[0] < 0.75 < 1.1 < late_november[1]
    assert early_june[0] > 1.2
    assert early_june[1] < 0.9
    assert late_november[2] == early_june[2] == 1


def test_the_trend_is_the_ratio_of_mean_indexes() -> None:
    row: Row = ("GB", "caterer", None)
    season_indexes = [season_index_of(row, AS_OF - timedelta(days=back)) for back in range(84)]
    expected = (sum(season_indexes[:28]) / 28) / (sum(season_indexes[28:]) / 56)
    assert add_season_trend(frame_of([row]), PLAYBOOK, AS_OF)["season_trend"][0] == pytest.approx(
        expected
    )
