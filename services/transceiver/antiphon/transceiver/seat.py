"""Where calls of a process are reached: one identity (cluster, slot, epoch) of route tokens, on one socket."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.transceiver.port import TunnelPort
from antiphon.transceiver.slots import Slot


@dataclass(eq=False)
class Seat:
    """Tokens that name `cluster` and `slot` are routed to `address`, which is `port` as relays see it."""

    cluster: int
    slot: Slot
    port: TunnelPort
    address: str

    @property
    def identity(self) -> tuple[int, int, int]:
        """As a route token names it."""
        return self.cluster, self.slot.number, self.slot.epoch
