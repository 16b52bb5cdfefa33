"""Reading a request's body within bounds: bytes, time, and what it inflates to."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

from litestar.exceptions import HTTPException

from everafter.core.errors import InputError, OverloadedError, TooLargeError

MOST_BYTES = 4 * 1024 * 1024
# A client that is still writing cannot hear "too large": so much more is read and thrown away before the connection closes.
_DISCARD_BYTES = 64 * 1024 * 1024
_READ_SECONDS = 30
GZIP = b"\x1f\x8b"
_GZIP_MEMBERS = 100  # each is a pass over what is left: thousands of empty ones would cost seconds


class Hold:
    """One request in hand, and how many bytes of it."""

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count bytes that are kept now.

        Raises:
            OverloadedError: all requests together would keep too many.
        """
        if self._gate.held + count > self._gate.MOST_HELD:
            raise _OVERLOADED
        self._gate.held += count
        self._bytes += count

    def drop(self) -> None:
        """Nothing of it is kept any more."""
        self._gate.held -= self._bytes
        self._bytes = 0


class Gate:
    """Bounds what is in hand at once; over it, callers are told to come again instead of the memory growing."""

    MOST_REQUESTS = 64
    MOST_HELD = 96 * 1024 * 1024
    WORKING = 4  # database connections that ingest may hold; the pool has more, for everything else

    def __init__(self) -> None:
        self.requests = 0
        self.held = 0
        self.work = asyncio.Semaphore(self.WORKING)

    @contextmanager
    def enter(self) -> Generator[Hold]:
        """One request in hand, until the block ends.

        Raises:
            OverloadedError: too many are.
        """
        if self.requests >= self.MOST_REQUESTS:
            raise _OVERLOADED
        self.requests += 1
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.drop()
            self.requests -= 1


_OVERLOADED = OverloadedError("more events are arriving than can be stored; try again shortly", retry_after=1)


async def read_body(stream: AsyncIterator[bytes], encoding: str, hold: Hold) -> bytes:
    """The decompressed body.

    Args:
        stream: its chunks as they arrive.
        encoding: the Content-Encoding header; gzip is recognised without it too.
        hold: counts the bytes.

    Raises:
        TooLargeError: more than MOST_BYTES, before or after inflating; no more than that is ever inflated.
        InputError: another encoding, or broken or truncated gzip.
        HTTPException: 408, it took too long.
        OverloadedError: too many bytes are in hand.
    """
    if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
        raise InputError(f"Content-Encoding {encoding!r} is not understood; send gzip or none")
    try:
        async with asyncio.timeout(_READ_SECONDS):
            body = await _read(stream, hold)
    except TimeoutError as error:
        raise HTTPException(status_code=408, detail=f"the body did not arrive within {_READ_SECONDS} s") from error
    if not body.startswith(GZIP):
        return body
    plain = inflate(body)
    hold.take(len(plain))
    return plain


async def _read(stream: AsyncIterator[bytes], hold: Hold) -> bytes:
    chunks: list[bytes] = []
    total = 0
    async for chunk in stream:
        total += len(chunk)
        if total > _DISCARD_BYTES:
            break
        if total <= MOST_BYTES:
            chunks.append(chunk)
            hold.take(len(chunk))
        else:
            hold.drop()
            chunks.clear()
    if total > MOST_BYTES:
        raise TooLargeError(f"the body is larger than {MOST_BYTES} bytes; send smaller batches")
    return b"".join(chunks)


def inflate(body: bytes) -> bytes:
    """Gunzip, members one after the other as the format allows, never making more than MOST_BYTES.

    Raises:
        TooLargeError: it would be more.
        InputError: broken or truncated.
    """
    out = bytearray()
    rest = body
    for _ in range(_GZIP_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            out += stream.decompress(rest, MOST_BYTES + 1 - len(out))
        except zlib.error as error:
            raise InputError(f"the gzip body is broken: {error}") from error
        if len(out) > MOST_BYTES:
            raise TooLargeError(f"the body inflates to more than {MOST_BYTES} bytes; send smaller batches")
        if not stream.eof:
            raise InputError("the gzip body is truncated")
        rest = stream.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(out)
    raise InputError(f"the gzip body has more than {_GZIP_MEMBERS} members")
