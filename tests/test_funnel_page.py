"""The team's onboarding page: counts that can be counted again by hand, filters, the file, what a browser sees."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.activity.model import TIME
from everafter.core.errors import InputError
from everafter.core.settings import load_settings
from everafter.funnel.model import Cohort, View
from everafter.funnel.rules import (
    add_states,
    count_funnel,
    count_states,
    draw_ranges,
    list_waiting,
    measure_cohorts,
    parse_view,
    view_query,
)
from everafter.metrics.model import FirstValueRow
from everafter.onboarding.path_rules import add_onboarding
from everafter.playbook.loading import load_playbook
from helpers_pages import XSS, add_activity, add_supplier, signed_in
from helpers_server import Server
from test_onboarding_path import (
    FEATURES,
    NOW,
    VENDOR_TYPES,
    make_frame,
    paths,
    playbook_of,
    read_slowly,
    suppliers,
)

WEDDINGS = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))


# ── the counts ────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(suppliers, min_size=1, max_size=10),
    steps=paths,
    churned=st.sets(st.integers(0, 9)),
)
def test_the_funnel_counts_what_a_slow_reading_counts(
    rows: list[dict[str, Any]], steps: dict[str, Any], churned: set[int]
) -> None:
    playbook = playbook_of(steps)
    rows = [row | {"account_created_at": row["account_created_at"] or NOW} for row in rows]
    rows = [row | {"account_created_at": min(row["account_created_at"], NOW)} for row in rows]
    frame = make_frame(rows).with_columns(
        pl.Series(
            "subscription",
            ["cancelled" if n in churned else None for n in range(len(rows))],
            dtype=pl.String,
        ),
        pl.lit("Rosa").alias("name"),
        pl.lit(None, pl.String).alias("plan"),
    )
    followed = add_states(add_onboarding(frame, playbook, NOW, FEATURES), playbook, NOW)
    slowly = [read_slowly(row, playbook) for row in rows]
    states = [
        "done"
        if s["fully_activated"]
        else "churned"
        if n in churned
        else s["onboarding_state"] or "over"
        for n, s in enumerate(slowly)
    ]
    assert count_states(followed) == {
        state: states.count(state) for state in count_states(followed)
    }
    funnel = {step.id: step for step in count_funnel(followed, playbook)}
    for name, step in steps.items():
        vendor_types = [
            row["vendor_type"] if row["vendor_type"] in VENDOR_TYPES else "default" for row in rows
        ]
        mine = [
            n
            for n, row in enumerate(rows)
            if (not step.vendor_types or vendor_types[n] in step.vendor_types)
            and (step.when is None or row["weddings_90d"] >= 2)
        ]
        counted = funnel[name]
        assert counted.asked == len(mine)
        assert counted.due == sum(
            (NOW - rows[n]["account_created_at"]) / timedelta(days=1) >= step.day for n in mine
        )
        assert 0 <= counted.reached_due <= counted.due and counted.reached <= counted.asked
        for action in counted.actions:
            assert counted.reached <= action.reached <= counted.asked
    assert sum(step.reached for step in funnel.values()) == sum(
        s["onboarding_steps_done"] for s in slowly
    )
    waiting = list_waiting(followed, playbook, 100)
    assert sorted(w.state for w in waiting) == sorted(
        state for state in states if state in {"behind", "stuck"}
    )
    assert all(w.todo for w in waiting), "there is always something to do"


def test_time_to_the_first_form_counts_those_who_have_none_yet() -> None:
    def of(days_ago: float, form_after: float | None, **more: Any) -> dict[str, Any]:
        began = NOW - timedelta(days=days_ago)
        form = None if form_after is None else began + timedelta(days=form_after)
        return {"account_created_at": began, "first_form_at": form, **more}

    rows = [of(60, 1), of(60, 2), of(60, 3), of(60, None), of(2, 0.5), of(1, None)]
    followed = make_frame(rows).with_columns(
        pl.lit(None, pl.String).alias("subscription"), pl.lit(None, TIME).alias("subscription_at")
    )
    whole, months = measure_cohorts(followed, NOW)
    assert whole is not None and (whole.first_form.n, whole.first_form.reached) == (6, 4)
    assert [(c.month, c.first_form.n, c.first_form.reached) for c in months] == [
        ("2026-11", 2, 1),
        ("2026-09", 4, 3),
    ]
    september = months[1].first_form
    assert (september.quarter, september.value, september.three_quarters) == (1.0, 2.0, 3.0)
    all_churned = followed.filter(pl.col("first_form_at").is_null()).with_columns(
        pl.lit("cancelled").alias("subscription")
    )
    whole, _ = measure_cohorts(all_churned, NOW)
    assert whole is not None and whole.first_form.value is None
    assert measure_cohorts(followed.clear(), NOW) == (None, [])


def test_the_chart_stays_within_its_plot() -> None:
    def row(quarter: float | None, half: float | None, three: float | None) -> Cohort:
        return Cohort("2026-11", FirstValueRow("2026-11", half, 5, 3, 0.6, quarter, three, None))

    for cohorts in (
        [row(None, None, None)],
        [row(0, 0, 0)],
        [row(0.2, 3, None), row(1, 40, 364)],
        [],
    ):
        chart = draw_ranges(cohorts)
        assert chart.bottom < chart.height and [at for at, _ in chart.ticks] == sorted(
            at for at, _ in chart.ticks
        )
        for line in chart.rows:
            assert chart.top < line.y < chart.bottom
            assert all(
                chart.left <= at <= chart.right
                for at in (line.quarter, line.half, line.three_quarters)
                if at is not None
            )


def test_the_address_is_read_and_written() -> None:
    assert parse_view({}) == View(90, "", "") and view_query(View()) == ""
    assert parse_view({"days": "30", "vendor": "dj", "plan": "-"}) == View(30, "dj", "-")
    assert view_query(View(30, "dj", "-")) == "days=30&vendor=dj&plan=-"
    for days in ("31", "0", "-1", "x", "9" * 40):
        with pytest.raises(InputError, match="days"):
            parse_view({"days": days})


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def add(
    server: Server,
    name: str,
    days: float,
    vendor_type: str = "photographer",
    plan: str = "pro",
    **done: float,
) -> str:
    """A supplier whose account began so many days ago; done: column of the supplier's activity → days after that."""
    began = datetime.now(UTC) - timedelta(days=days)
    supplier_id = add_supplier(server, name, vendor_type=vendor_type, plan=plan)
    add_activity(
        server,
        supplier_id,
        account_created_at=began,
        **{column: began + timedelta(days=after) for column, after in done.items()},
    )
    return str(supplier_id)


