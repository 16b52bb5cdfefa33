"""The path and its celebrations in a real daily run over real events: late, out of order, once whatever happens at the same time."""

import asyncio
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec import structs

from everafter.core.db import connection
from everafter.core.settings import load_settings
from everafter.daily.model import RunSummary
from everafter.daily.run import run_day
from everafter.folding import fold_events
from everafter.onboarding.queries import (
    claim_celebration,
    keep_action,
    next_celebration,
    record_milestone,
    record_reached,
)
from everafter.onboarding.rules import find_news, frame_of
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Holdout, Playbook
from everafter.scoring.live import LiveScorer

NOW = datetime.now(UTC).replace(microsecond=0)
# nobody is in the holdout and the week's budget is ample, so that each test says for itself what keeps an email back
PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
PLAYBOOK = structs.replace(
    PLAYBOOK,
    holdout=Holdout(global_share=0),
    messaging=structs.replace(PLAYBOOK.messaging, messages_per_week=20),
)
PLAYBOOK = structs.replace(
    PLAYBOOK, triggers={n: structs.replace(t, holdout=0.0) for n, t in PLAYBOOK.triggers.items()}
)
Event = tuple[str, float, dict[str, Any]]  # type, days ago, properties

PATH: list[Event] = [
    ("account_created", 10, {}),
    ("vendor_type_selected", 10, {"vendor_type": "photographer"}),
    ("completed_wizard", 9.9, {}),
    ("login", 9, {}),
    ("import_clients_started", 9, {}),
    ("form_created", 7, {}),
    ("invite_sent_to_client", 7, {"client_id": "c0"}),
    ("customer_journey_started", 4, {}),
    *(("client_added", 8, {"client_id": f"c{n}"}) for n in range(3)),
    *(("client_active", 3, {"client_id": f"c{n}"}) for n in range(3)),
]


class World:
    """Suppliers, their events, and runs, on a database of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(
            self.url, options="-c search_path=everafter,public -c timezone=UTC"
        ) as conn:
            cursor = conn.execute(statement, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def supplier(self, *events: Event, days: float = 10, **columns: Any) -> str:
        supplier_id = str(uuid4())
        terms = {
            "email": f"{supplier_id[:8]}@example.com",
            "vendor_type": "photographer",
            "consent": True,
        } | columns
        self.sql(
            "INSERT INTO suppliers (id, name, email, vendor_type, consent, created_at, added_at) VALUES (%s, 'Rosa', %s, %s, %s, %s, %s)",
            supplier_id, terms["email"], terms["vendor_type"], terms["consent"], NOW - timedelta(days=days), NOW - timedelta(days=days),
        )  # fmt: skip
        self.send(supplier_id, *events)
        return supplier_id

    def send(self, supplier_id: str, *events: Event) -> None:
        """Store and fold, as the ingest does."""
        with psycopg.connect(
            self.url, options="-c search_path=everafter,public -c timezone=UTC"
        ) as conn:
            for name, days, props in events:
                at = NOW - timedelta(days=days)
                values = [supplier_id, name, at, json.dumps(props)]
                conn.execute(
                    "INSERT INTO events_pending (supplier_id, type, occurred_at, properties) VALUES (%s, %s, %s, %s)",
                    values,
                )
                conn.execute(
                    "INSERT INTO events (supplier_id, message_id, type, occurred_at, properties) VALUES (%s, %s, %s, %s, %s)",
                    [supplier_id, str(uuid4()), *values[1:]],
                )
        asyncio.run(self._fold())

    async def _fold(self) -> None:
        async with connection(self.url, autocommit=True) as conn:
            while await fold_events(conn):
                pass

    def run(
        self, as_of: datetime | None = None, playbook: Playbook = PLAYBOOK, **terms: Any
    ) -> RunSummary:
        return asyncio.run(run_day(self.url, playbook, as_of or NOW, **terms))

    def history(self, supplier_id: str, trigger: str = "%") -> list[tuple[str, str, str]]:
        return self.sql(
            "SELECT trigger, status, CASE status WHEN 'triggered' THEN '' ELSE reason END FROM interventions"
            " WHERE supplier_id = %s AND trigger LIKE %s ORDER BY evaluated_on, trigger",
            supplier_id, trigger,
        )  # fmt: skip

    def emails(self, supplier_id: str) -> list[tuple[str, str]]:
        return self.sql(
            "SELECT template, status FROM outbox WHERE supplier_id = %s ORDER BY template, status",
            supplier_id,
        )

    def milestones(self, supplier_id: str) -> dict[str, tuple[datetime, bool, datetime | None]]:
        rows = self.sql(
            "SELECT milestone_type, achieved_at, celebrated, celebrated_by_email_at FROM success_milestones WHERE supplier_id = %s",
            supplier_id,
        )
        return {row[0]: row[1:] for row in rows}


@pytest.fixture
def world(database: str) -> World:
    return World(database)


# ── missed steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missed_step_goes_through_the_eligibility(world: World) -> None:
    """Who opened the account 3, 5 and 9 days ago and stopped at a step gets that step's own help, unless the eligibility check says no."""
    began: list[Event] = [
        ("account_created", 3, {}),
        ("vendor_type_selected", 3, {}),
        ("completed_wizard", 3, {}),
    ]
    inactive = world.supplier(*began, days=3)
    refused = world.supplier(*began, days=3, consent=False)
    no_form = world.supplier(
        *[(name, 6.0, props) for name, _, props in began],
        ("login", 5, {}),
        ("import_clients_started", 5, {}),
        days=6,
    )
    fine = world.supplier(*PATH[:8], days=10)
    new = world.supplier(("account_created", 0.5, {}), days=0.5)
    world.run()
    assert ("onboarding_day1_missed", "triggered", "") in world.history(inactive)
    assert ("getting_started_video", "queued") in world.emails(inactive)
    assert world.history(refused, "onboarding_%") == [
        ("onboarding_day1_missed", "skipped", "no_consent")
    ]
    assert world.emails(refused) == []
    assert ("onboarding_day3_missed", "triggered", "") in world.history(no_form)
    assert ("form_creation_help", "queued") in world.emails(no_form)
    assert world.history(new, "onboarding_%") == []
    # three clients were never active: the call is a task for a person
    assert ("onboarding_day7_missed", "triggered", "") in world.history(fine)
    assert world.sql("SELECT kind, status FROM tasks WHERE supplier_id = %s", fine) == [
        ("onboarding_day7_missed", "open")
    ]
    before = len(world.sql("SELECT 1 FROM interventions"))
    world.run()
    assert len(world.sql("SELECT 1 FROM interventions")) == before, "once"


