"""Which transceiver goes on with a slot's sessions: a lookup that follows several moves and never circles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Identity = tuple[int, int, int]
"""(cluster, slot, epoch) of a transceiver's incarnation."""

MAX_MOVES: Final = 4096
"""As many as there are slots in a table of routes; further ones are left out."""
MAX_CHAIN: Final = 8
"""Moves that one identity may have made. Each is the loss of a whole cluster."""


class SlotMoveTable:
    """The moves that count: old identity -> new one. Belongs to a worker's `RelayCore`, which alone calls it.

    The control process has verified each and kept the newest of an identity.
    """

    def __init__(self) -> None:
        self._next: dict[Identity, Identity] = {}

    def set(self, moves: Iterable[tuple[Identity, Identity]]) -> None:
        """These moves count, and no others."""
        table: dict[Identity, Identity] = {}
        for old, new in moves:
            if len(table) >= MAX_MOVES:
                break
            table[old] = new
        self._next = table

    def resolve(self, identity: Identity) -> Identity:
        """Where this identity's sessions are; itself if it has not moved, or if the moves lead in a circle."""
        at = identity
        for _ in range(MAX_CHAIN):
            after = self._next.get(at)
            if after is None:
                return at
            at = after
        return identity if at in self._next else at

    def moved(self) -> list[Identity]:
        """The identities whose sessions are elsewhere now."""
        return [old for old in self._next if self.resolve(old) != old]
