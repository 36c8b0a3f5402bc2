"""Which pods may reach which: NetworkPolicies as Kubernetes reads them, and the connections that pods really have.

Not every network of a cluster enforces policies, and one that does not hides mistakes in them. So the rules are
evaluated here (those for incoming traffic, which are all that the chart has), and held against the sockets of the pods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kubernetes.cluster import Cluster, Failure

COMPONENT: Final = "app.kubernetes.io/component"
SOCKETS: Final = """
import json, socket, struct
def address(text, wide):
    host, port = text.split(":")
    raw = b"".join(struct.pack("<I", int(host[at:at + 8], 16)) for at in range(0, len(host), 8))
    host = socket.inet_ntop(socket.AF_INET6 if wide else socket.AF_INET, raw)
    return host.removeprefix("::ffff:"), int(port, 16)
found = []
for kind in ("tcp", "tcp6", "udp", "udp6"):
    try:
        lines = open("/proc/net/" + kind).read().splitlines()[1:]
    except OSError:
        continue
    for line in lines:
        fields = line.split()
        found.append((kind[:3], address(fields[1], "6" in kind), address(fields[2], "6" in kind), int(fields[3], 16)))
print(json.dumps(found))
"""
"""What `ss` reads, in images that have no `ss`: protocol, own address, the other's, state."""
ESTABLISHED: Final = 1
LISTENING: Final = 10


class Peer(NamedTuple):
    """One pod, or an address outside of the cluster (no labels). A value."""

    name: str
    address: str
    namespace: str = ""
    labels: Mapping[str, str] = {}

    @property
    def component(self) -> str:
        return self.labels.get(COMPONENT, "")


class Flow(NamedTuple):
    """A connection, or datagrams, as they arrive. A value."""

    source: Peer
    target: Peer
    protocol: str
    port: int


