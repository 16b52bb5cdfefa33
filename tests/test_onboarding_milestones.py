"""Milestones over HTTP and from the run."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl

from everafter.core.db import connection
from everafter.onboarding.model import MILESTONES_SCHEMA
from everafter.onboarding.queries import record_milestones
from helpers_server import Server

POST, LIST = "/api/success/milestone", "/api/success/milestones"
MAY, JUNE = datetime(2026, 5, 1, 9, 0, tzinfo=UTC), datetime(2026, 6, 1, 9, 0, tzinfo=UTC)


def add_supplier(server: Server) -> str:
    supplier_id = str(uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Rosa Flowers')", supplier_id)
    return supplier_id


def test_a_new_milestone_is_201_and_a_known_one_200_with_the_earlier_time(server: Server) -> None:
    supplier = add_supplier(server)
    about = {"supplier_id": supplier, "milestone_type": "first_form"}
    with server.client("write") as client:
        answers = [
            client.post(POST, json={**about, "achieved_at": at.isoformat()})
            for at in (JUNE, JUNE, MAY, JUNE)
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    times = [datetime.fromisoformat(answer.json()["achieved_at"]) for answer in answers]
    assert times == [JUNE, JUNE, MAY, MAY]
    assert answers[0].json() == {
        **about,
        "external_id": None,
        "title": "First form",
        "achieved_at": "2026-06-01T09:00:00Z",
        "celebrated": False,
    }
    assert server.sql("SELECT milestone_type, achieved_at, celebrated FROM success_milestones") == [
        ("first_form", MAY, False)
    ]


def test_without_a_time_it_is_now_and_any_name_will_do(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        answer = client.post(
            POST,
            json={
                "supplier_id": supplier,
                "milestone_type": "hundredth_wedding",
                "achieved_at": None,
            },
        )
    assert answer.status_code == 201
    assert answer.json()["title"] is None
    assert abs(
        datetime.fromisoformat(answer.json()["achieved_at"]) - datetime.now(UTC)
    ) < timedelta(seconds=20)


BAD: list[tuple[dict[str, Any], int]] = [
    ({"supplier_id": str(uuid4())}, 404),
    ({"supplier_id": "rosa"}, 404),
    ({"supplier_id": "ro\tsa"}, 400),
    ({"supplier_id": "x" * 201}, 400),
    ({"supplier_id": None}, 400),
    ({"milestone_type": ""}, 400),
    ({"milestone_type": "First Form"}, 400),
    ({"milestone_type": "x" * 65}, 400),
    ({"milestone_type": "first_form\n"}, 422),
    ({"milestone_type": 7}, 400),
    ({"milestone_type": "a\0b"}, 400),
    ({"achieved_at": "2100-01-01T00:00:00Z"}, 422),
    ({"achieved_at": "1066-10-14T09:00:00Z"}, 422),
    ({"achieved_at": "0001-01-01T00:00:00+14:00"}, 422),
    ({"achieved_at": "yesterday"}, 400),
    ({"achieved_at": ""}, 400),
    ({"achieved_at": 1e300}, 400),
]


def test_bad_input_is_named_and_nothing_is_written(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        for change, status in BAD:
            answer = client.post(
                POST, json={"supplier_id": supplier, "milestone_type": "first_form", **change}
            )
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert next(iter(change)).partition("_")[0] in answer.text
    assert server.sql("SELECT count(*) FROM success_milestones") == [(0,)]


def test_a_suppliers_milestones_in_order(server: Server) -> None:
    supplier, other = add_supplier(server), add_supplier(server)
    with server.client("write") as client:
        for name, at in (("second", JUNE), ("first_form", MAY)):
            client.post(
                POST,
                json={
                    "supplier_id": supplier,
                    "milestone_type": name,
                    "achieved_at": at.isoformat(),
                },
            )
        found = client.get(f"{LIST}/{supplier}").json()["milestones"]
        assert [(row["milestone_type"], row["title"]) for row in found] == [
            ("first_form", "First form"),
            ("second", None),
        ]
        assert client.get(f"{LIST}/{other}").json() == {"milestones": []}
        assert [client.get(f"{LIST}/{name}").status_code for name in (uuid4(), "rosa")] == [
            404,
            404,
        ]


def test_scopes(server: Server) -> None:
    supplier = add_supplier(server)
    body = {"supplier_id": supplier, "milestone_type": "first_form"}
    with (
        server.client() as nobody,
        server.client("read") as reader,
        server.client("coach") as coach,
    ):
        assert [
            nobody.post(POST, json=body).status_code,
            nobody.get(f"{LIST}/{supplier}").status_code,
        ] == [401, 401]
        assert [
            reader.post(POST, json=body).status_code,
            reader.get(f"{LIST}/{supplier}").status_code,
        ] == [403, 200]
        assert [
            coach.post(POST, json=body).status_code,
            coach.get(f"{LIST}/{supplier}").status_code,
        ] == [403, 403]


def record(database: str, rows: list[tuple[str, str, datetime]]) -> int:
    async def write() -> int:
        async with connection(database) as conn:
            return await record_milestones(
                conn, pl.DataFrame(rows, schema=MILESTONES_SCHEMA, orient="row")
            )

    return asyncio.run(write())


def test_the_run_writes_each_once_and_keeps_the_earlier(server: Server) -> None:
    one, other = add_supplier(server), add_supplier(server)
    server.sql("INSERT INTO success_milestones VALUES (%s, 'first_form', %s, true)", one, JUNE)
    found = [(one, "first_form", MAY), (one, "ten_clients", JUNE), (other, "first_form", JUNE)]
    assert record(server.database, found) == 3
    assert record(server.database, found) == 0
    assert record(server.database, [(other, "first_form", JUNE + timedelta(days=1))]) == 0
    assert record(server.database, []) == 0
    assert sorted(
        server.sql(
            "SELECT supplier_id::text, milestone_type, achieved_at, celebrated FROM success_milestones"
        )
    ) == sorted(
        [
            (one, "first_form", MAY, True),
            (one, "ten_clients", JUNE, False),
            (other, "first_form", JUNE, False),
        ]
    )
