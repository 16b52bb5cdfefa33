"""Each metric against plain Python over the raw tables, on the demo's history, by each group and over several periods; and what
that history shows.

The oracles know nothing of the program's statements: they read whole tables and go through them row by row. Plans of a day come from
the simulator itself, not from what the program noted.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from statistics import median
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from everafter.core.db import connection
from everafter.core.settings import load_settings
from everafter.demo import jobs
from everafter.demo.model import Market, World
from everafter.demo.rules import plan_moments
from everafter.demo.simulator import simulate
from everafter.metrics.measure import answer_metrics
from everafter.metrics.model import BYS, METRICS, By, Metrics, Period
from everafter.playbook.loading import load_playbook

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
LAST = date(2026, 3, 10)
NOW = datetime.combine(LAST, time(18), UTC)
PERIODS = [
    Period(LAST - timedelta(days=89), LAST, 30),
    Period(LAST - timedelta(days=60), LAST - timedelta(days=21), 60),
    Period(date(2025, 9, 1), LAST, 90),
]
Rows = list[dict[str, Any]]
Groups = dict[Any, Any]


class Raw:
    """All raw tables, and the world that was simulated."""

    def __init__(self, url: str, market: Market) -> None:
        with psycopg.connect(
            url, options="-c search_path=everafter -c timezone=UTC", row_factory=dict_row
        ) as conn:

            def table(name: str) -> Rows:
                return conn.execute(f"SELECT * FROM {name}").fetchall()  # type: ignore[arg-type]

            self.health, self.churn, self.interventions = (
                table("customer_health"),
                table("churn_risk"),
                table("interventions"),
            )
            self.runs = {row["run_on"]: row["as_of"] for row in table("runs")}
            self.events = table("events")
        self.world = {row["id"]: row for row in market.suppliers.iter_rows(named=True)}
        opened = {
            str(event["supplier_id"]): event["occurred_at"]
            for event in self.named("account_created")
        }
        self.began = {
            supplier: opened.get(supplier, row["created_at"])
            for supplier, row in self.world.items()
        }

    def of(self, by: By, supplier: Any, at: datetime | None = None) -> str | None:
        """The supplier's group at a moment (null: at the end)."""
        row = self.world[str(supplier)]
        if by == "cohort":
            return f"{self.began[str(supplier)]:%Y-%m}"
        if by == "vendor_type":
            return row["vendor_type"]
        return (
            row["plan_before"]
            if at and row["upgraded_at"] and row["upgraded_at"] > at
            else row["plan"]
        )

    def named(self, *types: str) -> Iterable[dict[str, Any]]:
        return (event for event in self.events if event["type"] in types)


@pytest.fixture(scope="module")
def reported(module_database: str) -> tuple[str, Raw]:
    """The default history of `everafter demo`, up to a fixed day."""
    world = World(LAST)
    market = simulate(world.suppliers, LAST, world.months, world.seed)
    moments = plan_moments(world, None, datetime.combine(LAST, time(6), UTC))
    asyncio.run(
        jobs.generate(module_database, PLAYBOOK, market, world, moments, None, lambda _: None)
    )
    return module_database, Raw(module_database, market)


def ask(url: str, period: Period, by: By) -> Metrics:
    async def go() -> Metrics:
        async with connection(url) as conn:
            return (await answer_metrics(conn, period, NOW, PLAYBOOK, METRICS, by)).metrics

    return asyncio.run(go())


