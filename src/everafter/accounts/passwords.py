"""Passwords: argon2id with 19 MiB and two passes (OWASP), at most two at a time.

A hash takes tens of milliseconds and 19 MiB. More sign-ins wait in a short queue, and beyond that
are refused without work.
"""

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
_MAX_QUEUE = 40
_MAX_QUEUE_UNKNOWN = 30
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without characters that look alike


def hash_password(password: str) -> str:
    """Hash a password for storing. Blocks for tens of milliseconds."""
    return _HASHER.hash(unicodedata.normalize("NFKC", password))


def generate_password() -> str:
    """Generate a password of four groups of five characters, with almost 100 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


async def verify_password(
    password: str, password_hash: str | None, *, is_known: bool = False
) -> bool:
    """Check a password. Without a hash (no such user, or one who cannot sign in) the same work is
    done, and the result is false.

    Args:
        is_known: the account knows the browser; places in the queue are reserved for these.

    Raises:
        OverloadedError: too many sign-ins are waiting.
    """
    if _THREADS._work_queue.qsize() >= (_MAX_QUEUE if is_known else _MAX_QUEUE_UNKNOWN):  # pyright: ignore[reportPrivateUsage] the executor has no public count
        raise OverloadedError(
            "too many people are signing in; try again in a moment", retry_after=5
        )
    is_correct = await asyncio.get_running_loop().run_in_executor(
        _THREADS, _is_correct, password, password_hash or _unusable_hash()
    )
    return is_correct and password_hash is not None


def _is_correct(password: str, password_hash: str) -> bool:
    try:
        return _HASHER.verify(password_hash, unicodedata.normalize("NFKC", password))
    except (VerificationError, InvalidHashError):
        return False


@lru_cache
def _unusable_hash() -> str:
    return hash_password(secrets.token_urlsafe(32))
