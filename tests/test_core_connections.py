"""Limits on connections, over real sockets: headers, timeouts, numbers, pipelining."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get, post
from litestar.datastructures import State

from everafter.core.connections import MAX_HEAD, MAX_HEADERS, ConnectionLimiter, Waiting
from everafter.core.limits import Limits
from everafter.core.probes import Counters
from everafter.server import make_server

QUICK = Limits(
    connections=40, head_seconds=0.4, body_seconds=0.8, anonymous_seconds=0.8, unsent_seconds=0.6
)
BIG = b"x" * 40_000_000


async def count(request: Request[Any, Any, State]) -> None:
    request.app.state.seen += 1


@get("/alive", sync_to_thread=False)
def alive() -> str:
    return "yes"


@get("/big", sync_to_thread=False)
def big() -> bytes:
    return BIG


@get("/seen", sync_to_thread=False)
def seen(request: Request[Any, Any, State]) -> dict[str, int]:
    return {"headers": len(request.headers), "address": 0, "path": len(request.url.query)}


@get("/wait")
async def wait(state: State) -> str:
    while not state.released:  # noqa: ASYNC110 the state belongs to no loop
        await asyncio.sleep(0.01)
    return "done"


@post("/echo", request_max_body_size=None)
async def echo(request: Request[Any, Any, State]) -> dict[str, Any]:
    body = await request.body()
    return {"length": len(body), "trailer": request.headers.get("x-trailer")}


@dataclass
class Bare:
    """A server without a database."""

    port: int
    limiter: ConnectionLimiter
    state: State

    def connect(self, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), 20, (source, 0))
        if sent:
            made.sendall(sent)
        return made

    def is_alive(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.port}/alive", timeout=20).text == "yes"


@contextmanager
def bare(limits: Limits) -> Iterator[Bare]:
    app = Litestar(
        [alive, big, seen, echo, wait],
        state=State({"released": False, "seen": 0, "counters": Counters()}),
        before_request=count,
        openapi_config=None,
    )
    server = make_server(app, limits)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    protocol: Any = server.config.http
    yield Bare(int(listener.getsockname()[1]), protocol.limiter, app.state)
    app.state.released = True
    server.should_exit = True
    thread.join(30)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def quick() -> Iterator[Bare]:
    with bare(QUICK) as server:
        yield server


@pytest.fixture(scope="module")
def patient() -> Iterator[Bare]:
    """One where nothing happens by time."""
    with bare(
        replace(
            QUICK, head_seconds=1000, body_seconds=1000, anonymous_seconds=1000, unsent_seconds=1000
        )
    ) as server:
        yield server


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes; a reset ends it too."""
    got = b""
    try:
        while chunk := connection.recv(1 << 20):
            got += chunk
    except ConnectionError:
        pass
    return got


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """The status and body of one answer that has a length."""
    reader = connection.makefile("rb")
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status, reader.read(length)


def head(*headers: str, path: str = "/alive", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


CHUNKED = head("Transfer-Encoding: chunked", path="/echo", method="POST")

# ── heads ─────────────────────────────────────────────────────────────────────────────────────────

TOO_MUCH: list[tuple[str, bytes, int]] = [
    ("one giant header", head("X-A: " + "a" * 30_000_000), 431),
    ("one that never ends", b"GET /alive HTTP/1.1\r\nX-A: " + b"a" * 2_000_000, 431),
    ("a giant name", head("a" * 100_000 + ": 1"), 431),
    ("just over", head("X-A: " + "a" * MAX_HEAD), 431),
    ("many small ones", head(*(f"X-{place}: 1" for place in range(MAX_HEADERS + 1))), 431),
    ("thousands of tiny ones", head(*("a:" for _ in range(100_000))), 431),
    ("folded lines", head("X-A: 1", *(" " + "a" * 1000 for _ in range(200))), 400),
    ("many cookies", head(*(f"Cookie: a{place}=" + "v" * 1000 for place in range(80))), 431),
    ("a giant address", head(path="/alive?" + "q" * 3_000_000), 414),
    ("an address that never ends", b"GET /" + b"a" * 2_000_000, 414),
    ("a giant method", b"G" * 1_000_000, 400),
    ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10, 400),
    ("a second head behind a good body", head("Content-Length: 2", path="/echo", method="POST") + b"ok"
     + head("X-A: " + "a" * 200_000), 0),
    ("giant trailers", CHUNKED + b"2\r\nok\r\n0\r\nX-T: " + b"t" * 3_000_000, 431),
    ("many trailers", CHUNKED + b"2\r\nok\r\n0\r\n" + b"X-T: t\r\n" * 500_000, 431),
    ("endless chunk extensions", CHUNKED + b"2;" + b"e" * 3_000_000, 431),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "status"), TOO_MUCH, ids=[case[0] for case in TOO_MUCH])
