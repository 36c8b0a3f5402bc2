"""What a process publishes on NATS, in order and in few writes. `session_output` says what a session publishes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.runtime.nats import nats_fast_path
from antiphon.runtime.nats.nats_fast_path import END, message_head

log = logging.getLogger(__name__)

MAX_WAITING: Final = 4096
"""Messages between two iterations of the loop; beyond it the oldest is dropped: late audio is worthless."""


class Publisher:
    """Publishes in order from synchronous code: all messages of an iteration of the loop leave in one write.

    Owner: the process, one per NATS connection, until the process ends. Every session and the scheduler call it, on the
    event loop only. `Client.publish` from a task costs about 31 us a message when paced, most of it wakeups
    (`antiphon bench transceiver`).
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._batching = False
        self.dropped = 0
        """Messages not sent: NATS was not connected or too slow, or they were longer than it takes."""

    @property
    def max_payload(self) -> int:
        """Bytes of the longest message that the NATS server takes."""
        return self._client.max_payload

    def publish(self, subject: str, payload: bytes) -> None:
        """Send at the end of this iteration of the loop; never waits."""
        size = len(payload)
        if size > self._client.max_payload:
            self.dropped += 1
            return
        self.publish_message(b"".join((message_head(subject, size), payload, END)))

    def publish_message(self, message: bytes) -> None:
        """As `publish`, of a message that the caller has written with `message_head` and `END`."""
        if not self._waiting and not self._batching:
            self._loop.call_soon(self._send)
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            del self._waiting[0]
        self._waiting.append(message)

    def hold(self) -> None:
        """Send nothing before `release`, which the caller of this method calls in the same iteration of the loop.

        It saves a `call_soon` per batch: 2 of 5 iterations of the loop (`antiphon bench transceiver`).
        """
        self._batching = True

    def release(self) -> None:
        """Send what was published since `hold`."""
        self._batching = False
        self._send()

    async def drain(self) -> None:
        """Send what waits, and wait up to a second until the server has it."""
        with contextlib.suppress(nats.errors.Error, OSError):
            self._send()
            await self._client.flush(1)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            sent = nats_fast_path.publish_all(self._client, waiting)
        except Exception as error:  # whatever broke the connection, the next iteration tries again
            log.debug("%d messages were dropped: %r", len(waiting), error)
            sent = False
        if not sent:
            self.dropped += len(waiting)
