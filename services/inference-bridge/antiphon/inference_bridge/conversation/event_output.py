"""The events that go to one call's client: encoded, paced and bounded. A Sans-IO queue, and the task that empties it.

All calls of a bridge publish through one connection to NATS, and a client decides how much it is answered: 70 bytes ask
for an item of 64 Ki characters, or for the whole session. So what one call's client gets has a rate, and events wait
while the connection is behind: what others say in their calls goes first. While too much waits, the client's own events
are refused (`is_full`), which bounds what waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.schemas import messages

log = logging.getLogger(__name__)

EVENT_RATE: Final = 400.0
"""Events a second. The transceiver takes 500 messages a second of an agent, after 1000 at once."""
EVENT_BURST: Final = 900.0
BYTE_RATE: Final = 512 * 1024.0
"""Bytes a second: 4 Mbit/s, which a client's line carries and a connection to NATS can do for each of 32 calls."""
BYTE_BURST: Final = 256 * 1024.0
"""Bytes at once: they hold up the speech of other calls by 20 ms on a line of 100 Mbit/s."""
FULL_BYTES: Final = 8 * 1024 * 1024 + 512 * 1024
"""A client's burst of 4 MiB is answered twice: with an item that is added, and the same one that is done."""
FULL_EVENTS: Final = 2000
MAX_BYTES: Final = FULL_BYTES + 2 * 1024 * 1024
"""Above it the oldest event goes: there is a rest for what responses say while the client's events are refused."""
MAX_EVENTS: Final = 2 * FULL_EVENTS
MAX_UNSENT: Final = 256 * 1024
"""Bytes of all calls that wait for NATS; above it events wait. Speech is published up to 4 MiB."""
AGAIN_SECONDS: Final = 0.02
"""Until the connection is looked at again."""


class EventQueue:
    """What waits for one client, and when the next of it may go. Sans-IO: takes `now`.

    Owned by an `EventOutput`, for as long as the call; used on the event loop.
    """

    def __init__(self, now: float) -> None:
        """`now`: `time.monotonic()`, here as in `wait`."""
        self.dropped = 0
        """Events that were lost because too much waited."""
        self.waiting_bytes = 0
        self._first: deque[bytes] = deque()
        self._others: deque[bytes] = deque()
        self._events, self._bytes = EVENT_BURST, BYTE_BURST
        self._filled = now

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    @property
    def is_full(self) -> bool:
        """The client is to read first: none of its events is carried out."""
        return self.waiting_bytes > FULL_BYTES or len(self) > FULL_EVENTS

    def put(self, data: bytes, first: bool = False) -> None:
        """Queue an event. `first`: it goes before all others."""
        (self._first if first else self._others).append(data)
        self.waiting_bytes += len(data)
        while len(self) > 1 and (len(self) > MAX_EVENTS or self.waiting_bytes > MAX_BYTES):
            self.waiting_bytes -= len((self._others or self._first).popleft())
            self.dropped += 1

    def wait(self, now: float) -> float:
        """Seconds until `pop` is allowed: an event goes as soon as those before it are paid for."""
        passed, self._filled = max(0.0, now - self._filled), now
        self._events = min(EVENT_BURST, self._events + passed * EVENT_RATE)
        self._bytes = min(BYTE_BURST, self._bytes + passed * BYTE_RATE)
        return max(0.0, (1 - self._events) / EVENT_RATE, -self._bytes / BYTE_RATE)

    def pop(self) -> bytes:
        """The next event; it is paid for."""
        data = (self._first or self._others).popleft()
        self.waiting_bytes -= len(data)
        self._events -= 1
        self._bytes -= len(data)
        return data


class EventOutput:
    """Sends a call's events to its client.

    Owned by the call's session, for as long as the call; used on the event loop. `run` is one task of the session.
    """

    def __init__(
        self,
        publish: Callable[[bytes], Awaitable[None]],
        unsent: Callable[[], int],
        clock: Callable[[], float],
        session_id: str,
    ) -> None:
        """`publish` takes an encoded `DataMessage`. `unsent`: bytes that wait for NATS, of all calls."""
        self._publish, self._unsent, self._clock, self._session_id = publish, unsent, clock, session_id
        self._queue = EventQueue(clock())
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    @property
    def is_full(self) -> bool:
        """So much waits that none of the client's events is carried out."""
        return self._queue.is_full

    def put(self, event: JsonObject) -> None:
        """Queue an event. One that tells the client to slow down goes before all that waits."""
        try:
            data = _encoded(event)
        except (TypeError, ValueError, RecursionError) as error:
            log.error("%s: an event of type %s is not sent: %s", self._session_id, event.get("type"), error)
            return
        dropped = self._queue.dropped
        self._queue.put(data, first=event["type"] == "error" and event["error"]["code"] == "rate_limit_exceeded")
        if self._queue.dropped > dropped == 0:
            log.warning("%s: too many events wait for its client, the oldest are dropped", self._session_id)
        self._emptied.clear()
        self._filled.set()

    async def drained(self, within: float) -> None:
        """Return when all events are published, or after `within` seconds: a hang-up would overtake them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._emptied.wait()

    async def run(self) -> None:
        """Publish what is queued, at the rate of a client and as far as the connection to NATS keeps up."""
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            await self._until_allowed()
            await self._publish(self._queue.pop())
            if not self._queue:
                self._emptied.set()
            await asyncio.sleep(0)  # publishing does not wait: other calls get the loop between two events

    async def _until_allowed(self) -> None:
        while True:
            wait = self._queue.wait(self._clock())
            if wait <= 0 and self._unsent() <= MAX_UNSENT:
                return
            await asyncio.sleep(wait or AGAIN_SECONDS)


def _encoded(event: JsonObject) -> bytes:
    # In UTF-8 a letter of another script has 2 or 3 bytes, as a JSON escape 7: an answer would be larger than its
    # question.
    try:
        return messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps(event, ensure_ascii=False)))
    except ValueError:  # half of a surrogate pair, of a language model
        return messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps(event)))