def _selected(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """None selects nothing here; an empty selector selects all. Only `matchLabels` is known."""
    if selector is None:
        return False
    if set(selector) - {"matchLabels"}:
        raise Failure(f"a selector that this test can't read: {json.dumps(selector)}")
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def _is_from(rule: Mapping[str, Any], source: Peer, namespace: str) -> bool:
    if "from" not in rule:
        return True
    for each in rule["from"]:
        if "ipBlock" in each:
            raise Failure("a policy with an ipBlock: this test can't read it")
        of_namespace = {"kubernetes.io/metadata.name": source.namespace}
        same = source.namespace == namespace
        inside = _selected(each["namespaceSelector"], of_namespace) if "namespaceSelector" in each else same
        if source.namespace and inside and _selected(each.get("podSelector", {}), source.labels):
            return True
    return False


def _is_to(rule: Mapping[str, Any], flow: Flow) -> bool:
    ports: Sequence[Mapping[str, Any]] = rule.get("ports") or ()
    return not ports or any(
        each.get("protocol", "TCP") == flow.protocol
        and ("port" not in each or each["port"] <= flow.port <= each.get("endPort", each["port"]))
        for each in ports
    )


def is_allowed(policies: Iterable[Mapping[str, Any]], flow: Flow) -> bool:
    """What a network that enforces these policies does with it: a pod that no policy selects takes everything."""
    selecting = [
        each
        for each in policies
        if each["metadata"].get("namespace", flow.target.namespace) == flow.target.namespace
        and _selected(each["spec"]["podSelector"], flow.target.labels)
    ]
    return not selecting or any(
        _is_from(rule, flow.source, flow.target.namespace) and _is_to(rule, flow)
        for each in selecting
        for rule in each["spec"].get("ingress") or ()
    )


async def pods_of(cluster: Cluster) -> list[Peer]:
    """All pods of the namespace that run."""
    return [
        Peer(each["metadata"]["name"], each["status"]["podIP"], cluster.namespace, each["metadata"]["labels"])
        for each in (await cluster.get("pods"))["items"]
        if each["status"].get("phase") == "Running" and "deletionTimestamp" not in each["metadata"]
    ]


async def flows_of(cluster: Cluster, pods: Sequence[Peer]) -> list[Flow]:
    """Connections by TCP as they stand, and datagrams between relays and transceivers, which have no connection.

    A socket of these two for datagrams that belongs to no one client is one for all pods of the other part.
    """
    by_address = {each.address: each for each in pods}
    for service in (await cluster.get("services"))["items"]:  # a client sees the Service's address, not the pod's
        selector = {"matchLabels": service["spec"].get("selector") or {}}
        behind = [each for each in pods if _selected(selector, each.labels)]
        if behind and service["spec"].get("clusterIP", "None") != "None":
            by_address[service["spec"]["clusterIP"]] = behind[0]
    looked = [each for each in pods if each.component not in ("nats", "")]
    read = await asyncio.gather(*(_sockets(cluster, each) for each in looked))
    found: list[Flow] = []
    for pod, sockets in zip(looked, read, strict=True):
        listening = {own[1] for kind, own, _, state in sockets if kind == "tcp" and state == LISTENING}
        for kind, own, other, state in sockets:
            if kind == "tcp" and state == ESTABLISHED and not _is_loopback(other[0]):
                there = by_address.get(other[0], Peer(other[0], other[0]))
                if own[1] in listening:
                    found.append(Flow(there, pod, "TCP", own[1]))
                elif there.namespace:
                    found.append(Flow(pod, there, "TCP", other[1]))
            elif kind == "udp" and not _is_loopback(own[0]):
                found += [Flow(each, pod, "UDP", own[1]) for each in _senders(pod, pods)]
    return found


def _senders(pod: Peer, pods: Sequence[Peer]) -> list[Peer]:
    senders = {"relay": {"transceiver"}, "transceiver": {"relay", "transceiver"}}.get(pod.component, set())
    return [each for each in pods if each.component in senders and each is not pod]


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


async def _sockets(cluster: Cluster, pod: Peer) -> list[tuple[str, tuple[str, int], tuple[str, int], int]]:
    return [
        (kind, (own[0], own[1]), (other[0], other[1]), state)
        for kind, own, other, state in json.loads(
            await cluster.kubectl("exec", pod.name, "--", "python", "-c", SOCKETS, patience=60)
        )
    ]


def forbidden(pods: Sequence[Peer]) -> list[Flow]:
    """What must not be possible: short cuts between parts, and from a pod that has nothing to do with them."""
    one = {each.component: each for each in pods}
    stranger = Peer("stranger", "192.0.2.1", "elsewhere", {"antiphon.io/nats-client": "true"})
    neighbour = Peer("neighbour", "192.0.2.2", pods[0].namespace if pods else "", {"app": "other"})
    outside = Peer("outside", "192.0.2.3")
    found = [
        Flow(one["bridge"], one["transceiver"], "UDP", 40000),
        Flow(one["signaling"], one["transceiver"], "TCP", 40000),
        Flow(one["bridge"], one["bridge"], "TCP", 9400),
        Flow(one["relay"], one["signaling"], "TCP", 9400),
    ]
    for each in (stranger, neighbour, outside):
        found += [
            Flow(each, one["nats"], "TCP", 4222),
            Flow(each, one["nats"], "TCP", 8222),
            Flow(each, one["transceiver"], "UDP", 40000),
            Flow(each, one["transceiver"], "TCP", 9400),
            Flow(each, one["relay"], "UDP", 40000),
            Flow(each, one["relay"], "TCP", 9400),
            Flow(each, one["bridge"], "TCP", 9400),
        ]
    return found


async def check(cluster: Cluster) -> tuple[int, list[str]]:
    """How many flows between parts were found, and what is wrong: one that the policies would refuse, or should."""
    policies = (await cluster.get("networkpolicies"))["items"]
    pods = await pods_of(cluster)
    flows = await flows_of(cluster, pods)
    complaints = [
        f"the policies refuse {each.protocol} {each.port} of {each.target.name} to {each.source.name}, which it has"
        for each in flows
        if (each.source.namespace or each.port not in (9400, 8222)) and not is_allowed(policies, each)
    ]
    complaints += [
        f"the policies allow {each.source.name} {each.protocol} {each.port} of {each.target.name}"
        for each in forbidden(pods)
        if is_allowed(policies, each)
    ]
    if not any(each.source.component and each.target.component == "nats" for each in flows):
        complaints.append("no connection to NATS was seen: sockets were not read")
    between = {(each.source.component or "outside", each.target.component, each.protocol) for each in flows}
    return len(between), complaints
