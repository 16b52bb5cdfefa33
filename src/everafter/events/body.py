"""Read a request's body, with limits on its bytes, on its time and on what it decompresses to."""

import re
import zlib
from collections.abc import AsyncIterator
from itertools import islice

from everafter.core.concurrency import Hold
from everafter.core.errors import InputError, TooLargeError

MAX_BYTES = 4 * 1024 * 1024
# A client that is still writing cannot see the response, so up to this much of a body that is too
# large is read and discarded.
_DISCARD_BYTES = 64 * 1024 * 1024
GZIP = b"\x1f\x8b"
_GZIP_MEMBERS = 100  # each copies the rest: thousands of empty ones would take seconds


async def read_body(stream: AsyncIterator[bytes], encoding: str, hold: Hold) -> bytes:
    """Read and decompress the body.

    Args:
        stream: its chunks as they arrive.
        encoding: the Content-Encoding header; gzip is also recognized without it.
        hold: counts the bytes.

    Raises:
        TooLargeError: more than MAX_BYTES, before or after decompression, which stops there.
        InputError: another encoding, or broken or truncated gzip.
        HTTPException: 408, it took too long.
        OverloadedError: it was evicted, or the limit on bodies is reached.
    """
    if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
        raise InputError(f"Content-Encoding {encoding!r} is not supported; send gzip or none")
    body = await hold.read(stream, MAX_BYTES, _DISCARD_BYTES)
    if body is None:
        raise TooLargeError(f"the body is larger than {MAX_BYTES} bytes; send smaller batches")
    if not body.startswith(GZIP):
        return body
    plain = inflate(body)
    hold.take(len(plain))
    return plain


_KEY = re.compile(rb"ea_ingest_[A-Za-z0-9_-]{43}")
_ANONYMOUS_BYTES = 64 * 1024


def find_keys(body: bytes) -> list[str] | None:
    """Up to three texts in a large body that look like ingest keys; null for a small body.

    A large body is decoded only if one of them is live: searching costs a hundredth of decoding.
    """
    if len(body) <= _ANONYMOUS_BYTES:
        return None
    found = dict.fromkeys(match[0].decode() for match in islice(_KEY.finditer(body), 100))
    return list(found)[:3]


def inflate(body: bytes) -> bytes:
    """Decompress gzip with any number of members, up to MAX_BYTES.

    Raises:
        TooLargeError: it decompresses to more.
        InputError: it is broken or truncated.
    """
    out = bytearray()
    rest = body
    for _ in range(_GZIP_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            out += stream.decompress(rest, MAX_BYTES + 1 - len(out))
        except zlib.error as error:
            raise InputError(
                "the gzip body is broken; compress it again, or send it without compression"
            ) from error
        if len(out) > MAX_BYTES:
            raise TooLargeError(
                f"the body decompresses to more than {MAX_BYTES} bytes; send smaller batches"
            )
        if not stream.eof:
            raise InputError("the gzip body is truncated")
        rest = stream.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(out)
    raise InputError(f"the gzip body has more than {_GZIP_MEMBERS} members")
