"""The supplier of an event: identify, groups, and events that wait for their supplier."""

import random
import uuid
from typing import Any

from helpers_server import Server
from test_events_http import batch, codes, post, track
from test_events_http import key as key
from test_events_http import supplier as supplier


def test_identify_creates_a_supplier_and_the_latest_value_counts(server: Server, key: str) -> None:
    supplier = str(uuid.uuid4())

    def identify(at: str, traits: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "identify",
            "userId": supplier,
            "messageId": str(uuid.uuid4()),
            "timestamp": at,
            "traits": traits,
        }

    calls = [
        identify(
            "2026-01-01T00:00:00Z",
            {"name": "Old", "vendorType": "Wedding Planner", "country": "gb", "colour": "red"},
        ),
        identify("2026-03-01T00:00:00Z", {"name": "New", "plan": None, "colour": "blue"}),
        identify(
            "2026-02-01T00:00:00Z",
            {"name": "Between", "plan": "pro", "timezone": "europe/london", "size": 3},
        ),
        identify(
            "2026-02-01T00:00:00Z",
            {
                "email": "ann@example.com",
                "createdAt": "2024-05-06",
                "mrr_minor": 2900,
                "clientLimit": 40,
            },
        ),
    ]
    random.Random(4).shuffle(calls)
    for call in calls:
        assert post(server, key, {"batch": [call]}).json()["rejected"] == []
    assert server.sql(
        "SELECT name, vendor_type, country, plan, timezone, email, created_at::date::text, mrr_minor, client_limit, traits"
        " FROM suppliers WHERE id = %s",
        supplier,
    ) == [
        (
            "New",
            "wedding_planner",
            "GB",
            None,
            "Europe/London",
            "ann@example.com",
            "2024-05-06",
            2900,
            40,
            {"colour": "blue", "size": 3},
        )
    ]


def test_an_invalid_trait_is_reported_and_the_others_stored(server: Server, key: str) -> None:
    supplier = str(uuid.uuid4())
    traits = {
        "name": "Ann",
        "email": "nowhere",
        "country": "Atlantis",
        "timezone": "Mars/Olympus",
        "mrr_minor": -1,
        "client_limit": 2**40,
        "created_at": "soon",
    }
    answer = post(server, key, {"userId": supplier, "traits": traits}, "/v1/identify").json()
    assert (answer["accepted"], {one["code"] for one in answer["rejected"]}) == (1, {"bad_trait"})
    said = " ".join(one["message"] for one in answer["rejected"])
    for what in (
        '"nowhere"',
        '"Atlantis"',
        '"Mars/Olympus"',
        "mrr_minor -1",
        "client_limit 1099511627776",
        'created_at "soon"',
    ):
        assert what in said
    assert server.sql("SELECT name, email, country FROM suppliers") == [("Ann", None, None)]


def test_a_person_in_a_team_is_not_the_supplier(server: Server, supplier: str, key: str) -> None:
    person = {
        "type": "identify",
        "userId": "person-7",
        "traits": {"name": "Bob"},
        "context": {"groupId": supplier},
    }
    event = {
        "type": "track",
        "userId": "person-7",
        "event": "login",
        "context": {"groupId": supplier.upper()},
    }
    answer = post(server, key, batch(person, event))
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, [])
    assert server.sql("SELECT name FROM suppliers") == [("Known",)]
    assert server.sql("SELECT supplier_id::text, type FROM events") == [(supplier, "login")]


def test_events_wait_for_their_supplier(server: Server, key: str) -> None:
    supplier = str(uuid.uuid4())
    early = [track(supplier), track(supplier, "feature_used", properties={"feature": "forms"})]
    for _ in range(2):  # an SDK that sends again does not make it wait twice
        assert codes(post(server, key, batch(*early))) == [
            (0, "unknown_supplier"),
            (1, "unknown_supplier"),
        ]
    assert server.sql("SELECT count(*) FROM rejects") == [(2,)]
    answer = post(
        server,
        key,
        batch({"type": "identify", "userId": supplier, "messageId": "i"}, track(supplier)),
    )
    assert answer.json()["accepted"] == 2
    server.wait_folded()
    assert server.sql("SELECT count(*) FROM rejects") == [(0,)]
    assert server.sql(
        "SELECT events_total FROM supplier_activity WHERE supplier_id = %s", supplier
    ) == [(3,)]
    assert post(server, key, batch(*early)).json()["duplicates"] == 2


def test_account_created_creates_the_supplier(server: Server, key: str) -> None:
    supplier = str(uuid.uuid4())
    events = [
        track(supplier, timestamp="2026-03-01T10:00:00Z"),
        track(supplier, "account_created", timestamp="2026-03-01T09:00:00Z"),
        track(supplier, "account_created", timestamp="2026-03-02T09:00:00Z"),
    ]
    assert post(server, key, {"batch": events}).json()["accepted"] == 3
    assert server.sql("SELECT created_at::text FROM suppliers") == [("2026-03-01 09:00:00+00",)]
    said = {
        "userId": supplier,
        "traits": {"created_at": "2025-12-24T00:00:00Z"},
        "timestamp": "2026-01-01T00:00:00Z",
    }
    post(server, key, said, "/v1/identify")
    post(
        server,
        key,
        {"batch": [track(supplier, "account_created", timestamp="2026-02-01T09:00:00Z")]},
    )
    assert server.sql("SELECT created_at::text FROM suppliers") == [("2025-12-24 00:00:00+00",)]
