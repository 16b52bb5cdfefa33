"""Two hundred concurrent bookings of the same times: one winner each, no deadlock, no quarter held without a call."""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from everafter.core.db import Connection, make_pool
from everafter.core.errors import ConflictError
from everafter.core.settings import Settings
from everafter.support.booking import book_call
from everafter.support.changes import cancel_call, reschedule_call
from everafter.support.model import BookedAnswer, CallRequest
from helpers_mail import sql
from helpers_server import Server
from test_support_calls import BOOK, working_day

CLIENTS = 200


def add_people(database: str, suppliers: int, csms: int = 2) -> list[uuid.UUID]:
    """CSMs who work around the clock, and suppliers."""
    sql(database, "UPDATE users SET takes_calls = false")
    sql(
        database,
        "INSERT INTO users (email, name, role, takes_calls, work_from, work_until, work_days)"
        " SELECT format('csm%%s@example.org', n), 'Ada', 'member', true, '00:00', '00:00', '{1,2,3,4,5,6,7}'"
        " FROM generate_series(1, %s) n",
        csms,
    )
    rows = sql(
        database,
        "INSERT INTO suppliers (id, name) SELECT gen_random_uuid(), 'Rosa' FROM generate_series(1, %s) RETURNING id",
        suppliers,
    )
    return [row[0] for row in rows]


def run_all(
    settings: Settings, work: list[Callable[[Connection], Awaitable[Any]]], connections: int = 40
) -> list[Any]:
    """Run all concurrently, each in its own transaction; return results or errors."""

    async def run() -> list[Any]:
        async with make_pool(str(settings.database_url), size=connections) as pool:

            async def one(do: Callable[[Connection], Awaitable[Any]]) -> Any:
                try:
                    async with pool.connection(timeout=120) as conn:
                        return await do(conn)
                except ConflictError as refusal:
                    return refusal

            return await asyncio.gather(*map(one, work))

    return asyncio.run(run())


def booking(
    settings: Settings, supplier: uuid.UUID, at: datetime | None
) -> Callable[[Connection], Awaitable[BookedAnswer]]:
    return lambda conn: book_call(
        conn, settings, CallRequest(supplier, "check_in", at), datetime.now(UTC)
    )


def check_diary(database: str) -> None:
    """Each upcoming call holds its two quarters, and no others are held."""
    missing = sql(
        database,
        "SELECT i.id FROM support_interactions i WHERE i.outcome IS NULL AND 2 <> (SELECT count(*) FROM booked_quarters q"
        " WHERE q.interaction_id = i.id AND q.csm_id = i.csm_id AND q.starts_at >= i.starts_at AND q.starts_at < i.starts_at + interval '30 min')",
    )
    stray = sql(
        database,
        "SELECT q.* FROM booked_quarters q LEFT JOIN support_interactions i ON i.id = q.interaction_id AND i.csm_id = q.csm_id"
        " AND i.outcome IS NULL AND q.starts_at >= i.starts_at AND q.starts_at < i.starts_at + interval '30 min' WHERE i.id IS NULL",
    )
    assert not missing and not stray, (missing, stray)
    overlaps = sql(
        database,
        "SELECT a.id FROM support_interactions a JOIN support_interactions b ON a.csm_id = b.csm_id AND a.id <> b.id"
        " AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at WHERE a.outcome IS NULL AND b.outcome IS NULL",
    )
    assert not overlaps


def test_two_hundred_concurrent_bookings_of_the_same_times(settings: Settings) -> None:
    """Each of 200 clients books 20 of 100 times of two CSMs, in its own order."""
    database = str(settings.database_url)
    suppliers = add_people(database, CLIENTS)
    times = [working_day(3) + timedelta(minutes=30 * n) for n in range(100)]
    draw = random.Random(22)
    wanted = [(supplier, at) for supplier in suppliers for at in draw.sample(times, 20)]
    draw.shuffle(wanted)
    began = time.monotonic()
    answers = run_all(settings, [booking(settings, supplier, at) for supplier, at in wanted])
    seconds = time.monotonic() - began
    won = [answer for answer in answers if isinstance(answer, BookedAnswer)]
    lost = [answer for answer in answers if not isinstance(answer, BookedAnswer)]
    assert Counter(answer.starts_at for answer in won) == dict.fromkeys(times, 2), (
        "each time once for each CSM"
    )
    assert len({(answer.starts_at, answer.csm.email) for answer in won}) == len(won)
    assert all(answer.extra["reason"] == "taken" for answer in lost)
    assert all(slot.starts_at for answer in lost[:50] for slot in answer.extra["next_free"])
    check_diary(database)
    assert sql(database, "SELECT count(*) FROM support_interactions") == [(len(won),)]
    assert seconds < 90


