"""What one call costs, as our own benches have measured it, and what is assumed. `--from FILE` replaces values.

Measured on two cores of a Xeon at 2.5 GHz: another machine has other figures, so measure there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from antiphon.cli.errors import UsageError


@dataclass(frozen=True)
class UnitCosts:
    """Inputs of the capacity model. A value; each field's source is in `SOURCES`."""

    calls_per_transceiver_core: float = 100.0
    relay_packets_per_core: float = 245_000.0
    two_hops_ratio: float = 0.5
    nats_us_per_frame: float = 5.7
    announcement_us: float = 20.0
    frame_bytes: float = 989.0
    nats_envelope_bytes: float = 80.0
    packet_bytes: float = 160.0
    backbone_header_bytes: float = 24.0
    packets_per_call: float = 102.0
    frames_per_call: float = 100.0
    events_per_call: float = 1.0
    event_bytes: float = 300.0
    checkpoints_per_call: float = 0.28
    checkpoint_bytes: float = 3_400.0
    checkpoint_replicas: float = 3.0
    announcement_bytes: float = 340.0
    target_load: float = 0.6
    announcements_share: float = 0.1
    nats_cores_per_server: float = 16.0
    nats_servers_per_cluster: float = 3.0
    network_gbit_per_host: float = 10.0
    setups_per_call_second: float = 1 / 180


SOURCES: Final = {
    "calls_per_transceiver_core": "measured: antiphon bench transceiver (sessions_per_core: 110 in time, once 150)",
    "relay_packets_per_core": "measured: antiphon bench relay (pps, both ways, 10,000 flows)",
    "two_hops_ratio": "demanded, with the tag: antiphon bench relay --hops 2 (ratio_to_one_hop) measures it",
    "nats_us_per_frame": "measured: antiphon bench nats-frames (us_per_frame: one in, one out)",
    "announcement_us": "measured: antiphon bench nats-frames (announcement_us)",
    "frame_bytes": "measured: antiphon bench nats-frames (frame_bytes: 20 ms of 24 kHz)",
    "nats_envelope_bytes": "assumed: subject and verb of NATS, TCP and IP headers shared by frames",
    "packet_bytes": "assumed: Opus at 24 kbit/s, RTP, SRTP, tunnel header, UDP and IP",
    "backbone_header_bytes": "by construction: header and tag for an IPv4 client",
    "packets_per_call": "by construction: 50/s each way, and 2/s of RTCP and checks",
    "frames_per_call": "by construction: 50/s each way",
    "events_per_call": "assumed: events and data per second to and from the agent",
    "event_bytes": "assumed",
    "checkpoints_per_call": "by construction: every 2 s while the agent speaks (half of the time, assumed), else 15 s",
    "checkpoint_bytes": "measured: docs/transceiver.md, checkpoints",
    "checkpoint_replicas": "assumed: three servers keep the bucket",
    "announcement_bytes": "by construction: one transceiver's, each second",
    "target_load": "assumed: how full a core or a line may be",
    "announcements_share": "assumed: how much of a core a process may spend on announcements of the others",
    "nats_cores_per_server": "assumed",
    "nats_servers_per_cluster": "assumed: of each cluster's own NATS; a frame crosses one route if it must",
    "network_gbit_per_host": "assumed",
    "setups_per_call_second": "assumed: calls of three minutes",
}
BENCHES: Final = {
    "sessions_per_core": "calls_per_transceiver_core",
    "us_per_frame": "nats_us_per_frame",
    "announcement_us": "announcement_us",
    "frame_bytes": "frame_bytes",
    "ratio_to_one_hop": "two_hops_ratio",
}
"""What the benches' own output calls a field. `pps` of `bench relay` is told apart by what stands beside it."""


def with_measured(costs: UnitCosts, file: Path) -> UnitCosts:
    """`costs` with what this file has: the output of a bench's `--json`, or an object of fields of `UnitCosts`."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--from {file}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--from {file}: is not JSON; it takes the output of `antiphon bench ... --json`") from None
    if not isinstance(found, dict):
        raise UsageError(f"--from {file}: is no JSON object; it takes the output of `antiphon bench ... --json`")
    names = {field.name for field in fields(UnitCosts)}
    new = {name: found[name] for name in names & found.keys()}
    new |= {ours: found[theirs] for theirs, ours in BENCHES.items() if found.get(theirs) is not None}
    if "pps" in found and "ratio_to_one_hop" not in found:
        new["relay_packets_per_core"] = found["pps"]
    if not new:
        raise UsageError(
            f"--from {file}: nothing in it that the model takes; it knows {', '.join(sorted(BENCHES))}, pps, and "
            f"{', '.join(sorted(names))}"
        )
    for name, value in new.items():
        if not _is_positive(value):
            raise UsageError(f"--from {file}: {name} is {value!r}; it has to be a number above 0")
    return replace(costs, **{name: float(value) for name, value in new.items()})


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
