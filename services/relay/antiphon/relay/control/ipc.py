"""Messages between the control process and a forwarding worker: JSON lines over a socket pair.

Both ends are the same release of the same service, so this is no schema. The control process sends `Start` once, then
`Routes`, `Backbone` and `Moves` whenever such a table changes (the whole table, swapped in one step), `Keys` and
`TagKeys` when they were rotated, `Ingress` when the relay's number was claimed after the worker's start, `Found`,
`Hello` and `Ask`; the worker sends `Ready`, `Statistics`, `Find` and `RoundTrips`. `Busy` of one worker goes to all
others. Keys travel here, not in arguments that other users can list.

Sockets come by another pair as descriptors. The first message on it holds the tunnel socket and, behind it, the
worker's backbone socket if the relay has a backbone. Public sockets follow: they may be bound long after a worker's
start, when it takes over from a worker of an older process.

Named tuples, because a worker is up sooner without `dataclasses`.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

MAX_LINE: Final = 1 << 20
"""Bytes of one line; the largest is a table of 4096 routes, 300 kB."""
SOCKETS: Final = b"public sockets"
"""The message that descriptors come with on the second pair."""
MAX_SOCKETS: Final = 2


class Start(NamedTuple):
    """The first message: a worker's settings."""

    route_keys: str
    max_flows: int
    path: str
    """`auto`, `batched` or `portable`."""
    new_flows_per_network: float = 0
    """Per second; 0 is no limit."""
    learning: bool = True
    packets_per_second: float = 0
    """Of one caller; 0 is no limit."""
    packets_burst: int = 0
    ingress: int = 0
    """Ingress number of this relay; 0: none, or none yet (`Ingress` follows)."""
    cluster: int | None = None
    """The relay's own cluster; None: that of each transceiver in `Routes`."""
    worker: int = 0
    """The worker's place in the relay's announced `backbone_addresses`."""
    backbone_keys: str = ""
    """As `BackboneKeys.from_text` reads them; empty: no tags."""


class Routes(NamedTuple):
    """The announced transceivers: [cluster, slot, epoch, address] each."""

    table: list[tuple[int, int, int, str]]

    def by_identity(self) -> dict[tuple[int, int, int], str]:
        return {(cluster, slot, epoch): address for cluster, slot, epoch, address in self.table}


class Backbone(NamedTuple):
    """The announced relays that have a backbone: [cluster or None, name, ingress, state, addresses] each.

    `ingress` is 0 for a relay without a number, `state` that of its announcement. The addresses are in the order of the
    relay's workers. This relay's own entry may be among them.
    """

    relays: list[tuple[int | None, str, int, str, list[str]]]


class Moves(NamedTuple):
    """The slot moves that count: [old identity, new identity] each, identities as [cluster, slot, epoch]."""

    moves: list[tuple[tuple[int, int, int], tuple[int, int, int]]]


class Ingress(NamedTuple):
    """The relay's ingress number is this from now on; 0: it has none any more."""

    number: int


class Keys(NamedTuple):
    """These route keys are live from now on."""

    route_keys: str


class TagKeys(NamedTuple):
    """These backbone keys are live from now on, as `Start.backbone_keys`."""

    backbone_keys: str


class Hello(NamedTuple):
    """Ask all transceivers for their clients again: flows may come here from another process."""


class Ask(NamedTuple):
    """Asks for `Statistics`."""


class Ready(NamedTuple):
    """The worker forwards from now on, by this loop."""

    path: str
    reason: str
    """Why not the batched one, or empty."""
    at: float
    """By `time.monotonic`, which all processes of a machine share."""


class Find(NamedTuple):
    """Asks for the owner of this client, whose packets wait meanwhile."""

    client: int


class Found(NamedTuple):
    """The owner of a client that was looked up over NATS."""

    client: int
    cluster: int
    slot: int
    epoch: int


class Statistics(NamedTuple):
    """A worker's counters since its start, as `Counters.values` gives them."""

    values: dict[str, Any]


class Busy(NamedTuple):
    """What callers that send much have sent through one worker: [token, half-open, packets] each."""

    spent: list[tuple[list[int], bool, int]]


class RoundTrips(NamedTuple):
    """What a worker's hellos have measured; once a second at most."""

    by_cluster: dict[int, float]
    """Cluster -> round trip to its nearest relay in milliseconds: smoothed, of those that answer."""
    out: list[str]
    """Names of the relays of which no address answers this worker."""


_TYPES: Final = (
    *(Start, Routes, Backbone, Moves, Ingress, Keys, TagKeys, Hello, Ask, Ready, Find, Found, Statistics, Busy),
    RoundTrips,
)
_MESSAGES: Final[dict[str, type[Any]]] = {message.__name__: message for message in _TYPES}
IpcMessage = (
    Start
    | Routes
    | Backbone
    | Moves
    | Ingress
    | Keys
    | TagKeys
    | Hello
    | Ask
    | Ready
    | Find
    | Found
    | Statistics
    | Busy
    | RoundTrips
)


def pack(message: IpcMessage) -> bytes:
    """One line."""
    return json.dumps([type(message).__name__, *message], separators=(",", ":")).encode() + b"\n"


def unpack(line: bytes) -> IpcMessage:
    """The message that a line holds."""
    name, *fields = json.loads(line)
    message: IpcMessage = _MESSAGES[name](*fields)
    if isinstance(message, RoundTrips):  # JSON has no numbers as names
        return message._replace(by_cluster={int(cluster): ms for cluster, ms in message.by_cluster.items()})
    return message