def test_two_hundred_concurrent_requests_for_one_time(server: Server) -> None:
    suppliers = add_people(server.database, CLIENTS, csms=1)
    at = (working_day(3) + timedelta(hours=10)).isoformat()
    key = server.key("write")

    async def run() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=CLIENTS)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            base_url=server.base_url, headers=headers, limits=limits, timeout=60
        ) as client:
            bodies = [
                {"supplier_id": str(supplier), "type": "check_in", "starts_at": at}
                for supplier in suppliers
            ]
            return list(await asyncio.gather(*(client.post(BOOK, json=body) for body in bodies)))

    answers = asyncio.run(run())
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[201] == 1 and set(statuses) <= {201, 409, 503}, statuses
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["reason"] == "taken" and len(answer.json()["next_free"]) == 5
    check_diary(server.database)


def test_two_hundred_bookings_of_the_first_free_time_do_not_queue(settings: Settings) -> None:
    """Each gets a different time; together they get the earliest ones, except for times skipped because of a concurrent booking."""
    database = str(settings.database_url)
    suppliers = add_people(database, CLIENTS, csms=4)
    answers = run_all(settings, [booking(settings, supplier, None) for supplier in suppliers])
    assert all(isinstance(answer, BookedAnswer) for answer in answers)
    assert len({(answer.starts_at, answer.csm.email) for answer in answers}) == CLIENTS
    check_diary(database)
    last = max(answer.starts_at for answer in answers)
    assert last < datetime.now(UTC) + timedelta(hours=2) + 3 * timedelta(minutes=30) * (CLIENTS / 4)


def test_booking_the_first_free_time_does_not_wait_for_a_concurrent_booking(
    settings: Settings,
) -> None:
    database = str(settings.database_url)
    first, second = add_people(database, 2, csms=1)

    async def run() -> tuple[BookedAnswer, BookedAnswer]:
        async with (
            make_pool(database, size=2) as pool,
            pool.connection() as one,
            pool.connection() as other,
        ):
            taken = await book_call(
                one, settings, CallRequest(first, "check_in"), datetime.now(UTC)
            )
            # the first has not committed, and will not until the second is done
            return taken, await asyncio.wait_for(
                book_call(other, settings, CallRequest(second, "check_in"), datetime.now(UTC)),
                timeout=5,
            )

    taken, next_one = asyncio.run(run())
    assert next_one.starts_at >= taken.starts_at + timedelta(minutes=30)
    check_diary(database)


def test_concurrent_moves_bookings_and_cancellations(settings: Settings) -> None:
    """Sixty calls swap times while others book and cancel: no time is lost or held twice."""
    database = str(settings.database_url)
    suppliers = add_people(database, 120, csms=2)
    times = [working_day(3) + timedelta(minutes=30 * n) for n in range(40)]
    booked = run_all(
        settings,
        [booking(settings, supplier, times[n // 2]) for n, supplier in enumerate(suppliers[:60])],
    )
    calls = [answer for answer in booked if isinstance(answer, BookedAnswer)]
    assert len(calls) == 60
    draw = random.Random(7)

    def moving(call: BookedAnswer, at: datetime) -> Callable[[Connection], Awaitable[Any]]:
        return lambda conn: reschedule_call(
            conn, settings, call.supplier_id, call.interaction_id, at, datetime.now(UTC)
        )

    def dropping(call: BookedAnswer) -> Callable[[Connection], Awaitable[Any]]:
        return lambda conn: cancel_call(
            conn, settings, call.supplier_id, call.interaction_id, datetime.now(UTC)
        )

    work = [
        moving(draw.choice(calls), draw.choice(times) + timedelta(minutes=draw.choice((0, 15))))
        for _ in range(400)
    ]
    work += [
        booking(settings, supplier, draw.choice(times))
        for supplier in suppliers[60:]
        for _ in range(3)
    ]
    work += [dropping(call) for call in calls[:10]]
    draw.shuffle(work)
    try:
        answers = run_all(settings, work)
    except psycopg.errors.DeadlockDetected:
        pytest.fail("two changes waited for one another")
    assert any(not isinstance(answer, ConflictError) for answer in answers)
    check_diary(database)
