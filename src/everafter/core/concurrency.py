"""Limits on request bodies: how many are in memory at once, and how many bytes they hold.

Each caller may use a share of a limit. When a limit is reached, the body that has been arriving for
longest is evicted in favor of the new one, so slow senders cannot keep others out.
"""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress

from litestar.exceptions import HTTPException

from everafter.core.errors import OverloadedError


class Hold:
    """A request that is being received or handled, and the number of its bytes in memory."""

    def __init__(self, limit: "ConcurrencyLimit", caller: str) -> None:
        self.caller = caller
        self.bytes = 0
        self.evicted = False
        self._limit = limit
        self._deadline: asyncio.Timeout | None = None

    def take(self, count: int) -> None:
        """Count bytes that are now in memory.

        Raises:
            OverloadedError: the limit is reached, and no body that is still arriving can be
                evicted.
        """
        self._limit.take(self, count)

    def drop(self) -> None:
        """Release all its bytes."""
        self._limit.give(self, self.bytes)

    async def read(self, stream: AsyncIterator[bytes], most: int, discard: int) -> bytes | None:
        """Read the body; null when it is larger than `most` bytes.

        Args:
            stream: its chunks as they arrive.
            discard: how many bytes of a body that is too large are read and discarded, because a
                client that is still writing cannot see the response.

        Raises:
            HTTPException: 408, it took too long.
            OverloadedError: it was evicted, or the limit is reached.
        """
        seconds = self._limit.seconds
        try:
            async with asyncio.timeout(seconds) as self._deadline:
                self._limit.reading[self] = None
                return await self._collect(stream, most, discard)
        except TimeoutError as error:
            if self.evicted:
                raise _overloaded() from error
            detail = f"the body did not arrive within {seconds:g} s"
            raise HTTPException(status_code=408, detail=detail) from error
        finally:
            self._limit.reading.pop(self, None)

    async def _collect(self, stream: AsyncIterator[bytes], most: int, discard: int) -> bytes | None:
        chunks: list[bytes] = []
        total = 0
        async for chunk in stream:
            total += len(chunk)
            if total > discard:
                break
            if total <= most:
                self.take(len(chunk))
                chunks.append(chunk)
            else:
                self.drop()
                chunks.clear()
        return None if total > most else b"".join(chunks)

    def evict(self) -> None:
        """Stop reading, and free its place and its bytes at once."""
        self.evicted = True
        self._limit.reading.pop(self, None)
        self._limit.leave(self)
        if self._deadline is not None:
            with suppress(RuntimeError):  # the timeout has already ended
                self._deadline.reschedule(asyncio.get_running_loop().time())


class ConcurrencyLimit:
    """Limits the requests and bytes in memory at once; what exceeds it gets a 503.

    Args:
        share: the part of both limits that one caller may use.
        seconds: how long a body may take to arrive.
    """

    def __init__(self, max_requests: int, max_bytes: int, share: float, seconds: float) -> None:
        self.max_requests, self.max_bytes, self.seconds = max_requests, max_bytes, seconds
        self._requests_each = max(1, int(max_requests * share))
        self._bytes_each = int(max_bytes * share)
        self.requests = 0
        self.bytes = 0
        self.reading: dict[Hold, None] = {}
        self._holds: dict[str, list[Hold]] = {}  # by caller

    @contextmanager
    def enter(self, caller: str) -> Generator[Hold]:
        """Count one request of a caller until the block ends.

        Raises:
            OverloadedError: the limit is reached, and no body is still arriving.
        """
        own = self._holds.get(caller, [])
        if len(own) >= self._requests_each:
            self._make_room(caller)
        elif self.requests >= self.max_requests:
            self._make_room(None)
        hold = Hold(self, caller)
        self._holds.setdefault(caller, []).append(hold)
        self.requests += 1
        try:
            yield hold
        finally:
            self.leave(hold)

    def leave(self, hold: Hold) -> None:
        """Stop counting a request; does nothing the second time."""
        hold.drop()
        own = self._holds.get(hold.caller, [])
        if hold in own:
            own.remove(hold)
            self.requests -= 1
            if not own:
                del self._holds[hold.caller]

    def take(self, hold: Hold, count: int) -> None:
        """Count bytes of a request.

        Raises:
            OverloadedError: the limit is reached, and no other body is still arriving.
        """
        if hold.evicted:
            raise _overloaded()
        while sum(one.bytes for one in self._holds.get(hold.caller, [])) + count > self._bytes_each:
            self._make_room(hold.caller, hold)
        while self.bytes + count > self.max_bytes:
            self._make_room(None, hold)
        self.bytes += count
        hold.bytes += count

    def give(self, hold: Hold, count: int) -> None:
        """Stop counting bytes of a request."""
        self.bytes -= count
        hold.bytes -= count

    def _make_room(self, caller: str | None, newcomer: Hold | None = None) -> None:
        """Evict the body that has been arriving for longest, of one caller or (null) of all.

        Raises:
            OverloadedError: there is none.
        """
        for hold in self.reading:
            if hold is not newcomer and caller in (None, hold.caller):
                hold.evict()
                return
        raise _overloaded()


def _overloaded() -> OverloadedError:
    return OverloadedError(
        "more is arriving than can be accepted; try again shortly", retry_after=1
    )
