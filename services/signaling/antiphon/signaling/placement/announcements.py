"""The newest announcement of each author, until it expires. Pure: given announcements and `now`.

Bounded: `MAX_ENTRIES`. Authors of other regions, however many there are, leave `RESERVED` places free, and one of them
goes when an author of the own region finds no place. So what other regions announce displaces nothing of our own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement

MAX_ENTRIES: Final = 65536
"""Authors of each kind, over all regions. 16 clusters that use every slot number of theirs."""
RESERVED: Final = 8192
"""Of these for the own region alone."""
_SWEEP_SECONDS: Final = 1.0
"""Between two looks for expired ones while there is no place: a look goes through all of them."""

K = TypeVar("K", bound=Hashable)
A = TypeVar("A", TransceiverAnnouncement, RelayAnnouncement)


class Announcements(Generic[K, A]):
    """Of one kind of author. Owned by a `Directory`, as long as that one."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[A, float]] = {}
        self._others: dict[K, None] = {}
        """Those of other regions, in the order in which they came."""
        self._next_sweep = 0.0

    def learn(self, key: K, announcement: A, own: bool, now: float, ttl: float = ANNOUNCE_TTL) -> bool:
        """Take it for `ttl` seconds; a shorter time to live does not shorten that of an earlier one.

        `own`: it is of our region. False: there is no place for a new author.
        """
        if key not in self._entries and not self._makes_room(own, now):
            return False
        until = self._entries[key][1] if key in self._entries else 0.0
        self._entries[key] = (announcement, max(until, now + ttl))
        if own:
            self._others.pop(key, None)
        else:
            self._others[key] = None
        return True

    def _has_room(self, own: bool) -> bool:
        return len(self._entries) < MAX_ENTRIES and (own or len(self._others) < MAX_ENTRIES - RESERVED)

    def _makes_room(self, own: bool, now: float) -> bool:
        if self._has_room(own):
            return True
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_SECONDS
            for key in [key for key, (_, until) in self._entries.items() if until <= now]:
                self.forget(key)
        if own and self._others and not self._has_room(own):
            self.forget(next(iter(self._others)))
        return self._has_room(own)

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
        self._others.pop(key, None)

    def live(self, now: float) -> list[A]:
        """All announcements that have not expired."""
        return [announcement for announcement, until in self._entries.values() if until > now]

    def live_of(self, keys: Iterable[K], now: float) -> list[A]:
        """Those of these authors."""
        found = (self._entries.get(key) for key in keys)
        return [entry[0] for entry in found if entry is not None and entry[1] > now]
