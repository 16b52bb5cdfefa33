"""Passwords: argon2id with 19 MiB and two passes (OWASP), never more than two at once.

A hash takes tens of milliseconds and 19 MiB, so whoever floods the sign-in must wait in line, and
past a short line is refused before any work is done."""

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from everafter.core.errors import OverloadedError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
_LINE = 40
_STRANGERS_LINE = 30
_ALPHABET = (
    "abcdefghijkmnpqrstuvwxyz23456789"  # without the letters and digits that look like each other
)


def hash_password(password: str) -> str:
    """The argon2id hash to store. Blocks for tens of milliseconds."""
    return _HASHER.hash(unicodedata.normalize("NFKC", password))


def generate_password() -> str:
    """Four groups of five: 100 bits less a little, and easy to read out."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


async def verify_password(
    password: str, password_hash: str | None, *, is_known: bool = False
) -> bool:
    """Does the password fit? With no hash (no such user, or one who cannot sign in) the same work
    is done, and the answer is no.

    Args:
        is_known: the browser is known to the account; places in the line are kept for such.

    Raises:
        OverloadedError: too many sign-ins are waiting.
    """
    if _THREADS._work_queue.qsize() >= (_LINE if is_known else _STRANGERS_LINE):  # pyright: ignore[reportPrivateUsage] the executor has no public count
        raise OverloadedError(
            "too many people are signing in; try again in a moment", retry_after=5
        )
    fits = await asyncio.get_running_loop().run_in_executor(
        _THREADS, _fits, password, password_hash or _hash_of_nobody()
    )
    return fits and password_hash is not None


def _fits(password: str, password_hash: str) -> bool:
    try:
        return _HASHER.verify(password_hash, unicodedata.normalize("NFKC", password))
    except (VerificationError, InvalidHashError):
        return False


@lru_cache
def _hash_of_nobody() -> str:
    return hash_password(secrets.token_urlsafe(32))
