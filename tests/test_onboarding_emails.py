"""Milestones celebrated by email: once, and by the eligibility check."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import structs

from everafter.core.db import connection
from everafter.daily.run import run_day
from everafter.onboarding.queries import next_celebration, record_milestone
from everafter.playbook.model import Holdout
from test_onboarding_run import NOW, PATH, PLAYBOOK, Event, World
from test_onboarding_run import world as world

CERTIFICATE = ("celebrate_fully_activated", "triggered", "")


def test_full_activation_is_celebrated_once_by_mail(world: World) -> None:
    supplier = world.supplier(*PATH)
    world.run()
    assert world.history(supplier, "celebrate_%") == [CERTIFICATE]
    assert ("success_certificate", "queued") in world.emails(supplier)
    action = world.sql(
        "SELECT action FROM interventions WHERE supplier_id = %s AND trigger = 'celebrate_fully_activated'",
        supplier,
    )
    assert action == [("send_success_certificate",)]
    assert world.milestones(supplier)["fully_activated"][1:] == (True, NOW)
    for later in (0, 60, 90_000, 3 * 86_400):
        world.sql("UPDATE runs SET run_on = run_on - 10")  # so that these are other days' runs
        world.run(NOW + timedelta(seconds=min(later, 60)))
    assert world.history(supplier, "celebrate_%") == [CERTIFICATE]
    assert [email for email in world.emails(supplier) if email[0] == "success_certificate"] == [
        ("success_certificate", "queued")
    ]


def test_two_runs_at_once_celebrate_once(world: World) -> None:
    suppliers = [world.supplier(*PATH) for _ in range(6)]
    start = threading.Barrier(3)

    def run() -> str:
        start.wait()
        try:
            world.run(slice_size=2)
        except Exception as error:
            return type(error).__name__
        return "ran"

    with ThreadPoolExecutor(3) as pool:
        outcomes = sorted(job.result() for job in [pool.submit(run) for _ in range(3)])
    assert outcomes[-1] == "ran"
    for supplier in suppliers:
        assert world.history(supplier, "celebrate_%") == [CERTIFICATE]
        assert [t for t, _ in world.emails(supplier)].count("success_certificate") == 1


def test_a_platforms_history_is_not_celebrated_on_the_first_run(world: World) -> None:
    """Reached long ago and noticed by the first to look: recorded, and nobody gets an email about it, nor the coach a reason."""
    old = [(name, days + 390, props) for name, days, props in PATH[:8]]
    clients: list[Event] = [("client_added", 300, {"client_id": f"c{n}"}) for n in range(12)]
    active: list[Event] = [("client_active", 1, {"client_id": f"c{n}"}) for n in range(4)]
    supplier = world.supplier(*old, *clients, *active, days=400)
    world.run()
    found = world.milestones(supplier)
    assert {"fully_activated", "ten_clients", "one_year", "first_form"} <= set(found)
    assert world.history(supplier, "celebrate_%") == []

    async def ask() -> Any:
        async with connection(world.url) as conn:
            return await next_celebration(conn, UUID(supplier), PLAYBOOK, NOW)

    assert asyncio.run(ask()) is None


def test_what_the_run_before_did_not_find_is_new(world: World) -> None:
    clients: list[Event] = [("client_added", 200, {"client_id": f"c{n}"}) for n in range(9)]
    supplier = world.supplier(("account_created", 300, {}), ("login", 0.5, {}), *clients, days=300)
    yesterday = NOW - timedelta(days=1)
    asyncio.run(run_day(world.url, PLAYBOOK, yesterday))
    world.send(supplier, ("client_added", 0.2, {"client_id": "c9"}))
    world.run()
    assert world.history(supplier, "celebrate_%") == [("celebrate_ten_clients", "triggered", "")]
    assert ("ten_clients", "queued") in world.emails(supplier)


def test_the_eligibility_says_no_and_says_why(world: World) -> None:
    inactive = world.supplier(*PATH, consent=False)
    world.run()
    assert world.history(inactive, "celebrate_%") == [
        ("celebrate_fully_activated", "skipped", "no_consent")
    ]
    assert world.milestones(inactive)["fully_activated"][1:] == (False, None)
    held = structs.replace(PLAYBOOK, holdout=Holdout(global_share=1.0))
    other = world.supplier(*PATH)
    world.run(NOW + timedelta(seconds=1), playbook=held)
    assert world.history(other, "celebrate_%") == [
        ("celebrate_fully_activated", "holdout", "holdout")
    ]
    assert world.emails(other) == []
    # consent given within the fresh days: the email goes after all
    world.sql("UPDATE suppliers SET consent = true WHERE id = %s", inactive)
    world.sql(
        "UPDATE interventions SET evaluated_on = evaluated_on - 1, evaluated_at = evaluated_at - interval '1 day'"
    )
    world.run(NOW + timedelta(seconds=2))
    assert ("celebrate_fully_activated", "triggered", "") in world.history(inactive, "celebrate_%")
    assert world.history(other, "celebrate_%") == [
        ("celebrate_fully_activated", "holdout", "holdout")
    ], "one row, not one a day"


def test_a_replay_writes_no_email_and_takes_no_celebration_away(world: World) -> None:
    supplier = world.supplier(*PATH)
    world.run(NOW - timedelta(days=1), replay=True)
    assert ("success_certificate", "replayed") in world.emails(supplier)
    assert world.milestones(supplier)["fully_activated"][1:] == (False, None)
    world.run()
    assert [t for t in world.emails(supplier) if t[0] == "success_certificate"] == [
        ("success_certificate", "queued"),
        ("success_certificate", "replayed"),
    ]


def test_what_the_platform_says_is_celebrated_too(world: World) -> None:
    supplier = world.supplier(("account_created", 300, {}), ("login", 0.5, {}), days=300)

    async def post() -> None:
        async with connection(world.url) as conn:
            await record_milestone(conn, UUID(supplier), "ten_clients", NOW - timedelta(hours=3))

    asyncio.run(post())
    world.run()
    assert world.history(supplier, "celebrate_%") == [("celebrate_ten_clients", "triggered", "")]
