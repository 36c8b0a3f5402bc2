"""The announcements of transceivers and relays: which ones live, and in which order signaling asks them.

Sans-IO: it is given announcements and `now`, and asked for transceivers and relay addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement

MAX_ENTRIES: Final = 4096
"""Authors of each kind. When full, a new one is ignored until another one's announcement has expired."""
STORED_TTL: Final = 2.0
"""Seconds for which an announcement read from a bucket counts. A living author repeats it each second; a dead one may
have died up to `ANNOUNCE_TTL` ago."""
RELAYS_OFFERED: Final = 2
"""Relays in one answer: the one to use and the one to move to."""
MAX_ADDRESSES: Final = 2
"""Addresses of one relay and one transport in an answer. A client checks each of them at the start of its call."""

K = TypeVar("K", bound=Hashable)
A = TypeVar("A", TransceiverAnnouncement, RelayAnnouncement)


class RelayOffer(NamedTuple):
    """How clients reach one relay."""

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...] = ()
    """ICE-TCP (RFC 6544, passive)."""


class Announcements(Generic[K, A]):
    """The newest announcement of each author, until it expires. Owned by a `Directory`, as long as that one."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[A, float]] = {}

    def learn(self, key: K, announcement: A, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take it for `ttl` seconds; a shorter time to live does not shorten that of an earlier one."""
        if key not in self._entries and len(self._entries) >= MAX_ENTRIES:
            self._entries = {k: entry for k, entry in self._entries.items() if entry[1] > now}
            if len(self._entries) >= MAX_ENTRIES:
                return
        until = self._entries[key][1] if key in self._entries else 0.0
        self._entries[key] = (announcement, max(until, now + ttl))

    def get(self, key: K, now: float) -> A | None:
        """The author's announcement; None when it has expired."""
        announcement, until = self._entries.get(key, (None, 0.0))
        return announcement if until > now else None

    def replace(self, key: K, announcement: A) -> None:
        """Another content, the same time to live."""
        if key in self._entries:
            self._entries[key] = (announcement, self._entries[key][1])

    def forget(self, key: K) -> None:
        """Drop the author's announcement, if there is one."""
        self._entries.pop(key, None)

    def live(self, now: float) -> list[A]:
        """All announcements that have not expired."""
        return [announcement for announcement, until in self._entries.values() if until > now]


class Directory:
    """All that signaling knows about the media plane. Owned by `Backend`, for the process's lifetime; no I/O."""

    def __init__(self, cluster: int, region: str = "") -> None:
        """`region`: relays of this one are offered before others; empty: all are equal."""
        self._cluster = cluster
        self._region = region
        self._transceivers: Announcements[tuple[int, int], TransceiverAnnouncement] = Announcements()
        self._relays: Announcements[str, RelayAnnouncement] = Announcements()
        self._turn = 0

    def learn_transceiver(self, announcement: TransceiverAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; one of an earlier process on the same slot is ignored."""
        known = self._transceivers.get((announcement.cluster, announcement.slot), now)
        # Epochs count up and wrap at 16 bits: the one less than half the circle ahead is the newer.
        if known is None or (announcement.epoch - known.epoch) % (1 << 16) < 1 << 15:
            self._transceivers.learn((announcement.cluster, announcement.slot), announcement, now, ttl)

    def learn_relay(self, announcement: RelayAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; the last one of a name counts."""
        self._relays.learn(announcement.name, announcement, now, ttl)

    def forget(self, transceiver: TransceiverAnnouncement) -> None:
        """Leave out a transceiver that did not answer, until its next announcement."""
        self._transceivers.forget((transceiver.cluster, transceiver.slot))

    def took_a_call(self, transceiver: TransceiverAnnouncement, now: float) -> None:
        """Count a call before its next announcement does, so that a burst does not all go to one transceiver."""
        key = (transceiver.cluster, transceiver.slot)
        known = self._transceivers.get(key, now)
        if known is not None:
            self._transceivers.replace(key, known.model_copy(update={"sessions": known.sessions + 1}))

    def transceivers(self, now: float) -> list[TransceiverAnnouncement]:
        """Transceivers with room, in the order in which to ask them: own cluster, then load, then lateness.

        Equal ones take turns.
        """
        ready = [t for t in self._transceivers.live(now) if t.state == "ready" and t.sessions < t.capacity]
        if ready:
            self._turn += 1
            start = self._turn % len(ready)
            ready = ready[start:] + ready[:start]
        return sorted(ready, key=lambda t: (t.cluster != self._cluster, t.sessions / t.capacity, t.lateness_ms))

    def relays(self, now: float) -> list[RelayAnnouncement]:
        """Relays that are announced and not draining."""
        return [relay for relay in self._relays.live(now) if relay.state == "ready"]

    def relay_offers(self, session_id: str, now: float) -> list[RelayOffer]:
        """The relays of a session's answer, best first, at most `RELAYS_OFFERED` and none twice.

        Relays of our region come first. Among equal ones the session decides (rendezvous hashing): calls spread over
        all relays, every replica gives the same order, and a relay that comes or goes changes its own calls only.
        """

        def place(relay: RelayAnnouncement) -> tuple[bool, bytes]:
            elsewhere = bool(self._region) and relay.region != self._region
            return elsewhere, hashlib.blake2b(f"{session_id} {relay.name}".encode(), digest_size=8).digest()

        offers: list[RelayOffer] = []
        taken: set[str] = set()
        for relay in sorted(self.relays(now), key=place):
            # Two relays with the same address (behind a load balancer) are one way in, not two.
            udp = [text for text in dict.fromkeys(relay.public_addresses) if text not in taken][:MAX_ADDRESSES]
            if udp:
                taken.update(relay.public_addresses)
                tcp = list(dict.fromkeys(relay.tcp_addresses))[:MAX_ADDRESSES]
                offers.append(RelayOffer(tuple(map(parse_address, udp)), tuple(map(parse_address, tcp))))
            if len(offers) == RELAYS_OFFERED:
                break
        return offers
