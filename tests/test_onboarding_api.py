"""The path over HTTP: as it is, and actions that a platform reports by itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from helpers_server import Server

PATH, NOW = "/api/success/onboarding", datetime.now(UTC).replace(microsecond=0)


def begin(server: Server, days: float = 4, vendor_type: str = "photographer", *types: str) -> str:
    """A supplier that opened its account so many days ago, and what else it did an hour later."""
    supplier_id = str(uuid4())
    server.sql(
        "INSERT INTO suppliers (id, name, vendor_type, timezone) VALUES (%s, 'Rosa', %s, 'Europe/Vienna')",
        supplier_id,
        vendor_type,
    )
    began = NOW - timedelta(days=days)
    batch = [
        {
            "type": "track",
            "event": "account_created",
            "userId": supplier_id,
            "messageId": str(uuid4()),
            "timestamp": began.isoformat(),
        }
    ]
    batch += [
        {
            "type": "track",
            "event": name,
            "userId": supplier_id,
            "messageId": str(uuid4()),
            "timestamp": (began + timedelta(hours=1)).isoformat(),
            "properties": {"vendor_type": vendor_type} if name == "vendor_type_selected" else {},
        }
        for name in types
    ]
    with server.client("ingest") as client:
        assert client.post("/v1/batch", json={"batch": batch}).status_code == 200
    server.wait_folded()
    return supplier_id


def test_the_path_as_it_is(server: Server) -> None:
    supplier = begin(server, 4, "dj", "vendor_type_selected", "completed_wizard", "login")
    with server.client("read") as client:
        found = client.get(f"{PATH}/{supplier}").json()
        german = client.get(f"{PATH}/{supplier}", params={"language": "de"}).json()
    assert [step["id"] for step in found["steps"]] == [
        "day0",
        "day1",
        "day3",
        "song_list",
        "day7",
        "day14",
    ]
    assert (found["supplier_id"], found["done"], found["total"], found["missed"]) == (
        supplier,
        1,
        6,
        "day1",
    )
    assert found["state"] in {"behind", "stuck"} and found["days_behind"] == pytest.approx(
        3, abs=0.1
    )
    assert found["next"] == {
        "step": "day1",
        "action": "import_clients_started",
        "title": "Add your couples",
        "hint": "A spreadsheet with names and dates is enough to begin with.",
        "url": "/clients/import",
    }
    first = found["steps"][0]
    assert (first["day"], first["done"], first["success_metric"], first["if_missed"]) == (
        0,
        True,
        "completed_wizard",
        None,
    )
    began = NOW - timedelta(days=4)
    assert [datetime.fromisoformat(action["done_at"]) for action in first["actions"]] == [
        began,
        began + timedelta(hours=1),
        began + timedelta(hours=1),
    ]
    assert found["steps"][2]["if_missed"] == "offer_form_creation_help"
    assert found["steps"][1]["actions"][1]["done_at"] is None
    assert german["steps"][0]["title"] == "Konto eingerichtet"
    assert [step["id"] for step in german["steps"]] == [step["id"] for step in found["steps"]]


def test_an_action_is_reported_once_and_the_earlier_time_is_kept(server: Server) -> None:
    supplier = begin(server)
    times = [NOW - timedelta(hours=hours) for hours in (2, 5, 1)]
    with server.client("write") as client:
        answers = [
            client.post(
                f"{PATH}/{supplier}/actions",
                json={"action": "first_form_created", "done_at": at.isoformat()},
            )
            for at in times
        ]
        assert [answer.status_code for answer in answers] == [201, 200, 200]
        assert [datetime.fromisoformat(answer.json()["done_at"]) for answer in answers] == [
            times[0],
            times[1],
            times[1],
        ]
        steps = client.get(f"{PATH}/{supplier}").json()["steps"]
    [form] = [
        action
        for step in steps
        for action in step["actions"]
        if action["id"] == "first_form_created"
    ]
    assert form["done"] and datetime.fromisoformat(form["done_at"]) == times[1]
    # the event itself comes late and is earlier still
    with server.client("ingest") as client:
        at = (NOW - timedelta(days=3)).isoformat()
        body = {"userId": supplier, "event": "form_created", "messageId": "late", "timestamp": at}
        assert client.post("/v1/track", json=body).status_code == 200
    server.wait_folded()
    with server.client("read") as client:
        steps = client.get(f"{PATH}/{supplier}").json()["steps"]
    [form] = [
        action
        for step in steps
        for action in step["actions"]
        if action["id"] == "first_form_created"
    ]
    assert datetime.fromisoformat(form["done_at"]) == NOW - timedelta(days=3)


def test_the_last_reported_action_activates(server: Server) -> None:
    """All by the API, in any order, several at once: full activation is recorded once, with its milestone."""
    supplier = begin(server)
    actions = [
        "multiple_clients_active", "customer_journey_started", "invite_sent_to_client", "first_form_created",
        "import_clients_started", "first_login", "completed_wizard", "vendor_type_selected",
    ]  # fmt: skip
    with server.client("write") as client, ThreadPoolExecutor(4) as pool:

        def post(action: str) -> dict[str, Any]:
            return client.post(f"{PATH}/{supplier}/actions", json={"action": action}).json()

        list(pool.map(post, actions[:-1]))
        last = post(actions[-1])
        again = post(actions[-1])
        found = client.get(f"{PATH}/{supplier}").json()
    assert (last["state"], last["milestones"]) == ("done", ["fully_activated"])
    assert again["milestones"] == []
    assert (found["state"], found["done"], found["next"]) == ("done", found["total"], None)
    assert server.sql(
        "SELECT count(*) FROM success_milestones WHERE milestone_type = 'fully_activated'"
    ) == [(1,)]


def test_the_same_key_reports_once(server: Server) -> None:
    supplier = begin(server)
    with server.client("write") as client:
        url, headers = f"{PATH}/{supplier}/actions", {"Idempotency-Key": "k1"}
        answers = [
            client.post(url, json={"action": "first_login"}, headers=headers) for _ in range(2)
        ]
        other = client.post(url, json={"action": "completed_wizard"}, headers=headers)
    assert [answer.status_code for answer in answers] == [201, 201] and answers[
        0
    ].content == answers[1].content
    assert other.status_code == 422


BAD: list[tuple[Any, int, str]] = [
    ({"action": "dance"}, 422, "it has account_created"),
    ({"action": "fully_activated"}, 422, "action"),  # follows from the others
    ({"action": "calendar_filled", "done_at": "2100-01-01T00:00:00Z"}, 422, "future"),
    ({"action": "first_login", "done_at": "1999-01-01T00:00:00Z"}, 422, "before 2000"),
    ({"action": "first_login", "done_at": "soon"}, 400, "done_at"),
    ({"action": ""}, 400, "action"),
    ({"action": 7}, 400, "action"),
    ({}, 400, "action"),
    ([], 400, ""),
]


def test_bad_input_is_named_and_nothing_is_kept(server: Server) -> None:
    supplier = begin(server)
    with (
        server.client("write") as client,
        server.client("read") as reader,
        server.client() as nobody,
    ):
        for body, status, words in BAD:
            answer = client.post(f"{PATH}/{supplier}/actions", json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (
                status,
                "application/problem+json",
            ), answer.text
            assert words in answer.text
        body = {"action": "first_login"}
        assert client.post(f"{PATH}/{uuid4()}/actions", json=body).status_code == 404
        assert client.get(f"{PATH}/{uuid4()}").status_code == 404
        assert client.get(f"{PATH}/rosa").status_code == 404
        assert reader.post(f"{PATH}/{supplier}/actions", json=body).status_code == 403
        assert nobody.get(f"{PATH}/{supplier}").status_code == 401
        assert reader.get(f"{PATH}/{supplier}", params={"language": "x" * 36}).status_code == 400
    assert server.sql("SELECT count(*) FROM onboarding_progress") == [(0,)]
