"""Counters of a relay, its answer on `relay_stats`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from antiphon.schemas.messages.message import Message


class RelayStatistics(Message):
    """A relay's counters since its start, without any client's address."""

    name: str
    path: Literal["batched", "portable", "none"]
    """The packet loop that runs; none while there is no worker."""
    workers: int = 0
    """Forwarding processes that answered; everything below is their sum, except `routes`."""
    packets_to_transceivers: int = 0
    bytes_to_transceivers: int = 0
    """Octets of the clients' datagrams, the tunnel header not counted; likewise below."""
    packets_to_clients: int = 0
    bytes_to_clients: int = 0
    hellos_sent: int = 0
    flows_confirmed: int = 0
    flows_half_open: int = 0
    flows_found: int = 0
    """Flows learned by asking on the bus."""
    routes: int = 0
    """Transceivers it would forward to: the least of the workers' numbers."""
    lateness_ms: float = 0.0
    """Most by which a packet loop missed its tick since the counters were last read."""
    drops: dict[str, int] = Field(default_factory=dict)
    """Packets that went nowhere, by reason."""
    batches: dict[str, int] = Field(default_factory=dict)
    """How often so many datagrams were read at once; the keys are upper bounds: 1, 2, 4 ... 128."""
