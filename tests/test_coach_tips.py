"""Tips over HTTP: which one, where, when again; behind the one gate, with its place in the week's attention."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from everafter.core.settings import Settings
from everafter.interventions.rules import is_held_out
from everafter.playbook.loading import playbook_path
from everafter.playbook.model import Holdout
from helpers_coach import Browser, add_supplier, send
from helpers_server import Server, serving

# Three tips by priority: one of every page, one of the forms, one of the off season; nobody is held out.
TIPS = """
[coach]
hours_between_tips = {hours}

[tips.everywhere]
when = "clients_total >= 1"
title = "Hello {{name}}"
body = "You have {{clients_total}} couples."
reason = "{{clients_total}} couples are on your books."
action_label = "Go"
action_url = "/clients"
success = "clients_total >= 100"
priority = 90
holdout = {holdout}
cooldown_days = 30
success_days = 10

[tips.everywhere.translations.de]
title = "Hallo"
body = "Sie haben {{clients_total}} Paare."

[tips.only_forms]
when = "clients_total >= 1"
pages = ["/forms*"]
title = "Forms"
body = "Forms."
reason = "{{clients_total}} couples"
action_label = "Go"
action_url = "/forms"
success = "forms_sent_13w >= 1"
priority = 80
holdout = {holdout}

[tips.djs]
when = "clients_total >= 1"
vendor_types = ["dj"]
title = "Music"
body = "Music."
reason = "{{clients_total}} couples"
action_label = "Go"
action_url = "/forms"
success = "forms_sent_13w >= 1"
priority = 95
holdout = {holdout}

[tips.more_than_five]
when = "clients_total > 5"
title = "Five"
body = "Five."
reason = "{{clients_total}} couples"
action_label = "Go"
action_url = "/clients"
success = "clients_total > 50"
priority = 10
holdout = {holdout}
"""


def write_playbook(settings: Settings, tmp_path: Path, *, hours: float = 0, holdout: float = 0.0, more: str = "") -> Settings:
    shipped = playbook_path(settings).read_text(encoding="utf-8")
    before, _, rest = shipped.partition("# ── The coach ─")
    after = rest[rest.index("# ── Names ─") :]
    text = before + TIPS.format(hours=hours, holdout=holdout) + more + after
    text = text.replace("global_share = 0.05", "global_share = 0.0")
    path = tmp_path / "playbook.toml"
    path.write_text(text, encoding="utf-8")
    return replace(settings, playbook=path)


@pytest.fixture
def coach(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A server whose playbook has four tips and no rest between them."""
    with serving(write_playbook(settings, tmp_path)) as running:
        yield running


@contextmanager
def serving_with(settings: Settings, tmp_path: Path, **changes: Any) -> Iterator[Server]:
    with serving(write_playbook(settings, tmp_path, **changes)) as running:
        yield running


def couples(server: Server, supplier: str, number: int = 2) -> None:
    send(server, supplier, *[("client_added", 3.0, {"client_id": f"c{n}"}) for n in range(number)])


def ledger(server: Server) -> list[tuple[Any, ...]]:
    return server.sql("SELECT trigger, status, channel FROM interventions WHERE channel = 'tip' ORDER BY decided_at, trigger")


def rejudge(server: Server) -> None:
    """As a minute later: nothing that was judged is kept."""
    server.app.state.coach._kept.clear()


# ── which one ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_most_important_tip_is_shown_with_the_suppliers_numbers_and_why(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    shown = Browser(coach, supplier).look("/")["tip"]
    assert shown == {
        "id": "everywhere",
        "title": "Hello Rosa Flowers",
        "body": "You have 2 couples.",
        "reason": "2 couples are on your books.",
        "action": {"label": "Go", "url": "/clients"},
    }
    [(identity, trigger, action, channel, status, reason, facts, success_by)] = coach.sql(
        "SELECT id, trigger, action, channel, status, reason, facts, success_by - decided_on FROM interventions"
    )
    assert (trigger, action, channel, status) == ("tip_everywhere", "show_tip", "tip", "decided")
    assert (reason, success_by) == ("2 couples are on your books.", 10)
    assert facts["clients_total"] == 2 and facts["name"] == "Rosa Flowers"
    assert coach.sql("SELECT tip_id, intervention_id, page, answer FROM tips_shown") == [("everywhere", identity, "/", None)]


