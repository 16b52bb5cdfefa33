"""The rest of the coach's JSON: help, checklist, celebrations, next steps, calls; its words, and what browsers ask first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from everafter.coach.messages import help_messages, interface_messages, list_languages
from everafter.core.messages import check_message, placeholders
from everafter.core.settings import Settings
from everafter.playbook.sentence_rules import SUPPLIER_KINDS
from helpers_coach import Browser, add_supplier, send
from helpers_server import Server, serving

LANGUAGES = ("en", "de", "fr", "es", "it", "nl")
KINDS = {
    **SUPPLIER_KINDS,
    **dict.fromkeys(("done", "total", "minutes"), "number"),
    **dict.fromkeys(("day", "zone"), "text"),
}
SET_UP = (
    "account_created",
    "vendor_type_selected",
    "completed_wizard",
    "login",
    "import_clients_started",
)


# ── help ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_is_at_risk_is_offered_a_call_until_one_is_booked(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    offered = browser.look()["help"]
    assert offered == {
        "message": "Need help? Let us book a quick call and get you back on track.",
        "reason": "We last saw you here 60 days ago.",
        "minutes": 15,
        "type": "success_call",
    }
    free = browser.client.get("/api/coach/slots", params={"days": 14}).json()
    assert (free["supplier_id"], free["minutes"], free["timezone"]) == (
        supplier,
        15,
        "Europe/Berlin",
    )
    booked = browser.client.post(
        "/api/coach/calls", json={"starts_at": free["slots"][0]["starts_at"], "topic": "Forms"}
    )
    assert booked.status_code == 201
    assert booked.json()["manage_url"].startswith(server.settings.base_url)
    assert browser.look()["help"] is None, "a call is ahead"
    server.sql("UPDATE support_interactions SET outcome = 'cancelled', cancelled_at = now()")
    assert browser.look()["help"] == offered


def test_a_healthy_supplier_is_offered_none(server: Server) -> None:
    supplier = add_supplier(server)
    send(
        server,
        supplier,
        *[("login", day + 0.1, {}) for day in range(28)],
        *[
            ("feature_used", 1.0, {"feature": name})
            for name in ("forms", "gallery", "invoices", "calendar")
        ],
        *[("client_added", 20.0, {"client_id": f"c{n}"}) for n in range(3)],
        *[("client_active", 1.0, {"client_id": f"c{n}"}) for n in range(3)],
    )
    assert Browser(server, supplier).look()["help"] is None


def test_a_payment_that_failed_is_said_before_all_else(server: Server) -> None:
    supplier = add_supplier(server)
    send(server, supplier, ("login", 20, {}), ("payment_failed", 3.2, {}))
    assert (
        Browser(server, supplier)
        .look(locale="de-DE")["help"]["reason"]
        .startswith("Eine Zahlung ist vor 3 Tagen")
    )


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_can_be_repeated_with_its_key_under_a_new_token(server: Server) -> None:
    supplier = add_supplier(server)
    first, second = (
        Browser(server, supplier),
        Browser(server, supplier, iat=int(datetime.now(UTC).timestamp()) - 5),
    )
    assert first.token != second.token
    start = first.client.get("/api/coach/slots").json()["slots"][3]["starts_at"]
    answers = [
        tab.client.post(
            "/api/coach/calls", json={"starts_at": start}, headers={"Idempotency-Key": "one"}
        )
        for tab in (first, second)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert server.sql("SELECT count(*) FROM support_interactions") == [(1,)]
    other = Browser(server, add_supplier(server))
    mine = other.client.post(
        "/api/coach/calls", json={"starts_at": start}, headers={"Idempotency-Key": "one"}
    )
    assert mine.status_code == 409, "another supplier's key is another key, and the time is taken"
    assert mine.json()["next_free"]


def test_times_that_cannot_be_had_are_refused_with_some_that_can(server: Server) -> None:
    browser = Browser(server, add_supplier(server))
    past = browser.client.post("/api/coach/calls", json={"starts_at": "2020-01-06T10:00:00Z"})
    assert (past.status_code, past.json()["reason"]) == (422, "past")
    assert past.json()["next_free"] and past.headers["access-control-allow-origin"] == "*"
    for query in ({"from": "soon"}, {"from": "2026-13-01"}):
        assert browser.client.get("/api/coach/slots", params=query).status_code == 422
    assert browser.client.get("/api/coach/slots", params={"days": 0}).status_code == 400
    assert browser.client.get("/api/coach/slots", params={"from": "9999-12-31"}).status_code in {
        200,
        422,
    }
    assert browser.client.post("/api/coach/calls", json={"starts_at": "x"}).status_code == 400
    assert (
        browser.client.post(
            "/api/coach/calls",
            json={"starts_at": past.json()["next_free"][0]["starts_at"], "topic": "x" * 501},
        ).status_code
        == 400
    )


# ── checklist and celebrations ────────────────────────────────────────────────────────────────────────────────────────


def start(server: Server, days: float = 2.0) -> str:
    supplier = add_supplier(server, created_at=datetime.now(UTC) - timedelta(days=days))
    send(server, supplier, *[(name, days - 0.01 * n, {}) for n, name in enumerate(SET_UP)])
    return supplier


def test_the_checklist_follows_what_the_supplier_does(server: Server) -> None:
    supplier = start(server)
    browser = Browser(server, supplier)
    before = browser.look("/")["checklist"]
    assert before["state"] in {"on_track", "behind"} and 0 < before["done"] < before[
        "total"
    ] == len(before["steps"])
    assert {"id", "title", "done", "due_on", "actions"} == set(before["steps"][0])
    assert {"id", "title", "hint", "url", "done"} == set(before["steps"][0]["actions"][0])
    send(
        server,
        supplier,
        ("form_created", 0.01, {}),
        ("invite_sent_to_client", 0.01, {"client_id": "a"}),
    )
    after = browser.look("/forms")["checklist"]
    assert after["done"] > before["done"], "at once, and on another page"
    german = browser.look("/", locale="de")["checklist"]
    assert german["title"] != after["title"]


def test_without_a_path_there_is_no_checklist(server: Server) -> None:
    assert Browser(server, add_supplier(server)).look()["checklist"] is None


def test_what_was_just_reached_is_celebrated_in_one_tab(server: Server) -> None:
    supplier = start(server)
    browser = Browser(server, supplier)
    send(server, supplier, ("form_created", 0.001, {}))
    shown = browser.look("/")["celebration"]
    assert shown and shown["title"] and shown["body"] and "{" not in shown["body"]
    again = browser.look("/")["celebration"]
    assert again == shown, "it waits until somebody takes it"
    with ThreadPoolExecutor(12) as threads:
        path = f"/api/coach/celebrations/{shown['id']}"
        answers = list(
            threads.map(lambda _: browser.client.post(path).json()["celebrate"], range(12))
        )
    assert sorted(answers) == [False] * 11 + [True]
    following = browser.look("/")["celebration"]
    assert following is None or following["id"] != shown["id"]
    assert browser.client.post("/api/coach/celebrations/no_such").json() == {"celebrate": False}
    other = Browser(server, add_supplier(server))
    assert other.client.post(f"/api/coach/celebrations/{shown['id']}").json() == {
        "celebrate": False
    }


def test_a_celebrated_activation_ends_the_checklist_on_every_server(settings: Settings) -> None:
    with serving(settings) as one, serving(settings) as two:
        supplier = start(one)
        with one.client("write") as client:
            path = f"/api/success/onboarding/{supplier}"
            steps = client.get(path).json()["steps"]
            for action in [
                action["id"] for step in steps for action in step["actions"] if not action["done"]
            ]:
                client.post(
                    path + "/actions", json={"action": action}
                )  # activation itself follows from the others
        key = one.key("coach")
        here, there = Browser(one, supplier, key), Browser(two, supplier, key)
        assert there.look("/")["checklist"]["state"] == "done"
        shown = here.look("/")["celebration"]
        assert shown["id"] == "fully_activated" and shown["certificate_url"]
        assert here.client.post("/api/coach/celebrations/fully_activated").json() == {
            "celebrate": True
        }
        assert [tab.look("/")["checklist"] for tab in (here, there)] == [None, None]


# ── recommendations ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_next_steps_are_those_of_the_api_and_are_noted_as_shown(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    shown = browser.look()["recommendations"]
    with server.client("read") as client:
        path = f"/api/success/recommendations/{supplier}"
        listed = client.get(path, params={"audience": "supplier", "limit": 3}).json()[
            "recommendations"
        ]
    assert len(shown) > 1 and [one["id"] for one in shown] == [one["id"] for one in listed]
    assert [one["reason"] for one in shown] == [one["reason"] for one in listed]
    reported = server.sql(
        "SELECT recommendation_id FROM recommendation_impressions WHERE treated AND channel = 'coach' AND supplier_id = %s",
        supplier,
    )
    assert {name for (name,) in reported} == {one["id"] for one in shown}
    step = shown[0]["id"]
    assert browser.client.post(f"/api/coach/recommendations/{step}/click").status_code == 204
    assert server.sql(
        "SELECT recommendation_id FROM recommendation_impressions WHERE clicked_at IS NOT NULL"
    ) == [(step,)]
    assert browser.client.post("/api/coach/recommendations/never_shown/click").status_code == 204
    other = Browser(server, add_supplier(server))
    other.look()
    assert (
        other.client.post(f"/api/coach/recommendations/{shown[-1]['id']}/click").status_code == 204
    )
    taken = server.sql(
        "SELECT supplier_id::text, recommendation_id FROM recommendation_impressions WHERE clicked_at IS NOT NULL"
    )
    assert (supplier, shown[-1]["id"]) not in taken, "another's press is not mine"


# ── kept scores ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_score_is_cached_until_something_new_is_known(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    browser.look()
    kept = server.app.state.coach._kept[supplier]
    browser.look("/clients")
    assert server.app.state.coach._kept[supplier] is kept
    send(server, supplier, ("client_added", 1.0, {"client_id": "a"}))
    browser.look()
    assert server.app.state.coach._kept[supplier] is not kept
    kept = server.app.state.coach._kept[supplier]
    with server.client("ingest") as client:
        body = {
            "type": "identify",
            "userId": supplier,
            "messageId": str(uuid4()),
            "traits": {"name": "Rosa & Co"},
        }
        assert client.post("/v1/batch", json={"batch": [body]}).status_code == 200
    assert browser.look()["supplier"]["name"] == "Rosa & Co"
    assert server.app.state.coach._kept[supplier].row["name"] == "Rosa & Co"


def test_a_cancelled_supplier_is_not_found(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    assert browser.look()
    send(server, supplier, ("subscription_cancelled", 0.1, {}))
    assert browser.client.get("/api/coach").status_code == 404


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_labels_come_when_they_are_asked_for(server: Server) -> None:
    browser = Browser(server, add_supplier(server))
    assert browser.look()["messages"] is None
    german = browser.look(messages=1, locale="de-AT")
    assert german["locale"] == "de" and german["messages"]["later"] == "Später"
    assert (
        browser.look(messages=1, locale="ja")["messages"]
        == browser.look(messages=1, locale="en")["messages"]
    )
    assert (
        browser.look(messages="true")["messages"] and browser.look(messages=0)["messages"] is None
    )
    assert browser.client.get("/api/coach", params={"messages": "perhaps"}).status_code == 400


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word_with_its_places(language: str) -> None:
    assert set(list_languages()) >= set(LANGUAGES)
    for words in (interface_messages, help_messages):
        english, theirs = words(("en",)), words((language,))
        assert theirs.keys() == english.keys()
        for key, text in theirs.items():
            assert text.strip() == text and text
            assert set(placeholders(text)) == set(placeholders(english[key])), f"{language}.{key}"
            assert not check_message(text, KINDS, language), f"{language}.{key}"
        same = [key for key in english if theirs[key] == english[key]]
        assert language == "en" or len(same) <= 3, f"not translated: {same}"


# ── what browsers ask first ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_foreign_page_may_ask_everything_of_the_browsers_routes(server: Server) -> None:
    paths = (
        "/api/coach",
        "/api/coach/tips/x",
        "/api/coach/celebrations/x",
        "/api/coach/recommendations/x/click",
        "/api/coach/slots",
        "/api/coach/calls",
    )
    for path in paths:
        asked = {
            "Origin": "https://platform.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,baggage,content-type,idempotency-key,traceparent",
        }
        answer = httpx.options(server.base_url + path, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(
            name in allowed
            for name in (
                "authorization",
                "baggage",
                "content-type",
                "idempotency-key",
                "traceparent",
            )
        )
        assert {"GET", "POST"} <= set(
            answer.headers["access-control-allow-methods"].replace(" ", "").split(",")
        )
        assert "access-control-allow-credentials" not in answer.headers


def test_errors_can_be_read_from_a_foreign_page_too(server: Server) -> None:
    browser = Browser(server, add_supplier(server))
    answers: list[Any] = [
        httpx.get(server.base_url + "/api/coach"),
        browser.client.get("/api/coach", params={"page": "x" * 501}),
        browser.client.post("/api/coach/tips/none", json={"response": "completed"}),
        browser.client.post("/api/coach/tips/none", content=b"{"),
    ]
    assert [answer.status_code for answer in answers] == [401, 400, 404, 400]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "no-store"


def test_nothing_else_is_open_to_foreign_pages(server: Server) -> None:
    for path in ("/api/health/score/" + str(uuid4()), "/api/coach/tokens", "/livez"):
        assert "access-control-allow-origin" not in httpx.get(server.base_url + path).headers


def test_the_openapi_document_describes_the_coach(server: Server) -> None:
    document = httpx.get(server.base_url + "/openapi.json").json()
    described = document["paths"]["/api/coach"]["get"]
    assert described["operationId"] == "getCoach" and {"401", "404"} <= set(described["responses"])
    assert {"page", "locale", "messages"} <= {one["name"] for one in described["parameters"]}
    assert not [path for path, item in document["paths"].items() if "options" in item]
