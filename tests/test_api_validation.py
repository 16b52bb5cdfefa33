"""Invalid requests: the detail says what is wrong and where, in English and in the caller's names."""

from typing import Any

import pytest

from helpers_server import Server

SUPPLIER = "00000000-0000-4000-8000-000000000001"
EVENT = {"type": "bounce", "message_id": "<x@care.example>", "email": "a@b.example"}


@pytest.mark.parametrize(
    ("path", "detail", "source"),
    [
        (
            f"/api/events?supplier_id={SUPPLIER}&limit=x",
            "limit: 'x' is not a whole number",
            "query",
        ),
        (
            f"/api/events?supplier_id={SUPPLIER}&limit=501",
            "limit: 501 is more than 500",
            "query",
        ),
        (
            "/api/support/tickets?state=closed",
            "state: 'closed' is not allowed; expected one of open, waiting, resolved",
            "query",
        ),
        (
            f"/api/support/slots?supplier_id={SUPPLIER}",
            "type: this query parameter is missing",
            "query",
        ),
        ("/api/metrics?from=", "from: expected at least 1 character", "query"),
        (f"/api/support/tickets/x?supplier_id={'x' * 300}", "supplier_id: ", "query"),
    ],
)
def test_a_parameter_that_is_refused(server: Server, path: str, detail: str, source: str) -> None:
    with server.client("read") as client:
        answer = client.get(path)
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["detail"].startswith(detail), problem
    (error,) = problem["errors"]
    assert problem["detail"] == f"{error['key']}: {error['message']}"
    assert error["source"] == source
    assert "?" not in problem["detail"] and "xxxx" * 20 not in answer.text


def test_a_header_is_named_as_it_is_sent(server: Server) -> None:
    with server.client("write") as client:
        answer = client.post(
            "/api/support/interactions",
            json={"supplier_id": SUPPLIER, "type": "chat", "notes": "x"},
            headers={"Idempotency-Key": "x" * 300},
        )
    assert answer.json()["detail"] == "Idempotency-Key: expected at most 255 characters"
    assert answer.json()["errors"][0]["source"] == "header"


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/api/support/tickets", {"subject": "x"}, "supplier_id: it is missing"),
        (
            "/api/support/tickets",
            {"supplier_id": None, "subject": "x"},
            "supplier_id: null cannot be a supplier's id",
        ),
        (
            "/api/support/tickets",
            {"supplier_id": SUPPLIER, "subject": 5},
            "subject: expected a text, got a whole number",
        ),
        ("/api/support/tickets", [], "body: expected an object, got a list"),
        (
            "/api/support/interactions",
            {"supplier_id": SUPPLIER, "type": "Chat", "notes": "x"},
            "type: expected a text that matches the regular expression '^[a-z]",
        ),
        ("/api/mail/events", {}, "body: expected a list, got an object"),
    ],
)
def test_a_body_that_is_refused(server: Server, path: str, body: Any, detail: str) -> None:
    with server.client("write") as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail), answer.text
    assert "`" not in answer.text


def test_an_item_of_a_list_is_refused_by_its_index(server: Server) -> None:
    with server.client("write") as client:
        answer = client.post(
            "/api/mail/events", json=[EVENT] * 500 + [EVENT | {"message_id": 5}, EVENT]
        )
    assert answer.json()["detail"] == "[500].message_id: expected a text, got a whole number"


@pytest.mark.parametrize(
    ("body", "detail"),
    [(b"", "body: it is empty; send JSON"), (b"{", "the body is not JSON")],
)
def test_a_body_that_is_not_json(server: Server, body: bytes, detail: str) -> None:
    with server.client("write") as client:
        answer = client.post(
            "/api/support/tickets", content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail), answer.text


def test_a_path_or_a_method_that_does_not_exist_is_named(server: Server) -> None:
    with server.client("read") as client:
        answer = client.get("/api/evnts?key=secret")
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("there is nothing at /api/evnts;")
        answer = client.delete("/api/events")
        assert answer.status_code == 405
        assert (
            answer.json()["detail"] == "/api/events does not take DELETE; it takes GET, HEAD,"
            " OPTIONS"
        )
        page = client.get("/nowhere", headers={"Accept": "text/html"})
        assert "no page at this address" in page.text


def test_a_damaged_gzip_body(server: Server) -> None:
    with server.client("ingest") as client:
        answer = client.post("/v1/batch", content=b"\x1f\x8b" + bytes(20))
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("the gzip body is broken; compress it again")


@pytest.mark.parametrize("path", ["/u/x", "/go/step?to=/x", "/go/x", "/metrics"])
def test_the_charset_is_named_once(server: Server, path: str) -> None:
    with server.client() as client:
        assert client.get(path).headers["content-type"].count("charset=utf-8") == 1
