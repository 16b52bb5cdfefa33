"""Ingest over real HTTP, in Segment's format."""

import base64
import gzip
import json
import random
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from helpers_server import Server

NOW = datetime.now(UTC)


@pytest.fixture
def supplier(server: Server) -> str:
    """The id of a supplier that is known."""
    supplier_id = str(uuid.uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Known')", supplier_id)
    return supplier_id


@pytest.fixture
def key(server: Server) -> str:
    return server.key("ingest")


def track(supplier_id: str, event: str = "login", **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "userId": supplier_id,
        "event": event,
        "messageId": str(uuid.uuid4()),
        **more,
    }


def post(
    server: Server, key: str | None, body: Any, path: str = "/v1/batch", **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    auth = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(
        server.base_url + path, content=content, headers={**auth, **headers}, timeout=30
    )


def batch(*events: Any) -> dict[str, Any]:
    return {"batch": list(events), "sentAt": datetime.now(UTC).isoformat()}


def codes(answer: httpx.Response) -> list[tuple[int, str]]:
    return [(one["index"], one["code"]) for one in answer.json()["rejected"]]


def test_a_batch_is_stored_once_and_folded(server: Server, supplier: str, key: str) -> None:
    events = [track(supplier) for _ in range(5)] + [
        track(supplier, "feature_used", properties={"feature": "forms"})
    ]
    first, again = post(server, key, batch(*events)), post(server, key, batch(*events))
    assert first.status_code == again.status_code == 200
    assert first.json() == {"success": True, "accepted": 6, "duplicates": 0, "rejected": []}
    assert again.json() == {"success": True, "accepted": 0, "duplicates": 6, "rejected": []}
    server.wait_folded()
    assert server.sql("SELECT count(*) FROM events") == [(6,)]
    assert server.sql(
        "SELECT events_total FROM supplier_activity WHERE supplier_id = %s", supplier
    ) == [(6,)]
    metrics = httpx.get(f"{server.base_url}/metrics").text
    assert 'everafter_ingest_events_total{result="accepted"} 6' in metrics
    assert 'everafter_ingest_events_total{result="duplicates"} 6' in metrics
    assert "everafter_folded_events_total 6" in metrics


def test_the_key_is_accepted_in_every_documented_place(
    server: Server, supplier: str, key: str
) -> None:
    def basic(text: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    for headers in (basic(f"{key}:"), basic(key), {"Authorization": f"Bearer {key}"}):
        assert post(server, None, batch(track(supplier)), **headers).status_code == 200
    for field in ("writeKey", "api_key", "token"):
        assert post(server, None, {**batch(track(supplier)), field: key}).status_code == 200


def test_events_without_a_valid_ingest_key_are_refused(server: Server, supplier: str) -> None:
    read_key = server.key("read")
    for answer in (
        post(server, None, batch(track(supplier))),
        post(server, "ea_ingest_nonsense", batch(track(supplier))),
        post(server, read_key, batch(track(supplier))),
        post(server, None, {**batch(track(supplier)), "writeKey": "wrong"}),
        post(server, None, batch(track(supplier)), Authorization="Basic %%%"),
    ):
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"code", "message", "detail"} <= answer.json().keys()
    assert server.sql("SELECT count(*) FROM events") == [(0,)]


def test_a_revoked_key_stops_working_within_seconds(
    server: Server, supplier: str, key: str
) -> None:
    assert post(server, key, batch(track(supplier))).status_code == 200
    server.sql("UPDATE api_keys SET revoked_at = now()")
    deadline = time.monotonic() + 8
    while post(server, key, batch(track(supplier))).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_single_calls_are_stored(server: Server, supplier: str, key: str) -> None:
    answers = [
        post(server, key, track(supplier), "/v1/track"),
        post(server, key, {"userId": supplier, "name": "Clients", "messageId": "p1"}, "/v1/page"),
        post(
            server,
            key,
            {"userId": supplier, "name": "Home", "properties": {"dark": True}, "messageId": "s1"},
            "/v1/screen",
        ),
        post(
            server,
            key,
            {"userId": supplier, "previousId": "anonymous", "messageId": "a1"},
            "/v1/alias",
        ),
        post(
            server,
            key,
            {"userId": supplier, "traits": {"plan": "pro"}, "messageId": "i1"},
            "/v1/identify",
        ),
        post(
            server,
            key,
            {
                "userId": "someone",
                "groupId": supplier,
                "traits": {"name": "Ann"},
                "messageId": "g1",
            },
            "/v1/group",
        ),
    ]
    assert [
        (answer.status_code, answer.json()["accepted"], answer.json()["rejected"])
        for answer in answers
    ] == [(200, 1, [])] * 6
    kinds = server.sql("SELECT type, properties->>'name' FROM events ORDER BY type")
    assert kinds == [("login", None), ("page", "Clients"), ("screen", "Home")]
    assert server.sql("SELECT name, plan FROM suppliers WHERE id = %s", supplier) == [
        ("Ann", "pro")
    ]


def test_gzip_is_accepted_with_and_without_the_header(
    server: Server, supplier: str, key: str
) -> None:
    for headers in ({"Content-Encoding": "gzip"}, {}):
        packed = gzip.compress(json.dumps(batch(track(supplier))).encode())
        assert post(server, key, packed, **headers).json()["accepted"] == 1


UNREADABLE: list[tuple[bytes, int, str]] = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"{}", 400, "batch is missing"),
    (b"[]", 400, "JSON object"),
    (b'{"batch": {}}', 400, "batch is not a list"),
    (b"\xff\xff", 400, "not JSON"),
    (b"[" * 100_000 + b"]" * 100_000, 400, "not a JSON object"),
    (gzip.compress(b'{"batch": []}')[:-9], 400, "truncated"),
    (b"\x1f\x8bnonsense", 400, "broken"),
    (b"x" * (10 * 1024 * 1024), 413, "larger than 4194304 bytes"),
    (gzip.compress(b"x" * (64 * 1024 * 1024)), 413, "decompresses to more"),
    (gzip.compress(b"") * 101, 400, "more than 100 members"),
    (b'{"batch": [' + b",".join([b"1"] * 10_001) + b"]}", 413, "at most 10000"),
]


