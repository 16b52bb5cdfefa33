"""Tips over HTTP: which one, where, when again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from everafter.core.settings import Settings
from helpers_coach import Browser, add_supplier, send
from helpers_server import Server
from helpers_tips import add_clients, history, rejudge, serving_with
from helpers_tips import coach as coach


def test_the_most_important_tip_is_shown_with_the_suppliers_numbers_and_why(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    shown = Browser(coach, supplier).look("/")["tip"]
    assert shown == {
        "id": "everywhere",
        "title": "Hello Rosa Flowers",
        "body": "You have 2 clients.",
        "reason": "2 clients are on your books.",
        "action": {"label": "Go", "url": "/clients"},
    }
    [(identity, trigger, action, channel, status, reason, facts, success_by)] = coach.sql(
        "SELECT id, trigger, action, channel, status, reason, facts, success_by - evaluated_on FROM interventions"
    )
    assert (trigger, action, channel, status) == ("tip_everywhere", "show_tip", "tip", "triggered")
    assert (reason, success_by) == ("2 clients are on your books.", 10)
    assert facts["clients_total"] == 2 and facts["name"] == "Rosa Flowers"
    assert coach.sql("SELECT tip_id, intervention_id, page, response FROM tip_impressions") == [
        ("everywhere", identity, "/", None)
    ]


def test_a_tip_is_for_its_vendor_type_and_its_condition(coach: Server) -> None:
    dj, florist = add_supplier(coach, vendor_type="dj"), add_supplier(coach)
    add_clients(coach, dj)
    assert Browser(coach, florist).tip() is None, "no clients, no tip"
    assert Browser(coach, dj).tip() == "djs"


def test_the_shown_tip_stays_until_it_is_answered_and_is_one_decision(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    assert [browser.tip() for _ in range(5)] == ["everywhere"] * 5
    rejudge(coach)
    assert browser.tip("/clients/7?tab=1") == "everywhere"
    assert history(coach) == [("tip_everywhere", "triggered", "tip")]


def test_a_tip_goes_when_its_condition_is_no_longer_true_and_comes_back_with_it(
    coach: Server,
) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier, 1)
    browser = Browser(coach, supplier)
    assert browser.tip("/") == "everywhere"
    send(coach, supplier, ("client_archived", 0.01, {"client_id": "c0"}))
    assert browser.tip("/") is None
    send(coach, supplier, ("client_added", 0.001, {"client_id": "c9"}))
    assert browser.tip("/") == "everywhere"
    assert history(coach) == [("tip_everywhere", "triggered", "tip")]


def test_a_tip_waits_on_its_own_page(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    assert browser.respond("everywhere", "dismissed").json() == {
        "response": "dismissed",
        "snoozed_until": None,
    }
    assert browser.tip("/") is None
    assert browser.tip("/forms/12") == "only_forms"
    assert browser.tip("/calendar") is None
    assert browser.tip("/forms") == "only_forms"


def test_texts_come_in_the_readers_language_each_with_its_fallback(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier, locale="de-AT")
    german = browser.look("/")
    assert (german["locale"], german["tip"]["title"], german["tip"]["body"]) == (
        "de",
        "Hallo",
        "Sie haben 2 Paare.",
    )
    assert german["tip"]["reason"] == "2 clients are on your books.", (
        "not translated: as the playbook has it"
    )
    assert browser.look("/", locale="xx")["tip"]["title"] == "Hello Rosa Flowers"
    assert browser.look("/", locale="en-GB")["tip"]["title"] == "Hello Rosa Flowers"
    assert browser.look("/", locale="'; DROP TABLE tip_impressions; --")["locale"] == "de", (
        "what is no locale is passed over"
    )


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_done_is_done_for_the_cooldown(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    assert browser.tip("/") == "everywhere"
    assert browser.respond("everywhere", "completed").json() == {
        "response": "completed",
        "snoozed_until": None,
    }
    assert browser.tip("/") is None
    rejudge(coach)
    assert browser.tip("/") is None
    assert history(coach) == [("tip_everywhere", "triggered", "tip")]
    coach.sql(
        "UPDATE interventions SET evaluated_at = evaluated_at - interval '40 days', evaluated_on = evaluated_on - 40"
    )
    rejudge(coach)
    assert browser.tip("/") == "everywhere", "a month later it is still true, and may be said again"
    assert coach.sql("SELECT count(*) FROM interventions") == [(2,)]


def test_tomorrow_is_the_next_morning_where_the_supplier_lives(coach: Server) -> None:
    supplier = add_supplier(coach, timezone="Pacific/Auckland")
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    until = datetime.fromisoformat(browser.respond("everywhere", "snoozed").json()["snoozed_until"])
    local = until.astimezone(ZoneInfo("Pacific/Auckland"))
    tomorrow = datetime.now(ZoneInfo("Pacific/Auckland")).date() + timedelta(days=1)
    assert (local.date(), local.hour, local.minute) == (tomorrow, 4, 0)
    week = datetime.fromisoformat(
        browser.respond("everywhere", "snoozed", "week").json()["snoozed_until"]
    )
    assert (week.astimezone(ZoneInfo("Pacific/Auckland")).date() - tomorrow).days == 6


def test_a_tip_put_off_comes_again_without_asking_twice(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    browser.respond("everywhere", "snoozed", "day")
    assert browser.tip("/") is None
    coach.sql("UPDATE tip_impressions SET snoozed_until = now() - interval '1 minute'")
    assert browser.tip("/") == "everywhere"
    assert coach.sql(
        "SELECT response, snoozed_until, shown_at > now() - interval '1 minute' FROM tip_impressions"
    ) == [(None, None, True)]
    assert history(coach) == [("tip_everywhere", "triggered", "tip")]


def test_after_the_season_waits_for_the_season_to_turn(settings: Settings, tmp_path: Path) -> None:
    with serving_with(settings, tmp_path) as coach:
        supplier = add_supplier(
            coach, country=None
        )  # no country, no season: it is always in season
        add_clients(coach, supplier)
        browser = Browser(coach, supplier)
        browser.tip("/")
        until = datetime.fromisoformat(
            browser.respond("everywhere", "snoozed", "season").json()["snoozed_until"]
        )
        assert until > datetime.now(UTC) + timedelta(days=120)
        assert coach.sql("SELECT snoozed_in FROM tip_impressions") == [("in",)]
        coach.sql(
            "UPDATE interventions SET evaluated_at = evaluated_at - interval '90 days', evaluated_on = evaluated_on - 90"
        )
        rejudge(coach)
        assert browser.tip("/") is None, "the same season"
        coach.sql("UPDATE tip_impressions SET snoozed_in = 'off'")
        rejudge(coach)
        assert browser.tip("/") == "everywhere", "the season has turned: a new decision"
        assert coach.sql("SELECT count(*) FROM interventions") == [(2,)]


def test_never_is_never_even_when_another_tab_says_later(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    browser.respond("everywhere", "dismissed")
    assert browser.respond("everywhere", "snoozed", "day").json() == {
        "response": "dismissed",
        "snoozed_until": None,
    }
    coach.sql(
        "UPDATE interventions SET evaluated_at = evaluated_at - interval '300 days', evaluated_on = evaluated_on - 300"
    )
    rejudge(coach)
    assert browser.tip("/") is None


def test_an_answer_that_cannot_be_is_refused(coach: Server) -> None:
    supplier, other = add_supplier(coach), add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    assert browser.respond("everywhere", "completed", "day").status_code == 422
    assert browser.respond("only_forms", "completed").status_code == 404, "never shown"
    assert browser.respond("no_such_tip", "completed").status_code == 404
    assert browser.respond("everywhere", "perhaps").status_code == 400
    assert Browser(coach, other).respond("everywhere", "dismissed").status_code == 404, (
        "another's tip"
    )
    assert (
        browser.client.post("/api/coach/tips/%00", json={"response": "completed"}).status_code
        == 404
    )
    assert browser.client.post("/api/coach/tips/everywhere", content=b"\xff{").status_code == 400
    assert coach.sql("SELECT response FROM tip_impressions") == [(None,)]


def test_an_answer_repeated_with_its_key_and_a_new_token_is_one(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    first, second = Browser(coach, supplier), Browser(coach, supplier)
    first.tip("/")
    said = first.respond("everywhere", "snoozed", "week", **{"Idempotency-Key": "k1"})
    again = second.respond("everywhere", "snoozed", "week", **{"Idempotency-Key": "k1"})
    assert again.headers["idempotency-replayed"] == "true" and again.content == said.content
    assert second.respond("everywhere", "completed", **{"Idempotency-Key": "k1"}).status_code == 422


def test_who_does_not_answer_is_left_alone_after_the_window(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    browser.tip("/")
    coach.sql("UPDATE tip_impressions SET shown_at = now() - interval '10 days 1 minute'")
    coach.sql(
        "UPDATE interventions SET evaluated_at = evaluated_at - interval '10 days', evaluated_on = evaluated_on - 10"
    )
    assert browser.tip("/") is None
    assert history(coach)[-1] == ("tip_everywhere", "skipped", "tip"), "within its cooldown"


def test_a_thousand_pages_at_odd_names_are_pages(coach: Server) -> None:
    supplier = add_supplier(coach)
    add_clients(coach, supplier)
    browser = Browser(coach, supplier)
    for page in (
        "",
        "/" * 400,
        "/forms/\u202e\n",
        "//forms",
        "/%00",
        "a" * 500,
        "/forms?x=" + "y" * 300,
    ):
        assert browser.client.get("/api/coach", params={"page": page}).status_code == 200
    assert browser.client.get("/api/coach", params={"page": "x" * 501}).status_code == 400