WIZARD = {"vendor_type_selected_at": 0.0, "completed_wizard_at": 0.1}


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_counts_filters_and_lists(server: Server) -> None:
    stuck = add(server, f"Stuck {XSS}", 20, **WIZARD)
    add(
        server,
        "Quick",
        20,
        **WIZARD,
        first_login_at=0.2,
        import_clients_started_at=0.3,
        first_form_at=1,
    )
    add(server, "Venue", 20, vendor_type="venue", plan="free", **WIZARD)
    add(server, "Long ago", 200, **WIZARD)
    with signed_in(server, "observer") as client:
        page = client.get("/onboarding")
        assert page.status_code == 200
        text = words(page.text)
        assert "3 suppliers signed up in the last 90 days" in text
        assert "Account set up" in text and "3 of 3" in text
        assert XSS not in page.text and "&lt;script&gt;" in page.text
        assert f'href="/suppliers/{stuck}"' in page.text
        assert (
            "Half create their first form" not in text
            and "Fewer than half have created a form so far" in text
        )
        venue = words(client.get("/onboarding?vendor=venue").text)
        assert "1 supplier signed up" in venue and "Your dates in the calendar" in venue
        assert "Your dates in the calendar" not in words(
            client.get("/onboarding?vendor=photographer").text
        )
        assert "1 supplier signed up" in words(client.get("/onboarding?plan=free").text)
        assert "4 suppliers signed up" in words(client.get("/onboarding?days=365").text)
        assert "No sign-ups" in words(client.get("/onboarding?vendor=nobody").text)
        assert client.get("/onboarding?days=7").status_code == 400
        assert "script-src 'self'" in page.headers["content-security-policy"]


def test_the_file_holds_what_the_funnel_counts(server: Server) -> None:
    add(server, "=HYPERLINK(1)", 20, **WIZARD, first_form_at=1.5)
    add(server, "Venue", 10, vendor_type="venue", **WIZARD)
    with signed_in(server) as client:
        answer = client.get("/onboarding.csv")
    assert (
        answer.headers["content-disposition"]
        == f'attachment; filename="onboarding-{datetime.now(UTC).date()}.csv"'
    )
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert set(rows) == {"'=HYPERLINK(1)", "Venue"}
    first = rows["'=HYPERLINK(1)"]
    assert (first["day0"], first["day1"], first["calendar"], first["days_to_first_form"]) == (
        "done",
        "open",
        "",
        "1.5",
    )
    assert (rows["Venue"]["calendar"], rows["Venue"]["oldest_open_step"]) == ("open", "day1")


def test_an_empty_funnel_and_a_missing_sign_in(server: Server) -> None:
    with signed_in(server) as client:
        text = words(client.get("/onboarding").text)
    assert "The path starts with that event" in text and "No suppliers are behind" in text
    with server.client() as nobody:
        assert nobody.get("/onboarding", headers={"accept": "text/html"}).status_code == 303
        assert nobody.get("/onboarding.csv").status_code == 401


def test_the_suppliers_page_shows_the_path(server: Server) -> None:
    supplier = add(server, "Rosa", 4, **WIZARD)
    old = add(server, "Long ago", 200, **WIZARD)
    with signed_in(server) as client:
        text = words(client.get(f"/suppliers/{supplier}").text)
        assert 'id="path"' not in client.get(f"/suppliers/{old}").text
    assert "1 of 5 steps" in text and "open: Log in and look around, Add your couples" in text
