"""How much memory and processor the pods took, as their own processes know it: what requests and limits rest on."""

from __future__ import annotations

import asyncio
import json
from typing import Final, NamedTuple

from kubernetes.cluster import Cluster
from kubernetes.policies import Peer, pods_of

READ: Final = """
import glob, json
peak = ticks = 0
for status in glob.glob("/proc/[0-9]*/status"):
    try:
        fields = dict(line.split(":", 1) for line in open(status) if ":" in line)
        if fields["Uid"].split()[0] != "10001" or "usage-probe" in open(status[:-6] + "cmdline").read():
            continue
        peak += int(fields["VmHWM"].split()[0])
        ticks += sum(map(int, open(status[:-6] + "stat").read().rpartition(")")[2].split()[11:13]))
    except (OSError, KeyError):
        pass
print(json.dumps([peak / 1024, ticks / 100]))
"""
"""The most memory that each process of the pod had at a time, in MiB, and processor seconds since they began."""


class Used(NamedTuple):
    """Of the pods of one part, the most of any. A value."""

    component: str
    pods: int
    megabytes: float
    seconds: float

    def row(self) -> str:
        return f"| {self.component} | {self.pods} | {self.megabytes:.0f} MiB | {self.seconds:.0f} s |"


HEADER: Final = "| part | pods | memory at most | processor since its start |\n|---|---|---|---|"


async def used(cluster: Cluster) -> list[Used]:
    """By part, in the order of their names. NATS is asked itself: its image has no interpreter."""
    pods = [each for each in await pods_of(cluster) if each.component]
    read = await asyncio.gather(*(_read(cluster, each) for each in pods))
    found: dict[str, list[tuple[float, float]]] = {}
    for pod, figures in zip(pods, read, strict=True):
        found.setdefault(pod.component, []).append(figures)
    return [
        Used(name, len(each), max(m for m, _ in each), max(s for _, s in each)) for name, each in sorted(found.items())
    ]


async def _read(cluster: Cluster, pod: Peer) -> tuple[float, float]:
    if pod.component == "nats":
        ask = ("exec", pod.name, "--", "/bin/wget", "-qO-", "http://127.0.0.1:8222/varz")
        said = json.loads(await cluster.kubectl(*ask))
        return said["mem"] / (1 << 20), 0.0
    text = await cluster.kubectl("exec", pod.name, "--", "python", "-c", READ, "usage-probe", patience=60)
    megabytes, seconds = json.loads(text)
    return megabytes, seconds