def test_a_slack_month_gives_more_time(world: World) -> None:
    """The same two days of waiting, in a playbook whose season is over and in one without seasons."""
    supplier = world.supplier(
        ("account_created", 3.2, {}),
        ("vendor_type_selected", 3, {}),
        ("completed_wizard", 3, {}),
        days=3.2,
    )
    world.sql("UPDATE suppliers SET country = 'GB'")
    winter = structs.replace(
        PLAYBOOK,
        onboarding_timing=structs.replace(PLAYBOOK.onboarding_timing, behind_after_days=2.0),
    )
    flat = structs.replace(winter, season=structs.replace(PLAYBOOK.season, enabled=False))
    january = world.run(playbook=winter, dry_run=True).interventions.by_trigger
    always = world.run(playbook=flat, dry_run=True).interventions.by_trigger
    assert always.get("onboarding_day1_missed") == 1
    assert supplier and (NOW.month not in {11, 12, 1, 2} or "onboarding_day1_missed" not in january)


# ── progress, late and out of order ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_order_and_lateness_of_events_do_not_matter(world: World, seed: int) -> None:
    in_order = world.supplier(*PATH)
    shuffled = random.Random(seed).sample(PATH, len(PATH))
    out_of_order = world.supplier()
    for start in range(0, len(shuffled), 3):
        world.send(out_of_order, *shuffled[start : start + 3])
    world.run()
    one, other = world.milestones(in_order), world.milestones(out_of_order)
    assert one == other
    assert {"first_login", "first_form", "first_invite", "first_journey", "fully_activated"} <= set(
        one
    )
    kept = "SELECT action, done_at FROM onboarding_progress WHERE supplier_id = %s"
    assert (
        world.sql(kept, in_order)
        == world.sql(kept, out_of_order)
        == [("multiple_clients_active", NOW)]
    )


def test_who_finished_once_stays_finished(world: World) -> None:
    supplier = world.supplier(*PATH)
    world.run()
    world.sql(
        "UPDATE supplier_activity SET clients_active_d = decode(repeat('00', 128), 'hex') WHERE supplier_id = %s",
        supplier,
    )  # all clients are inactive
    world.run(NOW + timedelta(seconds=1))
    [row] = score(world, supplier)
    assert (row["clients_active_30d"], row["fully_activated"], row["onboarding_state"]) == (
        0,
        True,
        "done",
    )


def test_an_action_once_noticed_counts_though_it_is_over(world: World) -> None:
    """Three clients were active before the journey was started, and are not any more."""
    supplier = world.supplier(*[event for event in PATH if event[0] != "customer_journey_started"])
    world.run()
    assert "fully_activated" not in world.milestones(supplier)
    world.sql(
        "UPDATE supplier_activity SET clients_active_d = decode(repeat('00', 128), 'hex') WHERE supplier_id = %s",
        supplier,
    )
    world.send(supplier, ("customer_journey_started", 0.1, {}))
    world.run(NOW + timedelta(seconds=1))
    assert "fully_activated" in world.milestones(supplier)