def test_a_tip_is_for_its_trade_and_its_condition(coach: Server) -> None:
    dj, florist = add_supplier(coach, vendor_type="dj"), add_supplier(coach)
    couples(coach, dj)
    assert Browser(coach, florist).tip() is None, "no couples, no tip"
    assert Browser(coach, dj).tip() == "djs"


def test_the_shown_tip_stays_until_it_is_answered_and_is_one_decision(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    assert [browser.tip() for _ in range(5)] == ["everywhere"] * 5
    rejudge(coach)
    assert browser.tip("/clients/7?tab=1") == "everywhere"
    assert ledger(coach) == [("tip_everywhere", "decided", "tip")]


def test_a_tip_goes_when_its_condition_is_no_longer_true_and_comes_back_with_it(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier, 1)
    browser = Browser(coach, supplier)
    assert browser.tip("/") == "everywhere"
    send(coach, supplier, ("client_archived", 0.01, {"client_id": "c0"}))
    assert browser.tip("/") is None
    send(coach, supplier, ("client_added", 0.001, {"client_id": "c9"}))
    assert browser.tip("/") == "everywhere"
    assert ledger(coach) == [("tip_everywhere", "decided", "tip")]


def test_a_tip_waits_on_its_own_page(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    assert browser.answer("everywhere", "never").json() == {"answer": "never", "snoozed_until": None}
    assert browser.tip("/") is None
    assert browser.tip("/forms/12") == "only_forms"
    assert browser.tip("/calendar") is None
    assert browser.tip("/forms") == "only_forms"


def test_texts_come_in_the_readers_language_each_with_its_fallback(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier, locale="de-AT")
    german = browser.look("/")
    assert (german["locale"], german["tip"]["title"], german["tip"]["body"]) == ("de", "Hallo", "Sie haben 2 Paare.")
    assert german["tip"]["reason"] == "2 couples are on your books.", "not translated: as the playbook has it"
    assert browser.look("/", locale="xx")["tip"]["title"] == "Hello Rosa Flowers"
    assert browser.look("/", locale="en-GB")["tip"]["title"] == "Hello Rosa Flowers"
    assert browser.look("/", locale="'; DROP TABLE tips_shown; --")["locale"] == "de", "what is no locale is passed over"


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_done_is_done_for_the_cooldown(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    assert browser.tip("/") == "everywhere"
    assert browser.answer("everywhere", "do").json() == {"answer": "do", "snoozed_until": None}
    assert browser.tip("/") is None
    rejudge(coach)
    assert browser.tip("/") is None
    assert ledger(coach) == [("tip_everywhere", "decided", "tip")]
    coach.sql("UPDATE interventions SET decided_at = decided_at - interval '40 days', decided_on = decided_on - 40")
    rejudge(coach)
    assert browser.tip("/") == "everywhere", "a month later it is still true, and may be said again"
    assert coach.sql("SELECT count(*) FROM interventions") == [(2,)]


def test_tomorrow_is_the_next_morning_where_the_supplier_lives(coach: Server) -> None:
    supplier = add_supplier(coach, timezone="Pacific/Auckland")
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    until = datetime.fromisoformat(browser.answer("everywhere", "later").json()["snoozed_until"])
    local = until.astimezone(ZoneInfo("Pacific/Auckland"))
    tomorrow = datetime.now(ZoneInfo("Pacific/Auckland")).date() + timedelta(days=1)
    assert (local.date(), local.hour, local.minute) == (tomorrow, 4, 0)
    week = datetime.fromisoformat(browser.answer("everywhere", "later", "week").json()["snoozed_until"])
    assert (week.astimezone(ZoneInfo("Pacific/Auckland")).date() - tomorrow).days == 6


def test_a_tip_put_off_comes_again_without_asking_twice(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    browser.answer("everywhere", "later", "day")
    assert browser.tip("/") is None
    coach.sql("UPDATE tips_shown SET snoozed_until = now() - interval '1 minute'")
    assert browser.tip("/") == "everywhere"
    assert coach.sql("SELECT answer, snoozed_until, shown_at > now() - interval '1 minute' FROM tips_shown") == [(None, None, True)]
    assert ledger(coach) == [("tip_everywhere", "decided", "tip")]


def test_after_the_season_waits_for_the_season_to_turn(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path) as coach:
        supplier = add_supplier(coach, country=None)  # no country, no season: it is always in season
        couples(coach, supplier)
        browser = Browser(coach, supplier)
        browser.tip("/")
        until = datetime.fromisoformat(browser.answer("everywhere", "later", "season").json()["snoozed_until"])
        assert until > datetime.now(UTC) + timedelta(days=120)
        assert coach.sql("SELECT snoozed_in FROM tips_shown") == [("in",)]
        coach.sql("UPDATE interventions SET decided_at = decided_at - interval '90 days', decided_on = decided_on - 90")
        rejudge(coach)
        assert browser.tip("/") is None, "the same season"
        coach.sql("UPDATE tips_shown SET snoozed_in = 'off'")
        rejudge(coach)
        assert browser.tip("/") == "everywhere", "the season has turned: a new decision"
        assert coach.sql("SELECT count(*) FROM interventions") == [(2,)]


def test_never_is_never_even_when_another_tab_says_later(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    browser.answer("everywhere", "never")
    assert browser.answer("everywhere", "later", "day").json() == {"answer": "never", "snoozed_until": None}
    coach.sql("UPDATE interventions SET decided_at = decided_at - interval '300 days', decided_on = decided_on - 300")
    rejudge(coach)
    assert browser.tip("/") is None


def test_an_answer_that_cannot_be_is_refused(coach: Server) -> None:
    supplier, other = add_supplier(coach), add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    assert browser.answer("everywhere", "do", "day").status_code == 422
    assert browser.answer("only_forms", "do").status_code == 404, "never shown"
    assert browser.answer("no_such_tip", "do").status_code == 404
    assert browser.answer("everywhere", "perhaps").status_code == 400
    assert Browser(coach, other).answer("everywhere", "never").status_code == 404, "another's tip"
    assert browser.client.post("/api/coach/tips/%00", json={"answer": "do"}).status_code == 404
    assert browser.client.post("/api/coach/tips/everywhere", content=b"\xff{").status_code == 400
    assert coach.sql("SELECT answer FROM tips_shown") == [(None,)]


def test_an_answer_repeated_with_its_key_and_a_new_token_is_one(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    first, second = Browser(coach, supplier), Browser(coach, supplier)
    first.tip("/")
    said = first.answer("everywhere", "later", "week", **{"Idempotency-Key": "k1"})
    again = second.answer("everywhere", "later", "week", **{"Idempotency-Key": "k1"})
    assert again.headers["idempotency-replayed"] == "true" and again.content == said.content
    assert second.answer("everywhere", "do", **{"Idempotency-Key": "k1"}).status_code == 422


def test_who_does_not_answer_is_left_alone_after_the_window(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    coach.sql("UPDATE tips_shown SET shown_at = now() - interval '10 days 1 minute'")
    coach.sql("UPDATE interventions SET decided_at = decided_at - interval '10 days', decided_on = decided_on - 10")
    assert browser.tip("/") is None
    assert ledger(coach)[-1] == ("tip_everywhere", "withheld", "tip"), "within its cooldown"


# ── the gate ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def spend(server: Server, supplier: str, number: int, channel: str = "email", status: str = "decided") -> None:
    for n in range(number):
        server.sql(
            "INSERT INTO interventions (id, supplier_id, trigger, action, channel, status, reason, priority, decided_at, decided_on,"
            " facts, playbook_version) VALUES (gen_random_uuid(), %s, %s, 'x', %s, %s, 'r', 50, now() - interval '2 days',"
            " (now() - interval '2 days')::date, '{}', 1)",
            supplier,
            f"letter_{n}",
            channel,
            status,
        )


def test_letters_use_up_the_week_and_the_ledger_says_so_once(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    spend(coach, supplier, 2)
    browser = Browser(coach, supplier)
    for _ in range(3):
        assert browser.tip("/forms") is None
        rejudge(coach)
    assert coach.sql("SELECT trigger, status, reason FROM interventions WHERE channel = 'tip'") == [
        ("tip_everywhere", "withheld", "budget")
    ]


def test_a_full_week_is_no_news_on_the_next_day(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    spend(coach, supplier, 2)
    browser = Browser(coach, supplier)
    assert browser.tip("/") is None
    coach.sql(
        "UPDATE interventions SET decided_at = decided_at - interval '1 day', decided_on = decided_on - 1 WHERE channel = 'tip'"
    )
    rejudge(coach)
    assert [browser.tip(page) for page in ("/", "/forms", "/clients")] == [None] * 3
    assert coach.sql("SELECT trigger, reason, decided_on < current_date FROM interventions WHERE channel = 'tip'") == [
        ("tip_everywhere", "budget", True)
    ]
    assert len(coach.app.state.coach._kept[supplier].refused) == 1, "asked once for the day"


def test_a_task_for_our_own_people_uses_none_of_the_week(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    spend(coach, supplier, 5, channel="task")
    assert Browser(coach, supplier).tip("/") == "everywhere"


def test_a_tip_uses_a_place_of_the_week_for_letters_too(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    assert browser.tip("/forms") == "everywhere"
    browser.answer("everywhere", "never")
    assert browser.tip("/forms") == "only_forms"
    browser.answer("only_forms", "never")
    from everafter.core.db import FrameReader
    from everafter.interventions.queries import read_ledger

    reader = FrameReader(coach.database)
    try:
        import asyncio

        frame = asyncio.run(
            read_ledger(
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
        couples(coach, supplier)
        browser = Browser(coach, supplier)
        assert browser.tip("/forms") == "everywhere"
        browser.answer("everywhere", "do")
        assert browser.tip("/forms") is None
        assert ledger(coach) == [("tip_everywhere", "decided", "tip")], "waiting is no refusal"
        coach.sql(
            "UPDATE interventions SET decided_at = decided_at - interval '21 hours', decided_on = (decided_at - interval '21 hours')::date"
        )
        rejudge(coach)
        assert browser.tip("/forms") == "only_forms"


def test_the_held_out_are_left_alone_and_on_record(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path, holdout=0.5) as coach:
        policy = Holdout(0.0, "everafter")
        found = {True: 0, False: 0}
        for _ in range(12):
            supplier = add_supplier(coach)
            couples(coach, supplier)
            held = is_held_out(supplier, "tip_everywhere", 0.5, policy)
            found[held] += 1
            browser = Browser(coach, supplier)
            shown = browser.tip("/")
            assert (shown == "everywhere") is not held
            rows = coach.sql(
                "SELECT status, facts ->> 'clients_total', success_by IS NOT NULL FROM interventions"
                " WHERE supplier_id = %s AND trigger = 'tip_everywhere'",
                supplier,
            )
            assert rows == [("held_out" if held else "decided", "2", True)]
            assert coach.sql("SELECT count(*) FROM tips_shown WHERE supplier_id = %s", supplier) == [(0 if held else 1,)]
        assert all(found.values()), "both kinds were tried"


def test_who_was_held_out_rests_as_one_who_was_shown(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path, hours=20, holdout=1.0) as coach:
        supplier = add_supplier(coach)
        couples(coach, supplier)
        browser = Browser(coach, supplier)
        for _ in range(3):
            assert browser.tip("/forms") is None
            rejudge(coach)
        assert ledger(coach) == [("tip_everywhere", "held_out", "tip")]


def test_a_paused_supplier_asked_for_rest(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    send(coach, supplier, ("subscription_paused", 1.0, {}))
    assert Browser(coach, supplier).tip("/") is None
    assert coach.sql("SELECT DISTINCT status, reason FROM interventions") == [("withheld", "paused")]


def test_a_tip_needs_no_consent_to_letters(coach: Server) -> None:
    supplier = add_supplier(coach, consent=False, email=None)
    couples(coach, supplier)
    assert Browser(coach, supplier).tip("/") == "everywhere"


def test_while_the_days_run_decides_no_new_tip_is_shown(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    coach.sql("INSERT INTO runs (run_on, as_of, playbook_version) VALUES (current_date, now(), 1)")
    browser = Browser(coach, supplier)
    assert browser.tip("/") is None and ledger(coach) == []
    coach.sql("UPDATE runs SET finished_at = now()")
    rejudge(coach)
    assert browser.tip("/") == "everywhere"


def test_a_switched_off_coach_decides_nothing(settings: Settings, tmp_path: Path) -> None:
    changed = write_playbook(settings, tmp_path)
    path = changed.playbook
    assert path
    path.write_text(path.read_text().replace("hours_between_tips = 0", "enabled = false"))
    with serving(changed) as coach:
        supplier = add_supplier(coach)
        couples(coach, supplier)
        shown = Browser(coach, supplier).look("/")
        assert (shown["tip"], shown["help"]) == (None, None)
        assert shown["next_steps"] and ledger(coach) == []


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_tabs_at_once_decide_one(coach: Server) -> None:
    suppliers = [add_supplier(coach) for _ in range(6)]
    for supplier in suppliers:
        couples(coach, supplier)
    browsers = [Browser(coach, supplier, coach.key("coach")) for supplier in suppliers]
    start = Barrier(24)

    def look(number: int) -> tuple[str, str | None]:
        browser = browsers[number % 6]
        start.wait()
        return browser.supplier_id, browser.tip("/forms" if number % 2 else "/")

    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(look, range(24)))
    assert {tip for _, tip in found} == {"everywhere"}
    assert coach.sql("SELECT supplier_id::text, count(*) FROM interventions GROUP BY 1 HAVING count(*) <> 1") == []
    assert coach.sql("SELECT count(*) FROM interventions") == [(6,)]


def test_two_servers_at_once_decide_one(settings: Settings, tmp_path: Path) -> None:
    changed = write_playbook(settings, tmp_path)
    with serving(changed) as one, serving(changed) as two:
        for _ in range(5):
            supplier = add_supplier(one)
            couples(one, supplier)
            key = one.key("coach")
            tabs = [Browser(server, supplier, key) for server in (one, two) for _ in range(4)]
            start = Barrier(len(tabs))

            def look(tab: Browser, start: Barrier = start) -> str | None:
                start.wait()
                return tab.tip("/forms")

            with ThreadPoolExecutor(len(tabs)) as threads:
                assert set(threads.map(look, tabs)) == {"everywhere"}
            assert one.sql("SELECT count(*) FROM interventions WHERE supplier_id = %s", supplier) == [(1,)]


def test_a_thousand_pages_at_odd_names_are_pages(coach: Server) -> None:
    supplier = add_supplier(coach)
    couples(coach, supplier)
    browser = Browser(coach, supplier)
    for page in ("", "/" * 400, "/forms/\u202e\n", "//forms", "/%00", "a" * 500, "/forms?x=" + "y" * 300):
        assert browser.client.get("/api/coach", params={"page": page}).status_code == 200
    assert browser.client.get("/api/coach", params={"page": "x" * 501}).status_code == 400