def test_large_headers_and_bodies_are_refused_before_they_are_read(
    patient: Bare, name: str, sent: bytes, status: int
) -> None:
    with patient.connect() as connection:
        taken = send_as_far_as_it_goes(connection, sent)
        answer = read_all(connection)
    assert taken <= 16_000_000, (
        "the rest was never taken"
    )  # most of that waits in the kernel's buffers
    if status:
        top, _, body = answer.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 %d " % status) and b"connection: close" in top
        assert b"content-type: application/problem+json" in top
        assert json.loads(body)["status"] == status and json.loads(body)["detail"]
    assert patient.is_alive()


def send_as_far_as_it_goes(connection: socket.socket, sent: bytes) -> int:
    taken = 0
    try:
        while taken < len(sent):
            taken += connection.send(sent[taken : taken + (1 << 20)])
    except ConnectionError:
        pass
    return taken


def test_large_headers_within_the_limit_are_accepted(patient: Bare) -> None:
    for headers in (
        ["X-A: " + "a" * 60_000],
        [f"X-{place}: {'b' * 400}" for place in range(MAX_HEADERS - 1)],
    ):
        for step in (1 << 20, 3000):
            with patient.connect() as connection:
                sent = head(*headers, path="/seen")
                for start in range(0, len(sent), step):
                    connection.sendall(sent[start : start + step])
                status, body = read_answer(connection)
            assert (status, json.loads(body)["headers"]) == (200, len(headers) + 1)


