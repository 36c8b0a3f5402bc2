"""`make k8s-test`: the chart on the cluster that KUBECONFIG names; every part is replaced while calls are held.

Needs docker, kubectl and helm, a node at whose address this machine reaches NodePorts, and two commands:

    K8S_LOAD_IMAGES    gives archives of `docker save` to all nodes
    K8S_KILL_NODE      cuts the power of the node whose name it is given; without it that step is left out

It takes a namespace of its own and deletes it, also when it fails. The node without power stays so.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from kubernetes import browser, manifests, policies, usage
from kubernetes.calls import HEADER, Calls, Phase
from kubernetes.cluster import (
    CHART,
    ROOT,
    Cluster,
    Failure,
    build_images,
    kill_node,
    load_images,
    run,
    sources_of,
)

from antiphon.cli.errors import CallError

NAMESPACE: Final = "antiphon-k8s-test"
RELEASE: Final = "antiphon"
TALKER: Final = "talker"
CALLS: Final = 20
MEDIA_PORT, HTTP_PORT = 30478, 30080
QUIET_SECONDS: Final = 20.0
AFTER_SECONDS: Final = 4.0
"""After a piece of work, for reports of the server and packets under way."""
GAP_SECONDS: Final = 0.1
"""By which a roll of transceivers may exceed the longest gap without a roll (p95)."""
FLEET_SECONDS: Final = 60.0
INSTALLED_WITHIN: Final = 60.0
ADOPTED_WITHIN: Final = 3.0
MOVED_WITHIN: Final = 1.0
"""A page, to another relay. It hears its agent again when the call is adopted: its transceiver was on that node too."""

AGENT: Final = """
apiVersion: v1
kind: Pod
metadata:
  name: talker
  labels: { antiphon.io/nats-client: "true" }
spec:
  nodeSelector: { kubernetes.io/hostname: NODE }
  enableServiceLinks: false
  automountServiceAccountToken: false
  securityContext: { runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001 }
  containers:
    - name: talker
      image: antiphon-test-agent:TAG
      command: [python, /agent/talker.py]
      resources: { requests: { cpu: 100m, memory: 64Mi } }
      env:
        - { name: ANTIPHON_NATS_URL, value: "nats://antiphon-nats:4222" }
        - { name: ANTIPHON_NATS_CREDENTIALS, value: /secrets/nkey }
      volumeMounts: [{ name: agent, mountPath: /agent }, { name: nats, mountPath: /secrets, readOnly: true }]
  volumes:
    - { name: agent, configMap: { name: talker } }
    - { name: nats, secret: { secretName: antiphon-nats-agent-talker, defaultMode: 0400 } }
"""


def values(
    tag: str,
    address: str,
    first: str,
    *,
    drain: int = 15,
    log: str = "INFO",
    clinic: bool = True,
    announce: str = "public",
) -> str:
    """The three values that an installation needs, and what this cluster needs besides: NodePorts, little of a core."""
    small = "resources: { requests: { cpu: 20m, memory: 64Mi } }"
    media = "resources: { requests: { cpu: 200m, memory: 64Mi } }"
    return f"""
