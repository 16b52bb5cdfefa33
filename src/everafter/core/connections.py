"""Connections within bounds: how many there are, and how long each may take over its part.

Everything here happens before a request is authenticated, so a connection holds nothing but itself
while it waits, and those that wait for the client make way for others when there are too many.
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

MOST_HEAD = 64 * 1024
"""Bytes of a request head: its first line, its headers, and the trailers of a chunked body."""
MOST_HEADERS = 128
_MOST_PIPELINED = 32
_ENOUGH_BODY = 16 * 1024
_LEAVE_SECONDS = 2.0
_LEAVE_BYTES = 1024 * 1024
_SWEEP_SECONDS = 1.0
_UNSENT_BYTES = 20_000  # of an answer that a client must read in `Limits.unsent_seconds`


class Waiting(IntEnum):
    """What a connection waits for; the lower, the sooner it makes way when there are too many."""

    HEAD = 0  # for a request's head, or for what nobody wants: a body that was answered already
    UNPROVEN = 1  # for the rest of a body, without a key or token in the headers
    IDLE = 2  # for the next request
    BODY = 3  # for the rest of any other body
    WORK = 4  # for us: never closed


class _Group:
    """Some connections by what they wait for, the longest waiting first."""

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

    def first_to_go(self, newcomer: GuardedProtocol, crowd: int) -> GuardedProtocol | None:
        """The one that makes way; null when all of them are worked for.

        It is the longest waiting of the first kind that is a crowd, else of the largest kind: so
        nobody goes before `crowd` newer ones of his kind have come, not even a newcomer who has
        not had the time to send his request.
        """
        kinds = self._kinds[: Waiting.WORK]
        kind = next((kind for kind in kinds if len(kind) > crowd), max(kinds, key=len))
        return next((connection for connection in kind if connection is not newcomer), None)


class Door:
    """All connections of one server. It counts those that ended before a request reached the
    application."""

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
        """All that are open."""
        return list(self._all)

    def enter(self, connection: GuardedProtocol) -> bool:
        """Let a connection in, if need be for one that waits; false when nobody makes way."""
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
        """Note what a connection waits for now."""
        before, connection.waiting = connection.waiting, waiting
        self._all.put(connection, before)
        if connection.address is not None:
            self._by_address[connection.address].put(connection, before)

    def leave(self, connection: GuardedProtocol) -> None:
        """Forget a connection that is closed."""
        self._all.remove(connection)
        if (group := self._by_address.get(connection.address or "")) is not None:
            group.remove(connection)
            if not len(group):
                del self._by_address[connection.address or ""]

    def _make_room(self, group: _Group, newcomer: GuardedProtocol, most: int) -> bool:
        if (leaving := group.first_to_go(newcomer, most // 8)) is None:
            self.count("full")
            return False
        self.count("made_room")
        self.leave(leaving)
        leaving.drop()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = None
        now = loop.time()
        for connection in self._all:
            connection.check_time(now)
        if len(self._all):
            self._sweeping = loop.call_later(self._sweep_seconds, self._sweep, loop)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads, on time, and on connections.

    A connection is in one of five states (`Waiting`). Deadlines are looked at once a second by the
    `Door`, not by a timer for each request.
    """

    door: ClassVar[Door]
    waiting: Waiting = Waiting.HEAD
    address: str | None = None
    """What is counted for the limit by address; null for a proxy, which speaks for many."""

    _in_head = True  # the head of the present request is not complete
    _head_bytes = 0
    _head_is_whole = True  # no byte of the present head came before the present piece
    _quiet_bytes = 0  # of a body, in pieces that carried nothing of it: trailers
    _deadline = 0.0
    _churned_at: float | None = None  # data received after this moment is discarded
    _left_bytes = 0
    _refusal: tuple[int, str, str] | None = None
    _unsent: tuple[float, int] | None = None
    _deferred: tuple[RequestResponseCycle, ASGI3Application] | None = None

    # ── what the transport says ───────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        limits = self.door.limits
        host = self.client[0] if self.client else ""
        self.address = None if limits.is_proxy(host) else network_of(host)
        self._deadline = self.loop.time() + limits.head_seconds
        if not self.door.enter(self):
            self.door.leave(self)
            self._churned_at = self.loop.time()
            transport.write(_raw_problem(503, "overloaded", "too many connections are open"))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it after an error

    def data_received(self, data: bytes) -> None:
        if self._churned_at is not None:
            self._left_bytes += len(data)
            if self._left_bytes > _LEAVE_BYTES:
                self.transport.abort()
            return
        if self.waiting is Waiting.IDLE:
            self._deadline = self.loop.time() + self.door.limits.head_seconds
            self.door.move(self, Waiting.HEAD)
        while data and self._churned_at is None and not self.transport.is_closing():
            room = max(1, MOST_HEAD + 1 - self._head_bytes) if self._in_head else len(data)
            piece, data = data[:room], data[room:]
            self._feed(piece)
        if self._churned_at is None:
            self._settle()

    def _feed(self, piece: bytes) -> None:
        """Parse some bytes; those of an unfinished head or of trailers are counted."""
        began_in_head = self._in_head
        if not began_in_head:
            self._quiet_bytes += len(piece)
        super().data_received(piece)
        if began_in_head and self._in_head and self._head_is_whole:
            self._head_bytes += len(piece)
        self._head_is_whole = True
        if self._head_bytes > MOST_HEAD or self._quiet_bytes > MOST_HEAD:
            self._refuse_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = None

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = None

    # ── what the parser says ──────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = (
            self._head_bytes or 1
        )  # a head has begun, though where in the piece is not known

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer says nothing that we would want to know
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            self._refuse_head()
            raise RuntimeError("too many headers")  # stops the parser

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MOST_HEAD:
            self._refuse_head()
            raise RuntimeError("the head is too large")
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._refusal = (400, "bad_request", "wait for answers before you send more requests")
            raise RuntimeError("too many requests at once")
        self._in_head = False
        self._quiet_bytes = 0
        limits = self.door.limits
        seconds = limits.body_seconds if _shows_proof(self.headers) else limits.unproven_seconds
        self._deadline = self.loop.time() + seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        super().on_body(body)
        self._start_deferred()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._start_deferred()
        self._in_head = True
        self._head_bytes = self._quiet_bytes = 0
        self._head_is_whole = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._churned_at is None:
            self._settle()

    # ── what reaches the application ──────────────────────────────────────────────────────────────

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start a request, but one without proof of its sender only when there is enough of its
        body.

        Until then it costs its connection and nothing else: no task, no place in a eligibility
        check."""
        self._deferred = (cycle, app)
        self._start_deferred()

    def _start_deferred(self) -> None:
        if self._deferred is None:
            return
        cycle, app = self._deferred
        enough = not cycle.more_body or len(cycle.body) >= _ENOUGH_BODY
        if enough or cycle.waiting_for_100_continue or _shows_proof(cycle.scope["headers"]):
            self._deferred = None
            super()._start_asgi_task(cycle, app)

    # ── refusing ──────────────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        if self._churned_at is None:
            self._refuse(
                *(self._refusal or (400, "bad_request", "this is not a valid HTTP request"))
            )

    def _refuse_head(self) -> None:
        if self._churned_at is not None:
            return
        if len(self.url) > MOST_HEAD // 2:
            self._refuse(414, "too_long", f"the address is longer than {MOST_HEAD} bytes")
            return
        most = f"{MOST_HEAD} bytes and {MOST_HEADERS} headers"
        self._refuse(431, "headers_too_large", f"the request's headers are more than {most}")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer and close, unless an earlier answer is still due: then only close.

        What the client sends until it has heard is read and thrown away, within bounds, since a
        close with unread bytes would reset the connection before the answer arrives.
        """
        self.door.count(code)
        self._churned_at = self.loop.time()
        self._deadline = self._churned_at + _LEAVE_SECONDS
        self._unset_keepalive_if_required()
        cycle = self._unfinished()
        out_of_turn = cycle is not None and (self._in_head or cycle.response_started)
        due = bool(self.pipeline) or out_of_turn
        self._abandon()
        if due or self.transport.is_closing():
            self.transport.abort()
            return
        self.door.move(self, Waiting.HEAD)
        self.flow.resume_reading()
        self.transport.write(_raw_problem(status, code, detail))
        self.transport.write_eof()

    def _abandon(self) -> None:
        """Let the tasks of unfinished requests see that nobody hears them any more."""
        self._deferred = None
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        if (cycle := self._unfinished()) is not None:
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()

    def _unfinished(self) -> RequestResponseCycle | None:
        """The latest request, when its answer is not complete."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # null before the first request
        return None if cycle is None or cycle.response_complete else cycle

    def drop(self) -> None:
        """Close at once: others need the place."""
        self._churned_at = self.loop.time()
        self.transport.abort()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Note what is waited for now."""
        if self._unfinished() is not None:
            body = Waiting.BODY if _shows_proof(self.headers) else Waiting.UNPROVEN
            waiting = Waiting.WORK if self._in_head else body
        elif not self._in_head or self._head_bytes:
            waiting = Waiting.HEAD
        else:
            waiting = Waiting.IDLE
        if waiting is self.waiting:
            return
        if waiting is Waiting.HEAD and self._in_head:
            self._deadline = self.loop.time() + self.door.limits.head_seconds
        self.door.move(self, waiting)

    def check_time(self, now: float) -> None:
        """Close what takes too long. Called by the door about once a second."""
        if self._churned_at is not None:
            if now > self._deadline:
                self.transport.abort()
            return
        if self._reads_nothing(now):
            self.door.count("unread_response")
            self.transport.abort()
        elif now > self._deadline and not self.transport.is_closing():
            self._time_out()

    def _time_out(self) -> None:
        limits = self.door.limits
        if self.waiting in (Waiting.UNPROVEN, Waiting.BODY) and not self.flow.read_paused:
            shown = _shows_proof(self.headers)
            seconds = limits.body_seconds if shown else limits.unproven_seconds
            detail = f"the body did not arrive within {seconds:g} s"
            self._refuse(408, "request_timeout", detail)
        elif self.waiting is Waiting.HEAD and self._in_head and self._head_bytes:
            detail = f"the headers did not arrive within {limits.head_seconds:g} s"
            self._refuse(408, "request_timeout", detail)
        elif self.waiting is Waiting.HEAD:
            self.door.count("no_request")
            self.transport.abort()

    def _reads_nothing(self, now: float) -> bool:
        """Whether an answer waits for a client that hardly reads."""
        size = self.transport.get_write_buffer_size()
        if not size:
            self._unsent = None
        elif self._unsent is None:
            self._unsent = (now, size)
        elif now - self._unsent[0] > self.door.limits.unsent_seconds:
            if size > self._unsent[1] - _UNSENT_BYTES:
                return True
            self._unsent = (now, size)
        return False


def _shows_proof(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request says who sends it before its body; if that is true is for others to see."""
    return any(name == b"authorization" for name, _ in headers)


def guard(limits: Limits, counters: Counters) -> type[GuardedProtocol]:
    """The protocol for one server, with a door of its own."""
    return type("BoundProtocol", (GuardedProtocol,), {"door": Door(limits, counters)})


def _raw_problem(status: int, code: str, detail: str) -> bytes:
    """A complete response, after which the connection closes."""
    content = problem_body(status, code, detail)
    retry = "retry-after: 5\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM}\r\n"
        f"content-length: {len(content)}\r\n{retry}access-control-allow-origin: *\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content
