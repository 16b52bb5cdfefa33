"""The live API keys in memory, so that a request costs no look-up."""

import asyncio
import time

from everafter.accounts.keys import hash_key, list_live_scopes, note_use
from everafter.core.db import Pool
from everafter.core.errors import OverloadedError

NOTE_SECONDS = 60.0


class KeyCache:
    """All live API keys by their hash; implements `core.web.KeyLookup`.

    The keys are few and made by the operator, so all are read at once: when the copy is older than
    `LIVE_SECONDS`, and for a key that is not in it, which may be new. Requests that wait for that
    share one statement, and statements are at least `PAUSE_SECONDS` apart, so a flood of made-up
    keys costs a few statements a second and displaces no live key.
    """

    LIVE_SECONDS = 5.0
    PAUSE_SECONDS = 0.25
    UNKNOWN_SECONDS = 1.0
    MAX_UNKNOWN = 1_000
    MAX_WAITING = 200

    def __init__(self) -> None:
        self._live: dict[bytes, str] = {}
        self._read_at = float("-inf")  # when the statement began that `_live` is from
        self._reading: asyncio.Task[None] | None = None
        self._waiting = 0
        self._unknown: dict[bytes, float] = {}  # hash → until when it counts as unknown
        self._noted: dict[bytes, float] = {}  # hash → when its use was last stored

    def is_live(self, token: str) -> bool:
        """Whether the key was live when the keys were last read; asks nothing."""
        return hash_key(token) in self._live

    async def find_scope(self, pool: Pool, token: str) -> str | None:
        """The scope of a live key, or null.

        Raises:
            OverloadedError: too many requests with unknown keys are waiting.
        """
        key_hash = hash_key(token)
        now = time.monotonic()
        if now - self._read_at < self.LIVE_SECONDS:
            if key_hash in self._live:
                return await self._note(pool, key_hash, now)
            if self._unknown.get(key_hash, 0) > now:
                return None
        await self._read_after(pool, now, is_known=key_hash in self._live)
        if key_hash in self._live:
            return await self._note(pool, key_hash, now)
        while len(self._unknown) >= self.MAX_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[key_hash] = time.monotonic() + self.UNKNOWN_SECONDS
        return None

    async def _read_after(self, pool: Pool, moment: float, *, is_known: bool) -> None:
        """Return once the keys are from a statement that began after the moment."""
        if self._waiting >= self.MAX_WAITING and not is_known:
            raise OverloadedError("too many unknown keys are arriving", retry_after=1)
        self._waiting += 1
        try:
            while self._read_at < moment:
                if self._reading is None or self._reading.done():
                    self._reading = asyncio.create_task(self._read(pool))
                await asyncio.shield(self._reading)
        finally:
            self._waiting -= 1

    async def _read(self, pool: Pool) -> None:
        await asyncio.sleep(max(0.0, self._read_at + self.PAUSE_SECONDS - time.monotonic()))
        async with pool.connection() as conn:
            began = time.monotonic()
            self._live = await list_live_scopes(conn)
        self._read_at = began
        self._noted = {key: at for key, at in self._noted.items() if key in self._live}

    async def _note(self, pool: Pool, key_hash: bytes, now: float) -> str:
        """Store, once a minute, that a live key is in use; returns its scope."""
        scope = self._live[key_hash]
        if now - self._noted.get(key_hash, float("-inf")) > NOTE_SECONDS:
            self._noted[key_hash] = now
            async with pool.connection() as conn:
                await note_use(conn, key_hash)
        return scope
