"""Of the events that a client causes, as many as an agent can use. Sans-IO.

Each event is a message on NATS: a client whose packets are keys of a telephone, or that opens and closes channels,
would send its agent as many as it has packets.
"""

from __future__ import annotations

from typing import Final

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages
from antiphon.transceiver.session.output import Output

EVENTS: Final = (50, 200)
"""Per second, and at once: 5 audio levels a second, 10 keys, and the channels of a client that opens all of them."""


class BoundedEvents:
    """The output of a session for its parts that read what the client sends.

    Owner: the `Session`, for its whole life; event loop only. Events beyond the rate are dropped and counted.
    """

    def __init__(self, output: Output, now: float) -> None:
        self.dropped = 0
        self.audio = output.audio
        self.message = output.message
        self._publish = output.event
        self._bucket = TokenBucket(*EVENTS)
        self._now = now

    def poll(self, now: float) -> None:
        """Call every 50 ms or so: by this clock the events are counted."""
        self._now = now

    def event(self, event: messages.Message) -> None:
        if self._bucket.take(1, self._now):
            self._publish(event)
        else:
            self.dropped += 1
