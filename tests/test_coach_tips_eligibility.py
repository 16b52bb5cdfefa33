"""Tips pass the eligibility check: they use the frequency cap, and concurrent requests get one decision."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Barrier
from uuid import NAMESPACE_URL, uuid5

import pytest

from everafter.coach.queries import try_share_frequency_cap
from everafter.core.db import FrameReader, connection
from everafter.core.settings import Settings
from everafter.daily.queries import lock_runs
from everafter.daily.run import run_day
from everafter.interventions.eligibility import is_in_holdout
from everafter.interventions.queries import read_history
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Holdout
from helpers_coach import Browser, add_supplier, send
from helpers_server import Server, serving
from helpers_tips import add_clients, history, rejudge, serving_with, write_playbook
from helpers_tips import coach as coach


def spend(
    server: Server, supplier: str, number: int, channel: str = "email", status: str = "triggered"
) -> None:
    for n in range(number):
        server.sql(
            "INSERT INTO interventions (id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at, evaluated_on,"
            " facts, playbook_version) VALUES (gen_random_uuid(), %s, %s, 'x', %s, %s, 'r', 50, now() - interval '2 days',"
            " (now() - interval '2 days')::date, '{}', 1)",
            supplier,
            f"email_{n}",
            channel,
            status,
        )


def test_emails_use_up_the_week_and_the_log_says_so_once(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    spend(coach, supplier, 2)
    browser = Browser(coach, supplier)
    for _ in range(3):
        assert browser.tip("/forms") is None
        rejudge(coach)
    assert coach.sql("SELECT trigger, status, reason FROM interventions WHERE channel = 'tip'") == [
        ("tip_everywhere", "skipped", "frequency_cap")
    ]


def test_a_full_week_is_no_news_on_the_next_day(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    spend(coach, supplier, 2)
    browser = Browser(coach, supplier)
    assert browser.tip("/") is None
    coach.sql(
        "UPDATE interventions SET evaluated_at = evaluated_at - interval '1 day', evaluated_on = evaluated_on - 1 WHERE channel = 'tip'"
    )
    rejudge(coach)
    assert [browser.tip(page) for page in ("/", "/forms", "/clients")] == [None] * 3
    assert coach.sql(
        "SELECT trigger, reason, evaluated_on < current_date FROM interventions WHERE channel = 'tip'"
    ) == [("tip_everywhere", "frequency_cap", True)]
    assert len(coach.app.state.coach._kept[supplier].refused) == 1, "asked once for the day"


def test_a_task_for_our_own_people_uses_none_of_the_week(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    spend(coach, supplier, 5, channel="task")
    assert Browser(coach, supplier).tip("/") == "everywhere"


def test_a_tip_uses_a_place_of_the_week_for_emails_too(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    assert browser.tip("/forms") == "everywhere"
    browser.respond("everywhere", "dismissed")
    assert browser.tip("/forms") == "only_forms"
    browser.respond("only_forms", "dismissed")
    reader = FrameReader(coach.database)
    try:
        frame = asyncio.run(
            read_history(
                reader,
                after="00000000-0000-0000-0000-000000000000",
                last="ffffffff-ffff-ffff-ffff-ffffffffffff",
                as_of=datetime.now(UTC),
                cooldown_days=30,
                replay=False,
            )
        )
    finally:
        reader.close()
    assert frame["messages_7d"].sum() == 2, "the run finds the week used up"


def test_new_tips_keep_their_distance(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path, hours=20) as coach:
        supplier = add_supplier(coach)
        add_clients(coach, supplier)
        browser = Browser(coach, supplier)
        assert browser.tip("/forms") == "everywhere"
        browser.respond("everywhere", "completed")
        assert browser.tip("/forms") is None
        assert history(coach) == [("tip_everywhere", "triggered", "tip")], "waiting is no refusal"
        coach.sql(
            "UPDATE interventions SET evaluated_at = evaluated_at - interval '21 hours', evaluated_on = (evaluated_at - interval '21 hours')::date"
        )
        rejudge(coach)
        assert browser.tip("/forms") == "only_forms"


@pytest.mark.parametrize("held", [True, False])
def test_a_tip_in_the_holdout_is_logged_and_not_shown(
    settings: Settings, tmp_path: Path, held: bool
) -> None:
    policy = Holdout(global_share=0.0)
    chosen = (
        one
        for one in (str(uuid5(NAMESPACE_URL, f"supplier {number}")) for number in count())
        if is_in_holdout(one, "tip_everywhere", 0.5, policy) is held
    )
    with serving_with(settings, tmp_path, holdout=0.5) as coach:
        supplier = add_supplier(coach, id=next(chosen))
        add_clients(coach, supplier)
        shown = Browser(coach, supplier).tip("/")
        assert (shown == "everywhere") is not held
        rows = coach.sql(
            "SELECT status, facts ->> 'clients_total', success_by IS NOT NULL FROM interventions"
            " WHERE trigger = 'tip_everywhere'"
        )
        assert rows == [("holdout" if held else "triggered", "2", True)]
        assert coach.sql("SELECT count(*) FROM tip_impressions") == [(0 if held else 1,)]


def test_who_was_holdout_rests_as_one_who_was_shown(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path, hours=20, holdout=1.0) as coach:
        supplier = add_supplier(coach)
        add_clients(coach, supplier)
        browser = Browser(coach, supplier)
        for _ in range(3):
            assert browser.tip("/forms") is None
            rejudge(coach)
        assert history(coach) == [("tip_everywhere", "holdout", "tip")]


def test_a_paused_supplier_asked_for_rest(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    send(coach, supplier, ("subscription_paused", 1.0, {}))
    assert Browser(coach, supplier).tip("/") is None
    assert coach.sql("SELECT DISTINCT status, reason FROM interventions") == [("skipped", "paused")]


def test_a_tip_needs_no_consent_to_emails(coach: Server) -> None:
    supplier = add_supplier(coach, consent=False, email=None)
    add_clients(coach, supplier)
    assert Browser(coach, supplier).tip("/") == "everywhere"


def test_while_the_days_run_decides_no_new_tip_is_shown(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    seen: list[str | None] = []
    # when the first slice is scored the run has read what is left of the week, and has written nothing yet
    asyncio.run(
        run_day(
            coach.database,
            load_playbook(coach.settings),
            progress=lambda done, total: seen.append(browser.tip("/")),
        )
    )
    assert seen == [None] and history(coach) == []
    rejudge(coach)
    assert browser.tip("/") == "everywhere"


def test_a_run_waits_for_a_tip_that_is_being_triggered(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)

    async def start_while_one_decides() -> None:
        async with (
            connection(coach.database) as deciding,
            connection(coach.database, autocommit=True) as run,
        ):
            assert await try_share_frequency_cap(deciding)
            starting = asyncio.create_task(lock_runs(run))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(starting), 0.5)
            assert await asyncio.to_thread(Browser(coach, supplier).tip, "/") is None, (
                "it does not push in before the run"
            )
            await deciding.commit()
            assert await starting
            assert not await try_share_frequency_cap(deciding)

    asyncio.run(start_while_one_decides())
    rejudge(coach)
    assert Browser(coach, supplier).tip("/") == "everywhere", (
        "what a run held goes with its connection"
    )


def test_a_switched_off_coach_decides_nothing(settings: Settings, tmp_path: Path) -> None:
    changed = write_playbook(settings, tmp_path)
    path = changed.playbook
    assert path
    path.write_text(path.read_text().replace("hours_between_tips = 0", "enabled = false"))
    with serving(changed) as coach:
        supplier = add_supplier(coach)
        add_clients(coach, supplier)
        shown = Browser(coach, supplier).look("/")
        assert (shown["tip"], shown["help"]) == (None, None)
        assert shown["recommendations"] and history(coach) == []


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_tabs_at_once_decide_one(coach: Server) -> None:
    suppliers = [add_supplier(coach) for _ in range(6)]
    for supplier in suppliers:
        add_clients(coach, supplier)
    browsers = [Browser(coach, supplier, coach.key("coach")) for supplier in suppliers]
    start = Barrier(24)

    def look(number: int) -> tuple[str, str | None]:
        browser = browsers[number % 6]
        start.wait()
        return browser.supplier_id, browser.tip("/forms" if number % 2 else "/")

    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(look, range(24)))
    assert {tip for _, tip in found} == {"everywhere"}
    assert (
        coach.sql(
            "SELECT supplier_id::text, count(*) FROM interventions GROUP BY 1 HAVING count(*) <> 1"
        )
        == []
    )
    assert coach.sql("SELECT count(*) FROM interventions") == [(6,)]


def test_two_servers_at_once_decide_one(settings: Settings, tmp_path: Path) -> None:
    changed = write_playbook(settings, tmp_path)
    with serving(changed) as one, serving(changed) as two:
        for _ in range(5):
            supplier = add_supplier(one)
            add_clients(one, supplier)
            key = one.key("coach")
            tabs = [Browser(server, supplier, key) for server in (one, two) for _ in range(4)]
            start = Barrier(len(tabs))

            def look(tab: Browser, start: Barrier = start) -> str | None:
                start.wait()
                return tab.tip("/forms")

            with ThreadPoolExecutor(len(tabs)) as threads:
                assert set(threads.map(look, tabs)) == {"everywhere"}
            assert one.sql(
                "SELECT count(*) FROM interventions WHERE supplier_id = %s", supplier
            ) == [(1,)]