def collect(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Values by group, and all values under 'all'."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for group, value in pairs:
        found[group].append(value)
        found["all"].append(value)
    return found


def check(
    measured: Any, expected: dict[Any, list[Any]], summarize: Callable[[list[Any]], dict[str, Any]]
) -> None:
    """Every row has what `summarize` makes of the group's values, and there is no other group."""
    assert [row.group for row in measured.rows if row.group not in expected] == []
    assert {row.group for row in measured.rows} == expected.keys() - {"all"}
    for row in [*measured.rows, measured.all]:
        for name, value in summarize(
            expected.get("all" if row is measured.all else row.group, [])
        ).items():
            found = row
            for part in name.split("."):
                found = getattr(found, part)
            assert found == (
                value if value is None or isinstance(value, int) else pytest.approx(value)
            ), (row.group, name)


def test_each_metric_equals_the_value_from_the_raw_tables(reported: tuple[str, Raw]) -> None:
    url, raw = reported
    for period in PERIODS:
        for by in BYS:
            found = ask(url, period, by)
            health(raw, period, by, found)
            success(raw, period, by, found)
            first_value(raw, period, by, found)
            adoption(raw, period, by, found)
            tickets(raw, period, by, found)
            churn(raw, period, by, found)
    moved = [
        row
        for row in raw.world.values()
        if row["upgraded_at"] and PERIODS[2].first < row["upgraded_at"].date() < LAST
    ]
    assert moved, "without plan changes the test does not cover them"


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def health(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.health_score
    days = sorted(day for day in raw.runs if period.first <= day <= period.last)
    scores = collect(
        (raw.of(by, row["supplier_id"], row["calculated_at"]), row)
        for row in raw.health
        if row["calculated_on"] in days
    )

    def summarize(rows: Rows) -> dict[str, Any]:
        now = [row for row in rows if row["calculated_on"] == days[-1]]
        then, latest = (
            mean([row["score"] for row in rows if row["calculated_on"] == days[0]]),
            mean([row["score"] for row in now]),
        )
        return {
            "value": mean([row["score"] for row in rows]),
            "n": len(rows),
            "suppliers": len(now),
            "latest": latest,
            "change": latest - then if latest is not None and then is not None else None,
            "critical": mean([row["risk_level"] == "critical" for row in now]),
            "healthy": mean([row["risk_level"] == "healthy" for row in now]),
        }

    check(found.health_score, scores, summarize)
    assert [point.day for point in found.health_score.days] == days


def adoption(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.feature_adoption
    days = sorted(day for day in raw.runs if period.first <= day <= period.last)
    known = [
        row
        for row in raw.health
        if row["calculated_on"] in (days[0], days[-1]) and row["feature_adoption_score"] is not None
    ]
    shares = collect((raw.of(by, row["supplier_id"], row["calculated_at"]), row) for row in known)

    def summarize(rows: Rows) -> dict[str, Any]:
        now = [
            row["feature_adoption_score"] / 100 for row in rows if row["calculated_on"] == days[-1]
        ]
        then = mean(
            [row["feature_adoption_score"] / 100 for row in rows if row["calculated_on"] == days[0]]
        )
        value = mean(now)
        return {
            "value": value,
            "n": len(now),
            "change": value - then if value is not None and then is not None else None,
            "none": mean([share == 0 for share in now]),
            "some": mean([0 < share < 0.5 for share in now]),
            "half": mean([0.5 <= share < 0.75 for share in now]),
            "most": mean([0.75 <= share < 1 for share in now]),
            "all": mean([share == 1 for share in now]),
        }

    check(found.feature_adoption, shares, summarize)


def success(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.intervention_success
    emails = {f"celebrate_{name}" for name in PLAYBOOK.milestones}
    ever = [
        row
        for row in raw.interventions
        if row["status"] != "skipped" and row["trigger"] not in emails
    ]
    ever.sort(key=lambda row: (str(row["supplier_id"]), row["trigger"], row["evaluated_on"]))
    over = [row for row in ever if period.first <= row["success_by"] <= period.last]
    firsts_ever = [
        next(rows)
        for _, rows in groupby(ever, key=lambda row: (row["supplier_id"], row["trigger"]))
    ]
    firsts = [row for row in firsts_ever if period.first <= row["success_by"] <= period.last]
    assert found.intervention_success.windows == len(over) > len(firsts) > 20

    def summarize(rows: Rows) -> dict[str, Any]:
        treated = [row["succeeded_on"] is not None for row in rows if row["status"] == "triggered"]
        holdout = [row["succeeded_on"] is not None for row in rows if row["status"] == "holdout"]
        return {
            "value": mean(treated),
            "n": len(treated),
            "control_value": mean(holdout),
            "control_n": len(holdout),
        }

    check(
        found.intervention_success,
        collect((raw.of(by, row["supplier_id"], row["evaluated_at"]), row) for row in firsts),
        summarize,
    )
    triggers = collect((row["trigger"], row) for row in firsts)
    for row in found.intervention_success.triggers:
        for name, value in summarize(triggers[row.group]).items():
            assert getattr(row, name) == value


def first_value(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.time_to_first_value
    forms: dict[str, datetime] = {}
    for event in raw.named("form_created", "form_sent"):
        supplier = str(event["supplier_id"])
        forms[supplier] = min(event["occurred_at"], forms.get(supplier, event["occurred_at"]))
    last_state: dict[str, tuple[datetime, str]] = {}
    for event in raw.named("subscription_changed", "subscription_paused", "subscription_cancelled"):
        state, supplier = (event["occurred_at"], event["type"]), str(event["supplier_id"])
        last_state[supplier] = max(state, last_state.get(supplier, state))
    cancelled = {
        supplier: at
        for supplier, (at, state) in last_state.items()
        if state == "subscription_cancelled"
    }
    people = [
        (raw.of(by, supplier), (began, forms.get(supplier), cancelled.get(supplier)))
        for supplier, began in raw.began.items()
        if period.first <= began.date() <= period.last
    ]

    def summarize(rows: list[Any]) -> dict[str, Any]:
        ends = [
            (
                max(0.0, ((form or churned_at or NOW) - began).total_seconds()),
                "form" if form else "churned" if churned_at else "open",
            )
            for began, form, churned_at in rows
        ]
        there = [end == "form" for _, end in ends]
        return {
            "n": len(rows),
            "reached": sum(there),
            "share": mean(there),
            "value": day_of(ends, 0.5),
            "three_quarters": day_of(ends, 0.75),
        }

    check(found.time_to_first_value, collect(people), summarize)


def day_of(ends: list[tuple[float, str]], share: float) -> float | None:
    """The day by which a share of all has completed; censored suppliers pass their weight to those observed longer."""
    weight, there = 1 / len(ends) if ends else 0.0, 0.0
    waiting = sorted(ends, key=lambda one: (one[0], one[1] == "open"))
    for place, (at, end) in enumerate(waiting):
        if end == "form":
            there += weight
            if there >= share - 1e-9:
                return at / 86400
        elif end == "open" and place + 1 < len(waiting):
            weight += weight / (len(waiting) - place - 1)
    return None


def tickets(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.ticket_resolution
    courses: dict[Any, Rows] = defaultdict(list)
    for event in raw.named("ticket_opened", "ticket_resolved"):
        courses[event["supplier_id"], event["properties"]["ticket_id"]].append(event)
    pairs: list[tuple[Any, Any]] = []
    for (supplier, _), course in courses.items():
        opened = [event["occurred_at"] for event in course if event["type"] == "ticket_opened"]
        resolved = [event["occurred_at"] for event in course if event["type"] == "ticket_resolved"]
        ended = max(resolved) if resolved and max(resolved) >= max(opened) else None
        here = ended is not None and period.first <= ended.date() <= period.last
        if here or period.first <= min(opened).date() <= period.last:
            pairs.append((raw.of(by, supplier), (min(opened), ended, here)))

    def summarize(rows: list[Any]) -> dict[str, Any]:
        hours = sorted(
            (ended - opened).total_seconds() / 3600 for opened, ended, here in rows if here
        )
        began = [ended for opened, ended, _ in rows if period.first <= opened.date() <= period.last]
        place = 0.9 * (len(hours) - 1)
        low = int(place)
        p90 = (
            hours[low] + (place - low) * (hours[min(low + 1, len(hours) - 1)] - hours[low])
            if hours
            else None
        )
        return {
            "value": median(hours) if hours else None,
            "n": len(hours),
            "p90": p90,
            "opened": len(began),
            "still_open": sum(ended is None for ended in began),
        }

    check(found.ticket_resolution, collect(pairs), summarize)
    assert sum(span.n for span in found.ticket_resolution.spread) == found.ticket_resolution.all.n


def churn(raw: Raw, period: Period, by: By, found: Metrics) -> None:
    assert found.churn_prediction
    horizon = timedelta(days=period.horizon)
    days = sorted(
        day
        for day in raw.runs
        if period.first <= day + horizon <= min(period.last, LAST - timedelta(days=1))
    )
    chosen: list[date] = []
    for day in reversed(days):
        if not chosen or chosen[-1] - day >= timedelta(days=30):
            chosen.append(day)
    assert sorted(chosen) == [one.day for one in found.churn_prediction.days]
    cancelled = {
        event["supplier_id"]: event["occurred_at"] for event in raw.named("subscription_cancelled")
    }
    done = defaultdict(set)
    for row in raw.interventions:
        if row["status"] == "triggered":
            done[row["supplier_id"]].add((row["evaluated_on"], row["evaluated_at"]))

    def has_churned(row: dict[str, Any]) -> bool:
        return (
            row["supplier_id"] in cancelled
            and row["calculated_at"]
            < cancelled[row["supplier_id"]]
            <= row["calculated_at"] + horizon
        )

    def is_untouched(row: dict[str, Any]) -> bool:
        near = [
            at for day, at in done[row["supplier_id"]] if abs(day - row["calculated_on"]) <= horizon
        ]
        return (
            all(at > cancelled[row["supplier_id"]] for at in near) if has_churned(row) else not near
        )

    predictions = [
        (
            raw.of(by, row["supplier_id"], row["calculated_at"]),
            (
                round(row["risk"], 3),
                row["level"],
                has_churned(row),
                is_untouched(row),
            ),
        )
        for row in raw.churn
        if row["calculated_on"] in chosen
    ]

    def compare(rows: list[Any], name: str) -> dict[str, Any]:
        churned_later, warned = (
            [row[2] for row in rows],
            [row[2] for row in rows if row[1] != "low"],
        )
        high = [row[2] for row in rows if row[1] == "high"]
        values = {
            "n": len(rows),
            "churned": sum(churned_later),
            "base_rate": mean(churned_later),
            "auc": one_by_one(rows),
            "precision_warned": mean(warned),
            "recall_warned": sum(warned) / sum(churned_later) if any(churned_later) else None,
            "precision_high": mean(high),
            "recall_high": sum(high) / sum(churned_later) if any(churned_later) else None,
        }
        return {f"{name}.{key}": value for key, value in values.items()}

    def summarize(rows: list[Any]) -> dict[str, Any]:
        return compare(rows, "everyone") | compare([row for row in rows if row[3]], "untouched")

    expected = collect(predictions)
    for row in found.churn_prediction.rows:
        expected.setdefault(
            row.group, []
        )  # groups in which a supplier churned who was not scored on the chosen days
    check(found.churn_prediction, expected, summarize)
    churned_in_period = [
        at for at in cancelled.values() if period.first <= at.date() <= period.last
    ]
    row = found.churn_prediction.all
    assert row.lead_n + row.unwarned + row.unseen == len(churned_in_period)


def one_by_one(rows: list[Any]) -> float | None:
    """The area under the curve by comparing each churned supplier with each who others."""
    churned, others = [row[0] for row in rows if row[2]], [row[0] for row in rows if not row[2]]
    if len(churned) < 5 or len(others) < 5:
        return None
    return sum((a > b) + (a == b) / 2 for a in churned for b in others) / (
        len(churned) * len(others)
    )


# ── what the demo's history shows ─────────────────────────────────────────────────────────────────────────────────────


def test_higher_churn_risk_means_more_churn_and_rises_weeks_before(
    reported: tuple[str, Raw],
) -> None:
    _, raw = reported
    cancelled = {
        event["supplier_id"]: event["occurred_at"] for event in raw.named("subscription_cancelled")
    }
    month, shares = timedelta(days=30), dict[str, float]()
    for level in ("low", "medium", "high"):
        rows = [
            row
            for row in raw.churn
            if row["level"] == level and row["calculated_on"] <= LAST - month
        ]
        churned = [
            row["calculated_at"]
            < cancelled.get(row["supplier_id"], NOW)
            <= row["calculated_at"] + month
            for row in rows
        ]
        shares[level] = sum(churned) / len(rows)
    assert shares["low"] < 0.02 and shares["high"] > 0.2, shares
    assert 3 * shares["low"] < shares["medium"] and 3 * shares["medium"] < shares["high"], shares
    scored = {row["supplier_id"] for row in raw.churn} & cancelled.keys()
    warned = {
        row["supplier_id"]
        for row in raw.churn
        if row["level"] != "low"
        and timedelta(days=7)
        < cancelled.get(row["supplier_id"], NOW) - row["calculated_at"]
        < 3 * month
    }
    assert len(scored) > 30 and len(warned & scored) > 0.6 * len(scored), (
        "most churned suppliers were scored a week before"
    )
    falls = list[float]()
    for supplier in scored:
        by_weeks = {
            (cancelled[supplier] - row["calculated_at"]).days // 7: row["score"]
            for row in raw.health
            if row["supplier_id"] == supplier
        }
        if {0, 12} <= by_weeks.keys():
            falls.append(by_weeks[12] - by_weeks[0])
    assert len(falls) > 10 and median(falls) > 20, "points lost in the last twelve weeks"


def test_effects_are_shown_with_how_certain_they_are(reported: tuple[str, Raw]) -> None:
    success = ask(
        reported[0], Period(LAST - timedelta(days=179), LAST, 30), "vendor_type"
    ).intervention_success
    assert success and success.all.lift and success.all.lift > 0.03
    assert success.all.low is not None and success.all.low < success.all.lift
    lifts = {row.group: row.lift for row in success.triggers}
    assert (lifts["no_login_7_days"] or 0) > 0.1  # the simulated suppliers do come back
    conclusions = {row.conclusion for row in success.triggers}
    assert {"not_yet_known", "too_few", "no_control"} <= conclusions


def test_tasks_are_open_overdue_assigned_and_done(reported: tuple[str, Raw]) -> None:
    with psycopg.connect(reported[0], options="-c search_path=everafter -c timezone=UTC") as conn:
        tasks = conn.execute(
            "SELECT status, assignee_id IS NOT NULL, due_at < %s FROM tasks", [NOW]
        ).fetchall()
    still = [task for task in tasks if task[0] == "open"]
    assert (
        len(still) >= 4
        and {assigned for _, assigned, _ in still} == {True, False}
        and any(late for _, _, late in still)
    )
    assert sum(status == "done" for status, _, _ in tasks) > 50