image: {{ registry: "", tag: {tag} }}
publicAddress: {address}
apiKeySecret: api-keys
logLevel: {log}
credentials: {{ agents: [{TALKER}] }}
nats: {{ nodeSelector: {{ kubernetes.io/hostname: {first} }}, {media} }}
setup: {{ nodeSelector: {{ kubernetes.io/hostname: {first} }}, {small} }}
relay: {{ drainSeconds: {drain}, announce: {announce}, service: {{ type: NodePort, nodePort: {MEDIA_PORT} }}, {media} }}
transceiver: {{ maxLatenessMs: 250, {media} }}
signaling: {{ service: {{ type: NodePort, nodePort: {HTTP_PORT} }}, {small} }}
# Ten calls do not speak here, but its first greetings do, on the cores of all that runs here.
bridge: {{ env: {{ ANTIPHON_BRIDGE_MAX_WAIT: "30" }}, {small} }}
{f"clinic: {{ {small} }}" if clinic else ""}
"""


class Run:
    """One run: the namespace, the calls, what they noticed. Owner: `main`."""

    def __init__(self, tag: str) -> None:
        self.cluster = Cluster(NAMESPACE, RELEASE)
        self.tag = tag
        self.key = f"sk-{secrets.token_hex(16)}"
        self.phases: list[Phase] = []
        self.complaints: list[str] = []
        self.calls = Calls("", "")
        self.address = self.first = self.second = ""

    async def prepare(self) -> None:
        """An empty namespace, and which node is which."""
        cluster = self.cluster
        await cluster.delete()
        nodes = await cluster.nodes()
        if len(nodes) < 2:
            raise Failure(f"{len(nodes)} nodes are ready: this takes two")
        (self.first, self.address), (self.second, _), *_ = nodes.items()
        await run("kubectl", "create", "namespace", NAMESPACE)
        await cluster.kubectl("create", "secret", "generic", "api-keys", f"--from-literal=api-keys={self.key}")
        await cluster.kubectl("create", "configmap", "talker", f"--from-file={ROOT}/tests/kubernetes/talker.py")

    async def install(self) -> None:
        """With the images on the nodes; then again, after it was removed."""
        for how in ("", " again, after the release was removed"):
            if how:
                print(f"removed in {await self.cluster.uninstall():.0f} s", flush=True)
            took = await self.cluster.install(values(self.tag, self.address, self.first))
            print(f"installed{how} in {took:.0f} s", flush=True)
            self.expect(took < INSTALLED_WITHIN, f"the installation{how} took {took:.0f} s")

    async def start_talker(self, tag: str) -> None:
        cluster = self.cluster
        await cluster.kubectl("delete", "pod", TALKER, "--ignore-not-found")
        agent = AGENT.replace("TAG", tag).replace("NODE", self.first)
        await cluster.kubectl("create", "-f", "-", stdin=agent)
        await cluster.kubectl("wait", f"pod/{TALKER}", "--for=condition=Ready", "--timeout=60s")

    async def place_calls(self) -> None:
        self.calls = Calls(f"http://{self.address}:{HTTP_PORT}", self.key)
        await self.calls.place([TALKER, "concierge"] * (CALLS // 2), TALKER)
        print(f"{CALLS} calls are held\n\n{HEADER}", flush=True)

    def expect(self, true: bool, otherwise: str) -> None:
        """Note what is not as it should be; the run goes on."""
        if not true:
            self.complaints.append(otherwise)
            print(f"   not so: {otherwise}", flush=True)

    async def phase(self, name: str, work: Awaitable[object], after: float = AFTER_SECONDS) -> Phase:
        """Do the work and print what the calls noticed."""
        began = self.calls.start_phase()
        try:
            await work
        finally:
            took = time.monotonic() - began
            await asyncio.sleep(after)
            self.phases.append(await self.calls.phase(name, took, TALKER))
            print(self.phases[-1].row(), flush=True)
            for each in self.phases[-1].ended:
                print(f"   ended: {each}", flush=True)
        return self.phases[-1]

    async def check_rolls(self) -> None:
        """Every part twice, the chart's upgrade, NATS, a node, and last of all a roll that does not drain."""
        cluster = self.cluster
        quiet = await self.phase("nothing", asyncio.sleep(QUIET_SECONDS))
        for turn in ("first", "second"):
            for part, workload in (
                ("relays", f"daemonset/{RELEASE}-relay"),
                ("transceivers", f"deployment/{RELEASE}-transceiver"),
                ("bridges", f"deployment/{RELEASE}-bridge"),
                ("clinic", f"deployment/{RELEASE}-agent-clinic"),
                ("signaling", f"deployment/{RELEASE}-signaling"),
            ):
                phase = await self.phase(f"{part}, {turn} roll", cluster.roll(workload))
                self.expect(not phase.ended, f"{phase.name} ended {len(phase.ended)} calls")
                if part == "relays":
                    lost, usual = phase.lost_up + phase.lost_down, quiet.lost_up + quiet.lost_down
                    self.expect(lost <= usual, f"{phase.name} lost {lost} packets, and {usual} are lost without")
                if part == "transceivers":
                    longest = quiet.gap_p95 + GAP_SECONDS
                    self.expect(phase.gap_p95 <= longest, f"gap of {phase.gap_p95:.3f} s in {phase.name}")
        upgrade = cluster.install(values(self.tag, self.address, self.first, log="WARNING"), upgrade=True)
        whole = await self.phase("upgrade of the chart: all at once", upgrade)
        self.expect(not whole.ended, f"{whole.name} ended {len(whole.ended)} calls")
        self.expect(whole.seconds < FLEET_SECONDS, f"{whole.name} took {whole.seconds:.0f} s")
        nats = await self.phase("NATS", cluster.roll(f"statefulset/{RELEASE}-nats"), after=10)
        self.expect(not nats.ended, f"the roll of NATS ended {len(nats.ended)} calls")
        drained = await self.phase(f"drain of {self.second}", cluster.drain(self.second))
        self.expect(not drained.ended, f"the drain of a node ended {len(drained.ended)} calls")
        await run("kubectl", "uncordon", self.second)

    async def check_releases(self, revision: str, tag: str, chart: Path) -> None:
        """Upgrade from that release to this one, back, and again: each time both serve the same calls for a while."""
        before = values(tag, self.address, self.first, clinic=(chart / "templates" / "agents.yaml").exists())
        await self.cluster.install(before, chart=chart)
        await self.start_talker(tag)
        await self.place_calls()
        now = values(self.tag, self.address, self.first)
        for name, back in ((f"upgrade from {revision}", False), (f"back to {revision}", True), ("forth again", False)):
            work = self.cluster.roll_back() if back else self.cluster.install(now, upgrade=True)
            phase = await self.phase(name, work, after=10)
            self.expect(not phase.ended, f"{name} ended {len(phase.ended)} calls")
        await self.calls.close()
        await self.cluster.uninstall()

    async def check_policies(self) -> None:
        """The policies allow what the pods do, and refuse what nobody is to do."""
        kinds, complaints = await policies.check(self.cluster)
        print(f"\n{kinds} kinds of connections between parts, held against the policies\n", flush=True)
        self.complaints += complaints

    async def show_usage(self) -> None:
        print("", usage.HEADER, *(each.row() for each in await usage.used(self.cluster)), "", sep="\n", flush=True)

    async def check_control(self) -> None:
        """Relays that end at once lose packets: else this run shows nothing."""
        hasty = values(self.tag, self.address, self.first, log="WARNING", drain=0)
        await self.phase("the same chart, drainSeconds 0", self.cluster.install(hasty, upgrade=True))
        control = await self.phase("relays that do not drain", self.cluster.roll(f"daemonset/{RELEASE}-relay"))
        lost = control.lost_up + control.lost_down
        self.expect(lost > 0, "a roll of relays that do not drain lost nothing")
        usual = values(self.tag, self.address, self.first, log="WARNING")
        await self.phase("the chart as before", self.cluster.install(usual, upgrade=True))

    async def check_power_cut(self) -> None:
        """Calls of transceivers on a node without power go on in others, and a page whose relay was there moves."""
        by_node = values(self.tag, self.address, self.first, log="WARNING", announce="node")
        await self.phase("relays offered by their nodes", self.cluster.install(by_node, upgrade=True))
        await self._spread_transceivers()
        if not browser.is_there():
            print("   no Chromium is here: no page is moved", flush=True)
            await self._cut_power()
            return
        async with browser.calling(f"http://{self.address}:{HTTP_PORT}") as call:
            await call.place(self.key, TALKER, (await self.cluster.nodes())[self.second])
            await self._cut_power()
            _, gap = await call.heard()
            where, moves = await call.relay(), await call.moves()
            moved = min((each["quiet_ms"] / 1000 for each in moves), default=math.inf)
            print(f"   the page moved to {where} after {moved:.2f} s and heard nothing for {gap:.2f} s", flush=True)
            self.expect(where == self.address, f"a page whose relay was lost sends to {where or 'nothing'}")
            self.expect(moved <= MOVED_WITHIN, f"a page moved {moved:.2f} s after its relay was lost")
            self.expect(gap <= ADOPTED_WITHIN + MOVED_WITHIN, f"a page heard nothing for {gap:.2f} s")

    async def _cut_power(self) -> None:
        await self.phase("nothing, again", asyncio.sleep(5))
        cut = await self.phase(f"power of {self.second} cut", kill_node(self.second), after=12)
        gap = cut.gaps[-1] if cut.gaps else 0.0
        self.expect(gap <= ADOPTED_WITHIN, f"the longest gap was {gap:.2f} s after the power was cut")
        self.expect(not cut.ended, f"the power cut ended {len(cut.ended)} calls")

    async def _spread_transceivers(self) -> None:
        """After the drain all may be on one node: new pods are spread over both, and take half of the calls each."""
        if self.second in (await self.cluster.pods("transceiver")).values():
            return
        await self.cluster.roll(f"deployment/{RELEASE}-transceiver")
        where = await self.cluster.pods("transceiver")
        self.expect(self.second in where.values(), f"no transceiver is on {self.second}: {where}")


