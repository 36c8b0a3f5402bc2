"""The table of the other transceiver processes of the cluster, by what they announce. Pure: takes `now`."""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

from antiphon.runtime.cluster_networks import ClusterNetworks
from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas import MalformedError, messages
from antiphon.schemas.addresses import Address, parse_address
from antiphon.transceiver.net.endpoint import TransceiverIdentity

WATCHED: Final = 2
"""Processes that each one watches: the next in the order of their ids, so that each is watched by two."""
MAX_ELSEWHERE: Final = 16
"""Processes that each one watches besides, because it is the last one before them on another machine."""
MAX_KNOWN: Final = 4096
"""Endpoints; announcements of further ones are ignored until some expire."""


class Known(NamedTuple):
    """What a process announced last of one of its endpoints."""

    announcement: messages.TransceiverAnnouncement
    received_at: float


class Watched(NamedTuple):
    """A process that we watch."""

    address: str
    """Of its failure detector."""
    beats: bool
    """It sends beats."""
    node: str


class Peers:
    """Which endpoints other processes have.

    Owner: the process, for its whole life. Event loop only. `PeerMonitor` fills it and removes what is gone; takeover,
    handover and forwarding read it. Empty without failover.
    """

    def __init__(self, process_id: str, cluster: int, networks: ClusterNetworks | None = None, node: str = "") -> None:
        """`networks`: processes whose addresses are elsewhere are none of this cluster; None: everywhere. `node`: the
        machine that we run on; empty: unknown."""
        self._node = node
        self._networks = networks
        self._process_id = process_id
        self._cluster = cluster
        self._known: dict[TransceiverIdentity, Known] = {}

    def announced(self, announcement: messages.TransceiverAnnouncement, now: float) -> bool:
        """Take note of an announcement; False if it is not one of another process of our cluster."""
        ours = announcement.holder in ("", self._process_id)
        if announcement.cluster != self._cluster or announcement.lifeline is None or ours:
            return False
        for address in (announcement.tunnel_address, announcement.lifeline):
            if self._networks is not None and not self._is_inside(self._networks, address, announcement):
                return False
        identity = TransceiverIdentity(announcement.cluster, announcement.slot, announcement.epoch)
        if identity in self._known or len(self._known) < MAX_KNOWN:
            self._known[identity] = Known(announcement, now)
        return True

    @staticmethod
    def _is_inside(networks: ClusterNetworks, address: str, announcement: messages.TransceiverAnnouncement) -> bool:
        try:
            host = parse_address(address).host
        except MalformedError:
            return False
        return networks.admits(host, f"transceiver {announcement.cluster}.{announcement.slot}")

    def expire(self, now: float, bus_answers: bool) -> list[messages.TransceiverAnnouncement]:
        """Remove endpoints that have fallen silent; returns their last announcements.

        While NATS delivers nothing (`bus_answers` is False), no peer is late: their time starts anew.
        """
        if not bus_answers:
            self._known = {identity: known._replace(received_at=now) for identity, known in self._known.items()}
            return []
        silent = [identity for identity, known in self._known.items() if now - known.received_at > ANNOUNCE_TTL]
        return [self._known.pop(identity).announcement for identity in silent]

    def remove_process(self, process_id: str) -> list[TransceiverIdentity]:
        """The process has died; returns the endpoints that it had."""
        gone = [identity for identity, known in self._known.items() if known.announcement.holder == process_id]
        for identity in gone:
            del self._known[identity]
        return gone

    def to_watch(self) -> dict[str, Watched]:
        """The processes that we are to watch, by their ids: the next ones, and those for which we are the last one
        before them on another machine. So each is watched by two, and one of them outlives its machine."""
        processes = {
            each.holder: Watched(each.lifeline or "", each.lifeline_beats, each.node)
            for each, _ in self._known.values()
        }
        following = sorted(processes, key=lambda process_id: (process_id < self._process_id, process_id))
        elsewhere: list[str] = []
        if following and processes[following[0]].node != self._node:
            same_node = itertools.takewhile(
                lambda each: processes[each].node == processes[following[0]].node, following
            )
            elsewhere = list(itertools.islice(same_node, MAX_ELSEWHERE))
        return {process_id: processes[process_id] for process_id in dict.fromkeys((*following[:WATCHED], *elsewhere))}

    def identities(self) -> set[TransceiverIdentity]:
        """The endpoints that were announced lately."""
        return set(self._known)

    def ready(self) -> list[messages.TransceiverAnnouncement]:
        """The announcements of the peers that take calls, the least loaded first."""
        ready = [known.announcement for known in self._known.values() if known.announcement.state == "ready"]
        return sorted(ready, key=lambda each: each.sessions / max(1, each.capacity))

    def address_of(self, identity: TransceiverIdentity) -> Address | None:
        """Where the endpoint is reached, whichever process has it."""
        known = self._known.get(identity)
        return parse_address(known.announcement.tunnel_address) if known is not None else None

    def is_alive(self, process_id: str) -> bool:
        """Whether that process has announced anything lately; we ourselves are alive."""
        return process_id == self._process_id or any(
            known.announcement.holder == process_id for known in self._known.values()
        )

    def has_address(self, address: Address) -> bool:
        """Whether an endpoint of a peer is reached there."""
        return any(parse_address(known.announcement.tunnel_address) == address for known in self._known.values())
