"""The metrics' rules on small cases, and against the reference values of docs/methods.md."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core.settings import load_settings
from everafter.metrics import charts, churn_rules, effect_rules, level_rules, rules, time_rules
from everafter.metrics.effect_rules import Arms, confidence_sequence, half_width, log_evidence, tune
from everafter.metrics.model import DayAverage, HealthMetric, Period, TicketRow
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Support
from everafter.tickets.hours_rules import work_out_hours

TODAY = date(2026, 11, 22)


# ── did it help ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reference_values_of_the_confidence_sequence() -> None:
    rho = tune(500)
    assert rho == pytest.approx(0.1259854, abs=1e-7)
    widths = [half_width(1, count, rho) for count in (100, 500, 1000)]
    assert widths == pytest.approx([0.336389, 0.135739, 0.096812], abs=1e-6)
    plain = confidence_sequence([Arms(2000, 1800, 1000, 800)], smoothed=False, tuned_for=3000)
    assert plain == pytest.approx((0.1, 0.0565424, 0.1434576), abs=1e-7)
    smoothed = confidence_sequence([Arms(2000, 1800, 1000, 800)], tuned_for=3000)
    assert smoothed[0] == pytest.approx(1801 / 2002 - 801 / 1002) and smoothed[1] < plain[1] + 0.001


def test_reference_values_of_the_exact_test() -> None:
    assert log_evidence(Arms(200, 180, 100, 80)) == pytest.approx(-2.494978, abs=1e-6)
    assert log_evidence(Arms(2000, 1800, 1000, 800)) == pytest.approx(19.917675, abs=1e-6)
    assert log_evidence(Arms(5, 0, 5, 0)) < 0 and log_evidence(Arms(5, 5, 5, 5)) < 0, (
        "nobody, everybody: no logarithm of nothing"
    )


def test_triggers_are_corrected_for_multiple_tests() -> None:
    assert effect_rules.declare([log(19.9)]) == [False] and effect_rules.declare([log(20)]) == [
        True
    ]
    assert effect_rules.declare([]) == []
    assert effect_rules.declare([log(39), log(41), 0.0, log(41)]) == [True, True, False, True], (
        "the third needs only 4/(3·0.05)"
    )


def test_smoothing_widens_the_interval_of_rare_failures() -> None:
    """Holdout without a failure: without smoothing that group adds no width to the interval."""
    _, low, high = confidence_sequence([Arms(450, 440, 50, 50)])
    assert low < 0 < high
    _, _, plain_high = confidence_sequence([Arms(450, 440, 50, 50)], smoothed=False)
    assert plain_high < 0, "the false alarm that smoothing prevents"


def test_triggers_with_different_holdouts_are_compared_separately() -> None:
    """Pooled, treated suppliers look better only because the easy trigger has a small holdout."""
    easy, hard = Arms(950, 855, 50, 45), Arms(500, 100, 500, 100)
    pooled = (855 + 100) / 1450 - (45 + 100) / 550
    lift, low, high = confidence_sequence([easy, hard], smoothed=False)
    assert pooled > 0.35 and lift == pytest.approx(0) and low < 0 < high


@pytest.mark.parametrize("rate", [0.85, 0.98])
def test_daily_checks_rarely_find_an_effect_that_does_not_exist(rate: float) -> None:
    """Checks at every 10 from 50 to 1,000 without an effect: under 5 % of histories ever find one (plain interval: over 40 %)."""
    random = np.random.default_rng(5)
    wrong = plain = 0
    for _ in range(200):
        held, hit = random.random(1000) < 0.1, random.random(1000) < rate
        looks = [_arms_until(held, hit, count) for count in range(50, 1001, 10)]
        arms = [one for one in looks if one.holdout and one.treated]
        wrong += any(
            not low <= 0 <= high for _, low, high in (confidence_sequence([one]) for one in arms)
        )
        plain += any(_z(one) > 1.96 for one in arms)
    assert wrong <= 10 and plain > 60


def _arms_until(held: Any, hit: Any, count: int) -> Arms:
    held, hit = held[:count], hit[:count]
    return Arms(
        int((~held).sum()), int((hit & ~held).sum()), int(held.sum()), int((hit & held).sum())
    )


def _z(arms: Arms) -> float:
    a, b = arms.succeeded / arms.treated, arms.control_succeeded / arms.holdout
    spread = a * (1 - a) / arms.treated + b * (1 - b) / arms.holdout
    return (
        float("inf") if spread == 0 and a != b else 0.0 if spread == 0 else abs(a - b) / spread**0.5
    )


def success(*rows: tuple[str | None, str, bool, int, int]) -> Any:
    counts = pl.DataFrame(
        [(group, trigger, held, n, n, hit) for group, trigger, held, n, hit in rows],
        schema=effect_rules.SUCCESS_SCHEMA,
        orient="row",
    )
    return effect_rules.measure_success(
        counts, rules.order_groups("plan", counts["group"].to_list())
    )


def test_success_claims_only_what_the_data_supports() -> None:
    nobody = success()
    assert (
        nobody.all.value,
        nobody.all.n,
        nobody.all.conclusion,
        nobody.rows,
        nobody.triggers,
    ) == (None, 0, "no_control", [], [])
    one = success(("pro", "a", False, 1, 1))
    assert (one.all.value, one.all.lift, one.all.conclusion) == (1.0, None, "no_control")
    few = success(("pro", "a", False, 40, 30), ("pro", "a", True, 9, 1))
    assert (
        few.triggers[0].conclusion == "too_few"
        and few.triggers[0].lift is None
        and few.triggers[0].control_value == 1 / 9
    )
    known = success(
        ("pro", "a", False, 2000, 1800),
        (None, "a", True, 1000, 800),
        ("pro", "b", False, 60, 30),
        ("pro", "b", True, 20, 10),
    )
    conclusions = {row.group: row.conclusion for row in known.triggers}
    assert conclusions == {"a": "helps", "b": "not_yet_known"}
    assert (
        known.triggers[0].lift == pytest.approx(0.1)
        and known.triggers[0].low < 0.1 < known.triggers[0].high
    )
    assert known.rows[0].group == "pro" and known.rows[-1].group is None
    assert known.rows[-1].value is None and known.rows[-1].lift is None, (
        "in the holdout only: nobody to compare with"
    )
    harm = success(("pro", "a", False, 2000, 1600), ("pro", "a", True, 1000, 900))
    assert harm.triggers[0].conclusion == "hurts" and harm.all.conclusion == "hurts"


# ── time to the first form ────────────────────────────────────────────────────────────────────────────────────────────


def people(*rows: tuple[float, bool]) -> pl.DataFrame:
    return pl.DataFrame(
        [("a", days, there, False) for days, there in rows],
        schema=time_rules.FIRST_FORM_SCHEMA,
        orient="row",
    )


def test_suppliers_that_have_not_completed_are_included() -> None:
    done = people((1, True), (2, True), (30, False), (30, False), (30, False))
    row = time_rules.measure_first_value(done, ["a"], 0).all
    assert row.value is None and row.quarter == 2 and row.share == 0.4, (
        "of those who are there the median would be 1.5 days"
    )
    early = time_rules.measure_first_value(people((1, True), (0.5, False), (4, True)), ["a"], 0).all
    assert early.value == 1, (
        "who had half a day only is not held against it: half of the two who could be seen were there in a day"
    )
    assert early.within_14_days is None, (
        "no supplier has been observed for 14 days, and not all have completed"
    )
    assert time_rules.measure_first_value(people((1, True)), ["a"], 0).all.within_14_days == 1
    nobody = time_rules.measure_first_value(people(), [], 3)
    assert (nobody.all.n, nobody.all.value, nobody.all.share, nobody.curve, nobody.unknown) == (
        0,
        None,
        None,
        [],
        3,
    )


def shares_of(rows: list[tuple[int, str]]) -> tuple[list[float], list[float]]:
    days, shares = time_rules.share_there(
        np.array([float(day) for day, _ in rows]),
        np.array([end == "form" for _, end in rows]),
        np.array([end == "churned" for _, end in rows]),
    )
    return days.tolist(), shares.tolist()


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40))
def test_without_churn_the_share_is_the_product_limit(rows: list[tuple[int, bool]]) -> None:
    days, shares = shares_of([(day, "form" if there else "open") for day, there in rows])
    remaining = 1.0
    expected: list[tuple[float, float]] = []
    for day in sorted({day for day, there in rows if there}):
        remaining *= 1 - sum(other == day and there for other, there in rows) / sum(
            other >= day for other, _ in rows
        )
        expected.append((day, 1 - remaining))
    assert days == [day for day, _ in expected]
    assert shares == pytest.approx([share for _, share in expected])


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["form", "churned"])), min_size=1, max_size=40
    )
)
def test_without_censoring_the_share_includes_churned_suppliers(
    rows: list[tuple[int, str]],
) -> None:
    days, shares = shares_of(rows)
    assert shares == pytest.approx(
        [sum(end == "form" and other <= day for other, end in rows) / len(rows) for day in days]
    )


def test_churn_does_not_end_observation() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)

    def row(ago: float, form: float | None, churned: float | None = None) -> tuple[Any, ...]:
        began = now - timedelta(days=ago)
        form_at, churned_at = (
            None if after is None else began + timedelta(days=after) for after in (form, churned)
        )
        return "a", began, form_at, churned is not None, churned_at

    rows = [
        row(10, 5),
        row(2, None, 1),
        row(2, None, 1),
        row(3, None, 4),
        row(20, -1),
        row(20, 2, 9),
    ]
    timed = time_rules.time_first_forms(
        pl.DataFrame(rows, schema=time_rules.SIGNED_UP_SCHEMA, orient="row"), now
    )
    assert timed.select("days", "reached", "churned").rows() == [
        (5, True, False), (1, False, True), (1, False, True), (3, False, False), (0, True, False), (2, True, False),
    ]  # fmt: skip
    unknown = time_rules.time_first_forms(
        pl.DataFrame(
            [("a", now - timedelta(days=7), None, True, None)],
            schema=time_rules.SIGNED_UP_SCHEMA,
            orient="row",
        ),
        now,
    )
    assert unknown.rows() == [("a", 7.0, False, True)]
    found = time_rules.measure_first_value(timed.head(3), ["a"], 0).all
    assert (found.quarter, found.value, found.within_14_days) == (5, None, pytest.approx(1 / 3)), (
        "two of three never complete"
    )


# ── tickets ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HOURS = work_out_hours(Support(), frozenset(), date(2026, 1, 1), date(2026, 12, 31))


def ticket(
    opened: datetime, resolved: datetime | None, changes: str | None = None
) -> tuple[Any, ...]:
    return ("a", opened, resolved, resolved is not None, True, changes)


def measured(*rows: tuple[Any, ...]) -> TicketRow:
    frame = pl.DataFrame(list(rows), schema=time_rules.TICKETS_SCHEMA, orient="row")
    return time_rules.measure_tickets(frame, ["a"], HOURS).all


def test_business_hours_exclude_nights_weekends_and_waiting() -> None:
    friday, monday = datetime(2026, 3, 6, 16, tzinfo=UTC), datetime(2026, 3, 9, 10, tzinfo=UTC)
    row = measured(ticket(friday, monday))
    assert row.value == 66 and row.business_median == 2, "an hour on Friday, an hour on Monday"

    def at(hour: int) -> int:
        return int(datetime(2026, 3, 9, hour, tzinfo=UTC).timestamp() * 1_000_000)

    reported = f"{at(9)} opened,{at(10)} waiting,{at(13)} resumed,{at(15)} resolved"
    nine, fifteen = datetime(2026, 3, 9, 9, tzinfo=UTC), datetime(2026, 3, 9, 15, tzinfo=UTC)
    row = measured(ticket(nine, fifteen, reported))
    assert row.value == 6 and row.business_median == 3, (
        "the supplier was waited for in three of six hours"
    )
    again = f"{at(9)} opened,{at(10)} resolved,{at(14)} opened,{at(15)} resolved"
    assert measured(ticket(nine, fifteen, again)).business_median == 2, (
        "no time counts between a resolution and the next opening"
    )


def test_no_ticket_one_ticket_and_open_tickets() -> None:
    nobody = measured()
    assert (nobody.n, nobody.value, nobody.p90, nobody.opened) == (0, None, None, 0)
    began = datetime(2026, 3, 9, 9, tzinfo=UTC)
    waiting = measured(ticket(began, None))
    assert (waiting.n, waiting.value, waiting.opened, waiting.still_open) == (0, None, 1, 1)
    one = measured(ticket(began, began + timedelta(hours=3)))
    assert (one.value, one.p90, one.business_median) == (3, 3, 3)
    backwards = measured(ticket(began, began - timedelta(hours=1)))
    assert backwards.value == 0 and backwards.business_median == 0, "reported with a wrong clock"


def test_a_ticket_at_the_limit_of_a_period_is_included() -> None:
    began = datetime(2026, 3, 9, 9, tzinfo=UTC)
    hours = [0.0, 1.0, 1.5, 24.0, 168.0, 168.1]
    rows = [ticket(began, began + timedelta(hours=h)) for h in hours]
    found = time_rules.measure_tickets(
        pl.DataFrame(rows, schema=time_rules.TICKETS_SCHEMA, orient="row"), ["a"], HOURS
    )
    expected = {1.0: 2, 4.0: 1, 12.0: 0, 24.0: 1, 48.0: 0, 96.0: 0, 168.0: 1, None: 1}
    assert {span.until_hours: span.n for span in found.spread} == expected


# ── health, adoption ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_averages_of_no_supplier_one_day_and_many() -> None:
    nothing = level_rules.measure_health(pl.DataFrame(schema=level_rules.HEALTH_SCHEMA), [], 0)
    assert (
        nothing.all.value,
        nothing.all.n,
        nothing.all.latest,
        nothing.all.healthy,
        nothing.days,
    ) == (None, 0, None, None, [])
    first, last = TODAY - timedelta(days=9), TODAY
    rows = [
        ("pro", first, 2, 100.0, 0, 2, 0),
        ("pro", last, 1, 80.0, 1, 0, 0),
        ("free", last, 1, 30.0, 0, 0, 1),
    ]
    frame = pl.DataFrame(rows, schema=level_rules.HEALTH_SCHEMA, orient="row")
    found = level_rules.measure_health(frame, ["pro", "free"], 5)
    pro, free = found.rows
    assert (pro.value, pro.latest, pro.change, pro.suppliers, pro.healthy) == (60, 80, 30, 1, 1)
    assert (free.value, free.change) == (30, None), "a group without a first day has no change"
    assert found.all.change == 5 and found.days_read == 2 and found.days_scored == 5
    alone = level_rules.measure_health(frame.filter(pl.col("day") == last), ["pro", "free"], 1)
    assert alone.all.change is None, "one day has no change"


def test_days_are_sampled_evenly_when_there_are_too_many_scores() -> None:
    scored = [TODAY - timedelta(days=back) for back in range(364, -1, -1)]
    chosen = level_rules.choose_days(scored, 200_000)
    assert (
        len(chosen) == 7
        and chosen[0] == scored[0]
        and chosen[-1] == TODAY
        and chosen == sorted(set(chosen))
    )
    gaps = {(b - a).days for a, b in pairwise(chosen)}
    assert gaps == {60, 61}
    assert level_rules.choose_days(scored, 300) == scored
    assert len(level_rules.choose_days(scored, 10**9)) == 2


def test_the_line_crosses_days_that_were_not_sampled() -> None:
    playbook = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))

    def lines(apart: int, *, scored: int) -> int:
        averages = [
            DayAverage(TODAY - timedelta(days=apart * back), 60.0, 10) for back in range(6, -1, -1)
        ]
        nobody = level_rules.measure_health(
            pl.DataFrame(schema=level_rules.HEALTH_SCHEMA), [], 0
        ).all
        drawn = charts.health_trend(HealthMetric(nobody, [], averages, scored, 7), playbook, 640)
        return len(drawn.lines) if drawn else 0

    assert lines(15, scored=91) == 1, "seven days read of 91"
    assert lines(15, scored=7) == 7, "no scores in between"
    assert lines(7, scored=7) == 1, "scored once a week"


def test_every_share_of_features_belongs_to_one_part() -> None:
    rows = [("pro", TODAY, percent, 1) for percent in range(101)]
    found = level_rules.measure_adoption(
        pl.DataFrame(rows, schema=level_rules.ADOPTION_SCHEMA, orient="row"), ["pro"], [TODAY]
    )
    parts = [found.all.none, found.all.some, found.all.half, found.all.most, found.all.all]
    assert (
        sum(part or 0 for part in parts) == pytest.approx(1)
        and found.all.value == pytest.approx(0.5)
        and found.all.change is None
    )


# ── churn ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5001, 0.9]), st.booleans(), st.integers(1, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_the_area_equals_comparing_each_pair(rows: list[tuple[float, bool, int]]) -> None:
    frame = pl.DataFrame(
        rows, schema={"risk": pl.Float64(), "churned": pl.Boolean(), "n": pl.Int64()}, orient="row"
    )
    churned = [risk for risk, is_churned, n in rows if is_churned for _ in range(n)]
    others = [risk for risk, is_churned, n in rows if not is_churned for _ in range(n)]
    found = churn_rules.find_auc(frame)
    if min(len(churned), len(others)) < churn_rules.FEWEST:
        assert found is None
    else:
        assert found == pytest.approx(
            sum((a > b) + (a == b) / 2 for a in churned for b in others)
            / (len(churned) * len(others))
        )
        low, high = churn_rules.auc_range(found or 0.0, len(churned), len(others))
        assert 0 <= low <= (found or 0.0) <= high <= 1


def leads(*rows: tuple[int, int | None, str | None]) -> Any:
    """(churned supplier, days before the cancellation, level) → lead_days by churned supplier."""
    cancelled_at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    frame = pl.DataFrame(
        [
            (
                "a",
                churned,
                cancelled_at,
                None if back is None else cancelled_at.date() - timedelta(days=back),
                level,
            )
            for churned, back, level in rows
        ],
        schema=churn_rules.LEADS_SCHEMA,
        orient="row",
    )
    found = churn_rules.find_leads(frame).sort("churned")
    return list(zip(found["lead_days"].to_list(), found["seen"].to_list(), strict=True))


def test_the_lead_time_is_of_the_last_warning() -> None:
    assert leads(
        (1, 30, "high"), (1, 23, "low"), (1, 16, "medium"), (1, 9, "high"), (1, 2, "medium")
    ) == [(16, True)]
    assert leads((1, 9, "high"), (1, 2, "low")) == [(None, True)], (
        "a withdrawn warning does not count"
    )
    assert leads((1, 2, "high")) == [(2, True)] and leads((1, None, None)) == [(None, False)]
    assert leads((1, 9, "medium"), (2, 9, "low")) == [(9, True), (None, True)]


def test_only_predictions_past_their_horizon_are_evaluated() -> None:
    scored = [TODAY - timedelta(days=back) for back in range(200, -1, -1)]
    period = Period(TODAY - timedelta(days=89), TODAY, 30)
    chosen = churn_rules.choose_prediction_days(scored, period)
    assert chosen == [TODAY - timedelta(days=back) for back in (90, 60, 30)]
    long = churn_rules.choose_prediction_days(scored, Period(period.first, TODAY, 90))
    assert long == [TODAY - timedelta(days=back) for back in (150, 120, 90)]
    assert churn_rules.choose_prediction_days([], period) == []
    assert churn_rules.choose_prediction_days(scored[-20:], period) == [], (
        "scored for twenty days only: nothing has run out"
    )
