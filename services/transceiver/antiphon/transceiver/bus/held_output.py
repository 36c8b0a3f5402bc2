"""All that leaves the process, held together: the messages for NATS and the datagrams for relays."""

from __future__ import annotations

from antiphon.runtime.nats.publisher import Publisher
from antiphon.transceiver.net.held_datagrams import HeldDatagrams


class HeldTogether:
    """Begins and ends a batch of packets, or of visits: its output leaves in one write and one call.

    Owner: the process, for its whole life. The sockets and the scheduler call it, on the event loop only.
    """

    def __init__(self, publisher: Publisher, datagrams: HeldDatagrams) -> None:
        self._publisher = publisher
        self._datagrams = datagrams

    def hold(self) -> None:
        self._publisher.hold()
        self._datagrams.hold()

    def release(self) -> None:
        try:
            self._datagrams.release()
        finally:
            self._publisher.release()
