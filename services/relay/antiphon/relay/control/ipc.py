"""What the control process and a forwarding worker say to each other: JSON lines over a socket pair.

Both ends are the same release of the same service, so this is no schema. The control process speaks
`start` once, then `routes` whenever the table changes (always the whole of it: swapped in one step), `keys` when
they were rotated, `found`, `hello` and `ask`; the worker answers `ready` and `statistics`, and asks to `find`.
Keys travel here, not in arguments that others can list. Public sockets come by another pair as descriptors: they
may be bound long after a worker's start, when it takes over from a worker of an older process.

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
    """First of all: what the worker needs to know."""

    route_keys: str
    max_flows: int
    path: str
    """`auto`, `batched` or `portable`."""
    new_flows_per_network: float = 0
    """Per second; 0 is no limit."""
    learning: bool = True


class Routes(NamedTuple):
    """The announced transceivers: [cluster, slot, epoch, address] each."""

    table: list[tuple[int, int, int, str]]

    def by_identity(self) -> dict[tuple[int, int, int], str]:
        return {(cluster, slot, epoch): address for cluster, slot, epoch, address in self.table}


class Keys(NamedTuple):
    """These route keys are live from now on."""

    route_keys: str


class Hello(NamedTuple):
    """Ask all transceivers for their clients again: flows are about to come here from another process."""


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
    """Whose client is this? Its packets are held meanwhile."""

    client: int


class Found(NamedTuple):
    """This transceiver's."""

    client: int
    cluster: int
    slot: int
    epoch: int


class Statistics(NamedTuple):
    """A worker's counters since its start, as `Counters.values` gives them."""

    values: dict[str, Any]


IpcMessage = Start | Routes | Keys | Hello | Ask | Ready | Find | Found | Statistics
_WORDS: Final[dict[str, type[Any]]] = {
    word.__name__: word for word in (Start, Routes, Keys, Hello, Ask, Ready, Find, Found, Statistics)
}


def pack(word: IpcMessage) -> bytes:
    """One line."""
    return json.dumps([type(word).__name__, *word], separators=(",", ":")).encode() + b"\n"


def unpack(line: bytes) -> IpcMessage:
    """The word that a line holds."""
    name, *fields = json.loads(line)
    word: IpcMessage = _WORDS[name](*fields)
    return word
