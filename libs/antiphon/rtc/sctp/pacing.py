"""How many packets and messages of the peer are handled, so that one session costs the others no time. Sans-IO.

What is beyond the limits waits: packets in a bounded queue, messages in the window, which closes then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from antiphon.rtc.sctp.inbound import Inbound, Message
from antiphon.runtime.token_bucket import TokenBucket

PACKETS: Final = (500, 16)
"""Packets handled per second, and at once, per session. 500 of the usual size are more than `BYTES`."""
MAX_WAITING: Final = 256
"""Packets that wait for their turn, so that a burst loses none. More are dropped unread, which a sender treats as
congestion."""
MESSAGES: Final = (200, 500)
"""Messages delivered per second, and at once. More wait, and the window closes: a reliable sender loses none."""
BYTES: Final = (524_288, 1 << 20)
"""Of these messages together."""
AT_ONCE: Final = 16
"""Messages delivered within a `PAUSE`: a packet can hold 72, and an iteration of the loop reads 64 packets."""
PAUSE: Final = 0.002
"""Seconds."""


class PacketPacing:
    """The packets of one association. Owned and called by the `Association`."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When the first packet that waits is to be taken; None: none waits."""
        self._limit = TokenBucket(*PACKETS)
        self._waiting: deque[bytes] = deque()

    def takes(self, data: bytes, now: float) -> bool:
        """Whether the packet is to be handled now; else it waits, or is dropped where too many do."""
        if not self._waiting and self._limit.take(1, now):
            return True
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(data)
            self.due = self.due or now + max(PAUSE, self._limit.wait(1, now))
        return False

    def waited(self, now: float) -> Iterator[bytes]:
        """Those whose turn has come; call it when `due` is over."""
        while self._waiting and self._limit.take(1, now):
            yield self._waiting.popleft()
        self.due = now + max(PAUSE, self._limit.wait(1, now)) if self._waiting else None

    def clear(self) -> None:
        """Drop what waits: the association has ended."""
        self._waiting.clear()
        self.due = None


class MessagePacing:
    """The messages that one association delivers. Owned and called by the `Association`."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When the next message is to be delivered; None: none waits."""
        self._messages, self._bytes = TokenBucket(*MESSAGES), TokenBucket(*BYTES)
        self._since, self._delivered = float("-inf"), 0

    def take(self, inbound: Inbound, now: float) -> Iterator[Message]:
        """Whole messages, as many as the limits allow now; `due` says when the others follow."""
        self.due = None
        ready = inbound.ready
        if not ready:
            return
        if now - self._since >= PAUSE:
            self._since, self._delivered = now, 0
        while ready and self._delivered < AT_ONCE:
            size = len(ready[0].payload)
            if self._wait(size, now) > 0:
                break
            self._messages.spend(1)
            self._bytes.take(size, now)
            self._delivered += 1
            yield inbound.pop()
        if ready:
            self.due = now + max(PAUSE, self._wait(len(ready[0].payload), now))

    def _wait(self, size: int, now: float) -> float:
        return max(self._messages.wait(1, now), self._bytes.wait(size, now))
