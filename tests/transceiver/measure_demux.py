"""What it costs to find the session of a media packet, by kind of header: `python tests/transceiver/measure_demux.py`.

The session is an object that does nothing: all of the time is the demultiplexer's. Kinds alternate in 40 rounds.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

from antiphon.schemas import backbone, tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.net.demux import Demux

ROUNDS: Final = 40
PACKETS: Final = 5000
IPV4, IPV6, ROUTE = Address("192.0.2.1", 5000), Address("2001:db8::7", 5000), backbone.Route(7, 3, 9, 1)
HEADERS: Final = {
    "one hop, IPv4": tunnel.pack_header(IPV4),
    "one hop, IPv6": tunnel.pack_header(IPV6),
    "two hops, IPv4": backbone.pack_header(IPV4, ROUTE),
    "two hops, IPv6": backbone.pack_header(IPV6, ROUTE),
}


class _Known:
    """In the place of a session."""

    def receive(self, *_: Any) -> None:
        pass


def main() -> None:
    took: dict[str, list[float]] = {name: [] for name in HEADERS}
    for _ in range(ROUNDS):
        for name, header in HEADERS.items():
            demux: Any = Demux()
            demux._by_client[header] = _Known()
            packet, receive, relay = header + b"\x80" + bytes(120), demux.receive, ("192.0.2.9", 4000)
            began = time.perf_counter()
            for _ in range(PACKETS):
                receive(packet, relay, 1.0, 1)
            took[name].append((time.perf_counter() - began) / PACKETS * 1e6)
    for name, values in took.items():
        print(f"{name}: median {statistics.median(values):.2f} us, least {min(values):.2f} us")


if __name__ == "__main__":
    main()
