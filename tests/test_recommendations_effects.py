"""Effects of recommendations: the estimate, and the measurement in the database two weeks later."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core.db import connection, make_pool
from everafter.core.settings import Settings
from everafter.playbook.model import DIMENSIONS
from everafter.recommendations import queries
from everafter.recommendations.effects_rules import (
    PRIOR,
    add_all_vendor_types,
    compare,
    expected_shares,
    list_effects,
    measure,
    shrink,
)
from everafter.recommendations.jobs import measure_impressions, measure_when_due
from everafter.recommendations.model import EFFECTS_SCHEMA, RECOMMENDATION_SCHEMA
from everafter.recommendations.page_rules import describe_recommendations, group_effects
from test_recommendations_rules import SHIPPED, effects

TODAY = date(2026, 6, 30)
SHOWN_ON = TODAY - timedelta(days=14)

sizes = st.integers(0, 10_000)


# ── the estimate ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    treated=sizes,
    control=sizes,
    better=st.floats(0, 1),
    other=st.floats(0, 1),
    parent=st.floats(0, 1),
)
def test_the_estimate_lies_between_what_was_seen_and_its_parent(
    treated: int, control: int, better: float, other: float, parent: float
) -> None:
    treated_improved, control_improved = int(treated * better), int(control * other)
    found = shrink(treated, treated_improved, control, control_improved, parent)
    if not treated or not control:
        assert found == pytest.approx(parent)
        return
    seen = treated_improved / treated - control_improved / control
    assert min(seen, parent) - 1e-12 <= found <= max(seen, parent) + 1e-12
    if treated_improved < treated:
        assert shrink(treated, treated_improved + 1, control, control_improved, parent) > found


def test_the_page_is_sorted_by_the_expected_share() -> None:
    found = effects(
        ("forms_before_the_day", "", 500, 100, 200, 100),
        ("send_first_form", "", 500, 400, 200, 100),
    )
    answers = list_effects(found, SHIPPED)
    shares = [effect.answer.expected_share for effect in group_effects(answers)]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] == 0
    assert len({answer.id for answer in answers}) == 2


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (0.0, "Not expected to win any back, so it comes after those that are."),
        (0.01, "Expected to win back: less than 0.1."),
        (2.44, "Expected to win back: 2.4."),
    ],
)
def test_no_gain_is_said_to_be_none(expected: float, words: str) -> None:
    row = pl.DataFrame(
        {
            "dimension": ["login"],
            "missing_points": [5.0],
            "expected_points": [expected],
            "effect": [None],
        }
    )
    [shown] = describe_recommendations(row, "Planners", {"login": "Logins"})  # pyright: ignore[reportArgumentType]
    assert shown["gain"] == f"Points missing in logins: 5.0. {words}"


def test_regression_to_the_mean_earns_nothing() -> None:
    """Two thirds of the worst recover by themselves (docs/methods.md): the recommendation gets no credit."""
    shares = expected_shares(
        effects(("a", "", 3000, 2000, 3000, 2000), ("b", "", 3000, 2000, 0, 0)), ["a", "b"], [None]
    )
    assert shares["share"].to_list() == pytest.approx([PRIOR * 25 / 1525, PRIOR])
    assert shares["effect"].to_list()[1] is None, "no control group"


def test_few_of_a_vendor_type_lean_on_all_vendor_types_and_many_stand_alone() -> None:
    seen = effects(
        ("a", "", 2000, 900, 2000, 500),
        ("a", "dj", 10, 0, 10, 5),
        ("a", "venue", 4000, 400, 4000, 400),
    )
    dj, venue, cake, unknown = expected_shares(seen, ["a"], ["dj", "venue", "cake", None])[
        "share"
    ].to_list()
    assert cake == unknown == pytest.approx(0.2, abs=0.01)
    assert venue < 0.01 < dj < cake


def test_a_difference_is_said_with_its_confidence_sequence_or_not_at_all() -> None:
    found = compare(1800, 1620, 200, 160)
    assert found and found[0] == pytest.approx(0.1) and found[1] < found[0] < found[2] < 0.2
    far = compare(18000, 16200, 18000, 14400)
    assert far and far[1] > 0.08
    assert compare(9, 9, 1000, 0) is None and compare(1000, 1000, 9, 0) is None
    assert compare(10, 0, 10, 0) is not None


def test_what_is_declared_holds_over_all_recommendation_together() -> None:
    """43 of 60 against 20 of 60 is ln E = 5.24: enough for 9 rows in which nothing else is found, not for 10."""
    clear, null = ("a", "", 60, 43, 60, 20), (300, 150, 60, 30)
    few = list_effects(effects(clear, *((f"n{n}", "", *null) for n in range(8))), SHIPPED)
    many = list_effects(effects(clear, *((f"n{n}", "", *null) for n in range(9))), SHIPPED)
    assert [one.conclusion for one in few] == ["helps"] + ["not_yet_known"] * 8
    assert (
        {one.conclusion for one in many} == {"not_yet_known"} and many[0].low and many[0].low > 0
    ), "its own range is not enough"
    other = list_effects(effects(("a", "", 60, 5, 60, 40), ("b", "", 9, 9, 60, 0)), SHIPPED)
    assert [one.conclusion for one in other] == ["hurts", "too_few"]


# ── one impression, measured ──────────────────────────────────────────────────────────────────────────────────────


def due(**changes: Any) -> pl.DataFrame:
    """A DJ's forms: 4.5 of 18 then; 18 × 0.5 = 9 now, with everything known."""
    row = {
        "supplier_id": "s",
        "recommendation_id": "a",
        "shown_on": SHOWN_ON,
        "channel": "coach",
        "treated": True,
        "vendor_type": "dj",
        "dimension": "form_completion",
        "points_before": 4.5,
        "points_max": 18.0,
        **{f"{d}_points": 1.0 for d in DIMENSIONS},
        "form_completion_points": 9.0,
        "scored": True,
    }
    return pl.DataFrame([row | changes], schema={**queries.DUE_SCHEMA, "scored": pl.Boolean()})