async def images(this: Run, built: str | None) -> None:
    """Those of this release, on the nodes."""
    if not built:
        await load_images(await build_images(this.tag))


async def releases(this: Run, revision: str, built: str | None) -> None:
    """Rolls between the release of that commit and this one."""
    tag = built or f"{this.tag}-before"
    with tempfile.TemporaryDirectory() as scratch:
        source = await sources_of(revision, scratch)
        if not built:
            await load_images(await build_images(tag, source))
        await this.check_releases(revision, tag, source / CHART.relative_to(ROOT))


async def stages(this: Run, only: str | None) -> None:
    """What is checked of this release."""
    await this.install()
    await this.start_talker(this.tag)
    await this.place_calls()
    await this.check_policies()
    if only in (None, "rolls"):
        await this.check_rolls()
        await this.show_usage()
    if only in (None, "control"):
        await this.check_control()
    if only == "power" or (only is None and os.environ.get("K8S_KILL_NODE")):
        await this.check_power_cut()


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", help="images that the nodes have already; default: build and load them")
    parser.add_argument("--keep", action="store_true", help="leave the namespace as it is at the end")
    parser.add_argument("--only", choices=("rolls", "control", "power", "releases"), help="one part of it")
    parser.add_argument("--before", metavar="COMMIT", help="roll from the release of that commit to this one, and back")
    parser.add_argument("--before-tag", metavar="TAG", help="its images, which the nodes have already")
    args = parser.parse_args()
    if args.only == "releases" and not args.before:
        parser.error("--only releases: --before COMMIT says which release was before")
    this = Run(args.tag or f"t{int(time.time())}")
    try:
        await images(this, args.tag)
        await this.prepare()
        print(await manifests.check(NAMESPACE), flush=True)
        if args.before and args.only in (None, "releases"):
            await releases(this, args.before, args.before_tag)
        if args.only != "releases":
            await stages(this, args.only)
    except (Failure, CallError) as failure:
        this.complaints.append(str(failure))
    finally:
        await this.calls.close()
        if not args.keep:
            await this.cluster.delete()
            this.complaints += [f"left behind: {each}" for each in await this.cluster.left()]
    for complaint in this.complaints:
        print(f"k8s-test: {complaint}", file=sys.stderr)
    print("k8s-test: failed" if this.complaints else "k8s-test: passed")
    return 1 if this.complaints else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
