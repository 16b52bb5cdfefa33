"""Tokens in links: ids, and a MAC that only a holder of EVERAFTER_SECRET can compute.

Pure: no I/O, no clock.
"""

import base64
import hashlib
import hmac
from uuid import UUID

MAC_BYTES = 16


def make_token(secret: str, purpose: bytes, *ids: UUID, bound: tuple[UUID, ...] = ()) -> str:
    """Make a token that carries `ids` in clear and cannot be forged or guessed.

    Args:
        purpose: what the token opens, so that a token for one purpose opens nothing else. Part of
            every link that was ever sent: do not change one.
        bound: ids that the token is valid for but does not carry; whoever reads it knows them from
            elsewhere, such as the URL's path.

    Returns:
        Base64url without padding: 43 characters for one id, 64 for two.
    """
    body = b"".join(one.bytes for one in ids)
    mac = sign(secret, purpose + body + b"".join(one.bytes for one in bound))[:MAC_BYTES]
    return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


def read_token(
    secret: str, purpose: bytes, token: str, count: int, bound: tuple[UUID, ...] = ()
) -> tuple[UUID, ...] | None:
    """Return the `count` ids that a token carries, or null for any text that `make_token` did not
    return for this secret, purpose and `bound`."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except ValueError:
        return None
    if len(raw) != 16 * count + MAC_BYTES:
        return None
    ids = tuple(UUID(bytes=raw[start : start + 16]) for start in range(0, 16 * count, 16))
    # The whole text is compared, not the bytes: the last character has two spare bits in tokens of
    # one id, and a token should have one spelling.
    whole = make_token(secret, purpose, *ids, bound=bound)
    return ids if hmac.compare_digest(token.encode(), whole.encode()) else None


def sign(secret: str, message: bytes) -> bytes:
    """Return the HMAC-SHA-256 of a message, 32 bytes."""
    return hmac.digest(secret.encode(), message, hashlib.sha256)