@pytest.mark.parametrize(
    ("changes", "improved"),
    [
        ({}, True),
        (
            {"form_completion_points": 18 * (0.25 + 0.75 * 0.25)},
            True,
        ),  # exactly a quarter of what was missing
        ({"form_completion_points": 18 * (0.25 + 0.75 * 0.24)}, False),
        ({"form_completion_points": 2.0}, False),
        ({"form_completion_points": None}, None),
        # journeys are not known any more, so that all others are scaled up: 4.7 of 18.9 is no more than 4.5 of 18
        ({"form_completion_points": 4.5 * 100 / 95, "journey_performance_points": None}, False),
        ({"points_before": None}, None),
        ({"points_before": 18.0}, None),  # nothing was missing
        ({"points_max": 0.0}, None),
        ({"dimension": None, "points_before": None, "points_max": None}, None),
        (
            {
                "vendor_type": "juggler",
                "points_max": 10.0,
                "points_before": 2.5,
                "form_completion_points": 5.0,
            },
            True,
        ),
        (
            {
                "vendor_type": None,
                "points_max": 10.0,
                "points_before": 2.5,
                "form_completion_points": 5.0,
            },
            True,
        ),
        (
            {f"{d}_points": None for d in DIMENSIONS},
            False,
        ),  # the run took place and did not score it: it has churned
        ({**{f"{d}_points": None for d in DIMENSIONS}, "scored": False}, None),
    ],
)
def test_better_is_a_quarter_of_what_was_missing(
    changes: dict[str, Any], improved: bool | None
) -> None:
    assert measure(due(**changes), SHIPPED)["improved"].to_list() == [improved]


def test_sums_over_vendor_types_hold_those_without_a_vendor_type_too() -> None:
    found = add_all_vendor_types(
        effects(("a", "dj", 5, 2, 3, 1), ("a", "", 2, 1, 2, 0), ("b", "dj", 1, 0, 0, 0))
    )
    assert found.rows() == [
        ("a", "", 7, 3, 5, 1),
        ("a", "dj", 5, 2, 3, 1),
        ("b", "", 1, 0, 0, 0),
        ("b", "dj", 1, 0, 0, 0),
    ]
    assert add_all_vendor_types(pl.DataFrame(schema=EFFECTS_SCHEMA)).is_empty()


