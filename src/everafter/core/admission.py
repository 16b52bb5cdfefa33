"""Who may use how much of the server: gates for bodies, and rates of requests.

Bodies are read here, after a route's guards and before anything else of a handler: its transaction
never waits for a client.
"""

import asyncio
import hashlib
import time
from collections.abc import Generator
from contextlib import contextmanager

from litestar.enums import HttpMethod
from litestar.utils.scope.state import ScopeState

from everafter.core.concurrency import ConcurrencyLimit, Hold
from everafter.core.errors import TooLargeError
from everafter.core.limits import Limits, RateLimit, network_of
from everafter.core.web import AnyRequest

READS_BODY = "reads_body"
"""A handler's option: it reads the body itself, within bounds."""
MOST_BODY = 1024 * 1024
"""Bytes of a body on every route but ingest; forms have less."""
_BODILESS = {HttpMethod.GET, HttpMethod.HEAD, HttpMethod.OPTIONS}


class Admission:
    """The gates and rates of one process.

    known: for requests that carry a live key or token in their headers; one key has half of it.
    unknown: for all others, whose key may be in the body; one address has a quarter of it.
    work: database connections that ingest may hold.
    """

    WORKING = 4

    def __init__(self, limits: Limits) -> None:
        self.known = ConcurrencyLimit(64, 96 * 1024 * 1024, 1 / 2, limits.body_seconds)
        self.unknown = ConcurrencyLimit(64, 32 * 1024 * 1024, 1 / 4, limits.unproven_seconds)
        self.work = asyncio.Semaphore(self.WORKING)
        self._keys = RateLimit(limits.key_rate)
        self._addresses = RateLimit(limits.address_rate)
        self._failures = RateLimit(limits.address_rate / 25)

    def count_address(self, request: AnyRequest) -> None:
        """Count an ingest request of an address.

        Raises:
            RateLimitedError: it has sent too many.
        """
        self._addresses.take(address_of(request), time.monotonic())

    def count_key(self, key: str) -> None:
        """Count an ingest request of a live key.

        Raises:
            RateLimitedError: it has sent too many.
        """
        self._keys.take(_name_of(key), time.monotonic())

    def expect_proof(self, request: AnyRequest) -> None:
        """Called before work is done for a request whose key is not known to be live.

        Raises:
            RateLimitedError: its address has failed to show a live key too often.
        """
        self._failures.take(address_of(request), time.monotonic(), cost=0)

    def count_failure(self, request: AnyRequest) -> None:
        """Count a request that showed no live key against its address."""
        self._failures.charge(address_of(request), time.monotonic())

    @contextmanager
    def enter(self, request: AnyRequest, key: str | None) -> Generator[Hold]:
        """A request with a body in hand, until the block ends.

        Args:
            key: what the headers proved who sends it by; null when they did not.

        Raises:
            OverloadedError: too many are.
        """
        eligibility, who = (self.unknown, address_of(request)) if key is None else (self.known, key)
        with eligibility.enter(who if key is None else _name_of(key)) as hold:
            yield hold


async def receive_body(request: AnyRequest) -> None:
    """For every request: its body is whole before a handler, its transaction included, begins.

    Raises:
        HTTPException: 408 or 413.
        TooLargeError: more than MOST_BODY.
        OverloadedError: too many bodies are on their way.
    """
    handler = request.scope["route_handler"]
    if request.method in _BODILESS or handler.opt.get(READS_BODY) or not _has_body(request):
        return
    admission: Admission = request.app.state.admission
    proof = request.headers.get("authorization") if handler.resolve_guards() else None
    with admission.enter(request, proof) as hold:
        body = await hold.read(request.stream(), MOST_BODY, MOST_BODY)
    if body is None:
        raise TooLargeError(f"the body is larger than {MOST_BODY} bytes")
    ScopeState.from_scope(request.scope).body = body
    await request.body()  # from now on the request answers with that


def address_of(request: AnyRequest) -> str:
    """What limits by address count a request for."""
    return network_of(request.client.host if request.client else "")


def _has_body(request: AnyRequest) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _name_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
