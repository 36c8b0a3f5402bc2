"""Failed authentications by address: some are free, then each one blocks the address for twice as long. Sans-IO.

A block slows guesses down; it locks nobody out who shares the address, because a credential that can't be guessed is
accepted all the same (`auth.authentication`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

FIRST_BLOCK: Final = 1.0
LONGEST_BLOCK: Final = 300.0
"""Seconds."""
QUIET: Final = 900.0
"""Seconds without a failure, after the end of a block, until an address has all free failures again."""
MAX_ADDRESSES: Final = 16_384
"""Above it the addresses whose last failure is oldest are forgotten: they begin anew."""


class Failed(NamedTuple):
    """What an address has done."""

    times: int
    until: float
    """End of its block."""


class Failures:
    """The failures that this process knows, its own and those of other instances.

    Owned by `Limits`; called on the event loop.
    """

    def __init__(self, free: int, max_addresses: int = MAX_ADDRESSES) -> None:
        """`free`: failures before the first block; 0: nothing is counted."""
        self._free = free
        self._max = max_addresses
        self._failed: OrderedDict[str, Failed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failed)

    def blocked(self, address: str, now: float) -> float:
        """Seconds until the block of an address ends; 0: it is not blocked."""
        known = self._failed.get(address)
        return max(0.0, known.until - now) if known is not None else 0.0

    def note(self, address: str, now: float) -> Failed | None:
        """One more failure; what other instances should know of it, if anything. Not to be called during a block."""
        if self._free <= 0:
            return None
        known = self._failed.get(address, Failed(0, now))
        count = 1 if now > known.until + QUIET else known.times + 1
        self._keep(address, Failed(count, now + self._block(count)))
        return self._failed[address]

    def learn(self, address: str, count: int, now: float) -> None:
        """Another instance has counted so many failures, just now. Fewer than we know of tell nothing."""
        known = self._failed.get(address)
        if self._free > 0 and (known is None or count > known.times or now > known.until + QUIET):
            self._keep(address, Failed(count, now + self._block(count)))

    def _block(self, count: int) -> float:
        over = count - self._free
        return 0.0 if over <= 0 else min(LONGEST_BLOCK, FIRST_BLOCK * 2.0 ** min(over - 1, 32))

    def _keep(self, address: str, failed: Failed) -> None:
        self._failed[address] = failed
        self._failed.move_to_end(address)
        while len(self._failed) > self._max:
            self._failed.popitem(last=False)