# ── in the database ───────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(
    supplier: str,
    *ids: str,
    holdout: bool = False,
    vendor_type: str | None = "dj",
    points: float | None = 4.5,
) -> pl.DataFrame:
    blank = dict.fromkeys(RECOMMENDATION_SCHEMA)
    row = {
        "supplier_id": supplier,
        "vendor_type": vendor_type,
        "dimension": "form_completion",
        "points_before": points,
        "points_max": 18.0,
    }
    return pl.DataFrame(
        [{**blank, **row, "id": name, "holdout": holdout} for name in ids],
        schema=RECOMMENDATION_SCHEMA,
    )


async def score(conn: Any, supplier: str, day: date, points: float | None) -> None:
    await conn.execute(
        "INSERT INTO customer_health (supplier_id, calculated_on, score, coverage, season_index, playbook_version, login_points,"
        " feature_adoption_points, client_activity_points, form_completion_points, journey_performance_points)"
        " VALUES (%s, %s, 50, 1, 1, 1, 10, 10, 10, %s, 2)",
        [supplier, day, points],
    )


async def ran(conn: Any, day: date) -> None:
    at = datetime(day.year, day.month, day.day, 5, tzinfo=UTC)
    await conn.execute(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, %s, 1, %s) ON CONFLICT DO NOTHING",
        [day, at, at],
    )


def test_an_impression_counts_once_a_fortnight_over_all_channels(database: str) -> None:
    one = str(uuid4())

    async def go() -> list[Any]:
        async with connection(database) as conn:
            await queries.insert_impressions(conn, rows_of(one, "a", "b"), "coach", SHOWN_ON)
            await queries.insert_impressions(conn, rows_of(one, "a", "b", "c"), "email", SHOWN_ON)
            await queries.insert_impressions(
                conn, rows_of(one, "a"), "coach", SHOWN_ON + timedelta(days=13)
            )
            await queries.insert_impressions(
                conn, rows_of(one, "a"), "coach", SHOWN_ON + timedelta(days=14)
            )
            await queries.insert_impressions(
                conn, rows_of(one, "d", holdout=True), "coach", SHOWN_ON
            )
            await queries.insert_impressions(
                conn, pl.DataFrame(schema=RECOMMENDATION_SCHEMA), "coach", SHOWN_ON
            )
            cursor = await conn.execute(
                "SELECT recommendation_id, shown_on - %s, channel, treated FROM recommendation_impressions ORDER BY 1, 2",
                [SHOWN_ON],
            )
            return await cursor.fetchall()

    assert asyncio.run(go()) == [
        ("a", 0, "coach", True),
        ("a", 14, "coach", True),
        ("b", 0, "coach", True),
        ("c", 0, "email", True),
        ("d", 0, "coach", False),
    ]


def test_two_impressions_at_the_same_moment_are_one_row(database: str) -> None:
    one = str(uuid4())

    async def insert() -> None:
        async with connection(database) as conn:
            await queries.insert_impressions(conn, rows_of(one, "a", "b"), "coach", SHOWN_ON)

    async def go() -> int:
        await asyncio.gather(*(insert() for _ in range(20)))
        async with connection(database) as conn:
            cursor = await conn.execute("SELECT count(*) FROM recommendation_impressions")
            row = await cursor.fetchone()
            return row[0] if row else -1

    assert asyncio.run(go()) == 2


