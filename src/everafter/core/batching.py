"""Run work for many waiting requests at once.

Some work costs nearly the same for one key as for a hundred: a statement with `= ANY (…)`, a frame
of few rows. A `Batcher` collects the keys that requests wait for while one batch runs, and runs
them together in the next. Under load the work per request falls instead of the queue growing."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

from everafter.core.errors import OverloadedError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_T = TypeVar("_T")


class Batcher(Generic[K, V]):
    """Collects keys and runs one batch of them at a time, on one event loop.

    Args:
        run: computes the values of a batch. A key that its result lacks has the value None. An
            error is raised to every request of the batch.
        batch_size: most keys in one batch.
        queue_size: most requests that wait for the next batches; further ones are refused.
        gather_seconds: how long the next batch waits for as many requests as the last one
            answered. Clients ask again right after an answer, and those a moment late would
            wait for two batches. A request that comes alone does not wait.
        partition: one batch has at most one key of each partition; None: no limit.
    """

    def __init__(
        self,
        run: Callable[[list[K]], Awaitable[Mapping[K, V]]],
        *,
        batch_size: int,
        queue_size: int,
        gather_seconds: float = 0.0,
        partition: Callable[[K], Hashable] | None = None,
    ) -> None:
        self._run = run
        self._batch_size, self._queue_size = batch_size, queue_size
        self._gather_seconds, self._partition = gather_seconds, partition
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._expected, self._arrived = 0, asyncio.Event()
        self._closed = False

    async def get(self, key: K) -> V | None:
        """Wait for the batch that has this key, and return its value.

        Requests for the same key that wait for the same batch share its value.

        Raises:
            OverloadedError: the queue is full, or the batcher was closed.
        """
        if self._closed:
            raise OverloadedError("this server is stopping; try again", retry_after=1)
        if self._count() >= self._queue_size:
            raise OverloadedError(
                f"{self._queue_size} requests are waiting already; try again in a moment",
                retry_after=2,
            )
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._count() >= self._expected:
            self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await future
        except asyncio.CancelledError:
            self._forget(key, future)
            raise

    async def close(self) -> None:
        """Refuse further requests, and wait until those that are waiting have their answers."""
        self._closed = True
        self._arrived.set()
        if self._worker is not None:
            await asyncio.gather(self._worker, return_exceptions=True)

    def _count(self) -> int:
        return sum(len(futures) for futures in self._waiting.values())

    def _forget(self, key: K, future: asyncio.Future[V | None]) -> None:
        """Free the place of a cancelled request; its batch may be running already."""
        futures = self._waiting.get(key, [])
        if future in futures:
            futures.remove(future)
            if not futures:
                del self._waiting[key]

    async def _work(self) -> None:
        while self._waiting:
            batch = {key: self._waiting.pop(key) for key in self._next_keys()}
            answered = sum(len(futures) for futures in batch.values())
            try:
                values = await self._run(list(batch))
            except asyncio.CancelledError:
                for future in _open(batch):
                    future.cancel()
                raise
            except Exception as error:
                for future in _open(batch):
                    future.set_exception(error)
                continue
            for key, futures in batch.items():
                for future in _open({key: futures}):
                    future.set_result(values.get(key))
            await self._gather(answered)

    def _next_keys(self) -> list[K]:
        if self._partition is None:
            return list(self._waiting)[: self._batch_size]
        first: dict[Hashable, K] = {}
        for key in self._waiting:
            first.setdefault(self._partition(key), key)
        return list(first.values())[: self._batch_size]

    async def _gather(self, answered: int) -> None:
        """Wait until as many requests wait as were answered, at most `gather_seconds`."""
        if self._closed or not self._gather_seconds:
            return
        self._expected = answered
        self._arrived.clear()
        if self._count() < answered:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), self._gather_seconds)


def _open(batch: Mapping[_T, list[asyncio.Future[V]]]) -> list[asyncio.Future[V]]:
    """The futures of a batch whose requests were not cancelled."""
    return [future for futures in batch.values() for future in futures if not future.done()]
