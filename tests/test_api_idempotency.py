"""POST can be repeated: one effect for a key, the same answer again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from everafter.core.db import connection
from everafter.core.idempotency import delete_idempotency_keys
from helpers_server import Server

PATH = "/api/success/milestone"


@pytest.fixture
def supplier(server: Server) -> str:
    supplier_id = str(uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Rosa Flowers')", supplier_id)
    return supplier_id


def body(supplier: str, name: str = "first_form") -> dict[str, Any]:
    return {"supplier_id": supplier, "milestone_type": name}


def test_the_same_key_and_body_get_the_same_answer(server: Server, supplier: str) -> None:
    with server.client("write") as client:
        first, second = (
            client.post(PATH, json=body(supplier), headers={"Idempotency-Key": "k1"})
            for _ in range(2)
        )
        third = client.post(PATH, json=body(supplier))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert third.status_code == 200, "without a key it is a request of its own"


def test_another_body_with_the_key_is_refused_and_has_no_effect(
    server: Server, supplier: str
) -> None:
    with server.client("write") as client:
        client.post(PATH, json=body(supplier), headers={"Idempotency-Key": "k1"})
        answer = client.post(
            PATH, json=body(supplier, "ten_clients"), headers={"Idempotency-Key": "k1"}
        )
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert server.sql("SELECT milestone_type FROM success_milestones") == [("first_form",)]


def test_a_key_is_its_callers_and_its_routes_own(server: Server, supplier: str) -> None:
    with server.client("write") as one, server.client("write") as other:
        first = one.post(PATH, json=body(supplier), headers={"Idempotency-Key": "k1"})
        second = other.post(
            PATH, json=body(supplier, "ten_clients"), headers={"Idempotency-Key": "k1"}
        )
        elsewhere = one.post(
            "/api/support/schedule-call",
            json={"supplier_id": supplier, "type": "check_in"},
            headers={"Idempotency-Key": "k1"},
        )
    assert [first.status_code, second.status_code, elsewhere.status_code] == [201, 201, 201]


def test_a_failure_is_not_kept(server: Server, supplier: str) -> None:
    unknown = str(uuid4())
    with server.client("write") as client:
        missing = client.post(PATH, json=body(unknown), headers={"Idempotency-Key": "k1"})
        server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Late')", unknown)
        found = client.post(PATH, json=body(unknown), headers={"Idempotency-Key": "k1"})
    assert (missing.status_code, found.status_code) == (404, 201)


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_cannot_be_one_is_named(server: Server, supplier: str, key: str) -> None:
    with server.client("write") as client:
        answer = client.post(PATH, json=body(supplier), headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert server.sql("SELECT count(*) FROM success_milestones") == [(0,)]


def test_a_key_in_flight_is_said_to_be(server: Server, supplier: str) -> None:
    """The first request is held up by a lock on the row that it writes."""

    async def race() -> tuple[httpx.Response, httpx.Response]:
        headers = {
            "Authorization": f"Bearer {await asyncio.to_thread(server.key, 'write')}",
            "Idempotency-Key": "k1",
        }
        async with httpx.AsyncClient(
            base_url=server.base_url, headers=headers, timeout=30
        ) as client:
            async with connection(server.database) as conn:
                await conn.execute(
                    "INSERT INTO success_milestones VALUES (%s, 'first_form', '2026-01-01', false)",
                    [supplier],
                )
                first = asyncio.create_task(client.post(PATH, json=body(supplier)))
                while True:
                    cursor = await conn.execute(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
                    row = await cursor.fetchone()
                    if row and row[0]:
                        break
                    await asyncio.sleep(0.01)
                second = await client.post(PATH, json=body(supplier))
            return await first, second

    first, second = asyncio.run(race())
    assert second.status_code == 409
    assert second.json()["code"] == "idempotency_in_flight"
    assert first.status_code == 200


def test_fifty_at_once_for_each_key_have_one_effect_each(server: Server, supplier: str) -> None:
    """Each of 8 keys is sent 50 times at once; who hears "in flight" repeats, as a client does."""
    keys = [f"key-{n}" for n in range(8)]
    with server.client("write", patient=True) as client, ThreadPoolExecutor(50) as threads:

        def send(key: str) -> tuple[str, int, str]:
            for _ in range(200):
                answer = client.post(
                    "/api/support/schedule-call",
                    json={"supplier_id": supplier, "type": "check_in", "topic": key},
                    headers={"Idempotency-Key": key},
                )
                if answer.status_code != 409 or answer.json()["code"] != "idempotency_in_flight":
                    return key, answer.status_code, answer.text
            raise AssertionError("in flight for ever")

        answers = set(threads.map(send, keys * 50))
    assert {status for _, status, _ in answers} == {201}
    assert len(answers) == len(keys), "each key has one answer, to the byte"
    rows = server.sql(
        "SELECT topic, count(*) FROM support_interactions GROUP BY topic ORDER BY topic"
    )
    assert rows == [(key, 1) for key in keys]
    assert server.sql("SELECT count(*) FROM booked_quarters") == [(2 * len(keys),)]


def test_old_answers_are_forgotten(server: Server, supplier: str) -> None:
    with server.client("write") as client:
        client.post(PATH, json=body(supplier), headers={"Idempotency-Key": "old"})

    async def sweep(before: datetime) -> int:
        async with connection(server.database) as conn:
            return await delete_idempotency_keys(conn, before)

    now = datetime.now(UTC)
    assert asyncio.run(sweep(now - timedelta(days=7))) == 0
    assert asyncio.run(sweep(now + timedelta(minutes=1))) == 1
