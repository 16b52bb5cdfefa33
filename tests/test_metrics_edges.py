"""The metrics on small hand-written tables: no suppliers, one, plan changes, period limits, replays, returned suppliers."""

import asyncio
import uuid
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from everafter.core.db import connection
from everafter.core.settings import load_settings
from everafter.funnel.cohort import follow_cohort
from everafter.funnel.model import View
from everafter.funnel.rules import measure_cohorts
from everafter.metrics.measure import answer_metrics
from everafter.metrics.model import METRICS, By, Metrics, Period
from everafter.metrics.queries import read_tickets
from everafter.playbook.loading import load_playbook
from helpers_pages import DIMENSIONS, add_activity, add_churn, add_conclusion, add_day, add_supplier
from helpers_server import Server

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
FIRST, LAST = date(2026, 8, 1), date(2026, 8, 31)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ask(server: Server, by: By = "plan", period: Period | None = None) -> Metrics:
    async def go() -> Metrics:
        async with connection(server.database) as conn:
            return (
                await answer_metrics(
                    conn, period or Period(FIRST, LAST), NOW, PLAYBOOK, METRICS, by
                )
            ).metrics

    return asyncio.run(go())


def scored(server: Server, *days: date, finished: bool = True) -> None:
    server.sql(
        "INSERT INTO playbook_versions (sha256, source) VALUES ('x', '') ON CONFLICT DO NOTHING"
    )
    for day in days:
        server.sql(
            "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, %s, 1, %s)",
            day, at(day, 5), at(day, 6) if finished else None,
        )  # fmt: skip


def at(day: date, hour: float = 0) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(hours=hour)


def score(server: Server, supplier: uuid.UUID, day: date, value: float, **more: Any) -> None:
    add_day(server, supplier, day, dict.fromkeys(DIMENSIONS, 0.0) | {"login": value}, **more)


def groups(metric: Any) -> dict[str | None, tuple[Any, Any]]:
    return {row.group: (row.value, row.n) for row in metric.rows}


def test_no_suppliers(server: Server) -> None:
    found = ask(server)
    for metric in METRICS:
        measured = getattr(found, metric)
        assert (measured.all.value, measured.all.n, measured.rows) == (None, 0, []), metric


def test_one_supplier_without_data(server: Server) -> None:
    scored(server, LAST)
    add_supplier(server, "Nobody", vendor_type=None, plan=None, created_at=None)
    found = ask(server)
    assert (
        found.time_to_first_value
        and found.time_to_first_value.unknown == 1
        and found.time_to_first_value.all.n == 0
    )
    assert (
        found.health_score and found.health_score.all.n == 0 and found.health_score.days_scored == 1
    )


def test_a_score_counts_for_the_plan_of_its_day(server: Server) -> None:
    scored(server, FIRST, LAST)
    moved = add_supplier(server, "Moved", plan="pro", vendor_type="dj")
    score(server, moved, FIRST, 20, plan="free", vendor_type="venue", feature_adoption_score=10)
    score(server, moved, LAST, 90, plan="pro", vendor_type="dj", feature_adoption_score=80)
    found = ask(server)
    assert found.health_score and groups(found.health_score) == {"free": (20, 1), "pro": (90, 1)}
    assert found.feature_adoption and groups(found.feature_adoption) == {
        "free": (None, 0),
        "pro": (pytest.approx(0.8), 1),
    }
    assert found.health_score.all.change == 70
    by_vendor_type = ask(server, "vendor_type").health_score
    assert by_vendor_type and groups(by_vendor_type) == {"venue": (20, 1), "dj": (90, 1)}
    # unknown on that day stays unknown; rows older than the columns use the present value
    score(
        server, add_supplier(server, "Then unknown", plan="pro"), LAST, 50, plan="", vendor_type=""
    )
    score(server, add_supplier(server, "Older row", plan="studio"), LAST, 60)
    later = ask(server).health_score
    assert later and groups(later) == {
        "free": (20, 1),
        "pro": (90, 1),
        None: (50, 1),
        "studio": (60, 1),
    }
    assert [row.group for row in later.rows][-1] is None


