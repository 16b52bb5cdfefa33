"""Throttling of password guesses: which requests it slows down, and which it must not."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from everafter.accounts import passwords, queries, rules
from everafter.accounts.model import (
    ACCOUNT_FAILURES,
    ADDRESS_FAILURES,
    MAX_BROWSERS,
    UNKNOWN_BROWSER_FAILURES,
)
from everafter.core.db import connection
from everafter.core.errors import OverloadedError
from everafter.core.settings import Settings
from helpers_pages import HTML, PASSWORD, add_user, form_token, try_sign_in
from helpers_server import Server, serving

MIA = "mia@example.com"
COOKIE = "everafter-browser"


@pytest.fixture(scope="module")
def running(module_settings: Settings) -> Iterator[Server]:
    with serving(module_settings) as made:
        yield made


@pytest.fixture
def server(running: Server) -> Server:
    """One server for all tests, with nobody in it at first."""
    for table in ("sign_in_failures", "known_browsers", "sessions", "users"):
        running.sql(f"DELETE FROM {table}")
    return running


@pytest.fixture
def mia(server: Server) -> str:
    return add_user(server)


def at(server: Server, address: str, browser: str | None = None) -> httpx.Client:
    """A browser at an address, as a trusted proxy says; `browser` is what it kept of an earlier sign-in."""
    client = httpx.Client(
        base_url=server.base_url,
        headers={**HTML, "X-Forwarded-For": address},
        timeout=30,
        verify=False,
    )
    if browser:
        client.cookies.set(COOKIE, browser, domain="127.0.0.1", path="/")
    return client


def enter(
    server: Server,
    address: str,
    email: str = MIA,
    password: str = PASSWORD,
    browser: str | None = None,
) -> httpx.Response:
    with at(server, address, browser) as client:
        return try_sign_in(client, email, password)


def guess(
    server: Server, address: str, times: int, email: str = MIA, browser: str | None = None
) -> list[int]:
    with at(server, address, browser) as client:
        token = form_token(client.get("/sign-in").text)
        fields = {"csrf": token, "email": email, "password": "not the password", "next": "/"}
        return [client.post("/sign-in", data=fields).status_code for _ in range(times)]


def know(server: Server, address: str = "198.51.100.7", email: str = MIA) -> str:
    """Sign in, and keep what a browser keeps."""
    answer = enter(server, address, email)
    assert answer.status_code == 303
    return answer.cookies[COOKIE]


def guess_everywhere(server: Server, email: str = MIA) -> list[int]:
    """Wrong passwords from as many addresses as it takes to reach what an account bears of strangers."""
    addresses = [f"203.0.113.{place}" for place in range(UNKNOWN_BROWSER_FAILURES // 5 + 2)]
    with ThreadPoolExecutor(8) as threads:
        return [
            code
            for codes in threads.map(lambda one: guess(server, one, 5, email), addresses)
            for code in codes
        ]


def crowd(server: Server, email: str = MIA) -> None:
    """As after that: strangers have to wait for a turn at this account."""
    *_, account, interval = rules.unknown_browser_buckets(email, "")
    for bucket in (account, interval):
        server.sql(
            "INSERT INTO sign_in_failures VALUES (%s, %s, now() + interval '10 minutes')"
            " ON CONFLICT (bucket) DO UPDATE SET failures = excluded.failures, until = excluded.until",
            bucket.name,
            bucket.most,
        )


def test_guessing_throttles_only_the_guessers_address(server: Server, mia: str) -> None:
    known = know(server)
    assert guess(server, "192.0.2.1", ACCOUNT_FAILURES + 2) == [401] * ACCOUNT_FAILURES + [429] * 2
    assert enter(server, "192.0.2.1").status_code == 429
    assert enter(server, "192.0.2.2").status_code == 303, "another address"
    assert enter(server, "192.0.2.1", browser=known).status_code == 303, (
        "a known browser, even there"
    )


def test_guessing_from_many_addresses_does_not_throttle_known_browsers(
    server: Server, mia: str
) -> None:
    known = know(server)
    codes = guess_everywhere(server)
    assert codes.count(401) < len(codes) and codes.count(401) <= UNKNOWN_BROWSER_FAILURES + 2
    late = enter(server, "192.0.2.9")
    assert late.status_code == 429 and 0 < int(late.headers["retry-after"]) <= 30, (
        "slowed, and not for long"
    )
    assert enter(server, "192.0.2.9", browser=known).status_code == 303
    server.sql(
        "UPDATE sign_in_failures SET until = now() - interval '1 second' WHERE bucket LIKE 'interval:%%'"
    )
    assert enter(server, "192.0.2.10").status_code == 303, "a stranger has a turn now and then"


def test_a_known_browser_is_throttled_by_its_own_guesses(server: Server, mia: str) -> None:
    known, other = know(server), know(server)
    assert guess(server, "192.0.2.1", ACCOUNT_FAILURES + 1, browser=known)[-2:] == [401, 429]
    assert enter(server, "192.0.2.1", browser=known).status_code == 429
    assert enter(server, "192.0.2.1", browser=other).status_code == 303
    assert enter(server, "192.0.2.1").status_code == 303


def test_forged_and_foreign_browser_cookies_do_not_bypass_the_throttle(
    server: Server, mia: str
) -> None:
    eve = add_user(server, "eve@example.com")
    stolen = know(server, email=eve)
    crowd(server)
    for cookie in (stolen, "forged", "x" * 43, "%C3%A9", stolen[:-1], stolen.swapcase()):
        assert enter(server, "192.0.2.3", browser=cookie).status_code == 429, cookie
    assert enter(server, "192.0.2.3", eve, browser=stolen).status_code == 303


def test_the_browser_cookie_changes_at_sign_in_and_keeps_its_accounts(
    server: Server, mia: str
) -> None:
    eve = add_user(server, "eve@example.com")
    first = know(server)
    assert first.encode() not in b"".join(
        bytes(row[0]) for row in server.sql("SELECT token_hash FROM known_browsers")
    )
    second = enter(server, "192.0.2.1", eve, browser=first).cookies[COOKIE]
    planted = "p" * 43
    third = enter(server, "192.0.2.1", browser=planted).cookies[COOKIE]
    assert len({first, second, third, planted}) == 4
    crowd(server)
    for cookie, status in ((first, 429), (planted, 429), (second, 303), (third, 303)):
        assert enter(server, "192.0.2.4", browser=cookie).status_code == status


def test_a_new_password_forgets_all_known_browsers(server: Server, mia: str) -> None:
    known = know(server)

    async def change() -> None:
        async with connection(server.database) as conn:
            assert await queries.update_password(conn, MIA, passwords.hash_password(PASSWORD))

    asyncio.run(change())
    assert server.sql("SELECT count(*) FROM known_browsers") == [(0,)]
    crowd(server)
    assert enter(server, "192.0.2.5", browser=known).status_code == 429


def test_known_browsers_expire_and_are_limited_in_number(server: Server, mia: str) -> None:
    known = know(server)
    server.sql("UPDATE known_browsers SET expires_at = now() - interval '1 second'")
    crowd(server)
    assert enter(server, "192.0.2.5", browser=known).status_code == 429
    server.sql("DELETE FROM sign_in_failures")
    for _ in range(MAX_BROWSERS + 2):
        know(server)
    assert server.sql("SELECT count(*) FROM known_browsers") == [(MAX_BROWSERS,)]


def test_an_address_that_tries_many_accounts_is_throttled(server: Server, mia: str) -> None:
    known = know(server, "192.0.2.1")
    codes = [
        guess(server, "192.0.2.1", 1, f"user{place}@example.com")[0]
        for place in range(ADDRESS_FAILURES + 2)
    ]
    assert codes == [401] * ADDRESS_FAILURES + [429] * 2
    assert enter(server, "192.0.2.1").status_code == 429
    assert enter(server, "192.0.2.1", browser=known).status_code == 303
    rows = server.sql("SELECT count(*) FROM sign_in_failures WHERE bucket LIKE 'account:%%'")
    assert rows[0][0] <= ADDRESS_FAILURES + 1, "who is slowed adds no more rows"


def test_an_ipv6_64_network_counts_as_one_address(server: Server, mia: str) -> None:
    codes = [
        guess(server, f"2001:db8::{place:x}", 1)[0] for place in range(1, ACCOUNT_FAILURES + 3)
    ]
    assert codes == [401] * ACCOUNT_FAILURES + [429] * 2
    assert enter(server, "2001:db8:0:1::1").status_code == 303


def test_throttling_does_not_reveal_whether_an_account_exists(server: Server, mia: str) -> None:
    nobody = "nobody@example.com"
    assert guess(server, "192.0.2.1", 12) == guess(server, "192.0.2.2", 12, nobody)
    for email in (MIA, nobody):
        crowd(server, email)
    server.sql("DELETE FROM sign_in_failures WHERE bucket NOT LIKE 'account:%%'")
    one, other = (guess(server, "192.0.2.3", 3, email) for email in (MIA, nobody))
    assert one == other == [401, 429, 429]


def test_failures_and_known_browsers_survive_a_restart(settings: Settings) -> None:
    with serving(settings) as server:
        add_user(server)
        known = know(server)
        guess(server, "192.0.2.1", ACCOUNT_FAILURES)
    with serving(settings) as server:
        assert enter(server, "192.0.2.1").status_code == 429
        assert enter(server, "192.0.2.1", browser=known).status_code == 303


def test_the_number_of_counters_is_bounded(server: Server, mia: str) -> None:
    server.sql(
        "INSERT INTO sign_in_failures SELECT 'pair:' || n, 1, now() + n * interval '1 minute' FROM generate_series(-50, 200) n"
    )

    def sweep(most: int) -> list[tuple[int, int]]:
        async def play() -> None:
            async with connection(server.database) as conn:
                await queries.sweep_buckets(conn, most)

        asyncio.run(play())
        return server.sql("SELECT count(*), min(substr(bucket, 6)::int) FROM sign_in_failures")  # pyright: ignore

    [(left, least)] = sweep(1_000)
    assert left == 201 - least and least in (-1, 0, 1)
    assert sweep(100) == [(100, 101)]
    assert know(server)


@pytest.fixture
def line() -> Iterator[threading.Event]:
    """The hashing threads busy, and as many waiting as strangers may be; until the event is set."""
    go = threading.Event()
    for _ in range(2 + passwords._MAX_QUEUE_UNKNOWN):
        passwords._THREADS.submit(go.wait, 60)
    yield go
    go.set()


def test_a_full_queue_keeps_places_for_known_browsers(line: threading.Event) -> None:
    async def play() -> None:
        with pytest.raises(OverloadedError):
            await passwords.verify_password("x", None)
        known = asyncio.create_task(passwords.verify_password("x", None, is_known=True))
        await asyncio.sleep(0)
        assert not known.done()
        line.set()
        assert await known is False

    asyncio.run(play())
