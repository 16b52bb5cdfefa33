"""Batches of waiting requests: what they share, in which order they run, and what errors do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from everafter.core.batching import Batcher
from everafter.core.errors import OverloadedError


class Work:
    """Doubles numbers when it is released; records the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self._released = asyncio.Event()

    async def run(self, keys: list[int]) -> dict[int, int]:
        self.running += 1
        assert self.running == 1, "one batch at a time"
        self.batches.append(keys)
        try:
            await self._released.wait()
            return {key: 2 * key for key in keys if key >= 0}
        finally:
            self.running -= 1

    def release(self) -> None:
        self._released.set()


def batcher_of(
    run: Callable[[list[int]], Awaitable[dict[int, int]]], **changes: Any
) -> Batcher[int, int]:
    limits: dict[str, Any] = {"batch_size": 100, "queue_size": 100, **changes}
    return Batcher(run, **limits)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come true")


async def ask(batcher: Batcher[int, int], *keys: int) -> list[asyncio.Task[int | None]]:
    """Tasks that have all been queued."""
    tasks = [asyncio.create_task(batcher.get(key)) for key in keys]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_requests_that_wait_are_served_by_one_batch() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run)
        [first] = await ask(batcher, 1)
        rest = await ask(batcher, 2, 3, 4)
        assert work.batches == [[1]], "the others wait while the first batch runs"
        work.release()
        assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
        assert work.batches == [[1], [2, 3, 4]]

    asyncio.run(scenario())


def test_requests_for_the_same_key_share_its_value() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run)
        work.release()
        assert await asyncio.gather(*(batcher.get(7) for _ in range(5))) == [14] * 5
        assert work.batches == [[7]]

    asyncio.run(scenario())


def test_a_key_without_a_value_is_none() -> None:
    async def scenario() -> None:
        work = Work()
        work.release()
        batcher = batcher_of(work.run)
        assert await asyncio.gather(batcher.get(-1), batcher.get(1)) == [None, 2]

    asyncio.run(scenario())


def test_a_batch_has_at_most_batch_size_keys() -> None:
    async def scenario() -> None:
        work = Work()
        work.release()
        batcher = batcher_of(work.run, batch_size=3)
        values = await asyncio.gather(*(batcher.get(key) for key in range(8)))
        assert values == [2 * key for key in range(8)]
        assert work.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]

    asyncio.run(scenario())


def test_a_batch_has_at_most_one_key_of_a_partition() -> None:
    async def scenario() -> None:
        work = Work()
        work.release()
        batcher = Batcher(work.run, batch_size=9, queue_size=9, partition=lambda key: key % 10)
        assert await asyncio.gather(*(batcher.get(key) for key in (1, 11, 2, 21))) == [2, 22, 4, 42]
        assert work.batches == [[1, 2], [11], [21]]

    asyncio.run(scenario())


def test_a_full_queue_refuses_further_requests() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run, queue_size=2)
        [running] = await ask(batcher, 1)
        waiting = await ask(batcher, 2, 3)
        with pytest.raises(OverloadedError) as refused:
            await batcher.get(4)
        assert refused.value.extra == {"retry_after": 2}
        work.release()
        assert await asyncio.gather(running, *waiting) == [2, 4, 6]
        assert await batcher.get(4) == 8, "there is room again"

    asyncio.run(scenario())


def test_an_error_reaches_every_request_of_its_batch_and_no_other() -> None:
    async def scenario() -> None:
        async def run(keys: list[int]) -> dict[int, int]:
            await asyncio.sleep(0)
            if 13 in keys:
                raise ValueError("no 13")
            return {key: key for key in keys}

        batcher = batcher_of(run, batch_size=2)
        results = await asyncio.gather(
            *(batcher.get(key) for key in (13, 1, 2, 3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [ValueError, ValueError, int, int]
        assert await batcher.get(5) == 5, "the next batch runs"

    asyncio.run(scenario())


def test_a_cancelled_request_frees_its_place_and_its_key_is_not_computed() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run, queue_size=1)
        [running] = await ask(batcher, 1)
        [waiting] = await ask(batcher, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        [third] = await ask(batcher, 3)
        work.release()
        assert await running == 2 and await third == 6
        assert work.batches == [[1], [3]]

    asyncio.run(scenario())


def test_cancelling_one_request_leaves_the_others_of_its_batch_and_key() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run)
        first, same, other = await ask(batcher, 1, 1, 2)
        await until(lambda: work.running == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        work.release()
        assert await same == 2 and await other == 4

    asyncio.run(scenario())


def test_closing_answers_waiting_requests_and_refuses_new_ones() -> None:
    async def scenario() -> None:
        work = Work()
        batcher = batcher_of(work.run)
        tasks = await ask(batcher, 1)
        tasks += await ask(batcher, 2)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await batcher.get(3)
        work.release()
        assert await asyncio.gather(*tasks) == [2, 4]
        await closing

    asyncio.run(scenario())


def test_the_next_batch_waits_for_as_many_requests_as_were_answered() -> None:
    async def scenario() -> None:
        work = Work()
        work.release()
        batcher = batcher_of(work.run, gather_seconds=60)
        assert await asyncio.gather(batcher.get(1), batcher.get(2)) == [2, 4]
        early = await ask(batcher, 3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.batches == [[1, 2]], "it waits for a second request"
        late = await ask(batcher, 4)
        assert await asyncio.gather(*early, *late) == [6, 8]
        assert work.batches == [[1, 2], [3, 4]]
        await batcher.close()

    asyncio.run(scenario())


def test_a_batch_does_not_wait_longer_than_gather_seconds() -> None:
    async def scenario() -> None:
        work = Work()
        work.release()
        batcher = batcher_of(work.run, gather_seconds=0.01)
        await asyncio.gather(batcher.get(1), batcher.get(2))
        assert await batcher.get(3) == 6

    asyncio.run(scenario())
