"""Limits on connections: how many there are, and how long a client may take to send and to read.

All of this happens before a request is authenticated, so a waiting connection costs nothing but
itself. When there are too many, connections that wait for their client are closed in favor of new
ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from enum import IntEnum
from http import HTTPStatus
from typing import ClassVar, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from everafter.core.limits import Limits, network_of
from everafter.core.probes import Counters
from everafter.core.web import PROBLEM, problem_body

MAX_HEAD = 64 * 1024
"""Bytes of a request's first line and headers, and of the trailers of a chunked body."""
MAX_HEADERS = 128
_MAX_PIPELINED = 32
_ENOUGH_BODY = 16 * 1024
_CLOSE_SECONDS = 2.0
_CLOSE_BYTES = 1024 * 1024
_SWEEP_SECONDS = 1.0
_UNSENT_BYTES = 20_000  # of a response that a client must read within `Limits.unsent_seconds`


class Waiting(IntEnum):
    """What a connection waits for. When there are too many, the lowest value is closed first."""

    HEAD = 0  # for a request's head, or for the rest of a body that was already answered
    ANONYMOUS_BODY = 1  # for the rest of a body without a key or token in the headers
    IDLE = 2  # for the next request
    BODY = 3  # for the rest of any other body
    WORK = 4  # for the application: never closed


class _Group:
    """Connections by what they wait for, the longest waiting first."""

    def __init__(self) -> None:
        self._kinds: tuple[dict[GuardedProtocol, None], ...] = tuple({} for _ in Waiting)

    def __len__(self) -> int:
        return sum(map(len, self._kinds))

    def __iter__(self) -> Iterator[GuardedProtocol]:
        for kind in self._kinds:
            yield from list(kind)

    def put(self, connection: GuardedProtocol, before: Waiting | None) -> None:
        if before is not None:
            self._kinds[before].pop(connection, None)
        self._kinds[connection.waiting][connection] = None

    def remove(self, connection: GuardedProtocol) -> None:
        self._kinds[connection.waiting].pop(connection, None)

    def choose_to_close(self, newcomer: GuardedProtocol, crowd: int) -> GuardedProtocol | None:
        """The connection to close for a new one; null when the application works for all of them.

        It is the longest waiting of the first kind with more than `crowd` connections, else of the
        largest kind. So a connection is not closed before `crowd` newer ones of its kind have
        come, and a new client has time to send its request.
        """
        kinds = self._kinds[: Waiting.WORK]
        kind = next((kind for kind in kinds if len(kind) > crowd), max(kinds, key=len))
        return next((connection for connection in kind if connection is not newcomer), None)


