"""A register of copy leases, as a bucket on one server of the hub has it: reads, swaps, and the loss of its disk."""

from __future__ import annotations

from antiphon.schemas.messages import LeaseRegister
from antiphon.transceiver.copies.quorum_lease import Known, Request


class Register:
    """One bucket on one hub server."""

    def __init__(self, token: str) -> None:
        self.token, self.revision, self.entry = token, 0, LeaseRegister(registers=1)
        self.holds = False
        self.is_down = False

    def read(self) -> Known:
        return Known(self.token, self.revision, self.entry) if self.holds else Known(self.token, 0, None)

    def write(self, request: Request) -> int | None:
        present = self.revision if self.holds else 0
        if request.token != self.token or request.revision != present:
            return None
        assert request.entry is not None
        self.revision, self.entry, self.holds = self.revision + 1, request.entry, True
        return self.revision

    def is_lost(self, token: str) -> None:
        """Its server comes back without its disk; revisions begin anew."""
        self.token, self.revision, self.holds = token, 0, False
