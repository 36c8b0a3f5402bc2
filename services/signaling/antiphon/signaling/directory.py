"""Who is there: the announcements of transceivers and relays, and in which order they are asked.

Sans-IO: fed with announcements and `now`, asked for placements and addresses.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.bus import ANNOUNCE_TTL
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement

MAX_ENTRIES: Final = 4096
"""Of each kind. When full, a newcomer is not taken up until somebody's announcement has run out."""
STORED_TTL: Final = 2.0
"""Seconds for which an announcement read from a bucket counts: its author says it again each second, and
whoever does not may have died up to `ANNOUNCE_TTL` ago."""
MAX_CANDIDATES: Final = 3
"""Relay addresses in one answer: a spare or two. A client checks each of them at the start of its call."""

K = TypeVar("K", bound=Hashable)
A = TypeVar("A", TransceiverAnnouncement, RelayAnnouncement)


class Announcements(Generic[K, A]):
    """The newest announcement of each author, until it runs out."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[A, float]] = {}

    def learn(self, key: K, announcement: A, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        if key not in self._entries and len(self._entries) >= MAX_ENTRIES:
            self._entries = {k: entry for k, entry in self._entries.items() if entry[1] > now}
            if len(self._entries) >= MAX_ENTRIES:
                return
        until = self._entries[key][1] if key in self._entries else 0.0
        self._entries[key] = (announcement, max(until, now + ttl))

    def get(self, key: K, now: float) -> A | None:
        announcement, until = self._entries.get(key, (None, 0.0))
        return announcement if until > now else None

    def replace(self, key: K, announcement: A) -> None:
        """Another content, the same time to live."""
        if key in self._entries:
            self._entries[key] = (announcement, self._entries[key][1])

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)

    def live(self, now: float) -> list[A]:
        return [announcement for announcement, until in self._entries.values() if until > now]


class Directory:
    """All that signaling knows about the media plane."""

    def __init__(self, cluster: int) -> None:
        self._cluster = cluster
        self._transceivers: Announcements[tuple[int, int], TransceiverAnnouncement] = Announcements()
        self._relays: Announcements[str, RelayAnnouncement] = Announcements()
        self._turn = 0

    def learn_transceiver(self, said: TransceiverAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take up an announcement; one of an earlier holder of the slot is ignored."""
        known = self._transceivers.get((said.cluster, said.slot), now)
        # Epochs count up and wrap at 16 bits: the one less than half the circle ahead is the newer.
        if known is None or (said.epoch - known.epoch) % (1 << 16) < 1 << 15:
            self._transceivers.learn((said.cluster, said.slot), said, now, ttl)

    def learn_relay(self, said: RelayAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        self._relays.learn(said.name, said, now, ttl)

    def forget(self, transceiver: TransceiverAnnouncement) -> None:
        """It did not answer: it is out until it announces itself again."""
        self._transceivers.forget((transceiver.cluster, transceiver.slot))

    def took_a_call(self, transceiver: TransceiverAnnouncement, now: float) -> None:
        """Count a call that its next announcement will hold, so that a burst does not all go to one."""
        key = (transceiver.cluster, transceiver.slot)
        known = self._transceivers.get(key, now)
        if known is not None:
            self._transceivers.replace(key, known.model_copy(update={"sessions": known.sessions + 1}))

    def transceivers(self, now: float) -> list[TransceiverAnnouncement]:
        """Those with room, in the order in which to ask them: own cluster, then load, then lateness.

        Equals take turns.
        """
        ready = [t for t in self._transceivers.live(now) if t.state == "ready" and t.sessions < t.capacity]
        if ready:
            self._turn += 1
            start = self._turn % len(ready)
            ready = ready[start:] + ready[:start]
        return sorted(ready, key=lambda t: (t.cluster != self._cluster, t.sessions / t.capacity, t.lateness_ms))

    def relays(self, now: float) -> list[RelayAnnouncement]:
        return [relay for relay in self._relays.live(now) if relay.state == "ready"]

    def relay_addresses(self, now: float) -> list[Address]:
        """Distinct public addresses for an answer, at most `MAX_CANDIDATES`; relays take turns in front.

        Every relay's first address comes before anybody's second, so that two relays are two ways in.
        """
        ready = self.relays(now)
        start = self._turn % len(ready) if ready else 0
        texts = [relay.public_addresses for relay in ready[start:] + ready[:start]]
        rounds = range(max(map(len, texts), default=0))
        ordered = dict.fromkeys(addresses[n] for n in rounds for addresses in texts if n < len(addresses))
        return [parse_address(text) for text in ordered][:MAX_CANDIDATES]
