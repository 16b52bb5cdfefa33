"""One-click unsubscription (RFC 8058): POST acts immediately, GET changes nothing."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from everafter.mail.jobs import send_due
from everafter.mail.rules import one_click_token
from helpers_mail import add_message, get, sending, sink, with_pool
from helpers_server import Server

NOTHING = "/u/" + "A" * 64


def token(server: Server, **options: str) -> str:
    key = add_message(server.database, **options)  # pyright: ignore
    return one_click_token(server.settings.secret, key)


def suppressed(server: Server) -> list[tuple[str, str, str]]:
    return server.sql("SELECT email, topic, reason FROM suppressions")  # pyright: ignore


@pytest.mark.parametrize(
    "request_kind",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {},
        {"content": b"\xff\x00garbage", "headers": {"Content-Type": "application/json"}},
    ],
    ids=["urlencoded", "multipart", "no body", "garbage"],
)
def test_one_click_unsubscribes_immediately(
    server: Server, request_kind: dict[str, object]
) -> None:
    first = add_message(server.database, "Ann@Example.com")
    waiting = add_message(
        server.database, "ann@example.com", template="check_in", send_after="3 days"
    )
    transactional = add_message(
        server.database, "ann@example.com", template="payment_failed", topic="transactional"
    )
    bob = add_message(server.database, "bob@example.com")
    link = f"/u/{one_click_token(server.settings.secret, first)}"
    with server.client() as client:
        for _ in range(2):
            answer = client.post(link, **request_kind)  # pyright: ignore
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers and "location" not in answer.headers
            assert suppressed(server) == [("ann@example.com", "success", "unsubscribed")]
    states = [get(server.database, key).status for key in (first, waiting, transactional, bob)]
    assert states == ["suppressed", "suppressed", "queued", "queued"]


def test_the_link_in_a_sent_message_cancels_queued_messages(server: Server) -> None:
    add_message(server.database, "ann@example.com")
    with sink() as inbox:
        with_settings = replace(sending(server.settings, inbox), base_url=server.base_url)
        with_pool(server.database, lambda pool: send_due(pool, with_settings))
        [(_, message)] = inbox.messages
        link = message["List-Unsubscribe"].strip("<>")
        html = message.get_body(("html",))
        assert html is not None and f'href="{link}"' in html.get_content()
        assert httpx.post(link, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        later = add_message(server.database, "ann@example.com", template="check_in")
        assert with_pool(server.database, lambda pool: send_due(pool, with_settings)).skipped == 1
    assert get(server.database, later).status == "suppressed"


def test_get_changes_nothing(server: Server) -> None:
    key = add_message(server.database)
    link = f"/u/{one_click_token(server.settings.secret, key)}"
    with server.client() as client:
        page = client.get(link)
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE"):
            assert client.request(method, link).status_code in {200, 204, 405}
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert 'method="post"' in page.text and "example.com" not in page.text.replace("mailto:", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == (
        "no-store",
        "no-referrer",
    )
    assert "set-cookie" not in page.headers
    assert suppressed(server) == [] and get(server.database, key).status == "queued"


def test_an_unknown_link(server: Server) -> None:
    key = add_message(server.database)
    good = one_click_token(server.settings.secret, key)
    other_secret = one_click_token("another secret", key)
    with server.client() as client:
        for link in (
            NOTHING,
            "/u/x",
            "/u/%00",
            f"/u/{good[:-1]}",
            f"/u/{good}A",
            f"/u/{other_secret}",
            "/u/" + "é" * 64,
        ):
            assert client.get(link).status_code == 404, link
            assert client.post(link).status_code == 404, link
        server.sql("DELETE FROM outbox")
        assert client.post(f"/u/{good}").status_code == 404
    assert suppressed(server) == []


def test_a_button_redirects_to_the_platform_or_explains_where(server: Server) -> None:
    with server.client() as client:
        page = client.get("/go/forms", follow_redirects=False)
        assert page.status_code == 200 and "look for your forms" in page.text
        for wrong in ("/go/evil", "/go/https:%2F%2Fevil.example", "/go/..%2F"):
            assert client.get(wrong, follow_redirects=False).status_code == 404
        settings = server.app.state.settings
        for app, where in (
            ("https://app.example/home", "https://app.example/home"),
            ("https://app.example/{action}?from=mail", "https://app.example/forms?from=mail"),
        ):
            server.app.state.settings = replace(settings, app_url=app)
            answer = client.get("/go/forms", follow_redirects=False)
            assert (answer.status_code, answer.headers["location"]) == (302, where)
            assert "set-cookie" not in answer.headers


def test_concurrent_clicks_count_once(server: Server) -> None:
    link = f"{server.base_url}/u/{token(server)}"

    async def click() -> list[int]:
        async with httpx.AsyncClient(timeout=30) as client:
            answers = await asyncio.gather(*(client.post(link) for _ in range(30)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(click()) == [200] * 30
    assert len(suppressed(server)) == 1


def test_unsubscribing_matches_other_spellings_of_the_address(server: Server) -> None:
    old = add_message(server.database, "Info@Bücher-Hochzeit.example")
    waiting = add_message(
        server.database,
        "info@xn--bcher-hochzeit-gsb.example",
        template="check_in",
        send_after="3 days",
    )
    with server.client() as client:
        assert client.post(f"/u/{one_click_token(server.settings.secret, old)}").status_code == 200
    assert suppressed(server) == [
        ("info@xn--bcher-hochzeit-gsb.example", "success", "unsubscribed")
    ]
    assert [get(server.database, key).status for key in (old, waiting)] == [
        "suppressed",
        "suppressed",
    ]


def test_suppressions_of_earlier_versions_still_match(server: Server) -> None:
    server.sql(
        "INSERT INTO suppressions (email, topic, reason) VALUES ('info@bücher-hochzeit.example', 'success', 'unsubscribed')"
    )
    new = add_message(server.database, "info@xn--bcher-hochzeit-gsb.example")
    before = add_message(server.database, "info@bücher-hochzeit.example")
    other = add_message(server.database, "ann@example.com")
    with sink() as inbox:
        with_pool(server.database, lambda pool: send_due(pool, sending(server.settings, inbox)))
        assert len(inbox.messages) == 1
    assert [get(server.database, key).status for key in (new, before, other)] == [
        "suppressed",
        "suppressed",
        "accepted",
    ]
    assert suppressed(server) == [
        ("info@xn--bcher-hochzeit-gsb.example", "success", "unsubscribed")
    ]
