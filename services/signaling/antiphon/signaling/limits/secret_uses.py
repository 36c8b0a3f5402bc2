"""How often a client secret was used, as one entry of the bucket of limits says it. Pure.

An entry is the number of uses and, where one of them is a prepared call that may not have been used yet, that call.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ENTRY: Final = re.compile(rb"(\d{1,9})(?: (rtc_[A-Za-z0-9]{1,60}) (\d{1,4}) (\d{1,5}))?")
NOT_OURS: Final = 1 << 31
"""Uses in an entry that none of us wrote: nothing more is allowed."""


class PreparedUse(NamedTuple):
    """A prepared call, and the transceiver that has answered its offer."""

    session_id: str
    cluster: int
    slot: int


class SecretUses(NamedTuple):
    """What an entry says."""

    used: int = 0
    """Calls placed, `prepared` among them."""
    prepared: PreparedUse | None = None
    """The last one, while it is not known to be used."""

    def to_bytes(self) -> bytes:
        """The entry."""
        if self.prepared is None:
            return b"%d" % self.used
        return b"%d %s %d %d" % (self.used, self.prepared.session_id.encode(), *self.prepared[1:])

    @classmethod
    def from_bytes(cls, data: bytes) -> SecretUses:
        """Of an entry; one that is none of ours counts as used up."""
        found = _ENTRY.fullmatch(data)
        if found is None:
            return cls(NOT_OURS)
        used, session_id, cluster, slot = found.groups()
        prepared = None if session_id is None else PreparedUse(session_id.decode(), int(cluster), int(slot))
        return cls(int(used), prepared)

    def settled(self, was_used: bool) -> SecretUses:
        """`prepared` has been used, or never will be: then it was no use."""
        if self.prepared is None:
            return self
        return SecretUses(self.used if was_used else max(0, self.used - 1))
