"""Which ingress number this relay has, and what it has to write into the hub's bucket for it. No I/O.

One number names one relay in the whole set of regions. A claim names the relay and the process that wrote it;
processes of one name share it: the one that takes over from another, and the one that comes after it. A claim that was
not renewed for a day may be taken by another relay, unless the number is still announced. A relay that can't reach the
hub keeps its number: to give it up would end its calls, and nobody else can have it meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from antiphon.schemas.messages import NumberClaim

CLAIM_SECONDS: Final = 86_400.0
"""By the clocks of the relays, which may differ by minutes."""
RENEW_SECONDS: Final = 60.0
MAX_NUMBER: Final = 65_535


class Claimed(NamedTuple):
    """A key of the bucket. A value."""

    claim: NumberClaim | None
    """None: what is there is no claim; it counts as one that never runs out."""
    revision: int


class Write(NamedTuple):
    """What to write, if the key is still as it was read."""

    number: int
    claim: NumberClaim
    revision: int
    """0: the key does not exist yet."""


class NumberTakenError(Exception):
    """There is no number for this relay; the text is for the operator."""


class IngressClaim:
    """The claim of one relay process.

    Belongs to `IngressNumber`, which alone calls it, on the event loop of the control process.
    """

    def __init__(self, relay: str, process: str, fixed: int | None, known: int) -> None:
        """`fixed`: the operator's number; `known`: the one that this relay had when it last ran, or 0."""
        self._relay = relay
        self._process = process
        self._fixed = fixed
        self.number = fixed or known
        """In use now; 0: none."""

    def holds(self, claimed: Claimed | None) -> bool:
        """Whether this is the claim of our relay."""
        return claimed is not None and claimed.claim is not None and claimed.claim.holder == self._relay

    def is_due(self, claimed: Claimed, now: float) -> bool:
        """Whether our claim has to be renewed; another process of this relay may have done it. `now`: Unix time."""
        assert claimed.claim is not None
        return not 0 <= now - claimed.claim.renewed_at < RENEW_SECONDS

    def renew(self, claimed: Claimed, now: float) -> Write:
        """What renews the claim of the number in use."""
        return self._write(self.number, claimed.revision, now)

    def choose(self, claims: Mapping[int, Claimed], announced: Collection[int], now: float) -> Write:
        """What claims a number: the operator's, else the one that is ours already, else the lowest free one.

        `claims`: all in the bucket; `announced`: numbers that other relays announce. `NumberTakenError` when there is
        none to be had: then this relay has no number.
        """
        if self._fixed is not None:
            return self._choose_fixed(claims.get(self._fixed), announced, now)
        if self.number and self.number not in claims:
            return self._write(self.number, 0, now)  # the hub has lost what it stored
        self.number = 0
        ours = [number for number, claimed in claims.items() if self.holds(claimed)]
        for number in [*sorted(ours), *range(1, MAX_NUMBER + 1)]:
            claimed = claims.get(number)
            if self.holds(claimed) or (number not in announced and not self._is_live(claimed, now)):
                return self._write(number, claimed.revision if claimed is not None else 0, now)
        raise NumberTakenError(f"all {MAX_NUMBER} ingress numbers are claimed")

    def _choose_fixed(self, claimed: Claimed | None, announced: Collection[int], now: float) -> Write:
        assert self._fixed is not None
        ran_out = claimed is not None and not self._is_live(claimed, now)
        if not self.holds(claimed) and (self._is_live(claimed, now) or (ran_out and self._fixed in announced)):
            self.number = 0
            by = f"relay {claimed.claim.holder:.64}" if claimed is not None and claimed.claim else "another relay"
            raise NumberTakenError(
                f"ANTIPHON_RELAY_INGRESS: {by} has the number {self._fixed}; choose another one, or none: then the "
                "relay claims one at the hub"
            )
        return self._write(self._fixed, claimed.revision if claimed is not None else 0, now)

    def _is_live(self, claimed: Claimed | None, now: float) -> bool:
        if claimed is None:
            return False
        return claimed.claim is None or now - claimed.claim.renewed_at < CLAIM_SECONDS

    def _write(self, number: int, revision: int, now: float) -> Write:
        return Write(number, NumberClaim(holder=self._relay, process=self._process, renewed_at=now), revision)

    def written(self, write: Write) -> bool:
        """The bucket has taken it; True if the number in use is another one now."""
        changed, self.number = write.number != self.number, write.number
        return changed
