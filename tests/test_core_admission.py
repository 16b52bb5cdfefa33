"""Limits on bodies, look-ups of API keys, and rates per key and address."""

import asyncio
import hashlib
import json
import secrets
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from everafter.core.concurrency import ConcurrencyLimit, Hold
from everafter.core.errors import OverloadedError
from everafter.core.limits import Limits, RateLimit, RateLimitedError
from everafter.core.settings import Settings
from helpers_pages import add_user, browser, form_token, try_sign_in
from helpers_server import Server, serving


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def slow(server: Server, method: str, path: str, *headers: str, begun: int = 0) -> socket.socket:
    """A request whose head is whole and whose body has only begun."""
    made = socket.create_connection(("127.0.0.1", int(server.base_url.rpartition(":")[2])), 30)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Length: 100000", *headers, "", ""]
    made.sendall("\r\n".join(lines).encode() + b'{"' + b"x" * begun)
    return made


def batch(**more: Any) -> dict[str, Any]:
    return {"batch": [{"type": "track", "userId": str(uuid.uuid4()), "event": "login"}], **more}


def send(server: Server, key: str | None, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = more.pop("address", None)
    headers |= {"X-Forwarded-For": address} if address else {}
    return httpx.post(
        f"{server.base_url}/v1/batch", json=batch(**more), headers=headers, timeout=30, verify=False
    )


def in_pools(server: Server) -> int:
    """Connections of the pools that somebody holds or waits for."""
    total = 0
    for pool in (server.app.state.pool, server.app.state.ingest_pool):
        stats = pool.get_stats()
        total += stats["pool_size"] - stats["pool_available"] + stats.get("requests_waiting", 0)
    return total


# ── the limit itself ───────────────────────────────────────────────────────────────────────────────


async def never(first: bytes = b"") -> AsyncGenerator[bytes]:
    if first:
        yield first
    await asyncio.Event().wait()


def test_the_oldest_arriving_body_is_evicted_for_a_new_one() -> None:
    async def play() -> None:
        limit = ConcurrencyLimit(max_requests=4, max_bytes=1000, share=1 / 2, seconds=1000)

        async def read(who: str, stream: AsyncGenerator[bytes]) -> bytes | None:
            with limit.enter(who) as hold:
                return await hold.read(stream, 500, 1000)

        slow = [asyncio.create_task(read(who, never(b"x"))) for who in ("a", "a", "b", "b")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (limit.requests, limit.bytes) == (4, 4)
        with limit.enter("c"):
            assert limit.requests == 4, "the one that waited longest was evicted"
            with pytest.raises(OverloadedError):
                await slow[0]
            with limit.enter("b"):
                with pytest.raises(OverloadedError):
                    await slow[2]
                assert not slow[1].done() and not slow[3].done()
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert (
            limit.requests,
            limit.bytes,
            limit.reading,
            limit._holds,
        ) == (0, 0, {}, {})

    asyncio.run(play())


def test_a_complete_body_is_not_evicted() -> None:
    limit = ConcurrencyLimit(max_requests=4, max_bytes=1000, share=1 / 2, seconds=1000)
    with ExitStack() as stack:
        holds = [stack.enter_context(limit.enter(who)) for who in ("a", "a", "b")]
        with pytest.raises(OverloadedError):
            stack.enter_context(limit.enter("a"))
        holds[0].take(300)
        with pytest.raises(OverloadedError):
            holds[1].take(201)
        holds[2].take(500)
        stack.enter_context(limit.enter("c"))
        with pytest.raises(OverloadedError):
            stack.enter_context(limit.enter("d"))
    assert (limit.requests, limit.bytes) == (0, 0)


def test_arriving_bodies_are_evicted_for_bytes_too() -> None:
    async def play() -> None:
        limit = ConcurrencyLimit(max_requests=100, max_bytes=1000, share=1 / 2, seconds=1000)

        async def stall(who: str) -> None:
            with limit.enter(who) as hold:
                await hold.read(never(b"x" * 250), 500, 1000)

        tasks = [asyncio.create_task(stall(who)) for who in ("a", "a", "b", "b")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert limit.bytes == 1000

        async def honest(hold: Hold) -> bytes | None:
            async def stream() -> AsyncGenerator[bytes]:
                yield b"y" * 100

            return await hold.read(stream(), 500, 1000)

        with limit.enter("c") as hold:
            assert await honest(hold) == b"y" * 100
        with limit.enter("b") as hold:
            assert await honest(hold) == b"y" * 100
        assert limit.bytes <= 500
        while sum(task.done() for task in tasks) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(one, OverloadedError) for one in results) == 2
        assert (limit.requests, limit.bytes) == (0, 0)

    asyncio.run(play())


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_limit_allows_bursts_and_refills() -> None:
    rate = RateLimit(10, burst_seconds=2)
    for _ in range(20):
        rate.take("a", 100.0)
    with pytest.raises(RateLimitedError) as refused:
        rate.take("a", 100.0)
    assert refused.value.extra["retry_after"] == 1
    rate.take("b", 100.0)
    rate.take("a", 100.11)
    assert rate.charge("a", 100.11) == pytest.approx(0.09)
    assert rate.charge("a", 100.11, cost=0) > 0
    for _ in range(20):
        rate.take("a", 103.0)
    RateLimit(0).take("a", 1.0)


def test_a_rate_limit_stores_a_bounded_number_of_callers() -> None:
    rate = RateLimit(1, burst_seconds=1)
    for place in range(RateLimit.MAX_CALLERS * 3):
        rate.take(f"one {place}", 100 + place / 1e6)
        assert len(rate) <= RateLimit.MAX_CALLERS
    rate.take("late", 1000.0)
    assert rate.charge("late", 1000.0) > 0


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def patient(module_settings: Settings) -> Iterator[Server]:
    """One where no body takes too long and no address sends too much."""
    limits = Limits(body_seconds=1000, anonymous_seconds=1000, address_rate=0)
    with serving(replace(module_settings, limits=limits)) as server:
        yield server


def routes_with_bodies(server: Server) -> list[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in server.app.routes:
        path = "/" + "/".join(
            str(uuid.uuid4()) if "uuid" in str(part) else "x" if not isinstance(part, str) else part
            for part in route.path_components
        )
        found |= {
            (method, path) for method in {"POST", "PUT", "PATCH", "DELETE"} & set(route.methods)
        }
    return sorted(found)


def test_a_slow_body_uses_no_slot_or_connection_on_any_route(patient: Server) -> None:
    add_user(patient)
    ingest, write, read = (patient.key(scope) for scope in ("ingest", "write", "read"))
    routes = routes_with_bodies(patient)
    assert len(routes) > 25 and ("POST", "/sign-in") in routes
    with browser(patient) as client, ExitStack() as stack:
        assert try_sign_in(client, "mia@example.com").status_code == 303
        cookie = f"Cookie: everafter-session={client.cookies['everafter-session']}"
        form = "Content-Type: application/x-www-form-urlencoded"
        for method, path in routes:
            for more in (
                (form,),
                (form, cookie),
                (f"Authorization: Bearer {ingest}",),
                (f"Authorization: Bearer {write}",),
            ):
                for begun in (0, 20_000):  # so much reaches the application
                    stack.enter_context(slow(patient, method, path, *more, begun=begun))
        assert (
            client.get("/api/rejects", headers={"Authorization": f"Bearer {read}"}).status_code
            == 200
        )
        until(lambda: in_pools(patient) == 0)
        assert send(patient, ingest).status_code == 200
        assert send(patient, None, writeKey=ingest).status_code == 200
        token = form_token(client.get("/").text)
        assert client.post("/sign-out", data={"csrf": token}).status_code == 303


def test_slow_bodies_without_a_key_do_not_block_other_senders(patient: Server) -> None:
    key = patient.key("ingest")
    with ExitStack() as stack:
        for place in range(200):
            stack.enter_context(slow(patient, "POST", "/v1/batch", begun=place % 2 * 20_000))
        assert [send(patient, key).status_code for _ in range(20)] == [200] * 20
        assert [send(patient, None, writeKey=key).status_code for _ in range(20)] == [200] * 20
        assert httpx.get(f"{patient.base_url}/livez").status_code == 200


def test_slow_bodies_with_one_key_block_neither_other_keys_nor_its_own(patient: Server) -> None:
    public, other = patient.key("ingest"), patient.key("ingest")
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(
                slow(patient, "POST", "/v1/batch", f"Authorization: Bearer {public}")
            )
        assert [send(patient, other).status_code for _ in range(20)] == [200] * 20
        assert [send(patient, public).status_code for _ in range(20)] == [200] * 20


def test_a_body_is_not_requested_before_the_key_is_checked(patient: Server) -> None:
    for key in ("ea_ingest_unknown", patient.key("read")):
        with slow(
            patient, "POST", "/v1/batch", f"Authorization: Bearer {key}", "Expect: 100-continue"
        ) as made:
            assert made.recv(64).startswith(b"HTTP/1.1 401")
    with slow(patient, "POST", "/api/support/tickets", "Expect: 100-continue") as made:
        assert made.recv(64).startswith(b"HTTP/1.1 401")


def test_invented_keys_cost_few_statements_and_evict_no_cached_key(patient: Server) -> None:
    live = patient.key("ingest")
    assert send(patient, live).status_code == 200
    before = patient.app.state.ingest_pool.get_stats()["requests_num"]
    cache = patient.app.state.key_cache

    async def flood() -> tuple[list[Any], Any]:
        made_up = [
            cache.find_scope(
                patient.app.state.ingest_pool, f"ea_ingest_{secrets.token_urlsafe(32)}"
            )
            for _ in range(5_000)
        ]
        return await asyncio.gather(*made_up, return_exceptions=True), await cache.find_scope(
            patient.app.state.ingest_pool, live
        )

    answers, found = in_loop_of(patient, flood)
    assert found == "ingest"
    assert all(answer is None or isinstance(answer, OverloadedError) for answer in answers)
    assert patient.app.state.ingest_pool.get_stats()["requests_num"] - before < 10
    assert len(cache._unknown) <= cache.MAX_UNKNOWN
    new = patient.key("ingest")
    assert send(patient, new).status_code == 200, "a key made just now is found at once"


def in_loop_of(server: Server, work: Callable[[], Any]) -> Any:
    """The result of a coroutine that runs in the server's loop."""
    return asyncio.run_coroutine_threadsafe(
        work(), server.app.state.key_cache._reading.get_loop()
    ).result(60)


def test_an_address_without_valid_keys_is_limited_and_a_valid_key_from_it_is_not(
    settings: Settings,
) -> None:
    with serving(settings) as server:
        server.app.state.admission._failures = RateLimit(0.001, burst_seconds=5_000)
        live = server.key("ingest")
        assert send(server, live).status_code == 200
        answers = [send(server, secrets.token_urlsafe(32)) for _ in range(8)]
        answers.append(send(server, None, writeKey=secrets.token_urlsafe(32)))
        late = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 4
        assert all(
            answer.headers["retry-after"] == answer.headers["x-ratelimit-reset"] for answer in late
        )
        assert late[0].json()["code"] == "rate_limited" and int(late[0].headers["retry-after"]) >= 1
        assert send(server, live).status_code == 200
        assert send(server, None, writeKey=live, address="192.0.2.1").status_code == 200


def test_a_large_body_without_a_valid_key_is_not_decoded(patient: Server) -> None:
    live, filler = patient.key("ingest"), "x" * 200_000
    answer = httpx.post(
        f"{patient.base_url}/v1/batch", content=b'{"batch": [' + b"[" * 500_000, timeout=30
    )
    assert answer.status_code == 401, "it is not JSON either, which nobody found out"
    for field in ("writeKey", "api_key", "token"):
        assert send(patient, None, **{field: live}, context={"note": filler}).status_code == 200
    for wrong in ("ea_ingest_" + "x" * 43, "wrong"):
        assert send(patient, None, writeKey=wrong, context={"note": filler}).status_code == 401
    smuggled = send(patient, None, writeKey="wrong", context={"note": filler, "key": live})
    assert smuggled.status_code == 401, "a live key elsewhere in the body proves nothing"


LONG = 1e6  # requests: what is counted for so many is refused for the rest of a test


def use_up(rate: RateLimit, who: str) -> None:
    assert rate.charge(who, time.monotonic(), cost=LONG) == 0


def test_rates_are_limited_by_key_and_by_address(
    patient: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [patient.key("ingest") for _ in range(2)]
    admission = patient.app.state.admission
    monkeypatch.setattr(admission, "_addresses", RateLimit(500))
    use_up(admission._keys, hashlib.sha256(keys[0].encode()).hexdigest())
    for answer in (send(patient, keys[0]), send(patient, None, writeKey=keys[0])):
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) == int(answer.headers["x-ratelimit-reset"]) > 0
    assert send(patient, keys[1]).status_code == 200
    use_up(admission._addresses, "192.0.2.1")
    use_up(admission._addresses, "2001:db8::/64")
    for address, status in (
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("203.0.113.9, 192.0.2.1", 429),
        ("192.0.2.1, 203.0.113.9", 200),
        ("2001:db8::ffff", 429),
        ("2001:db8:0:1::1", 200),
        ("::ffff:192.0.2.1", 429),
    ):
        assert send(patient, keys[1], address=address).status_code == status, address


def test_x_forwarded_for_of_an_untrusted_sender_is_ignored(settings: Settings) -> None:
    with serving(replace(settings, limits=Limits(trusted_proxies=()))) as server:
        key = server.key("ingest")
        assert send(server, key, address="192.0.2.1").status_code == 200
        use_up(server.app.state.admission._addresses, "127.0.0.1")
        assert send(server, key, address="192.0.2.1").status_code == 429


def test_requests_without_a_session_use_no_database_connection(patient: Server) -> None:
    with browser(patient) as client:
        client.get("/sign-in")
        before = patient.app.state.pool.get_stats()["requests_num"]
        for path in ("/", "/messages", "/interventions", "/portfolio.csv"):
            assert client.get(path).status_code == 303
        assert patient.app.state.pool.get_stats()["requests_num"] == before


def test_concurrent_probes_share_one_query(patient: Server) -> None:
    single_flight, pool = patient.app.state.single_flight, patient.app.state.pool
    send(patient, patient.key("ingest"))

    async def crowd() -> list[int]:
        async def one() -> int:
            async with pool.connection() as conn:
                await conn.execute("SELECT 1")
            return 1

        before = pool.get_stats()["requests_num"]
        assert (
            await asyncio.gather(*(single_flight.run("crowd", one) for _ in range(500)))
            == [1] * 500
        )
        return [pool.get_stats()["requests_num"] - before]

    assert in_loop_of(patient, crowd) == [1]
    assert httpx.get(f"{patient.base_url}/readyz").json()["status"] == "ready"
    assert "everafter_up 1" in httpx.get(f"{patient.base_url}/metrics").text
    assert json.loads(httpx.get(f"{patient.base_url}/livez").text) == {"status": "alive"}
