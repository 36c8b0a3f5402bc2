"""Which slots' sessions go on in another cluster: from signed announcements to the table that the workers rewrite by.

A lost cluster's sessions never come back to the transceiver that had them (another process there has another epoch),
so a move is kept for an hour after its last announcement, and for longer while NATS is away. What was signed stays
readable for anybody who once received it: to another place of one slot only a later move counts than the latest one
seen, also after that has expired, so that a replayed one moves nothing back. An earlier move to the same place renews
the one that counts: the calls that were adopted last may end first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import SlotMoved
from antiphon.schemas.slot_moves import ClusterKeys, Identity, SlotMove

log = logging.getLogger(__name__)

MOVE_SECONDS: Final = 3600.0
MAX_MOVES: Final = 4096
"""Expired ones included, of which the one that was announced longest ago makes room; running ones do not."""
MAX_CHECKS_PER_SECOND: Final = 1000
"""Signatures verified: 0.12 ms each on a two-core x86-64 VM, `python -m timeit` of `ClusterKeys.verify`."""
MAX_WARNINGS: Final = 100


@dataclass(slots=True)
class _Move:
    new: Identity
    made_at: int
    renewed: float
    announced_as: tuple[int, str] = (0, "")
    """Made at and signature of the announcement that came last; no signature for one that was restored."""
    expired: bool = False


class SlotMoveTable:
    """Slot moves by the lost transceiver's identity, at most `MAX_MOVES`; when full, further ones are refused.

    Belongs to the control process's `BackboneClient`, which alone calls it, on its event loop.
    """

    def __init__(self, keys: ClusterKeys) -> None:
        self._keys = keys
        self._moves: dict[Identity, _Move] = {}
        self._checks = 0
        self._checks_since = float("-inf")
        self._bus_away_until = float("-inf")
        self._warned: set[str] = set()

    def update(self, message: SlotMoved, now: float) -> bool:
        """Take in an announcement; True if it changes the table."""
        move, signature = message.move, message.signature
        if move.old == move.new:
            return False
        known = self._moves.get(move.old)
        if known is not None:
            if move.new != known.new and move.made_at <= known.made_at:
                return False
            if move.new == known.new and (move.made_at, signature) == known.announced_as:
                return self._renew(known, now)
        if not self._verified(move, signature, now):
            return False
        if known is not None:
            changed = known.new != move.new
            known.new, known.made_at = move.new, max(known.made_at, move.made_at)
            known.announced_as = move.made_at, signature
            return self._renew(known, now) or changed
        if not self._has_room():
            self._warn_once(f"more than {MAX_MOVES} slots have moved: the others' callers are not sent on")
            return False
        self._moves[move.old] = _Move(move.new, move.made_at, now, (move.made_at, signature))
        return True

    @staticmethod
    def _renew(known: _Move, now: float) -> bool:
        was_expired, known.expired, known.renewed = known.expired, False, now
        return was_expired

    def _verified(self, move: SlotMove, signature: str, now: float) -> bool:
        if now - self._checks_since >= 1:
            self._checks, self._checks_since = 0, now
        if self._checks >= MAX_CHECKS_PER_SECOND:
            self._warn_once(f"more than {MAX_CHECKS_PER_SECOND} moves of slots came in a second: some are ignored")
            return False
        self._checks += 1
        try:
            self._keys.verify(move, signature)
        except MalformedError as error:
            self._warn_once(f"{error}: ignored (ANTIPHON_CLUSTER_KEYS)")
            return False
        return True

    def _has_room(self) -> bool:
        if len(self._moves) < MAX_MOVES:
            return True
        expired = [(move.renewed, old) for old, move in self._moves.items() if move.expired]
        if expired:
            del self._moves[min(expired)[1]]
        return bool(expired)

    def expire(self, now: float, bus_alive: bool) -> bool:
        """Let go what was not repeated; True if this changes the table."""
        if not bus_alive:
            self._bus_away_until = now
            return False
        deadline = now - MOVE_SECONDS
        if self._bus_away_until > deadline:
            return False
        changed = False
        for move in self._moves.values():
            if move.renewed <= deadline and not move.expired:
                move.expired = changed = True
        return changed

    def restore(self, moves: Iterable[SlotMove], now: float) -> None:
        """Begin with what was known when this relay last ran: it was verified then."""
        for move in moves:
            self._moves[move.old] = _Move(move.new, move.made_at, now)

    def moves(self) -> list[SlotMove]:
        """What the workers rewrite by."""
        return [SlotMove(old, move.new, move.made_at) for old, move in self._moves.items() if not move.expired]

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(text)
            log.warning("%s", text)