def test_a_period_includes_its_first_and_last_day_in_utc(server: Server) -> None:
    days = (FIRST - timedelta(days=1), FIRST, LAST, LAST + timedelta(days=1))
    scored(server, *days)
    one = add_supplier(server, "One", created_at=at(FIRST))
    add_supplier(server, "Last minute", created_at=at(LAST, 23.999), timezone="Pacific/Auckland")
    add_supplier(server, "Next day", created_at=at(LAST, 24))
    add_supplier(server, "Day before", created_at=at(FIRST, -0.001))
    for place, day in enumerate(days):
        score(server, one, day, 10.0 * (place + 1))
        server.sql(
            "INSERT INTO tickets (supplier_id, ticket_id, opened_at, last_opened_at, resolved_at) VALUES (%s, %s, %s, %s, %s)",
            one, f"t{place}", at(day, -30), at(day, -30), at(day),
        )  # fmt: skip
        add_conclusion(
            server,
            one,
            f"trigger_{place}",
            "triggered",
            "x",
            evaluated_on=day - timedelta(days=7),
            success_by=day,
            facts='{"plan": "pro"}',
        )
        server.sql("INSERT INTO cancellations VALUES (%s, %s)", one, at(day))
    found = ask(server)
    assert (
        found.health_score and found.health_score.all.value == 25 and found.health_score.all.n == 2
    )
    assert found.time_to_first_value and found.time_to_first_value.all.n == 2
    assert found.ticket_resolution and (
        found.ticket_resolution.all.n,
        found.ticket_resolution.all.value,
    ) == (2, 30)
    assert found.ticket_resolution.all.opened == 2, (
        "opened 30 hours before: on the last of July's no, on the last but one of August"
    )
    assert found.intervention_success and found.intervention_success.all.n == 2
    assert found.churn_prediction and found.churn_prediction.all.unseen == 2


def test_an_unfinished_run_is_not_counted(server: Server) -> None:
    scored(server, FIRST)
    scored(server, LAST, finished=False)
    supplier = add_supplier(server, "Half")
    score(server, supplier, FIRST, 40)
    score(server, supplier, LAST, 90)
    add_conclusion(server, supplier, "open", "triggered", "x", evaluated_on=FIRST, success_by=LAST)
    found = ask(server)
    assert (
        found.health_score
        and found.health_score.all.value == 40
        and found.health_score.days_scored == 1
    )
    assert found.intervention_success and found.intervention_success.all.n == 0, (
        "the last day is not scored yet"
    )


def test_success_counts_the_first_intervention_with_a_goal(
    server: Server,
) -> None:
    scored(server, NOW.date())
    one, two = add_supplier(server, "One", plan="pro"), add_supplier(server, "Two", plan="pro")

    def window(
        supplier: uuid.UUID,
        trigger: str,
        day: int,
        succeeded: bool,
        status: str = "triggered",
        **more: Any,
    ) -> None:
        triggered = date(2026, 8, day)
        values = {
            "evaluated_on": triggered,
            "success_by": triggered + timedelta(days=5),
            "facts": '{"plan": "free"}',
            **more,
        }
        add_conclusion(
            server,
            supplier,
            trigger,
            status,
            "x",
            succeeded_on=triggered + timedelta(days=2) if succeeded else None,
            **values,
        )

    window(one, "a", 1, succeeded=False)
    window(one, "a", 10, succeeded=True)  # again: the first one counts
    window(two, "a", 1, succeeded=True, status="holdout")
    window(one, "b", 2, succeeded=True, replay=True)  # nothing was done
    window(one, "celebrate_first_form", 3, succeeded=False)
    window(two, "c", 3, succeeded=False, status="skipped", success_by=None)
    window(two, "d", 3, succeeded=True, facts="{}")  # facts that do not know the plan
    found = ask(server).intervention_success
    assert found and found.windows == 4
    assert {
        row.group: (row.value, row.n, row.control_value, row.control_n) for row in found.triggers
    } == {
        "a": (0, 1, 1, 1),
        "d": (1, 1, None, 0),
    }
    assert {row.group: row.n for row in found.rows} == {"free": 1, "pro": 1}


def test_only_the_first_window_of_a_supplier_is_compared(server: Server) -> None:
    scored(server, NOW.date())
    early, late, replayed, refused = (
        add_supplier(server, name) for name in ("Early", "Late", "Replayed", "Refused")
    )

    def window(
        supplier: uuid.UUID,
        triggered: date,
        succeeded: bool,
        status: str = "triggered",
        **more: Any,
    ) -> None:
        values = {
            "success_by": triggered + timedelta(days=5),
            "succeeded_on": triggered if succeeded else None,
        } | more
        add_conclusion(server, supplier, "t", status, "x", evaluated_on=triggered, **values)

    before, within = FIRST - timedelta(days=60), FIRST + timedelta(days=3)
    window(early, before, succeeded=False)
    window(early, within, succeeded=True)  # the second there was, though the first in the period
    window(late, within, succeeded=False)
    window(replayed, before, succeeded=True, replay=True)  # nothing was done
    window(replayed, within, succeeded=True)
    window(refused, before, succeeded=False, status="skipped", success_by=None)
    window(refused, within, succeeded=True, status="holdout")
    found = ask(server).intervention_success
    assert found and (found.windows, found.all.n, found.all.value) == (4, 2, 0.5)
    assert (found.all.control_n, found.all.control_value) == (1, 1)
    again = add_supplier(server, "Again", plan="again")
    window(again, before, succeeded=True)
    window(again, within, succeeded=True)
    assert "again" not in {row.group for row in ask(server).intervention_success.rows}, (
        "no supplier of that plan is compared"
    )  # type: ignore[union-attr]
    since = ask(server, period=Period(before, LAST)).intervention_success
    assert since and (since.windows, since.all.n) == (7, 4), (
        "a supplier counts in the period of its first window"
    )


