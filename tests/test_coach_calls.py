"""How many calls a supplier's browser may have ahead: one token must not fill everybody's diary."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from helpers_coach import Browser, add_supplier
from helpers_server import Server


def slots(browser: Browser) -> list[str]:
    return [
        slot["starts_at"]
        for slot in browser.client.get("/api/coach/slots", params={"days": 7}).json()["slots"]
    ]


def test_three_calls_ahead_are_enough_however_fast_one_clicks(server: Server) -> None:
    browser = Browser(server, add_supplier(server))
    times = slots(browser)[::4][:8]

    def book(starts_at: str) -> int:
        return browser.client.post("/api/coach/calls", json={"starts_at": starts_at}).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = sorted(threads.map(book, times))
    assert answers == [201] * 3 + [409] * 5
    refused = browser.client.post("/api/coach/calls", json={"starts_at": slots(browser)[-1]}).json()
    assert refused["reason"] == "too_many" and "3 calls" in refused["detail"]


def test_who_cancels_one_may_book_another_and_the_team_may_always(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    booked = [
        browser.client.post("/api/coach/calls", json={"starts_at": at}).json()
        for at in slots(browser)[::4][:3]
    ]
    with server.client("write") as team:
        more = team.post(
            "/api/support/schedule-call", json={"supplier_id": supplier, "type": "success_call"}
        )
        assert more.status_code == 201
        for call in (booked[0], more.json()):
            done = team.post(
                f"/api/support/calls/{call['interaction_id']}/cancel",
                json={"supplier_id": supplier},
            )
            assert done.status_code == 200, done.text
    assert (
        browser.client.post("/api/coach/calls", json={"starts_at": slots(browser)[-1]}).status_code
        == 201
    )


def test_who_has_cancelled_books_nothing_here(server: Server) -> None:
    supplier = add_supplier(server)
    browser = Browser(server, supplier)
    [first, *_] = slots(browser)
    with server.client("ingest") as platform:
        event = {"userId": supplier, "event": "subscription_cancelled", "messageId": "cancelled"}
        assert platform.post("/v1/track", json=event).status_code == 200
    server.wait_folded()
    assert browser.client.get("/api/coach/slots").status_code == 404
    assert browser.client.post("/api/coach/calls", json={"starts_at": first}).status_code == 404
    assert server.sql("SELECT count(*) FROM support_interactions") == [(0,)]


def test_an_action_that_the_platform_reports_is_ticked_at_the_next_look(server: Server) -> None:
    supplier = add_supplier(server, created_at=datetime.now(UTC) - timedelta(days=1))
    began = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    with server.client("ingest") as platform:
        for event in ("account_created", "login"):
            said = {"userId": supplier, "event": event, "messageId": event, "timestamp": began}
            assert platform.post("/v1/track", json=said).status_code == 200
    server.wait_folded()
    browser = Browser(server, supplier)

    def done() -> set[str]:
        steps = browser.look("/")["checklist"]["steps"]
        return {action["id"] for step in steps for action in step["actions"] if action["done"]}

    before = done()
    action = "import_clients_started"
    assert action not in before
    with server.client("write") as team:
        answer = team.post(f"/api/success/onboarding/{supplier}/actions", json={"action": action})
        assert answer.status_code in {200, 201}, answer.text
    assert done() == before | {action}
