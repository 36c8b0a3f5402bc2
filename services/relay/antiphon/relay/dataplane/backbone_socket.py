"""A worker's socket on the backbone: sending, ICMP errors, hellos that are due."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import key_of, sockaddr_of
from antiphon.relay.core.two_hops import TwoHops
from antiphon.relay.dataplane.icmp_errors import UNREACHABLE, failed_sends, report_errors

LOOK_SECONDS: Final = 0.02
"""Hellos are looked after no more often: with many relays some of them are due at any time."""
REPORT_SECONDS: Final = 1.0


class BackboneSocket:
    """Belongs to a worker's packet loop, which alone calls it, and lives as long. The core must have `two_hops`."""

    def __init__(self, core: RelayCore, bound: socket.socket) -> None:
        if core.two_hops is None:
            raise ValueError("a backbone socket needs a core that is told about the backbone")
        self.socket = bound
        self._core = core
        self._two_hops: TwoHops = core.two_hops
        self._look_at = self._report_at = 0.0
        bound.setblocking(False)
        report_errors(bound)

    def send(self, data: bytes | memoryview, to: int) -> bool:
        """Send to another relay; once more if the socket reports the error of an earlier packet instead."""
        for _ in range(2):
            with contextlib.suppress(OSError):
                self.socket.sendto(data, sockaddr_of(to))
                return True
        self._core.counters.drops["send_failed"] += 1
        return False

    def read_errors(self, now: float) -> None:
        """Learn from ICMP errors which relays are out."""
        for address, error in failed_sends(self.socket):
            if error in UNREACHABLE:
                self._two_hops.failed(key_of(address), now)
                self._look_at = min(self._look_at, now + LOOK_SECONDS)
            else:
                self._core.counters.drops["path_mtu"] += 1

    def send_hellos(self, now: float) -> None:
        """Send the hellos that are due; cheap if none is."""
        if now < self._look_at:
            return
        for address, packet in self._two_hops.due_hellos(now):
            self.send(packet, address)
        self._look_at = max(now + LOOK_SECONDS, self._two_hops.hellos.next_due)

    def look_soon(self) -> None:
        """The table of relays is another one: look after its hellos at once."""
        self._look_at = 0.0

    def wait(self, now: float) -> float:
        """Seconds until `send_hellos` has something to do."""
        return max(0.0, self._look_at - now)

    def due_report(self, now: float) -> tuple[dict[int, float], list[str]] | None:
        """Once a second: the round trips that were measured, and which relays are out."""
        if now < self._report_at:
            return None
        self._report_at = now + REPORT_SECONDS
        return self._two_hops.round_trips()
