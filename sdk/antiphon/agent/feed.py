"""A bounded queue between what comes from NATS and an `async for` of the author. The oldest goes when it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """One consumer's. `async for` over it ends after `close`, when what was waiting is consumed."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        """Since somebody last looked (`take_dropped`)."""
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
        """What waits now; it goes on waiting."""
        return iter(tuple(self._waiting))

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()
