"""Forged binding requests while calls run: how many are shed per second before the calls lose anything."""

from __future__ import annotations

import random
import statistics
import string
import struct
import time
from typing import Final

from antiphon.bench._lib.statistics import median
from antiphon.bench.relay.ends import FlowEnds
from antiphon.bench.relay.load import client_host, segmented
from antiphon.bench.relay.relays_under_test import RelayUnderTest

CALLS: Final = 100
FORGED_AT_ONCE: Final = 32
"""Forged requests of one source address in one call."""


def _forged_request(draw: random.Random) -> bytes:
    ufrag = "A" + "".join(draw.choices(string.ascii_letters + string.digits, k=22))
    username = f"{ufrag}:peer".encode()
    attributes = struct.pack("!HH", 0x0006, len(username)) + username + bytes(-len(username) % 4)
    attributes += (
        struct.pack("!HHQ", 0x802A, 8, 1) + struct.pack("!HHI", 0x0024, 4, 1) + struct.pack("!HH", 8, 20) + bytes(20)
    )
    return struct.pack("!HHI", 1, len(attributes), 0x2112A442) + draw.randbytes(12) + attributes


def flood(ends: FlowEnds, forwarder: RelayUnderTest, rounds: int) -> dict[str, float]:
    """The highest rate of forged requests at which 100 running calls lose at most 1 %."""
    draw = random.Random(7)
    forged = [b"".join(_forged_request(draw) for _ in range(FORGED_AT_ONCE)) for _ in range(64)]
    best: dict[str, float] = {"forged_pps": 0, "call_loss": 1.0}
    failed = 0
    for rate in range(100_000, 900_001, 50_000):
        shed, losses = [], []
        for _ in range(rounds):
            pps, loss = _flood_round(ends, forwarder, forged, rate)
            shed.append(pps)
            losses.append(loss)
        if statistics.median(losses) > 0.01:
            failed += 1
            if failed == 2:  # one may be the machine's
                break
            continue
        failed = 0
        best = {"forged_pps": median(shed), "call_loss": median(losses, 4)}
    return best


def _flood_round(ends: FlowEnds, forwarder: RelayUnderTest, forged: list[bytes], rate: float) -> tuple[float, float]:
    assert forwarder.statistics is not None
    calls = ends.senders(forwarder, "both")
    ends.arrived(settled=True)
    drops, arrived, began = sum(forwarder.statistics().drops.values()), ends.arrived(), time.perf_counter()
    sent = in_calls = 0
    while (now := time.perf_counter() - began) < 1.0:
        if in_calls < now * CALLS * 100:  # 50 packets per second and direction
            for send in calls:
                in_calls += send(10)
        if sent < now * rate:
            number = sent // FORGED_AT_ONCE
            some = forged[number % len(forged)]
            source = client_host(200_000 + number % 60_000)
            segmented(ends.clients, some, len(some) // FORGED_AT_ONCE, forwarder.public, source)
            sent += FORGED_AT_ONCE
    took = time.perf_counter() - began
    lost = in_calls - (ends.arrived(settled=True) - arrived)
    return (sum(forwarder.statistics().drops.values()) - drops) / took, max(0, lost) / in_calls
