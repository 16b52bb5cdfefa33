"""Limits on what callers may use of the server: bodies in memory, and requests per second.

Bodies are read here, after a route's guards and before the rest of its handler, so that no
transaction waits for a client.
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
"""Option of a handler that reads the body itself, within limits."""
MAX_BODY = 1024 * 1024
"""Bytes of a body on every route except ingest; forms may have less."""
_BODILESS = {HttpMethod.GET, HttpMethod.HEAD, HttpMethod.OPTIONS}


class Admission:
    """The limits of one process.

    known: bodies of requests with a live key or token in their headers; a key may use half of it.
    unknown: bodies of all others, whose key may be in the body; an address may use a quarter of it.
    work: database connections that ingest may use.
    """

    WORKING = 4

    def __init__(self, limits: Limits) -> None:
        self.known = ConcurrencyLimit(64, 96 * 1024 * 1024, 1 / 2, limits.body_seconds)
        self.unknown = ConcurrencyLimit(64, 32 * 1024 * 1024, 1 / 4, limits.anonymous_seconds)
        self.work = asyncio.Semaphore(self.WORKING)
        self._keys = RateLimit(limits.key_rate)
        self._addresses = RateLimit(limits.address_rate)
        self._failures = RateLimit(limits.address_rate / 25)

    def count_address(self, request: AnyRequest) -> None:
        """Count an ingest request against its address.

        Raises:
            RateLimitedError: the address has sent too many.
        """
        self._addresses.take(address_of(request), time.monotonic())

    def count_key(self, key: str) -> None:
        """Count an ingest request against a live key.

        Raises:
            RateLimitedError: the key has sent too many.
        """
        self._keys.take(_name_of(key), time.monotonic())

    def check_failures(self, request: AnyRequest) -> None:
        """Call this before any work for a request whose key is not known to be live.

        Raises:
            RateLimitedError: too many requests of its address had no live key.
        """
        self._failures.take(address_of(request), time.monotonic(), cost=0)

    def count_failure(self, request: AnyRequest) -> None:
        """Count a request without a live key against its address."""
        self._failures.charge(address_of(request), time.monotonic())

    @contextmanager
    def enter(self, request: AnyRequest, key: str | None) -> Generator[Hold]:
        """Count a request with a body until the block ends.

        Args:
            key: the live key or token from its headers; null when there is none.

        Raises:
            OverloadedError: the limit is reached.
        """
        if key is None:
            with self.unknown.enter(address_of(request)) as hold:
                yield hold
        else:
            with self.known.enter(_name_of(key)) as hold:
                yield hold


async def receive_body(request: AnyRequest) -> None:
    """Read the body before the handler and its transaction begin.

    Raises:
        HTTPException: 408 or 413.
        TooLargeError: more than MAX_BODY.
        OverloadedError: the limit on bodies is reached.
    """
    handler = request.scope["route_handler"]
    if request.method in _BODILESS or handler.opt.get(READS_BODY) or not _has_body(request):
        return
    admission: Admission = request.app.state.admission
    proof = request.headers.get("authorization") if handler.resolve_guards() else None
    with admission.enter(request, proof) as hold:
        body = await hold.read(request.stream(), MAX_BODY, MAX_BODY)
    if body is None:
        raise TooLargeError(f"the body is larger than {MAX_BODY} bytes")
    ScopeState.from_scope(request.scope).body = body
    await request.body()  # the request keeps it from now on


def address_of(request: AnyRequest) -> str:
    """The address, or IPv6 network, that a request is counted against."""
    return network_of(request.client.host if request.client else "")


def _has_body(request: AnyRequest) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _name_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