def test_milestone_emails_are_not_interventions(server: Server) -> None:
    scored(server, NOW.date())
    one = add_supplier(server, "One")
    server.sql(
        "INSERT INTO success_milestones VALUES (%s, 'first_gallery', %s)", one, at(FIRST)
    )  # the platform's own name
    for trigger in (
        "celebrate_first_form",
        "celebrate_first_gallery",
        "celebrated_and_churned",
        "celebrateXfirst_form",
    ):
        add_conclusion(server, one, trigger, "triggered", "x", evaluated_on=FIRST, success_by=LAST)
    found = ask(server).intervention_success
    assert found and {row.group for row in found.triggers} == {
        "celebrate_first_gallery", "celebrated_and_churned", "celebrateXfirst_form",
    }  # fmt: skip


def test_the_onboarding_page_and_the_metric_agree_on_churned_suppliers(server: Server) -> None:
    began = NOW - timedelta(days=20)
    for place, (form, left) in enumerate(
        ((5, None), (None, 1), (None, 12), (3, 9), (None, None), (None, 19))
    ):
        supplier = add_supplier(server, f"S{place}")
        state = (
            {}
            if left is None
            else {
                "subscription": "cancelled",
                "subscription_at": began + timedelta(days=left + place),
            }
        )
        made = None if form is None else began + timedelta(days=form + place)
        add_activity(
            server,
            supplier,
            account_created_at=began + timedelta(days=place),
            first_form_at=made,
            **state,
        )
    found = ask(server, "cohort", Period(began.date(), NOW.date())).time_to_first_value
    standing = asyncio.run(follow_cohort(server.database, PLAYBOOK, View(90, "", ""), NOW))
    whole, months = measure_cohorts(standing, NOW)
    assert (
        found
        and whole
        and whole.first_form == found.all
        and [month.first_form for month in months] == found.rows
    )
    # day 1: one of six churns; days 3 and 5: one each completes; the others never do
    assert (found.all.n, found.all.reached, found.all.quarter, found.all.value) == (6, 2, 5, None)
    assert found.all.within_14_days == pytest.approx(2 / 6)


def test_a_churned_supplier_without_a_form_never_completes(server: Server) -> None:
    for place in range(4):
        supplier = add_supplier(
            server, f"S{place}", created_at=at(FIRST), plan=("free", "pro")[place % 2]
        )
        made = {0: at(FIRST, 24), 1: at(FIRST, -5)}.get(
            place
        )  # one says it was made before the account
        add_activity(
            server,
            supplier,
            first_form_at=made,
            subscription="cancelled" if place > 1 else None,
            plan=None,
        )
    found = ask(server).time_to_first_value
    assert found and (
        found.all.n,
        found.all.reached,
        found.all.value,
        found.all.three_quarters,
    ) == (4, 2, 1.0, None)
    assert found.all.quarter == 0 and {row.group: row.value for row in found.rows} == {
        "free": 1.0,
        "pro": 0.0,
    }


def test_a_reopened_ticket_is_open(server: Server) -> None:
    supplier = add_supplier(server, "One")
    rows = (("again", 1, 20, 10), ("twice", 1, 12, 20), ("open", 1, 1, None))
    for name, opened, again, resolved in rows:
        server.sql(
            "INSERT INTO tickets (supplier_id, ticket_id, opened_at, last_opened_at, resolved_at) VALUES (%s, %s, %s, %s, %s)",
            supplier, name, at(FIRST, opened), at(FIRST, again), None if resolved is None else at(FIRST, resolved),
        )  # fmt: skip
    found = ask(server).ticket_resolution
    assert found and (found.all.n, found.all.value, found.all.opened, found.all.still_open) == (
        1,
        19,
        3,
        2,
    )


