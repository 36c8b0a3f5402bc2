"""What stands between a function that makes an answer and what sends it: a bounded queue that can be closed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")
SIZE: Final = 32
"""Parts that wait; then whoever makes them waits."""


class Channel(Generic[T]):
    """Owned by one answer: its tasks put, whoever asked for it takes. Event loop only."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._there, self._room = asyncio.Event(), asyncio.Event()
        self._closed = False

    async def put(self, item: T) -> None:
        """Wait while it is full."""
        while len(self._items) >= SIZE:
            self._room.clear()
            await self._room.wait()
        self._items.append(item)
        self._there.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._there.set()

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        item = self._items.popleft()
        self._room.set()
        return item
