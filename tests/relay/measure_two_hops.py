"""What each role of two hops costs the batched loop per packet, with and without the tag, beside one hop.

    python tests/relay/measure_two_hops.py [ROUNDS]

One process on loopback: 100 clients send a packet each, the loop forwards them, and only the loop's CPU counts. Prints
the least and the median of five repetitions in microseconds. `antiphon bench relay` measures whole relays.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable

from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.two_hops import TwoHopsSettings
from antiphon.relay.dataplane.batched import BatchedPath
from antiphon.schemas.backbone import BackboneKeys, Route, with_route
from antiphon.schemas.route_token import RouteKeyring

CLIENTS = 100
REPETITIONS = 5
SIZES = (160, 1100)


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return made


def drain(each: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            each.recv(4096)


def burst(sender: socket.socket, packets: list[bytes], to: socket.socket) -> Callable[[], None]:
    """What sends these packets."""
    address = to.getsockname()

    def send() -> None:
        for packet in packets:
            sender.sendto(packet, address)

    return send


def measure(name: str, send: Callable[[], None], step: Callable[[], bool], sinks: list[socket.socket]) -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seconds = []
    for _ in range(REPETITIONS):
        total = 0.0
        for _ in range(rounds):
            send()
            began = time.thread_time()
            while step():
                pass
            total += time.thread_time() - began
            for each in sinks:
                drain(each)
        seconds.append(total / rounds / CLIENTS * 1e6)
    print(f"{name:36} {min(seconds):6.2f} {sorted(seconds)[REPETITIONS // 2]:6.2f}", flush=True)


def main() -> None:
    """Print the table."""
    public, tunnel, transceiver, backbone, other = (bound() for _ in range(5))
    clients = [bound() for _ in range(CLIENTS)]
    plain = [header_of(key_of(client.getsockname())) for client in clients]
    for keys in (BackboneKeys(), BackboneKeys([b"k" * 32])):
        for size in SIZES:
            payload = b"\x80" + bytes(size - 1)
            settings = TwoHopsSettings(7, 1, 0, keys)
            core = RelayCore(RouteKeyring.from_text("A:" + "00" * 16), 1000, time.time(), two_hops=settings)
            core.set_routes({(1, 4, 3): key_of(transceiver.getsockname())}, 0.0)
            core.set_relays([Relay(2, "other", 8, True, (key_of(other.getsockname()),))], 0.0)
            path = BatchedPath(core, {socket.AF_INET: public}, tunnel, backbone=backbone)
            text = f"{'tag' if keys.tagged else 'no tag'}, {size} octets"

            def up() -> bool:
                return path.from_clients(socket.AF_INET, 10.0)  # noqa: B023  # called before the next one

            def down() -> bool:
                return path.from_tunnel(10.0)  # noqa: B023

            def across() -> bool:
                return path.from_backbone(10.0)  # noqa: B023

            def from_clients() -> None:
                for client in clients:
                    client.sendto(payload, public.getsockname())  # noqa: B023

            foreign = [with_route(each, Route(8, 4, 3, 0)) for each in plain]
            sealed = [keys.seal(name, payload) for name in foreign]
            measure(f"relay of a cluster, up, {text}", burst(other, sealed, backbone), across, [transceiver])
            measure(
                f"relay of a cluster, down, {text}",
                burst(transceiver, [name + payload for name in foreign], tunnel),
                down,
                [other],
            )
            if not keys.tagged:
                for each in plain:
                    core.from_tunnel(key_of(transceiver.getsockname()), each, 1.0)
                packets = [each + payload for each in plain]
                measure(f"one hop, up, {size} octets", from_clients, up, [transceiver])
                measure(f"one hop, down, {size} octets", burst(transceiver, packets, tunnel), down, clients)
                core.set_moves([((1, 4, 3), (2, 4, 3))], 2.0)
            else:
                core.set_moves([((1, 4, 3), (2, 4, 3))], 1.0)
                assert core.two_hops is not None
                core.two_hops.due_hellos(1.0)
                for each in plain:
                    name = with_route(each, Route(7, 4, 3, 0))
                    core.backbone.received(key_of(other.getsockname()), keys.seal(name, b""), 1.0)
            sealed = [keys.seal(with_route(each, Route(7, 4, 3, 0)), payload) for each in plain]
            measure(f"ingress, up, {text}", from_clients, up, [other])
            measure(f"ingress, down, {text}", burst(other, sealed, backbone), across, clients)
            if +core.counters.drops:
                sys.exit(f"packets were dropped: {dict(core.counters.drops)}")


if __name__ == "__main__":
    main()
