"""Reading a request's body within bounds: bytes, time, and what it inflates to."""

import re
import zlib
from collections.abc import AsyncIterator
from itertools import islice

from everafter.core.concurrency import Hold
from everafter.core.errors import InputError, TooLargeError

MAX_BYTES = 4 * 1024 * 1024
# A client that is still writing cannot see "too large": so many more bytes are read and discarded
# before the connection closes.
_DISCARD_BYTES = 64 * 1024 * 1024
GZIP = b"\x1f\x8b"
_GZIP_MEMBERS = 100  # each is a pass over what is left: thousands of empty ones would cost seconds


async def read_body(stream: AsyncIterator[bytes], encoding: str, hold: Hold) -> bytes:
    """The decompressed body.

    Args:
        stream: its chunks as they arrive.
        encoding: the Content-Encoding header; gzip is recognised without it too.
        hold: counts the bytes.

    Raises: TooLargeError: more than MAX_BYTES, before or after inflating; no more than that is
        ever inflated. InputError: another encoding, or broken or truncated gzip. HTTPException:
        408, it took too long. OverloadedError: it made way for others, or too many bytes are in
        hand."""
    if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
        raise InputError(f"Content-Encoding {encoding!r} is not understood; send gzip or none")
    body = await hold.read(stream, MAX_BYTES, _DISCARD_BYTES)
    if body is None:
        raise TooLargeError(f"the body is larger than {MAX_BYTES} bytes; send smaller batches")
    if not body.startswith(GZIP):
        return body
    plain = inflate(body)
    hold.take(len(plain))
    return plain


_KEY = re.compile(rb"ea_ingest_[A-Za-z0-9_-]{43}")
_UNPROVEN_BYTES = 64 * 1024


def find_keys(body: bytes) -> list[str] | None:
    """The texts in a body that look like ingest keys, three at most; null when none is looked for.

    A large body is only decoded if one of them is live: to search it costs a hundredth of that.
    """
    if len(body) <= _UNPROVEN_BYTES:
        return None
    found = dict.fromkeys(match[0].decode() for match in islice(_KEY.finditer(body), 100))
    return list(found)[:3]


def inflate(body: bytes) -> bytes:
    """Gunzip, members one after the other as the format allows, never making more than MAX_BYTES.

    Raises:
        TooLargeError: it would be more.
        InputError: broken or truncated.
    """
    out = bytearray()
    rest = body
    for _ in range(_GZIP_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            out += stream.decompress(rest, MAX_BYTES + 1 - len(out))
        except zlib.error as error:
            raise InputError(f"the gzip body is broken: {error}") from error
        if len(out) > MAX_BYTES:
            raise TooLargeError(
                f"the body inflates to more than {MAX_BYTES} bytes; send smaller batches"
            )
        if not stream.eof:
            raise InputError("the gzip body is truncated")
        rest = stream.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(out)
    raise InputError(f"the gzip body has more than {_GZIP_MEMBERS} members")