def test_tickets_are_selected_by_the_days_of_the_period(server: Server) -> None:
    server.sql("INSERT INTO suppliers (id) SELECT gen_random_uuid() FROM generate_series(1, 100)")
    server.sql(
        "INSERT INTO tickets (supplier_id, ticket_id, opened_at, last_opened_at, resolved_at)"
        " SELECT id, day::text, at, at, at + interval '1 day' FROM suppliers, generate_series(0, 399) AS day,"
        " LATERAL (SELECT '2025-01-01'::timestamptz + day * interval '1 day') AS reported (at)"
    )
    server.sql("ANALYZE")

    async def go() -> tuple[int, int]:
        async with connection(server.database) as conn:
            found = await read_tickets(conn, "plan", Period(date(2025, 6, 1), date(2025, 6, 7)))
            cursor = await conn.execute(
                "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relid = 'tickets'::regclass"
            )
            row = await cursor.fetchone()
            return found.height, row[0] if row else -1

    assert asyncio.run(go()) == (800, 0), (
        "those opened on seven days, and those resolved: of one week, not of all time"
    )


def test_predictions_are_compared_with_churn_and_interventions(server: Server) -> None:
    day, period = date(2026, 7, 15), Period(FIRST, LAST, 30)
    scored(server, day)

    def predicted(risk: float, churned_after: float | None = None, **conclusion: Any) -> uuid.UUID:
        supplier = add_supplier(server, "x", plan="pro")
        add_churn(server, supplier, day, risk)
        score(server, supplier, day, 50, plan="free")
        server.sql(
            "UPDATE churn_risk SET calculated_at = %s WHERE supplier_id = %s", at(day, 5), supplier
        )
        if churned_after is not None:
            server.sql(
                "INSERT INTO cancellations VALUES (%s, %s)",
                supplier,
                at(day, 5) + timedelta(days=churned_after),
            )
        if conclusion:
            add_conclusion(
                server, supplier, "t", **({"status": "triggered", "reason": "x"} | conclusion)
            )
        return supplier

    for risk in (0.8, 0.75, 0.5, 0.5, 0.1):
        predicted(risk, churned_after=30)  # to the very end of the horizon
    predicted(0.9, churned_after=30.001)
    predicted(0.9, churned_after=0)  # at the moment of the score: it was no prediction
    for risk in (0.5, 0.1, 0.1):
        predicted(risk)
    predicted(0.1, evaluated_on=day - timedelta(days=1))
    predicted(0.1, evaluated_on=day)  # of this very warning
    predicted(0.1, evaluated_on=day + timedelta(days=30))  # it may have kept the supplier
    predicted(0.1, evaluated_on=day + timedelta(days=31))
    predicted(0.1, evaluated_on=day - timedelta(days=30))
    predicted(0.1, evaluated_on=day - timedelta(days=31))
    predicted(0.1, evaluated_on=day - timedelta(days=3), status="holdout")
    predicted(0.1, evaluated_on=day, status="holdout")
    predicted(0.1, evaluated_on=day, status="skipped")
    predicted(
        0.1,
        churned_after=9,
        evaluated_on=day + timedelta(days=8),
        evaluated_at=at(day, 5) + timedelta(days=8),
    )  # tried, and left
    predicted(
        0.1,
        churned_after=9,
        evaluated_on=day + timedelta(days=10),
        evaluated_at=at(day, 5) + timedelta(days=10),
    )  # left by then
    predicted(0.1, evaluated_on=day - timedelta(days=3), replay=True)
    found = ask(server, period=period).churn_prediction
    assert found
    row = found.all.everyone
    assert (row.n, row.churned, row.warned, row.high) == (22, 7, 7, 4)
    assert row.precision_high == 0.5 and row.recall_high == 2 / 7 and row.recall_warned == 4 / 7
    assert (found.all.untouched.n, found.all.untouched.churned) == (17, 6)
    assert {one.group: one.n for one in found.rows} == {"free": 22, "pro": 0}, (
        "the plan of that day; who cancelled, of today"
    )
    assert [(one.level, one.n, one.churned) for one in found.levels] == [
        ("low", 15, 3),
        ("medium", 3, 2),
        ("high", 4, 2),
    ]
    assert ask(server, period=Period(FIRST, LAST, 60)).churn_prediction.all.n == 0, (
        "60 days from there lie after the period"
    )  # type: ignore[union-attr]


def test_a_supplier_that_returned_still_counts_as_churned(server: Server) -> None:
    scored(server, *(FIRST + timedelta(days=back) for back in (-20, -13, -6)))
    supplier = add_supplier(server, "Back")
    add_activity(server, supplier, subscription="active")
    for back, risk in ((-20, 0.1), (-13, 0.5), (-6, 0.9)):
        day = FIRST + timedelta(days=back)
        add_churn(server, supplier, day, risk)
        server.sql(
            "UPDATE churn_risk SET calculated_at = %s WHERE calculated_on = %s", at(day, 5), day
        )
    server.sql("INSERT INTO cancellations VALUES (%s, %s)", supplier, at(FIRST, 3))
    found = ask(server).churn_prediction
    assert found and (
        found.all.lead_n,
        found.all.lead_days,
        found.all.unwarned,
        found.all.unseen,
    ) == (1, 13, 0, 0)
