"""What the control process and a forwarding worker say to each other: JSON lines over a socket pair.

Both ends are the same release of the same service, so this is no schema. The control process speaks
`start` once, then `routes` whenever the table changes (always the whole of it: swapped in one step), and
`ask`; the worker answers `ready` and `statistics`. Keys travel here, not in arguments that others can list.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from antiphon.relay.core import Identity

MAX_LINE: Final = 1 << 20
"""Bytes of one line; the largest is a table of 4096 routes, 300 kB."""


@dataclass(frozen=True, slots=True)
class Start:
    """First of all: what the worker needs to know."""

    route_keys: str
    max_flows: int
    path: str
    """`auto`, `batched` or `portable`."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The announced transceivers: [cluster, slot, epoch, address] each."""

    table: list[tuple[int, int, int, str]]

    def by_identity(self) -> dict[Identity, str]:
        return {(cluster, slot, epoch): address for cluster, slot, epoch, address in self.table}


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks for `Statistics`."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker forwards from now on, by this loop."""

    path: str
    reason: str
    """Why not the batched one, or empty."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A worker's counters since its start."""

    packets_to_transceivers: int
    bytes_to_transceivers: int
    packets_to_clients: int
    bytes_to_clients: int
    hellos_sent: int
    flows_confirmed: int
    flows_half_open: int
    routes: int
    drops: dict[str, int] = field(default_factory=dict)


Word = Start | Routes | Ask | Ready | Statistics
_WORDS: Final[dict[str, type[Any]]] = {
    "start": Start,
    "routes": Routes,
    "ask": Ask,
    "ready": Ready,
    "statistics": Statistics,
}
_NAMES: Final = {word: name for name, word in _WORDS.items()}


def pack(word: Word) -> bytes:
    """One line."""
    return json.dumps([_NAMES[type(word)], asdict(word)], separators=(",", ":")).encode() + b"\n"


def unpack(line: bytes) -> Word:
    """The word that a line holds."""
    name, fields = json.loads(line)
    word: Word = _WORDS[name](**fields)
    return word