def test_large_bodies_do_not_count_as_headers(patient: Bare) -> None:
    url = f"http://127.0.0.1:{patient.port}/echo"
    with httpx.Client(timeout=30) as client:
        for size in (0, 1, MAX_HEAD - 50, MAX_HEAD, MAX_HEAD * 3, 5_000_000):
            body = b"b" * size
            assert client.post(url, content=body).json()["length"] == size
            pieces = [body[: size // 2], body[size // 2 :]]
            assert client.post(url, content=iter(pieces)).json()["length"] == size
            tiny = (b"c" for _ in range(min(size, 3000)))
            assert client.post(url, content=tiny).json()["length"] == min(size, 3000)


def test_trailers_are_not_headers(patient: Bare) -> None:
    with patient.connect(CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: smuggled\r\n\r\n") as connection:
        status, body = read_answer(connection)
        assert (status, json.loads(body)) == (201, {"length": 2, "trailer": None})
        connection.sendall(head())
        assert read_answer(connection) == (200, b"yes"), "the connection goes on"


def test_an_unsupported_upgrade_is_ignored(patient: Bare) -> None:
    with patient.connect(head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")) as connection:
        assert read_answer(connection) == (200, b"yes")


def test_a_body_without_a_key_reaches_the_application_when_enough_has_arrived(
    patient: Bare,
) -> None:
    seen: int = patient.state.seen
    with ExitStack() as stack:
        sent = head("Content-Length: 50000", path="/echo", method="POST") + b"b" * 1000
        slow = [stack.enter_context(patient.connect(sent)) for _ in range(10)]
        assert patient.is_alive()
        assert patient.state.seen == seen + 1
        slow[0].sendall(b"b" * 49_000)
        assert json.loads(read_answer(slow[0])[1])["length"] == 50_000
        slow[1].sendall(b"b" * 20_000)
        wait_for(lambda: patient.state.seen == seen + 3)
        keyed = stack.enter_context(
            patient.connect(
                head("Content-Length: 9", "Authorization: x", path="/echo", method="POST")
            )
        )
        wait_for(lambda: patient.state.seen == seen + 4)
        keyed.sendall(b"b" * 9)
        assert read_answer(keyed)[0] == 201


# ── pipelining ────────────────────────────────────────────────────────────────────────────────────


def test_pipelined_requests_are_answered_in_order(patient: Bare) -> None:
    bodies = [b"a" * size for size in (1, 70_000, 5, 0)]
    sent = b"".join(
        head(f"Content-Length: {len(body)}", path="/echo", method="POST") + body for body in bodies
    )
    with patient.connect(sent + head("Connection: close")) as connection:
        answer = read_all(connection)
    assert [answer.find(b'"length":%d,' % len(body)) for body in bodies] == sorted(
        answer.find(b'"length":%d,' % len(body)) for body in bodies
    )
    assert answer.count(b"HTTP/1.1 201") == 4 and answer.endswith(b"yes")


def test_thousands_of_pipelined_requests_are_not_queued(patient: Bare) -> None:
    with patient.connect() as connection:
        send_as_far_as_it_goes(connection, head() * 20_000)
        assert read_all(connection).count(b"HTTP/1.1") < 1_000
    assert patient.is_alive()


def test_a_bad_pipelined_request_is_not_answered_before_the_one_in_front(patient: Bare) -> None:
    with patient.connect(head(path="/big") + b"nonsense\r\n\r\n") as connection:
        assert not read_all(connection).startswith(b"HTTP/1.1 400")
    assert patient.is_alive()


# ── time ──────────────────────────────────────────────────────────────────────────────────────────


def drip(connection: socket.socket, piece: bytes) -> bytes:
    """Send a piece again and again until the other side closes; what it said."""
    connection.settimeout(0.1)
    got = b""
    try:
        while True:
            try:
                connection.sendall(piece)
                chunk = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not chunk:
                return got
            got += chunk
    except ConnectionError:
        return got


SLOW: list[tuple[str, bytes, bytes, int]] = [
    ("nothing at all", b"", b"", 0),
    ("half a head", b"GET /alive HTTP/1.1\r\nHost: x\r\n", b"", 408),
    ("a head drop by drop", b"GET /alive HTTP/1.1\r\nX-A: ", b"a", 408),
    ("headers one by one", b"GET /alive HTTP/1.1\r\n", b"X-A: 1\r\n", 408),
    ("an address drop by drop", b"GET /", b"a", 408),
    ("empty lines", b"\r\n", b"\r\n", 408),
    ("a body drop by drop", head("Content-Length: 100000", path="/echo", method="POST"), b"b", 408),
    ("a body that stops", head("Content-Length: 9", path="/echo", method="POST") + b"bbb", b"", 408),
    ("chunks drop by drop", CHUNKED, b"1\r\nb\r\n", 408),
    ("a chunk's length", CHUNKED, b"0", 408),
    ("trailers drop by drop", CHUNKED + b"2\r\nok\r\n0\r\n", b"X-T: t\r\n", 408),
    ("waiting for 100", head("Expect: 100-continue", "Content-Length: 9", path="/echo", method="POST"), b"", 408),
    ("a body nobody wants", head("Content-Length: 100000"), b"b", 408),
    ("a body for nobody", head("Content-Length: 100000", path="/nowhere", method="POST"), b"b", 408),
    ("one that is answered first", head("Content-Length: 100000", "Authorization: x", path="/nowhere", method="POST"), b"b", 404),
    ("a body with a key", head("Content-Length: 9", "Authorization: x", path="/echo", method="POST"), b"", 408),
    ("a body that is begun", head("Content-Length: 90000", path="/echo", method="POST") + b"b" * 50_000, b"b", 408),
    ("a second head", head() + b"GET /ali", b"", 200),
    ("empty lines behind a request", head() + b"\r\n", b"\r\n", 200),
]  # fmt: skip


def test_slow_headers_and_bodies_are_closed(quick: Bare) -> None:
    def suffer(case: tuple[str, bytes, bytes, int]) -> bytes:
        with quick.connect(case[1]) as connection:
            return drip(connection, case[2]) if case[2] else read_all(connection)

    with ThreadPoolExecutor(len(SLOW)) as threads:
        answers = list(threads.map(suffer, SLOW))
    for (name, _, _, status), said in zip(SLOW, answers, strict=True):
        answer = said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status) if status else answer == b"", name
        if status == 408:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout", name


@pytest.mark.parametrize("more", [(), ("Connection: close",)])
def test_a_client_that_does_not_read_is_closed(quick: Bare, more: tuple[str, ...]) -> None:
    with quick.connect(head(*more, path="/big")) as connection:
        wait_for(lambda: len(quick.limiter) > 0)
        wait_for(lambda: not len(quick.limiter))
        assert len(read_all(connection)) < len(BIG)


def test_a_client_that_reads_slowly_gets_the_whole_response(quick: Bare) -> None:
    with quick.connect(head("Connection: close", path="/big")) as connection:
        got = 0
        while chunk := connection.recv(1 << 18):
            got += len(chunk)
            time.sleep(0.005)
    assert got > len(BIG)


def test_an_idle_connection_lives_longer_than_the_header_timeout(quick: Bare) -> None:
    with quick.connect(head()) as connection:
        assert read_answer(connection) == (200, b"yes")
        with quick.connect(b"GET /") as other:
            assert read_all(other).startswith(b"HTTP/1.1 408"), "so much time has passed"
        connection.sendall(head())
        assert read_answer(connection) == (200, b"yes")


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────


def test_the_longest_waiting_connection_is_closed_first(patient: Bare) -> None:
    with ExitStack() as stack:
        resting = stack.enter_context(patient.connect(head()))
        read_answer(resting)
        working = stack.enter_context(patient.connect(head(path="/big")))
        first, *rest = [
            stack.enter_context(patient.connect(b"GET /half HTTP/1.1\r\nX")) for _ in range(120)
        ]
        assert patient.is_alive() and len(patient.limiter) <= QUICK.connections
        assert read_all(first) == b"", "the longest waiting went first"
        assert any(one.send(b"-") for one in rest[-1:])
        resting.sendall(head())
        assert read_answer(resting) == (200, b"yes"), "half a head makes way before one that rests"
        status, body = read_answer(working)
        assert (status, len(body)) == (200, len(BIG)), "who is served is never closed"


def test_slow_bodies_are_closed_before_idle_connections(patient: Bare) -> None:
    slow = head("Content-Length: 9", path="/echo", method="POST") + b"b"
    proven = head("Content-Length: 9", "Authorization: x", path="/echo", method="POST") + b"b"
    with ExitStack() as stack:
        resting = stack.enter_context(patient.connect(head()))
        read_answer(resting)
        sender = stack.enter_context(patient.connect(proven))
        wait_for(lambda: any(one.waiting is Waiting.BODY for one in patient.limiter.connections()))
        for _ in range(QUICK.connections * 2):
            stack.enter_context(patient.connect(slow))
        honest = stack.enter_context(patient.connect(slow))
        assert patient.is_alive()
        for connection in (honest, sender):
            connection.sendall(b"b" * 8)
            assert read_answer(connection)[0] == 201
        resting.sendall(head())
        assert read_answer(resting) == (200, b"yes")


@pytest.mark.parametrize(
    "crowd", [head(), head("Content-Length: 9", path="/echo", method="POST") + b"b", b"GET"]
)
def test_a_new_connection_has_time_to_send_its_request(patient: Bare, crowd: bytes) -> None:
    """Whatever the other connections wait for, they are closed first."""
    with ExitStack() as stack:
        for _ in range(QUICK.connections):
            stack.enter_context(patient.connect(crowd))
        wait_for(lambda: len(patient.limiter) == QUICK.connections)
        newcomers = [stack.enter_context(patient.connect()) for _ in range(QUICK.connections // 8)]
        for newcomer in newcomers:
            newcomer.sendall(head())
            assert read_answer(newcomer) == (200, b"yes")


def test_idle_connections_are_closed_before_bodies_with_a_key(patient: Bare) -> None:
    proven = head("Content-Length: 9", "Authorization: x", path="/echo", method="POST") + b"b"
    with ExitStack() as stack:
        sender = stack.enter_context(patient.connect(proven))
        resting = [
            stack.enter_context(patient.connect(head())) for _ in range(QUICK.connections * 2)
        ]
        assert read_answer(resting[-1]) == (200, b"yes")
        sender.sendall(b"b" * 8)
        assert read_answer(sender)[0] == 201


def test_a_new_connection_gets_503_when_all_are_being_served(patient: Bare) -> None:
    with ExitStack() as stack:
        served = [
            stack.enter_context(patient.connect(head(path="/wait")))
            for _ in range(QUICK.connections)
        ]
        wait_for(
            lambda: (
                sum(one.waiting is Waiting.WORK for one in patient.limiter.connections())
                == len(served)
            )
        )
        for _ in range(QUICK.connections * 2):
            with patient.connect() as newcomer:
                answer = read_all(newcomer)
            assert answer.startswith(b"HTTP/1.1 503") and b"retry-after" in answer
        assert len(patient.limiter) == QUICK.connections
        patient.state.released = True
        assert {read_answer(one) for one in served} == {(200, b"done")}
    assert patient.is_alive()


def test_connections_are_limited_per_address() -> None:
    limits = replace(QUICK, head_seconds=1000, connections_per_address=5, trusted_proxies=())
    with bare(limits) as server, ExitStack() as stack:
        mine = [stack.enter_context(server.connect(b"GET", "127.0.0.9")) for _ in range(4)]
        theirs = [stack.enter_context(server.connect(b"GET", "127.0.0.10")) for _ in range(12)]
        assert read_all(theirs[0]) == b"", "their own oldest made way"
        for one in mine:
            one.sendall(b" /alive HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(one) == (200, b"yes")
        assert len(server.limiter) == 9
    assert not server.limiter._by_address, "closed addresses are forgotten"


def test_a_trusted_proxy_is_not_limited_per_address() -> None:
    limits = replace(QUICK, head_seconds=1000, connections_per_address=5)
    with bare(limits) as server, ExitStack() as stack:
        through = [stack.enter_context(server.connect(b"GET")) for _ in range(20)]
        through[0].sendall(b" /alive HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(through[0]) == (200, b"yes")


def test_connections_refused_before_the_application_are_counted() -> None:
    with bare(replace(QUICK, connections_per_address=2, trusted_proxies=())) as server:
        with server.connect(head("X-A: " + "a" * 100_000)) as connection:
            assert read_answer(connection)[0] == 431
        with server.connect() as connection:
            assert read_all(connection) == b""  # it sends nothing, so it is closed after a while
        counted = "\n".join(server.state.counters.lines())
        assert 'everafter_connections_refused_total{reason="headers_too_large"} 1' in counted
        assert 'reason="no_request"' in counted
        idle = [server.connect() for _ in range(3)]
        wait_for(lambda: 'reason="made_room"' in "\n".join(server.state.counters.lines()))
        for connection in idle:
            connection.close()
