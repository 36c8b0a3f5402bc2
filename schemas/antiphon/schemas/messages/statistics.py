"""Counters of a relay, its answer on `relay_stats`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from antiphon.schemas.messages.message import Message


class RelayStatistics(Message):
    """A relay's counters since its start, without any client's address."""

    name: str
    """As in its announcement."""
    path: Literal["batched", "portable", "none"]
    """The packet loop that runs; none while there is no worker."""
    workers: int = 0
    """Forwarding processes that answered; all counters below are their sum, except `routes` and `lateness_ms`."""
    packets_to_transceivers: int = 0
    """Datagrams of clients that were passed on."""
    bytes_to_transceivers: int = 0
    """Octets of the clients' datagrams, the tunnel header not counted; likewise below."""
    packets_to_clients: int = 0
    """Datagrams of transceivers that were passed on."""
    bytes_to_clients: int = 0
    """Octets of these datagrams."""
    packets_to_relays: int = 0
    """Datagrams that were passed on to another relay over the backbone, either way."""
    bytes_to_relays: int = 0
    """Octets of these datagrams."""
    hellos_sent: int = 0
    """`HELLO` packets to transceivers, which answer with their clients."""
    flows_confirmed: int = 0
    """Clients at this moment whose transceiver has answered."""
    flows_half_open: int = 0
    """Clients at this moment whose transceiver has not answered yet."""
    flows_found: int = 0
    """Flows whose owner was found over NATS."""
    routes: int = 0
    """Transceivers that it forwards to: the smallest number of its workers."""
    lateness_ms: float = 0.0
    """The most by which a packet loop missed its tick since the counters were last read, ms."""
    drops: dict[str, int] = Field(default_factory=dict)
    """Packets that were dropped, by reason."""
    batches: dict[str, int] = Field(default_factory=dict)
    """How often so many datagrams were read at once; the keys are upper bounds: 1, 2, 4 ... 128."""
    relays: int = 0
    """Processes of other clusters' relays that are announced with a backbone."""
    relays_out: list[str] = Field(default_factory=list, max_length=1024)
    """Names of those that do not answer the hellos of a worker."""
    round_trips: dict[str, float] = Field(default_factory=dict, max_length=256)
    """Cluster number -> milliseconds to the nearest of its relays that answers."""
    moves: int = 0
    """Slots whose sessions go on in another cluster."""
    ingress: int = 0
    """Its number in backbone headers; 0: it sends nothing to other clusters."""
