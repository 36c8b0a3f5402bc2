"""How many new flows one source network may open: a bucket per /24 or /48.

A client with a good token and many addresses could otherwise fill the half-open part of the table and load
a transceiver with requests. Running calls are not limited.
"""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 4.0
"""A network that was quiet may open this many seconds' worth at once: an office that comes to work."""
MAX_NETWORKS: Final = 16384
"""Networks remembered; the one that asked longest ago is forgotten first."""

_FAMILY_BITS: Final = 0xFF
_IPV4: Final = 2


def network_of(client: int) -> int:
    """The /24 or /48 of a client's key, told apart by family."""
    if client & _FAMILY_BITS == _IPV4:
        return client >> 32 & 0xFFFFFF
    return 1 << 48 | client >> 32 & 0xFFFFFFFFFFFF


class NewFlowLimiter:
    """A token bucket per source network: `per_second` new flows in the long run; 0 is no limit.

    Belongs to a worker's `RelayCore`, which alone calls it.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = per_second * BURST_SECONDS
        self._levels: dict[int, tuple[float, float]] = {}  # longest unused first

    def allows(self, client: int, now: float) -> bool:
        """Whether this client may open a flow now; counts it if so."""
        if not self._rate:
            return True
        network = network_of(client)
        left, when = self._levels.pop(network, (self._burst, now))
        left = min(self._burst, left + (now - when) * self._rate)
        allowed = left >= 1
        if len(self._levels) >= MAX_NETWORKS:
            del self._levels[next(iter(self._levels))]
        self._levels[network] = (left - 1 if allowed else left, now)
        return allowed
