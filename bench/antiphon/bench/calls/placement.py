"""What placing one call costs signaling: processor time and memory of its directory, without NATS and HTTP."""

from __future__ import annotations

import argparse
import json
import random
import time
import tracemalloc
from typing import Final

from antiphon.bench._lib.statistics import median
from antiphon.schemas.messages import Place, RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.directory import Directory
from antiphon.signaling.placement.geography import Coordinates
from antiphon.signaling.placement.ranking import ClientPlace, Site

ROUNDS: Final = 5
SECONDS: Final = 0.3
"""Of one round."""
SIZES: Final = ((1, 8, 2), (10, 1000, 120), (16, 65536, 240))
"""Clusters, transceivers and relays, each as many regions as clusters."""


def directory_of(clusters: int, transceivers: int, relays: int) -> Directory:
    """As signaling of the first region has it, at second 0."""
    chance = random.Random(1)
    made = Directory(0, "r0" if clusters > 1 else "")
    places = [Place(latitude=chance.uniform(-60, 60), longitude=chance.uniform(-180, 180)) for _ in range(clusters)]
    for number in range(transceivers):
        cluster = number % clusters
        where = {"region": f"r{cluster}", "place": places[cluster]} if clusters > 1 else {}
        said = {"cluster": cluster, "slot": number // clusters, "epoch": 1, "tunnel_address": "10.0.0.1:5000"}
        load = {"state": "ready", "sessions": chance.randrange(500), "capacity": 1000, "lateness_ms": chance.random()}
        made.learn_transceiver(TransceiverAnnouncement.model_validate({**said, **where, **load}), 0.0, 1e9)
    for number in range(relays):
        cluster = number % clusters
        trips = {str(other): 10.0 + 10 * abs(other - cluster) for other in range(clusters) if other != cluster}
        said = {"name": f"relay{number}", "public_addresses": [f"192.0.2.{number % 250}:{number + 1}"]}
        where = {"region": f"r{cluster}", "place": places[cluster], "cluster": cluster} if clusters > 1 else {}
        more = {"tunnel_addresses": ["10.0.0.9:1"], "ingress": number + 1, "round_trips": trips}
        made.learn_relay(RelayAnnouncement.model_validate({**said, **where, **more}), 0.0, 1e9)
    return made


def cost_us(directory: Directory, client: ClientPlace | None) -> float:
    """Median over the rounds of the processor time of one call, its time in made-up seconds."""
    costs, now = [], 0.0
    for _ in range(ROUNDS):
        calls, began = 0, time.process_time()
        while time.process_time() - began < SECONDS:
            asked = directory.transceivers(now, client)
            directory.relay_offers(f"rtc_{calls}", now, client, asked[0].cluster)
            calls, now = calls + 1, now + 0.01  # 100 calls a second
        costs.append((time.process_time() - began) * 1e6 / calls)
    return median(costs, 6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = []
    for clusters, transceivers, relays in SIZES:
        tracemalloc.start()
        directory = directory_of(clusters, transceivers, relays)
        mebibytes = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        client = ClientPlace("header", Site(coordinates=Coordinates(48.2, 16.4))) if clusters > 1 else None
        sizes = {"clusters": clusters, "transceivers": transceivers, "relays": relays}
        found.append({**sizes, "us_per_call": round(cost_us(directory, client), 1), "mebibytes": round(mebibytes, 1)})
    if args.json:
        print(json.dumps({"placement": found}))
        return 0
    for each in found:
        print("{clusters:3} clusters, {transceivers:6} transceivers, {relays:4} relays: ".format(**each), end="")
        print("{us_per_call:9.1f} us a call, {mebibytes:6.1f} MiB".format(**each))
    return 0
