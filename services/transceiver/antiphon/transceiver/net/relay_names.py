"""The names of relays, for operators: by the address that a relay's packets come from, or by its ingress number. Pure.

What it says decides nothing. `RelayAllowlist` decides whose packets are taken.
"""

from __future__ import annotations

from typing import Final

from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages import RelayAnnouncement
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.relay_allowlist import announced_address
from antiphon.transceiver.net.tunnel_receiver import ingress_in

MAX_KNOWN: Final = 4096
"""Addresses and numbers that are remembered. Above it the oldest are forgotten: a listing shows no name then."""


class RelayNames:
    """Owner: the process, for its whole life. `RelayLink` fills it, listings of calls ask it. Event loop only."""

    def __init__(self) -> None:
        self._names: dict[str | int, str] = {}
        """By address as announced, or by ingress number."""

    def announced(self, relay: RelayAnnouncement) -> None:
        """Remember it; a relay that has gone keeps its name as long as there is room."""
        for address in relay.tunnel_addresses:
            self._remember(address, relay.name)
        if relay.ingress:
            self._remember(relay.ingress, relay.name)

    def _remember(self, key: str | int, name: str) -> None:
        self._names.pop(key, None)
        self._names[key] = name
        if len(self._names) > MAX_KNOWN:
            del self._names[next(iter(self._names))]

    def of_path(self, path: Path) -> str:
        """The relay that a client enters by; empty: no announcement has named it."""
        if ingress := ingress_in(path.header):
            return self._names.get(int.from_bytes(ingress, "big"), "")
        address = announced_address(path.relay)
        return self._names.get(str(parse_address(str(address))), "")
