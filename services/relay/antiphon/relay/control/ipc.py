"""Messages between the control process and a forwarding worker: JSON lines over a socket pair.

Both ends are the same release of the same service, so this is no schema. The control process sends `Start` once, then
`Routes` whenever the table changes (the whole table, swapped in one step), `Keys` when they were rotated, `Found`,
`Hello` and `Ask`; the worker sends `Ready`, `Statistics` and `Find`. `Busy` of one worker goes to all others. Keys
travel here, not in arguments that other users can list. Public sockets come by another pair as descriptors: they may be
bound long after a worker's start, when it takes over from a worker of an older process.

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


class Routes(NamedTuple):
    """The announced transceivers: [cluster, slot, epoch, address] each."""

    table: list[tuple[int, int, int, str]]

    def by_identity(self) -> dict[tuple[int, int, int], str]:
        return {(cluster, slot, epoch): address for cluster, slot, epoch, address in self.table}


class Keys(NamedTuple):
    """These route keys are live from now on."""

    route_keys: str


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


IpcMessage = Start | Routes | Keys | Hello | Ask | Ready | Find | Found | Statistics | Busy
_MESSAGES: Final[dict[str, type[Any]]] = {
    message.__name__: message for message in (Start, Routes, Keys, Hello, Ask, Ready, Find, Found, Statistics, Busy)
}


def pack(message: IpcMessage) -> bytes:
    """One line."""
    return json.dumps([type(message).__name__, *message], separators=(",", ":")).encode() + b"\n"


def unpack(line: bytes) -> IpcMessage:
    """The message that a line holds."""
    name, *fields = json.loads(line)
    message: IpcMessage = _MESSAGES[name](*fields)
    return message
