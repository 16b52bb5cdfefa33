"""Tickets through the API: each action is an event, its answer is true at once, and what cannot be is said."""

import asyncio
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from everafter.core.db import connection
from everafter.core.locks import Lock
from everafter.folding import fold_events
from everafter.tickets.model import Change
from everafter.tickets.queries import find_ticket
from everafter.tickets.rules import follow
from helpers_pages import add_supplier
from helpers_server import Server

NOW = datetime.now(UTC)


@pytest.fixture
def supplier(server: Server) -> str:
    return str(add_supplier(server, "Golden Hour"))


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client("write") as found:
        yield found


def opened(client: httpx.Client, supplier: str, **more: Any) -> dict[str, Any]:
    answer = client.post(
        "/api/support/tickets",
        json={"supplier_id": supplier, "subject": "The import stops", **more},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def act(
    client: httpx.Client, supplier: str, ticket: str, action: str, **more: Any
) -> httpx.Response:
    return client.post(
        f"/api/support/tickets/{ticket}/{action}", json={"supplier_id": supplier, **more}
    )


def test_a_ticket_from_opening_to_resolution(
    server: Server, client: httpx.Client, supplier: str
) -> None:
    ticket = opened(client, supplier, priority="high", ticket_id="T-1")
    assert (ticket["state"], ticket["priority"], ticket["answered_at"]) == ("open", "high", None)
    assert ticket["clocks"]["first_reply"]["state"] in ("on_time", "due_soon")
    replied = act(client, supplier, "T-1", "reply").json()
    assert replied["clocks"]["first_reply"]["state"] == "met" and replied["answered_at"]
    waiting = act(client, supplier, "T-1", "wait").json()
    assert (waiting["state"], waiting["clocks"]["resolution"]["state"]) == ("waiting", "paused")
    assert waiting["waiting_since"] and waiting["clocks"]["resolution"]["due_at"] is None
    assert act(client, supplier, "T-1", "resume").json()["state"] == "open"
    resolved = act(client, supplier, "T-1", "resolve").json()
    assert (resolved["state"], resolved["clocks"]["resolution"]["state"]) == ("resolved", "met")
    again = opened(client, supplier, ticket_id="T-1", subject="It stops again")
    assert (again["state"], again["reopened"], again["subject"], again["resolved_at"]) == (
        "open",
        1,
        "It stops again",
        None,
    )
    assert [change["transition"] for change in again["changes"]] == [
        "opened",
        "replied",
        "waiting",
        "resumed",
        "resolved",
        "opened",
    ]
    assert client.get("/api/support/tickets/T-1", params={"supplier_id": supplier}).json() == again

    kinds = server.sql(
        "SELECT type FROM events WHERE supplier_id = %s ORDER BY occurred_at", supplier
    )
    assert [kind for (kind,) in kinds] == [
        "ticket_opened", "ticket_replied", "ticket_waiting", "ticket_resumed", "ticket_resolved", "ticket_opened",
    ]  # fmt: skip
    assert server.sql(
        "SELECT tickets_open, events_total FROM supplier_activity WHERE supplier_id = %s", supplier
    ) == [(1, 6)]
    assert server.sql("SELECT count(*) FROM events_pending") == [(0,)], (
        "the answer was folded before it went out"
    )


def test_without_an_id_it_gets_one(client: httpx.Client, supplier: str) -> None:
    assert uuid.UUID(opened(client, supplier)["ticket_id"]) != uuid.UUID(
        opened(client, supplier)["ticket_id"]
    )


def test_the_platforms_own_events_and_ours_are_one_story(
    server: Server, client: httpx.Client, supplier: str
) -> None:
    """Sent over the ingest and not folded yet: what is done next is scored with it all the same."""
    with server.client("ingest") as ingest:
        batch = [{"type": "track", "userId": supplier, "messageId": "m1", "event": "ticket_opened",
                  "properties": {"ticket_id": "P-7", "subject": "Invoices", "priority": "low"}}]  # fmt: skip
        assert ingest.post("/v1/batch", json={"batch": batch}).status_code == 200
    answer = act(client, supplier, "P-7", "reply")
    assert answer.status_code == 200
    assert (answer.json()["subject"], answer.json()["clocks"]["first_reply"]["limit_hours"]) == (
        "Invoices",
        16,
    )


@pytest.mark.parametrize(
    ("before", "action", "status", "said"),
    [
        ([], "resume", 409, "does not wait"),
        (["wait"], "wait", 409, "waits for the supplier already"),
        (["resolve"], "wait", 409, "is resolved"),
        (["resolve"], "reply", 409, "is resolved"),
        (["resolve"], "resolve", 409, "is resolved"),
        (["wait"], "resolve", 200, ""),
        (["wait"], "reply", 200, ""),
        ([], "delete", 422, "reply, wait, resume, resolve"),
    ],
)
def test_what_may_be_done(
    client: httpx.Client, supplier: str, before: list[str], action: str, status: int, said: str
) -> None:
    opened(client, supplier, ticket_id="T")
    for step in before:
        assert act(client, supplier, "T", step).status_code == 200
    answer = act(client, supplier, "T", action)
    assert answer.status_code == status and said in answer.text
    if status == 409:
        assert answer.json()["state"] in ("open", "waiting", "resolved")


def test_what_is_not_there(client: httpx.Client, supplier: str, server: Server) -> None:
    other = str(add_supplier(server, "Someone else"))
    opened(client, supplier, ticket_id="T")
    stranger = str(uuid.uuid4())
    for who, ticket in (
        (supplier, "U"),
        (other, "T"),
        (stranger, "T"),
        (supplier, "a%00b"),
        (supplier, "x" * 300),
        (supplier, "%ff"),
    ):
        for action in ("reply", "wait", "resume", "resolve"):
            assert act(client, who, ticket, action).status_code == 404, (who, ticket, action)
        assert (
            client.get(f"/api/support/tickets/{ticket}", params={"supplier_id": who}).status_code
            == 404
        )
    assert (
        client.post(
            "/api/support/tickets", json={"supplier_id": stranger, "subject": "x"}
        ).status_code
        == 404
    )
    assert client.get("/api/support/tickets", params={"supplier_id": stranger}).status_code == 404
    # resolved, but never opened: not a ticket yet
    with server.client("ingest") as ingest:
        early = {
            "type": "track",
            "userId": supplier,
            "messageId": "m",
            "event": "ticket_resolved",
            "properties": {"ticket_id": "E"},
        }
        assert ingest.post("/v1/batch", json={"batch": [early]}).status_code == 200
    assert act(client, supplier, "E", "reply").status_code == 404
    assert (
        opened(client, supplier, ticket_id="E", at=(NOW - timedelta(hours=1)).isoformat())["state"]
        == "resolved"
    )
    assert opened(client, supplier, ticket_id="E")["state"] == "open"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"subject": ""}, 400, "subject"),
        ({"subject": " \x00 "}, 422, "subject"),
        ({"subject": "x" * 501}, 400, "subject"),
        ({"subject": "x", "ticket_id": ""}, 400, "ticket_id"),
        ({"subject": "x", "ticket_id": "."}, 422, "path"),
        ({"subject": "x", "ticket_id": " .. "}, 422, "path"),
        ({"subject": "x", "ticket_id": "a\x00"}, 400, "ticket_id"),
        ({"subject": "x", "ticket_id": True}, 400, "ticket_id"),
        ({"subject": "x", "ticket_id": 12.5}, 400, "ticket_id"),
        ({"subject": "x", "ticket_id": "a" * 201}, 400, "ticket_id"),
        ({"subject": "x", "priority": "p" * 61}, 400, "priority"),
        ({"subject": "x", "at": "2199-01-01T00:00:00Z"}, 422, "future"),
        ({"subject": "x", "at": "1999-01-01T00:00:00Z"}, 422, "before 2000"),
        ({"subject": "x", "at": "0001-01-01T00:00:00+14:00"}, 422, "out of range"),
        ({"subject": "x", "at": "yesterday"}, 400, "at"),
        ({"subject": 7}, 400, "subject"),
        ({}, 400, "subject"),
    ],
)
def test_bodies_that_cannot_be(
    client: httpx.Client, supplier: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/api/support/tickets", json={"supplier_id": supplier, **body})
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert said in answer.text


def test_subjects_of_every_kind_are_kept(client: httpx.Client, supplier: str) -> None:
    """What is nasty elsewhere is text here; control characters become spaces."""
    for text, kept in (
        ("Zoë & <b>Änn</b> 😀", None),
        ("a\x00b\x1bc", "a b c"),
        ("'; DROP TABLE tickets; --", None),
        ("%s {x} \\", None),
    ):
        assert opened(client, supplier, subject=text)["subject"] == (kept or text)


def test_a_list_page_by_page(client: httpx.Client, server: Server, supplier: str) -> None:
    other = str(add_supplier(server, "Someone else"))
    source = random.Random(5)
    states: dict[tuple[str, str], str] = {}
    for number in range(23):
        who = source.choice((supplier, other))
        ticket = f"T {number % 12}"
        if (who, ticket) in states:
            continue
        at = (NOW - timedelta(hours=5 + number // 3)).isoformat()  # some at the same moment
        opened(client, who, ticket_id=ticket, at=at)
        step = source.choice(["", "wait", "resolve"])
        if step:
            act(client, who, ticket, step)
        states[who, ticket] = {"": "open", "wait": "waiting", "resolve": "resolved"}[step]

    def listed(**params: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = client.get(
                "/api/support/tickets",
                params={**params, "limit": 4, **({"cursor": cursor} if cursor else {})},
            )
            assert answer.status_code == 200, answer.text
            found += answer.json()["tickets"]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                return found

    everything = listed()
    assert {(one["supplier_id"], one["ticket_id"]): one["state"] for one in everything} == states
    assert len(everything) == len(states)
    assert [one["opened_at"] for one in everything] == sorted(
        (one["opened_at"] for one in everything), reverse=True
    )
    for state in ("open", "waiting", "resolved"):
        wanted = {key for key, current in states.items() if current == state and key[0] == supplier}
        assert {
            (one["supplier_id"], one["ticket_id"])
            for one in listed(supplier_id=supplier, state=state)
        } == wanted
    for bad in ("x", "AAAA", "é", "MjAyNi0xMS0yMlQwMDowMDowMCswMDowMCBhIGI"):
        assert client.get("/api/support/tickets", params={"cursor": bad}).status_code == 400
    assert client.get("/api/support/tickets", params={"state": "closed"}).status_code == 400
    assert client.get("/api/support/tickets", params={"supplier_id": "no\nbody"}).status_code == 400


def test_every_state_is_listed_as_it_is_scored(
    server: Server, client: httpx.Client, supplier: str
) -> None:
    """The statement reads the states as the rules do, also for changes at the same moment."""
    source = random.Random(11)
    transition = ("opened", "replied", "waiting", "resumed", "resolved")
    batch = [
        {"type": "track", "userId": supplier, "messageId": f"m{number}", "event": f"ticket_{source.choice(transition)}",
         "timestamp": (NOW - timedelta(hours=source.randrange(1, 5))).isoformat(), "properties": {"ticket_id": f"T{number % 60}"}}
        for number in range(300)
    ]  # fmt: skip
    with server.client("ingest") as ingest:
        assert ingest.post("/v1/batch", json={"batch": batch}).status_code == 200
    server.wait_folded()
    counted = 0
    for state in ("open", "waiting", "resolved"):
        found = client.get("/api/support/tickets", params={"state": state, "limit": 200}).json()[
            "tickets"
        ]
        assert {one["state"] for one in found} <= {state}
        counted += len(found)
    assert counted == server.sql("SELECT count(*) FROM tickets WHERE opened_at IS NOT NULL")[0][0]
    (open_,) = server.sql(
        "SELECT tickets_open FROM supplier_activity WHERE supplier_id = %s", supplier
    )[0]
    assert open_ == sum(
        len(client.get("/api/support/tickets", params={"state": s, "limit": 200}).json()["tickets"])
        for s in ("open", "waiting")
    )


def test_two_who_resolve_at_once(client: httpx.Client, server: Server, supplier: str) -> None:
    """One of them did; the others get a conflict."""
    opened(client, supplier, ticket_id="T")
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _: act(client, supplier, "T", "resolve").status_code, range(8))
        )
    assert sorted(answers) == [200, *[409] * 7]
    assert server.sql("SELECT count(*) FROM events WHERE type = 'ticket_resolved'") == [(1,)]


def test_a_repeated_post_opens_one_ticket(
    client: httpx.Client, server: Server, supplier: str
) -> None:
    body = {"supplier_id": supplier, "subject": "Once"}
    answers = [
        client.post("/api/support/tickets", json=body, headers={"Idempotency-Key": "k"})
        for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {201} and len(
        {answer.content for answer in answers}
    ) == 1
    assert server.sql("SELECT count(*) FROM tickets") == [(1,)]


def test_while_a_great_fold_is_at_work(
    client: httpx.Client, server: Server, supplier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits a little, then says when to come again; nothing is half done."""
    monkeypatch.setattr("everafter.activity.queries.FOLD_PATIENCE", "200ms")
    with psycopg.connect(server.database) as folder:
        folder.execute("SELECT pg_advisory_xact_lock(%s)", [int(Lock.FOLD)])
        started = time.monotonic()
        answer = client.post("/api/support/tickets", json={"supplier_id": supplier, "subject": "x"})
        assert (answer.status_code, answer.headers["retry-after"]) == (
            503,
            "2",
        ) and time.monotonic() - started < 3
        assert answer.json()["code"] == "overloaded"
    assert server.sql("SELECT count(*) FROM events") == [(0,)]
    opened(client, supplier)


def test_late_and_repeated_events_end_in_the_same_rows(server: Server, supplier: str) -> None:
    """Ingested in any order and in any batches, the stored changes and the history are the same."""
    source = random.Random(2)
    transition = [
        source.choice(("opened", "replied", "waiting", "resumed", "resolved")) for _ in range(40)
    ]
    events = [
        {"type": "track", "userId": supplier, "messageId": f"m{n}", "event": f"ticket_{kind}",
         "timestamp": (NOW - timedelta(minutes=source.randrange(1, 400))).isoformat(), "properties": {"ticket_id": "T"}}
        for n, kind in enumerate(transition)
    ]  # fmt: skip
    twice = events + source.sample(events, 15)
    source.shuffle(twice)
    with server.client("ingest") as ingest:
        for start in range(0, len(twice), 7):
            assert (
                ingest.post("/v1/batch", json={"batch": twice[start : start + 7]}).status_code
                == 200
            )
            time.sleep(0.02)
    server.wait_folded()
    expected = {
        Change(datetime.fromisoformat(e["timestamp"]), e["event"].removeprefix("ticket_"))
        for e in events
    }  # type: ignore[arg-type]

    async def stored() -> list[Change]:
        async with connection(server.database) as conn:
            while await fold_events(conn):
                pass
            found = await find_ticket(conn, uuid.UUID(supplier), "T")
            assert found is not None
            return found.changes

    changes = asyncio.run(stored())
    assert set(changes) == expected and len(changes) == len(expected)
    assert follow(changes, NOW) == follow(expected, NOW)


def test_who_may(server: Server, supplier: str) -> None:
    body = {"supplier_id": supplier, "subject": "x"}
    with (
        server.client("read") as reader,
        server.client() as nobody,
        server.client("ingest") as ingest,
    ):
        assert reader.post("/api/support/tickets", json=body).status_code == 403
        assert reader.get("/api/support/tickets").status_code == 200
        assert nobody.get("/api/support/tickets").status_code == 401
        assert ingest.get("/api/support/tickets").status_code == 403
        assert nobody.post("/api/support/interactions", json={}).status_code == 401


def test_contacts_that_were_not_calls(client: httpx.Client, supplier: str) -> None:
    body = {
        "supplier_id": supplier,
        "type": "check_in",
        "notes": "Met at the\nfair.\x00",
        "outcome": "wants a demo",
    }
    answer = client.post("/api/support/interactions", json=body)
    assert answer.status_code == 201
    said = answer.json()
    assert (said["type"], said["notes"], said["outcome"], said["starts_at"], said["csm"]) == (
        "check_in",
        "Met at the\nfair.",
        "wants a demo",
        None,
        None,
    )
    listed = client.get("/api/support/interactions", params={"supplier_id": supplier}).json()[
        "interactions"
    ]
    assert [one["interaction_id"] for one in listed] == [said["interaction_id"]]
    for wrong, status in (
        ({"notes": ""}, 400), ({"notes": " \x01"}, 422), ({"notes": "x" * 10_001}, 400), ({"type": "Check In"}, 400), ({"type": ""}, 400),
        ({"supplier_id": str(uuid.uuid4())}, 404), ({"supplier_id": "x" * 201}, 400), ({"outcome": "o" * 501}, 400), ({"outcome": 5}, 400),
    ):  # fmt: skip
        assert (
            client.post("/api/support/interactions", json={**body, **wrong}).status_code == status
        ), wrong
