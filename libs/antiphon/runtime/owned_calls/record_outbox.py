"""Records of calls on their way to NATS: ended calls and webhooks are not lost with a connection.

NATS does not confirm what is published here (a confirmation for each would cost a message), so what was published in
the last seconds before a connection broke may not have arrived. It is published again when the connection is back:
both streams take that. An ended call replaces itself, a webhook keeps its id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple, Protocol

KEEP_SECONDS: Final = 10.0
"""The time in which a broken connection is noticed, with room."""
MAX_KEPT: Final = 2048
"""Notices; above it the oldest is dropped and counted. Two calls end per call that begins: minutes of a full process
without NATS."""
LOOK_SECONDS: Final = 0.5


class Connection(Protocol):
    """The NATS client, of which this is all that is needed."""

    @property
    def is_connected(self) -> bool: ...
    @property
    def stats(self) -> dict[str, int]:
        """`reconnects` counts them."""


class Publishes(Protocol):
    """`Publisher`."""

    def publish(self, subject: str, payload: bytes) -> None: ...


class _Kept(NamedTuple):
    at: float
    subject: str
    data: bytes


class RecordOutbox:
    """A `RecordOutput` of all calls of a process.

    Owner: the process, for its whole life. Event loop only.
    """

    def __init__(self, client: Connection, publisher: Publishes) -> None:
        self.dropped = 0
        """Notices that were never published."""
        self._client = client
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._sent: deque[_Kept] = deque(maxlen=MAX_KEPT)
        self._waiting: deque[_Kept] = deque()
        self._reconnects = client.stats["reconnects"]
        self._timer: asyncio.TimerHandle | None = None

    def entry(self, subject: str, data: bytes) -> None:
        self._publisher.publish(subject, data)

    def notice(self, subject: str, data: bytes) -> None:
        self._look_again()
        kept = _Kept(self._loop.time(), subject, data)
        if not self._client.is_connected:
            if len(self._waiting) >= MAX_KEPT:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(kept)
            return
        self._publish(kept)

    def close(self) -> None:
        """Nothing is published any more by itself."""
        if self._timer is not None:
            self._timer.cancel()

    def _publish(self, kept: _Kept) -> None:
        self._publisher.publish(kept.subject, kept.data)
        self._sent.append(kept)

    def _look_again(self) -> None:
        """A timer runs while there is something kept, and never without."""
        if self._timer is None:
            self._reconnects = self._client.stats["reconnects"]
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        connected, reconnects = self._client.is_connected, self._client.stats["reconnects"]
        if connected and reconnects != self._reconnects:
            self._reconnects = reconnects
            for kept in self._sent:
                self._publisher.publish(kept.subject, kept.data)
        elif connected:
            while self._sent and now - self._sent[0].at > KEEP_SECONDS:
                self._sent.popleft()
        if connected and self._waiting:
            waiting, self._waiting = self._waiting, deque()
            for kept in waiting:
                self._publish(kept._replace(at=now))
        if self._sent or self._waiting:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
