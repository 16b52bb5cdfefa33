"""A slip in a filter's name does not answer with everything."""

import pytest

from helpers_server import Server

SUPPLIER = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("path", "said", "near"),
    [
        (
            f"/api/events?suplier_id={SUPPLIER}",
            "no parameter 'suplier_id' here; did you mean supplier_id?",
            ["supplier_id"],
        ),
        (
            "/api/metrics?metric=health_score&till=2026-01-01",
            "no parameter 'till' here; did you mean until?",
            ["until"],
        ),
        (
            "/api/support/tickets?page=2",
            "no parameter 'page' here; its parameters: supplier_id, state, cursor, limit",
            [],
        ),
        (
            f"/api/success/milestones/{SUPPLIER}?locale=de",
            "no parameter 'locale' here; its parameters: none",
            [],
        ),
        (
            "/api/success/recommendation-effects?%F0%9F%92%8D=1&=2",
            "no parameter '💍' here; its parameters: none",
            [],
        ),
        # the parameter is missing because of the typo, so the typo is reported
        (
            f"/api/support/slots?supplier={SUPPLIER}&type=training",
            "no parameter 'supplier' here; did you mean",
            ["supplier_id"],
        ),
    ],
)
def test_a_parameter_that_is_not_there_is_refused_by_name(
    server: Server, path: str, said: str, near: list[str]
) -> None:
    with server.client("read") as client:
        answer = client.get(path)
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert (problem["code"], problem["did_you_mean"]) == ("invalid", near)
    assert said in problem["detail"]


def test_a_long_name_is_not_repeated_in_full(server: Server) -> None:
    with server.client("read") as client:
        answer = client.get("/api/events", params={"x" * 5000: "1"})
    assert answer.status_code == 400
    assert len(answer.text) < 1000


def test_a_missing_permission_is_reported_first(server: Server) -> None:
    with server.client() as client:
        assert client.get("/api/events?suplier_id=1").status_code == 401


def test_links_that_mail_programs_lengthen_open_and_so_do_pages(server: Server) -> None:
    with server.client() as client:
        tried = client.get(f"/api/support/calls/{SUPPLIER}.ics?token=no&utm_source=mail")
        assert (tried.status_code, tried.json()["code"]) == (404, "not_found"), (
            "the token is what is wrong with it"
        )
        assert client.get("/sign-in?utm_source=mail").status_code == 200


def test_clients_that_collect_events_may_add_their_own(server: Server) -> None:
    with server.client("ingest") as client:
        event = {"type": "track", "event": "login", "userId": SUPPLIER, "messageId": "1"}
        assert client.post("/v1/track?_=1700000000&ver=1.2.3", json=event).status_code == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("supplier_id=null", "supplier_id: null is not a value"),
        ("state=null", "state: null is not a value"),
        (
            f"supplier_id={SUPPLIER}&supplier_id={SUPPLIER}",
            "supplier_id: given more than once",
        ),
        ("limit=5&limit=6", "limit: given more than once"),
        ("limit=x", "limit: 'x' is not a whole number"),
        ("limit=1.5", "limit: '1.5' is not a whole number"),
        ("limit=0", "limit: 0 is less than 1"),
        ("limit=201", "limit: 201 is more than 200"),
    ],
)
def test_a_filter_is_never_passed_over(server: Server, query: str, said: str) -> None:
    with server.client("read") as client:
        answer = client.get(f"/api/support/tickets?{query}")
        assert answer.status_code == 400 and said in answer.json()["detail"]
        assert (
            client.get("/api/metrics?metric=health_score&metric=feature_adoption").status_code
            == 200
        ), "a list may be"
        assert client.get("/api/rejects?code=null").status_code == 200, (
            "where text is asked for, null is text"
        )
        assert client.get("/api/metrics?until=").status_code == 400