def test_a_late_event_moves_the_milestone_back_and_nothing_else(world: World) -> None:
    supplier = world.supplier(*PATH)
    world.run()
    before = world.milestones(supplier)
    world.send(supplier, ("form_created", 8.5, {}))
    after = world.milestones(supplier)
    assert after["first_form"][0] == NOW - timedelta(days=8.5) < before["first_form"][0]
    assert {name: row for name, row in after.items() if name != "first_form"} == {
        name: row for name, row in before.items() if name != "first_form"
    }


def score(world: World, *supplier_ids: str) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        live = LiveScorer(world.url, PLAYBOOK)
        try:
            return list(
                await asyncio.gather(*(live.score(supplier_id) for supplier_id in supplier_ids))
            )
        finally:
            await live.close()

    return asyncio.run(ask())


def test_a_reported_action_and_a_run_wait_for_each_other_in_one_order(world: World) -> None:
    """The report is, its milestones do not yet, when the run comes to the same supplier."""
    supplier = world.supplier(*PATH)
    [row] = score(world, supplier)

    async def go() -> list[tuple[str, str]]:
        async with connection(world.url) as conn, connection(world.url, autocommit=True) as watch:
            await keep_action(conn, UUID(supplier), "multiple_clients_active", NOW)
            running = asyncio.create_task(run_day(world.url, PLAYBOOK, NOW))
            waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            while not await (await watch.execute(waits)).fetchone():
                assert not running.done(), "it writes what the report has written"
                await asyncio.sleep(0.01)
            reached = await record_reached(conn, row, PLAYBOOK, NOW)
            await conn.commit()
            await running
            return reached

    reached = {name for _, name in asyncio.run(go())}
    assert "fully_activated" in reached and reached == set(world.milestones(supplier))


# ── milestones, whoever comes first ───────────────────────────────────────────────────────────────────────────────────


def test_recorded_once_by_run_coach_and_api_at_the_same_time(world: World) -> None:
    """A run, 12 live requests and 12 POSTs at once, with late events between them: one row each, with the earliest moment."""
    supplier = world.supplier(*PATH)
    start = threading.Barrier(26)
    reported: list[str] = []

    def live(_: int) -> None:
        async def work() -> None:
            scoring = LiveScorer(world.url, PLAYBOOK)
            row = await scoring.score(supplier)
            start.wait()
            async with connection(world.url) as conn:
                reported.extend(
                    name for _, name in await record_reached(conn, row, PLAYBOOK, row["as_of"])
                )
            await scoring.close()

        asyncio.run(work())

    def api(number: int) -> None:
        async def work() -> None:
            start.wait()
            async with connection(world.url) as conn:
                await record_milestone(
                    conn, UUID(supplier), "first_form", NOW - timedelta(days=1, seconds=number)
                )

        asyncio.run(work())

    def late() -> None:
        start.wait()
        world.send(supplier, ("form_created", 9.5, {}))

    def run() -> None:
        start.wait()
        world.run()

    with ThreadPoolExecutor(26) as pool:
        jobs = [pool.submit(work) for work in (run, late)]
        jobs += [pool.submit(work, n) for n in range(12) for work in (live, api)]
        for job in jobs:
            job.result()
    found = world.milestones(supplier)
    assert world.sql("SELECT count(*), count(DISTINCT milestone_type) FROM success_milestones") == [
        (len(found), len(found))
    ]
    assert found["first_form"][0] == NOW - timedelta(days=9.5)
    assert {"first_login", "first_form", "fully_activated"} <= set(found)
    assert len(reported) == len(set(reported)), (
        "at most one of all who asked was the one to record it"
    )
    scored = frame_of(*score(world, supplier))
    assert not find_news(scored, PLAYBOOK, datetime.now(UTC))["onboarding_news"].item()


def test_the_coach_celebrates_each_once(world: World) -> None:
    supplier = world.supplier(*PATH)
    world.run()

    async def celebrate() -> list[str]:
        seen: list[str] = []
        async with connection(world.url, autocommit=True) as conn:
            while (
                next_one := await next_celebration(
                    conn, UUID(supplier), PLAYBOOK, NOW, {"name": "Rosa"}
                )
            ) is not None:
                claims = await asyncio.gather(*(claim(next_one.milestone_type) for _ in range(8)))
                assert sum(claims) == 1
                seen.append(next_one.title)
        return seen

    async def claim(milestone: str) -> bool:
        async with connection(world.url) as conn:
            return await claim_celebration(conn, UUID(supplier), milestone, NOW)

    seen = asyncio.run(celebrate())
    assert seen[0] == "Everything set up", "the one with a certificate first"
    assert len(seen) == len(set(seen)) == len(world.milestones(supplier))
    assert all(celebrated for _, celebrated, _ in world.milestones(supplier).values())
    assert score(world, supplier)[0]["activation_shown"] is True
