"""Run work that several callers want at the same time once, for all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class SingleFlight:
    """Named work in progress; callers that arrive meanwhile share its result.

    For unauthenticated requests that cost a query: a thousand at once cost as much as one.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the run in progress, or start one; all callers get its error."""
        task = self._running.get(name)
        if task is None:
            task = asyncio.ensure_future(_await(work))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name))
        return await asyncio.shield(task)


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
