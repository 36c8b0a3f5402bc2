"""A bounded queue between a NATS subscription and an `async for` of the author. When full, it drops the oldest.

A plain iterator and no generator: an author may leave the loop at any time, and nothing waits for being closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """Items for one consumer. `async for` over it ends after `close`, when what was waiting is consumed.

    Owner: the iterator of one author's task. `put` and `close` are called by the session, on the same event loop.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        """Since the last `take_dropped`."""
        self._waiting: deque[T] = deque()
        self.limit = limit
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, item: T) -> None:
        if self._closed:
            return
        if len(self._waiting) >= self.limit:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(item)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def take_dropped(self) -> int:
        dropped, self.dropped = self.dropped, 0
        return dropped

    def __iter__(self) -> Iterator[T]:
        """What waits now; it keeps waiting."""
        return iter(tuple(self._waiting))

    def __aiter__(self) -> EventQueue[T]:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
