"""Gates: how many request bodies are in memory at once, and how many bytes of them.

Callers with a live key share one eligibility check, all others a smaller one, and in each a caller
gets a limited share. When a eligibility check is full, the body that has been arriving longest is
dropped for a new one, so that slow senders never keep others out."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress

from litestar.exceptions import HTTPException

from everafter.core.errors import OverloadedError


class Hold:
    """One request in hand, and how many bytes of it."""

    def __init__(self, eligibility: "ConcurrencyLimit", who: str) -> None:
        self.who = who
        self.bytes = 0
        self._eligibility = eligibility
        self._deadline: asyncio.Timeout | None = None
        self.made_way = False

    def take(self, count: int) -> None:
        """Count bytes that are kept now.

        Raises:
            OverloadedError: too many are kept, and no body that is still arriving can be dropped.
        """
        self._eligibility.take(self, count)

    def drop(self) -> None:
        """Release all its bytes."""
        self._eligibility.give(self, self.bytes)

    async def read(self, stream: AsyncIterator[bytes], most: int, discard: int) -> bytes | None:
        """The body; null when it is larger than `most` bytes.

        Args:
            stream: its chunks as they arrive.
            discard: how many bytes of a body that is too large are read and discarded, since a
                client that is still writing cannot see the response.

        Raises:
            HTTPException: 408, it took too long.
            OverloadedError: it made way for others, or too many bytes are in hand.
        """
        seconds = self._eligibility.seconds
        try:
            async with asyncio.timeout(seconds) as self._deadline:
                self._eligibility.reading[self] = None
                return await self._collect(stream, most, discard)
        except TimeoutError as error:
            if self.made_way:
                raise _overloaded() from error
            detail = f"the body did not arrive within {seconds:g} s"
            raise HTTPException(status_code=408, detail=detail) from error
        finally:
            self._eligibility.reading.pop(self, None)

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

    def make_way(self) -> None:
        """End the reading: its place and its bytes are free at once."""
        self.made_way = True
        self._eligibility.reading.pop(self, None)
        self._eligibility.leave(self)
        if self._deadline is not None:
            with suppress(RuntimeError):  # it is over already
                self._deadline.reschedule(asyncio.get_running_loop().time())


class ConcurrencyLimit:
    """Limits the requests and bytes that are in memory at once; callers beyond that get 503.

    Args:
        most: requests in hand.
        held: bytes of them.
        share: the part of both that one caller may have.
        seconds: for a body to arrive.
    """

    def __init__(self, most: int, held: int, share: float, seconds: float) -> None:
        self.MOST_REQUESTS, self.MOST_HELD, self.seconds = most, held, seconds
        self._most_each, self._held_each = max(1, int(most * share)), int(held * share)
        self.requests = 0
        self.held = 0
        self.reading: dict[Hold, None] = {}
        self._in_hand: dict[str, list[Hold]] = {}  # by caller

    @contextmanager
    def enter(self, who: str) -> Generator[Hold]:
        """One request of a caller in hand, until the block ends.

        Raises:
            OverloadedError: too many are, and none of them is still arriving.
        """
        mine = self._in_hand.get(who, [])
        if len(mine) >= self._most_each:
            self._make_room(who)
        elif self.requests >= self.MOST_REQUESTS:
            self._make_room(None)
        hold = Hold(self, who)
        self._in_hand.setdefault(who, []).append(hold)
        self.requests += 1
        try:
            yield hold
        finally:
            self.leave(hold)

    def leave(self, hold: Hold) -> None:
        """Forget a request; once only."""
        hold.drop()
        mine = self._in_hand.get(hold.who, [])
        if hold in mine:
            mine.remove(hold)
            self.requests -= 1
            if not mine:
                del self._in_hand[hold.who]

    def take(self, hold: Hold, count: int) -> None:
        """Count bytes for a request.

        Raises:
            OverloadedError: too many are in hand.
        """
        if hold.made_way:
            raise _overloaded()
        while sum(one.bytes for one in self._in_hand.get(hold.who, [])) + count > self._held_each:
            self._make_room(hold.who, hold)
        while self.held + count > self.MOST_HELD:
            self._make_room(None, hold)
        self.held += count
        hold.bytes += count

    def give(self, hold: Hold, count: int) -> None:
        """Count bytes back."""
        self.held -= count
        hold.bytes -= count

    def _make_room(self, who: str | None, newcomer: Hold | None = None) -> None:
        """End the reading of the body that is longest on its way, of one caller or of all.

        Raises:
            OverloadedError: none is.
        """
        for hold in self.reading:
            if hold is not newcomer and who in (None, hold.who):
                hold.make_way()
                return
        raise _overloaded()


def _overloaded() -> OverloadedError:
    return OverloadedError(
        "more is arriving than can be accepted; try again shortly", retry_after=1
    )
