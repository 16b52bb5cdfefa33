"""The outbox over HTTP: states, one message, and its sandboxed frame."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from everafter.mail.model import STATUS_MEANING
from helpers_pages import XSS, add_message, add_supplier, form_token, signed_in
from helpers_server import Server

NOW = datetime.now(UTC)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as made:
        yield made


@pytest.fixture
def supplier(server: Server) -> uuid.UUID:
    return add_supplier(server, "Golden Hour")


def test_every_state_is_listed_counted_and_explained(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    copies = {status: 1 + place % 8 for place, status in enumerate(STATUS_MEANING)}
    for status, number in copies.items():
        for copy in range(number):
            add_message(
                server,
                supplier,
                status=status,
                subject=f"{status} {copy}",
                created_at=NOW - timedelta(minutes=copy),
            )
    page = client.get("/messages").text
    assert page.count('class="row"') == sum(copies.values()) < 50
    for status, meaning in STATUS_MEANING.items():
        assert re.search(rf'<a href="\?status={status}".*?<b>{copies[status]}</b></a>', page)
        shown = client.get(f"/messages?status={status}").text
        assert shown.count('class="row"') == copies[status] and meaning in shown.replace(
            "&#39;", "'"
        )
    assert client.get("/messages?status=lost").status_code == 400


def test_older_messages_by_cursor(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    made = {
        str(add_message(server, supplier, created_at=NOW - timedelta(seconds=place // 2)))
        for place in range(120)
    }
    seen: list[str] = []
    path: str | None = "/messages"
    while path:
        page = client.get(path).text
        seen += re.findall(rf'class="row" href="/messages/{supplier}/([0-9a-f-]+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = "/messages" + older[1].replace("&amp;", "&") if older else None
    assert len(seen) == 120 and set(seen) == made
    for nonsense in ("x", "2026-01-01T00:00:00+00:00_x", "_"):
        assert client.get("/messages", params={"before": nonsense}).status_code == 400


def test_a_queued_message_is_previewed_with_the_suppliers_numbers(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    message = add_message(server, supplier)
    page = client.get(f"/messages/{supplier}/{message}").text
    assert "with today’s links" in page and "Golden Hour" in page and "waiting for its time" in page
    frame = re.search(r"<iframe [^>]*>", page)
    assert (
        frame
        and 'sandbox=""' in frame[0]
        and f'src="/messages/{supplier}/{message}/html"' in frame[0]
    )


def test_the_list_shows_the_subject_of_an_unsent_message(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    add_message(server, supplier)
    add_message(server, supplier, template="no_such_template")
    page = client.get("/messages").text
    preview = client.get(re.findall(r'href="(/messages/[^"]+)">(?!No such template)', page)[0]).text
    subject = re.search(r"<h1>(.*?)</h1>", preview)
    assert subject and f">{subject[1]}</a>" in page and ">No such template</a>" in page


def test_a_sent_message_is_shown_as_sent(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    message = add_message(
        server,
        supplier,
        status="accepted",
        subject=XSS,
        body_text=f"Hello {XSS}",
        body_html=f"<html><body><p>Hello</p>{XSS}</body></html>",
        accepted_at=NOW,
        smtp_reply=f"250 ok {XSS}",
    )
    page = client.get(f"/messages/{supplier}/{message}").text
    assert XSS not in page and "&lt;script&gt;" in page
    inner = client.get(f"/messages/{supplier}/{message}/html")
    assert XSS in inner.text, "shown unescaped, in a sandboxed frame"
    policy = inner.headers["content-security-policy"]
    assert (
        policy.startswith("sandbox;")
        and "default-src 'none'" in policy
        and "script-src" not in policy
    )
    assert "http" not in policy, "no remote content, so the sender cannot track views"


def test_the_html_part_requires_a_sign_in(server: Server, supplier: uuid.UUID) -> None:
    message = add_message(server, supplier)
    answer = httpx.get(
        f"{server.base_url}/messages/{supplier}/{message}/html", headers={"accept": "text/html"}
    )
    assert answer.status_code == 303


def test_a_message_that_cannot_be_rendered_shows_the_reason(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    message = add_message(server, supplier, template="never_written")
    page = client.get(f"/messages/{supplier}/{message}").text
    assert "It cannot be rendered" in page and "never_written" in page
    assert client.get(f"/messages/{supplier}/{message}/html").status_code == 404


@pytest.mark.parametrize(("outcome", "status"), [("sent", "accepted"), ("resend", "queued")])
def test_a_message_in_doubt_can_be_resolved(
    server: Server, client: httpx.Client, supplier: uuid.UUID, outcome: str, status: str
) -> None:
    message = add_message(
        server, supplier, status="in_doubt", subject="Hm", body_text="Hm", body_html="Hm"
    )
    path = f"/messages/{supplier}/{message}"
    token = form_token(client.get(path).text)
    assert client.post(f"{path}/resolve", data={"outcome": outcome}).status_code == 403
    assert (
        client.post(f"{path}/resolve", data={"outcome": "burn", "csrf": token}).status_code == 400
    )
    assert (
        client.post(
            f"{path}/resolve",
            data={"outcome": outcome, "csrf": token},
            headers={"sec-fetch-site": "cross-site"},
        ).status_code
        == 403
    )
    assert server.sql("SELECT status FROM outbox") == [("in_doubt",)]
    assert (
        client.post(f"{path}/resolve", data={"outcome": outcome, "csrf": token}).status_code == 303
    )
    assert server.sql("SELECT status, status_reason FROM outbox")[0][0] == status
    assert "Mr member" in server.sql("SELECT status_reason FROM outbox")[0][0]
    assert (
        client.post(f"{path}/resolve", data={"outcome": outcome, "csrf": token}).status_code == 409
    )


def test_observers_cannot_change_messages(server: Server, supplier: uuid.UUID) -> None:
    message = add_message(server, supplier, status="in_doubt")
    with signed_in(server, "observer") as client:
        path = f"/messages/{supplier}/{message}"
        page = client.get(path).text
        assert "It was sent" not in page
        answer = client.post(f"{path}/resolve", data={"outcome": "sent", "csrf": form_token(page)})
        assert (
            answer.status_code == 403 and "observers cannot change messages" in answer.text.lower()
        )
    assert server.sql("SELECT status FROM outbox") == [("in_doubt",)]


def test_an_empty_list_and_an_unknown_message(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    assert "No messages yet" in client.get("/messages").text
    assert client.get(f"/messages/{supplier}/{uuid.uuid4()}").status_code == 404
    server.sql("INSERT INTO mail_pause (id, reason) VALUES (1, 'a mistake in a template')")
    assert "Mail is paused: a mistake in a template" in client.get("/messages").text
