"""Work that many ask for at once is done once, for all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Shared:
    """Runs of named work; who asks while one is under way gets its result.

    For answers that anybody may ask for and that cost something: a crowd costs as much as one.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """The result of the run under way, or of one begun now; its error goes to all."""
        task = self._running.get(name)
        if task is None:
            task = asyncio.ensure_future(_await(work))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name))
        return await asyncio.shield(task)


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