def test_unreadable_bodies_are_rejected_with_the_reason(server: Server, key: str) -> None:
    for body, status, said in UNREADABLE:
        answer = post(server, key, body)
        assert answer.status_code == status
        assert said in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert post(server, key, batch()).json()["accepted"] == 0, "the server still answers"


def test_a_large_chunked_body_is_refused(server: Server, key: str) -> None:
    def chunks() -> Any:
        for _ in range(100):
            yield b" " * 100_000

    answer = httpx.post(
        f"{server.base_url}/v1/batch",
        content=chunks(),
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 413


def test_an_unknown_encoding_is_refused(server: Server, key: str) -> None:
    answer = post(server, key, b"x", **{"Content-Encoding": "br"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "Content-Encoding 'br' is not supported; send gzip or none",
    )


def test_invalid_events_are_listed_and_the_others_stored(
    server: Server, supplier: str, key: str
) -> None:
    bad: list[tuple[Any, str]] = [
        ({**track(supplier), "userId": None}, "no_supplier"),
        (track("x" * 201), "not_a_supplier_id"),
        ({**track(supplier), "userId": True}, "not_a_supplier_id"),
        (track(str(uuid.uuid4())), "unknown_supplier"),
        ({**track(supplier), "messageId": "x" * 201}, "bad_message_id"),
        ({**track(supplier), "messageId": "a\0b"}, "bad_message_id"),
        ({**track(supplier), "event": ""}, "no_type"),
        ({**track(supplier), "event": 5}, "no_type"),
        ({**track(supplier), "event": "x" * 201}, "bad_type"),
        (track(supplier, timestamp="yesterday"), "bad_time"),
        (track(supplier, timestamp=17), "bad_time"),
        (track(supplier, timestamp="1999-12-31T00:00:00Z"), "too_old"),
        (track(supplier, "client_active"), "missing_property"),
        (track(supplier, "form_sent", properties={"client_id": "c"}), "missing_property"),
        (
            track(supplier, "form_sent", properties={"client_id": "c", "form_id": ["f"]}),
            "bad_property",
        ),
        (
            track(
                supplier, "journey_email_opened", properties={"client_id": "c", "message_id": None}
            ),
            "missing_property",
        ),
        (track(supplier, "ticket_opened", properties={}), "missing_property"),
        (
            track(
                supplier,
                "usage_reported",
                properties={"resource": "clients", "used": -1, "limit": 5},
            ),
            "bad_property",
        ),
        (
            track(
                supplier,
                "usage_reported",
                properties={"resource": "clients", "used": True, "limit": 5},
            ),
            "bad_property",
        ),
        (track(supplier, "client_active", properties="text"), "bad_properties"),
        (track(supplier, properties={"a": "x" * 33_000}), "properties_too_large"),
        (5, "unreadable"),
        ({"type": "dance", "userId": supplier}, "unreadable"),
    ]
    good = [
        track(supplier, properties={"note": "a \\u0000 that is only text"}),
        track(supplier, "Unheard Of", properties={"x": 1}),
    ]
    answer = post(server, key, batch(good[0], *(event for event, _ in bad), good[1]))
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert codes(answer) == [(index, code) for index, (_, code) in enumerate(bad, start=1)]
    assert answer.json()["rejected"][1]["messageId"] == bad[1][0]["messageId"]
    assert "property form_id is missing" in answer.json()["rejected"][13]["message"]
    kept = server.sql("SELECT code FROM rejects ORDER BY id")
    assert sorted(code for (code,) in kept) == sorted(
        code for _, code in bad if code != "unreadable"
    )
    server.wait_folded()
    assert server.sql("SELECT type FROM event_types ORDER BY type") == [("Unheard Of",), ("login",)]


def test_a_lone_surrogate_does_not_reject_the_batch(
    server: Server, supplier: str, key: str
) -> None:
    text = json.dumps(
        batch(track(supplier, properties={"name": "HALF", "path": "C:\\\\ud800", "whole": "😀"}))
    )
    answer = post(server, key, text.replace("HALF", "\\ud83d").encode())
    assert answer.json()["accepted"] == 1
    [(properties,)] = server.sql("SELECT properties FROM events")
    assert properties == {"name": "\ufffd", "path": "C:\\\\ud800", "whole": "😀"}


def test_timestamps_are_corrected_and_checked(server: Server, supplier: str, key: str) -> None:
    sent = datetime.now(UTC) - timedelta(hours=2)  # the sender's clock is two hours slow
    events = [
        track(
            supplier, messageId="corrected", timestamp=(sent - timedelta(minutes=10)).isoformat()
        ),
        track(
            supplier,
            messageId="naive",
            timestamp=(sent - timedelta(minutes=20)).replace(tzinfo=None).isoformat(),
        ),
        track(
            supplier,
            messageId="original",
            originalTimestamp=(sent - timedelta(minutes=30)).isoformat(),
        ),
        track(supplier, messageId="none"),
    ]
    assert post(server, key, {"batch": events, "sentAt": sent.isoformat()}).json()["accepted"] == 4
    found = dict(
        server.sql(
            "SELECT message_id, extract(epoch FROM now() - occurred_at)::float / 60 FROM events"
        )
    )
    for name, minutes in {"corrected": 10, "naive": 20, "original": 30, "none": 0}.items():
        assert found[name] == pytest.approx(minutes, abs=0.3)


def test_shuffled_and_repeated_batches_give_the_same_state(
    server: Server, supplier: str, key: str
) -> None:
    rng = random.Random(7)
    events = [
        track(
            supplier,
            rng.choice(["login", "form_created"]),
            timestamp=f"2026-0{rng.randint(1, 9)}-11T10:00:00Z",
        )
        for _ in range(120)
    ]
    sent = [event for event in events for _ in range(2)]
    rng.shuffle(sent)
    chunks = [sent[start : start + 17] for start in range(0, len(sent), 17)]
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(
            target=lambda part=part: answers.append(post(server, key, {"batch": part}))
        )
        for part in chunks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["accepted"] for answer in answers) == 120
    assert sum(answer.json()["duplicates"] for answer in answers) == 120
    server.wait_folded()
    assert server.sql("SELECT events_total FROM supplier_activity") == [(120,)]
    assert server.sql("SELECT count(*), count(DISTINCT message_id) FROM events") == [(120, 120)]


def test_event_names_of_the_playbook_are_mapped(server: Server, supplier: str, key: str) -> None:
    server.app.state.playbook = type(server.app.state.playbook)(
        name="x",
        segments={},
        triggers={},
        event_names={"Signed In": "login", "Form Sent": "form_sent"},
    )
    answer = post(server, key, batch(track(supplier, "Signed In"), track(supplier, "Form Sent")))
    assert codes(answer) == [(1, "missing_property")]
    assert server.sql("SELECT type FROM events") == [("login",)]


def test_an_overloaded_server_answers_503_with_retry_after(
    server: Server, supplier: str, key: str
) -> None:
    limit = server.app.state.admission.known
    limit.requests = limit.max_requests
    refused = post(server, key, batch(track(supplier)))
    limit.requests = 0
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"] == "1"
    assert post(server, key, batch(track(supplier))).json()["accepted"] == 1


def test_events_can_be_read_back_page_by_page(server: Server, supplier: str, key: str) -> None:
    post(
        server,
        key,
        {
            "batch": [
                track(supplier, timestamp=f"2026-01-{day:02}T00:00:00Z") for day in range(1, 8)
            ]
        },
    )
    post(server, key, batch(track(supplier, "client_active"), track("no\nbody")))
    server.wait_folded()
    with server.client("read") as client:
        seen, cursor = [], None
        while True:
            page = client.get(
                "/api/events",
                params={
                    "supplier_id": supplier,
                    "limit": 3,
                    **({"cursor": cursor} if cursor else {}),
                },
            ).json()
            seen += [event["occurred_at"][:10] for event in page["events"]]
            if not (cursor := page["next_cursor"]):
                break
        assert seen == [f"2026-01-0{day}" for day in range(7, 0, -1)]
        assert (
            client.get("/api/events", params={"supplier_id": supplier, "type": "page"}).json()[
                "events"
            ]
            == []
        )
        rejects = client.get("/api/rejects", params={"limit": 1}).json()
        assert rejects["rejects"][0]["code"] == "not_a_supplier_id"
        more = client.get(
            "/api/rejects", params={"limit": 1, "cursor": rejects["next_cursor"]}
        ).json()
        assert more["rejects"][0]["payload"]["type"] == "client_active"
        types = client.get("/api/event-types").json()["event_types"]
        assert [(kind["type"], kind["events"], kind["canonical"]) for kind in types] == [
            ("login", 7, True)
        ]
        for path in (
            "/api/events?supplier_id=%20",
            "/api/rejects?limit=0",
            "/api/rejects?cursor=!",
            f"/api/events?supplier_id={supplier}&cursor=YQ",
        ):
            assert client.get(path).status_code == 400, path
    assert post(server, None, b"", "/api/rejects").status_code == 405
    with server.client("ingest") as client:
        assert client.get("/api/rejects").status_code == 403


def test_posthog_events_are_accepted(server: Server, supplier: str, key: str) -> None:
    def event(name: str, **properties: Any) -> dict[str, Any]:
        return {
            "event": name,
            "distinct_id": supplier,
            "uuid": str(uuid.uuid4()),
            "properties": {"$lib": "posthog-python", **properties},
        }

    sent = {
        "api_key": key,
        "historical_migration": False,
        "batch": [
            event("login"),
            event("$pageview", **{"$pathname": "/clients"}),
            event("$set", **{"$set": {"plan": "pro"}}),
            event(
                "$groupidentify",
                **{
                    "$group_type": "supplier",
                    "$group_key": supplier,
                    "$group_set": {"name": "Ann"},
                },
            ),
            {
                **event("feature_used", feature="forms", **{"$groups": {"supplier": supplier}}),
                "distinct_id": "person-7",
            },
            event("$create_alias", alias="anonymous"),
            event("client_active"),
            7,
        ],
    }
    for path in ("/batch", "/batch/"):
        answer = post(server, None, sent, path)
        assert answer.status_code == 200
        assert codes(answer) == [(6, "missing_property"), (7, "unreadable")]
    assert answer.json()["accepted"] == 1, "only the alias, which is not remembered"
    for path in ("/capture/", "/e/", "/i/v0/e/", "/e"):
        one = {**event("login", token=key), "timestamp": "2026-11-01T10:00:00Z"}
        assert post(server, None, one, path).json()["accepted"] == 1
        assert post(server, None, [event("login", token=key)], path).json()["accepted"] == 1
    kept = server.sql("SELECT type, properties FROM events WHERE type <> 'login' ORDER BY type")
    assert kept == [("feature_used", {"feature": "forms"}), ("page", {"name": "/clients"})]
    assert server.sql("SELECT name, plan FROM suppliers") == [("Ann", "pro")]
    for body in (b"{", b'"x"', b"[" * 5000, b'{"batch": 1, "api_key": "k"}', b"\xff"):
        assert post(server, key, body, "/e/").status_code == 400


def test_the_openapi_document_describes_the_body(server: Server) -> None:
    paths = httpx.get(f"{server.base_url}/openapi.json").json()["paths"]
    for path in ("/v1/batch", "/v1/track", "/v1/identify"):
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["type"] == "object"
        assert {"200", "400", "401", "413", "503"} <= paths[path]["post"]["responses"].keys()
    assert paths["/v1/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "required"
    ] == ["batch"]


def test_a_posthog_group_of_another_kind_is_not_a_supplier(
    server: Server, supplier: str, key: str
) -> None:
    def group(**properties: str) -> dict[str, Any]:
        said = {"$group_key": "acme", "$group_set": {"name": "Acme"}, **properties}
        return {
            "event": "$groupidentify",
            "distinct_id": supplier,
            "uuid": str(uuid.uuid4()),
            "properties": said,
        }

    answer = post(
        server,
        key,
        [group(**{"$group_type": "company"}), group(**{"$group_type": "team"})],
        "/batch/",
    )
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, [])
    assert server.sql("SELECT id::text FROM suppliers") == [(supplier,)]
    post(server, key, [group(**{"$group_type": "supplier"})], "/batch/")
    assert server.sql("SELECT name FROM suppliers WHERE external_id = 'acme'") == [("Acme",)]