class ConnectionLimiter:
    """All connections of one server. Counts those closed before a request was handled."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.limits = limits
        self._counters = counters
        self._all = _Group()
        self._by_address: dict[str, _Group] = {}
        quickest = min(limits.head_seconds, limits.body_seconds, limits.unsent_seconds)
        self._sweep_seconds = min(_SWEEP_SECONDS, quickest / 2)
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def connections(self) -> list[GuardedProtocol]:
        """All open connections."""
        return list(self._all)

    def enter(self, connection: GuardedProtocol) -> bool:
        """Accept a connection, closing another one if necessary; false when none can be closed."""
        self._all.put(connection, None)
        if connection.address is not None:
            self._by_address.setdefault(connection.address, _Group()).put(connection, None)
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(
                self._sweep_seconds, self._sweep, connection.loop
            )
        group = self._by_address.get(connection.address or "")
        if group is not None and len(group) > self.limits.connections_per_address:
            return self._make_room(group, connection, self.limits.connections_per_address)
        most = self.limits.connections
        return len(self._all) <= most or self._make_room(self._all, connection, most)

    def count(self, reason: str) -> None:
        """Count a connection that was refused or closed, for `/metrics`."""
        self._counters.add("everafter_connections_refused_total", 1, f'reason="{reason}"')

    def move(self, connection: GuardedProtocol, waiting: Waiting) -> None:
        """Record what a connection waits for now."""
        before, connection.waiting = connection.waiting, waiting
        self._all.put(connection, before)
        if connection.address is not None:
            self._by_address[connection.address].put(connection, before)

    def leave(self, connection: GuardedProtocol) -> None:
        """Remove a closed connection."""
        self._all.remove(connection)
        if (group := self._by_address.get(connection.address or "")) is not None:
            group.remove(connection)
            if not len(group):
                del self._by_address[connection.address or ""]

    def _make_room(self, group: _Group, newcomer: GuardedProtocol, most: int) -> bool:
        if (closing := group.choose_to_close(newcomer, most // 8)) is None:
            self.count("full")
            return False
        self.count("made_room")
        self.leave(closing)
        closing.drop()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = None
        now = loop.time()
        for connection in self._all:
            connection.check_time(now)
        if len(self._all):
            self._sweeping = loop.call_later(self._sweep_seconds, self._sweep, loop)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads, times and connections.

    A connection is in one of five states (`Waiting`). The `ConnectionLimiter` checks deadlines
    about once a second; there is no timer for each request.
    """

    limiter: ClassVar[ConnectionLimiter]
    waiting: Waiting = Waiting.HEAD
    address: str | None = None
    """What the limit per address counts; null for a proxy, which has many clients."""

    _in_head = True  # the head of the current request is not complete
    _head_bytes = 0
    _head_is_whole = True  # all bytes of the current head are in the current piece
    _trailer_bytes = 0  # received since the last byte of the body
    _deadline = 0.0
    _closing_at: float | None = None  # data received after this moment is discarded
    _discarded_bytes = 0
    _refusal: tuple[int, str, str] | None = None
    _unsent: tuple[float, int] | None = None
    _deferred: tuple[RequestResponseCycle, ASGI3Application] | None = None

    # ── events of the transport ───────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        limits = self.limiter.limits
        host = self.client[0] if self.client else ""
        self.address = None if limits.is_proxy(host) else network_of(host)
        self._deadline = self.loop.time() + limits.head_seconds
        if not self.limiter.enter(self):
            self.limiter.leave(self)
            self._closing_at = self.loop.time()
            transport.write(_raw_problem(503, "overloaded", "too many connections are open"))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limiter.leave(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it after an error

    def data_received(self, data: bytes) -> None:
        if self._closing_at is not None:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _CLOSE_BYTES:
                self.transport.abort()
            return
        if self.waiting is Waiting.IDLE:
            self._deadline = self.loop.time() + self.limiter.limits.head_seconds
            self.limiter.move(self, Waiting.HEAD)
        while data and self._closing_at is None and not self.transport.is_closing():
            room = max(1, MAX_HEAD + 1 - self._head_bytes) if self._in_head else len(data)
            piece, data = data[:room], data[room:]
            self._feed(piece)
        if self._closing_at is None:
            self._settle()

    def _feed(self, piece: bytes) -> None:
        """Parse some bytes, counting those of an incomplete head or of trailers."""
        began_in_head = self._in_head
        if not began_in_head:
            self._trailer_bytes += len(piece)
        super().data_received(piece)
        if began_in_head and self._in_head and self._head_is_whole:
            self._head_bytes += len(piece)
        self._head_is_whole = True
        if self._head_bytes > MAX_HEAD or self._trailer_bytes > MAX_HEAD:
            self._refuse_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = None

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = None

    # ── events of the parser ──────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # a head has begun; where in the piece is not known
        self._head_bytes = self._head_bytes or 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # trailers are ignored
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._refuse_head()
            raise RuntimeError("too many headers")  # stops the parser

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD:
            self._refuse_head()
            raise RuntimeError("the head is too large")
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._refusal = (
                400,
                "bad_request",
                "too many pipelined requests; wait for responses before you send more",
            )
            raise RuntimeError("too many requests at once")
        self._in_head = False
        self._trailer_bytes = 0
        limits = self.limiter.limits
        seconds = (
            limits.body_seconds if _has_credentials(self.headers) else limits.anonymous_seconds
        )
        self._deadline = self.loop.time() + seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._trailer_bytes = 0
        super().on_body(body)
        self._start_deferred()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._start_deferred()
        self._in_head = True
        self._head_bytes = self._trailer_bytes = 0
        self._head_is_whole = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._closing_at is None:
            self._settle()

    # ── what reaches the application ──────────────────────────────────────────────────────────────

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start a request; one without credentials only when enough of its body has arrived.

        Until then it costs its connection and nothing else: no task, no place in a limit."""
        self._deferred = (cycle, app)
        self._start_deferred()

    def _start_deferred(self) -> None:
        if self._deferred is None:
            return
        cycle, app = self._deferred
        enough = not cycle.more_body or len(cycle.body) >= _ENOUGH_BODY
        if enough or cycle.waiting_for_100_continue or _has_credentials(cycle.scope["headers"]):
            self._deferred = None
            super()._start_asgi_task(cycle, app)

    # ── refusing a request ────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        if self._closing_at is None:
            self._refuse(
                *(self._refusal or (400, "bad_request", "this is not a valid HTTP request"))
            )

    def _refuse_head(self) -> None:
        if self._closing_at is not None:
            return
        if len(self.url) > MAX_HEAD // 2:
            self._refuse(414, "too_long", f"the URL is longer than {MAX_HEAD} bytes")
            return
        most = f"{MAX_HEAD} bytes and {MAX_HEADERS} headers"
        self._refuse(431, "headers_too_large", f"the request's headers are more than {most}")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Respond and close; when an earlier response is still due, only close.

        What the client sends meanwhile is read and discarded, within limits: closing with unread
        bytes would reset the connection before the response arrives.
        """
        self.limiter.count(code)
        self._closing_at = self.loop.time()
        self._deadline = self._closing_at + _CLOSE_SECONDS
        self._unset_keepalive_if_required()
        cycle = self._unfinished()
        out_of_turn = cycle is not None and (self._in_head or cycle.response_started)
        response_due = bool(self.pipeline) or out_of_turn
        self._abandon()
        if response_due or self.transport.is_closing():
            self.transport.abort()
            return
        self.limiter.move(self, Waiting.HEAD)
        self.flow.resume_reading()
        self.transport.write(_raw_problem(status, code, detail))
        self.transport.write_eof()

    def _abandon(self) -> None:
        """Tell the tasks of unfinished requests that the client is disconnected."""
        self._deferred = None
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        if (cycle := self._unfinished()) is not None:
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()

    def _unfinished(self) -> RequestResponseCycle | None:
        """The latest request if its response is not complete, else null."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # null before the first request
        return None if cycle is None or cycle.response_complete else cycle

    def drop(self) -> None:
        """Close at once, to make room for others."""
        self._closing_at = self.loop.time()
        self.transport.abort()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Determine what the connection waits for now."""
        if self._unfinished() is not None:
            body = Waiting.BODY if _has_credentials(self.headers) else Waiting.ANONYMOUS_BODY
            waiting = Waiting.WORK if self._in_head else body
        elif not self._in_head or self._head_bytes:
            waiting = Waiting.HEAD
        else:
            waiting = Waiting.IDLE
        if waiting is self.waiting:
            return
        if waiting is Waiting.HEAD and self._in_head:
            self._deadline = self.loop.time() + self.limiter.limits.head_seconds
        self.limiter.move(self, waiting)

    def check_time(self, now: float) -> None:
        """Close the connection if its deadline has passed; called about once a second."""
        if self._closing_at is not None:
            if now > self._deadline:
                self.transport.abort()
            return
        if self._reads_nothing(now):
            self.limiter.count("unread_response")
            self.transport.abort()
        elif now > self._deadline and not self.transport.is_closing():
            self._time_out()

    def _time_out(self) -> None:
        limits = self.limiter.limits
        if self.waiting in (Waiting.ANONYMOUS_BODY, Waiting.BODY) and not self.flow.read_paused:
            known = _has_credentials(self.headers)
            seconds = limits.body_seconds if known else limits.anonymous_seconds
            detail = f"the body did not arrive within {seconds:g} s"
            self._refuse(408, "request_timeout", detail)
        elif self.waiting is Waiting.HEAD and self._in_head and self._head_bytes:
            detail = f"the headers did not arrive within {limits.head_seconds:g} s"
            self._refuse(408, "request_timeout", detail)
        elif self.waiting is Waiting.HEAD:
            self.limiter.count("no_request")
            self.transport.abort()

    def _reads_nothing(self, now: float) -> bool:
        """Whether a response waits for a client that reads too slowly."""
        size = self.transport.get_write_buffer_size()
        if not size:
            self._unsent = None
        elif self._unsent is None:
            self._unsent = (now, size)
        elif now - self._unsent[0] > self.limiter.limits.unsent_seconds:
            if size > self._unsent[1] - _UNSENT_BYTES:
                return True
            self._unsent = (now, size)
        return False


def _has_credentials(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the headers carry a key or token; whether it is valid is checked later."""
    return any(name == b"authorization" for name, _ in headers)


def guard(limits: Limits, counters: Counters) -> type[GuardedProtocol]:
    """The protocol class of one server, with its own limiter."""
    return type(
        "BoundProtocol", (GuardedProtocol,), {"limiter": ConnectionLimiter(limits, counters)}
    )


def _raw_problem(status: int, code: str, detail: str) -> bytes:
    """A complete response, after which the connection closes."""
    content = problem_body(status, code, detail)
    retry = "retry-after: 5\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM}\r\n"
        f"content-length: {len(content)}\r\n{retry}"
        "access-control-allow-origin: *\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content