def test_a_run_and_the_coach_that_tell_in_unlike_order_wait_for_each_other_in_one(
    database: str,
) -> None:
    suppliers = sorted(str(uuid4()) for _ in range(3))
    shown = pl.concat([rows_of(supplier, "a") for supplier in suppliers])

    async def insert(rows: pl.DataFrame) -> None:
        async with connection(database) as conn:
            await queries.insert_impressions(conn, rows, "coach", SHOWN_ON)

    async def go() -> list[Any]:
        async with connection(database, autocommit=True) as watch:
            async with connection(database) as third:  # is in the middle until both have begun
                await queries.insert_impressions(third, shown[1:2], "coach", SHOWN_ON)
                both = asyncio.gather(insert(shown), insert(shown.reverse()))
                waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                while len(await (await watch.execute(waits)).fetchall()) < 2:
                    assert not both.done()
                    await asyncio.sleep(0.01)
                await third.rollback()
            await both
            return await (
                await watch.execute(
                    "SELECT supplier_id::text FROM recommendation_impressions ORDER BY 1"
                )
            ).fetchall()

    assert asyncio.run(go()) == [(supplier,) for supplier in suppliers]


def test_a_click_is_recorded_once_and_only_for_what_was_shown(database: str) -> None:
    one = str(uuid4())

    async def go() -> None:
        async with connection(database) as conn:
            await queries.insert_impressions(conn, rows_of(one, "a"), "coach", SHOWN_ON)
            await queries.insert_impressions(
                conn, rows_of(one, "b", holdout=True), "coach", SHOWN_ON
            )
            assert await queries.mark_clicked(conn, one, "a", SHOWN_ON)
            cursor = await conn.execute(
                "SELECT clicked_at FROM recommendation_impressions WHERE recommendation_id = 'a'"
            )
            first = await cursor.fetchone()
            assert await queries.mark_clicked(conn, one, "a", SHOWN_ON + timedelta(days=3))
            cursor = await conn.execute(
                "SELECT clicked_at FROM recommendation_impressions WHERE recommendation_id = 'a'"
            )
            assert await cursor.fetchone() == first
            assert not await queries.mark_clicked(conn, one, "b", SHOWN_ON), "it was not shown"
            assert not await queries.mark_clicked(conn, one, "zz", SHOWN_ON)
            assert not await queries.mark_clicked(conn, str(uuid4()), "a", SHOWN_ON)
            assert not await queries.mark_clicked(conn, one, "a", SHOWN_ON + timedelta(days=40))

    asyncio.run(go())


def test_settled_by_the_run_two_weeks_later_and_counted_by_vendor_type(database: str) -> None:
    people = [(str(uuid4()), n % 4 == 3, "dj" if n % 2 else "florist") for n in range(40)]

    async def go() -> Any:
        async with connection(database, autocommit=True) as conn:
            for number, (supplier, held, vendor_type) in enumerate(people):
                await queries.insert_impressions(
                    conn,
                    rows_of(supplier, "a", holdout=held, vendor_type=vendor_type),
                    "coach",
                    SHOWN_ON,
                )
                if number < 36:  # the last four have churned: not improved
                    await score(conn, supplier, TODAY, 17.0 if not held or number < 8 else 4.0)
            await queries.insert_impressions(
                conn, rows_of(people[0][0], "a"), "coach", TODAY - timedelta(days=400 - 1)
            )
            await ran(conn, TODAY)
            assert (
                await measure_impressions(conn, SHIPPED, TODAY - timedelta(days=1))
            ).measured == 1, "only the one of last year"
            first = await measure_impressions(conn, SHIPPED, TODAY)
            again = await measure_impressions(conn, SHIPPED, TODAY)
            frame, measured_at = await queries.get_effects(conn)
            cursor = await conn.execute(
                "SELECT improved, count(*) FROM recommendation_impressions GROUP BY 1 ORDER BY 1"
            )
            return first, again, frame, measured_at, await cursor.fetchall()

    first, again, frame, measured_at, improved = asyncio.run(go())
    assert (first.measured, first.oldest, again.measured) == (40, SHOWN_ON, 0)
    assert first.improved == 29 and improved == [(False, 11), (True, 29), (None, 1)]
    assert frame.sort("vendor_type").rows() == [
        ("a", "", 29, 26, 10, 2),
        ("a", "dj", 10, 9, 10, 2),
        ("a", "florist", 19, 17, 0, 0),
    ], "one was shown it last year: this is not its first impression"
    assert measured_at is not None


def test_only_the_first_telling_of_a_supplier_counts(database: str) -> None:
    one, weeks = str(uuid4()), [TODAY - timedelta(days=14 * n) for n in (3, 2, 1)]

    async def go() -> pl.DataFrame:
        async with connection(database, autocommit=True) as conn:
            for week in weeks:
                await queries.insert_impressions(conn, rows_of(one, "a"), "coach", week)
                await ran(conn, week + timedelta(days=14))
                await score(conn, one, week + timedelta(days=14), 4.5 if week is weeks[0] else 18.0)
            await measure_impressions(conn, SHIPPED, TODAY)
            return (await queries.get_effects(conn))[0]

    assert asyncio.run(go()).filter(vendor_type="").rows() == [("a", "", 1, 0, 0, 0)]


def test_the_first_telling_stays_the_first_however_long_ago(database: str) -> None:
    """Its row is kept when the others of that age are deleted, and no later one counts in its place."""
    one, other = str(uuid4()), str(uuid4())
    long_ago = [TODAY - timedelta(days=days) for days in (500, 470, 430)]

    async def go() -> tuple[list[Any], list[Any], list[Any]]:
        async with connection(database, autocommit=True) as conn:
            for day in (*long_ago, SHOWN_ON):
                await queries.insert_impressions(conn, rows_of(one, "a"), "coach", day)
                await ran(conn, day + timedelta(days=14))
                await score(conn, one, day + timedelta(days=14), 18.0)
            await queries.insert_impressions(conn, rows_of(other, "a"), "coach", SHOWN_ON)
            await score(conn, other, TODAY, 18.0)
            found: list[list[Any]] = []
            for _ in range(2):
                await measure_impressions(conn, SHIPPED, TODAY)
                found.append((await queries.get_effects(conn))[0].filter(vendor_type="").rows())
            cursor = await conn.execute(
                "SELECT shown_on FROM recommendation_impressions WHERE supplier_id = %s ORDER BY 1",
                [one],
            )
            return found[0], found[1], [day for (day,) in await cursor.fetchall()]

    first, again, kept = asyncio.run(go())
    assert first == again == [("a", "", 1, 1, 0, 0)], (
        "only the other's is a first impression of this year"
    )
    assert kept == [long_ago[0], SHOWN_ON]


def test_a_missed_run_is_waited_for_a_week(database: str) -> None:
    one = str(uuid4())

    async def go() -> list[tuple[int, int]]:
        async with connection(database, autocommit=True) as conn:
            await queries.insert_impressions(conn, rows_of(one, "a"), "coach", SHOWN_ON)
            found: list[tuple[int, int]] = []
            for days in (0, 6, 7, 8):
                done = await measure_impressions(conn, SHIPPED, TODAY + timedelta(days=days))
                found.append((done.measured, done.improved))
            return found

    assert asyncio.run(go()) == [(0, 0), (0, 0), (0, 0), (1, 0)]


def test_the_workers_duty_is_done_by_one_at_a_time(database: str, settings: Settings) -> None:
    today = datetime.now(UTC).date()

    async def go() -> list[str | None]:
        pool = make_pool(database, size=4)
        await pool.open()
        try:
            async with pool.connection() as conn:
                for _ in range(3):
                    supplier = str(uuid4())
                    await queries.insert_impressions(
                        conn, rows_of(supplier, "a"), "coach", today - timedelta(days=15)
                    )
                    await score(conn, supplier, today - timedelta(days=1), 18.0)
                await ran(conn, today - timedelta(days=1))
            lines = list(
                await asyncio.gather(*(measure_when_due(pool, settings) for _ in range(4)))
            )
            return [*lines, await measure_when_due(pool, settings)]
        finally:
            await pool.close()

    lines = asyncio.run(go())
    assert [line for line in lines if line] == [
        "3 impressions of recommendations measured, 3 suppliers improved, the oldest of"
        f" {today - timedelta(days=15)}"
    ]
