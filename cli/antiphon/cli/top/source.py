"""Where `antiphon top` has its figures from, and what it can do to calls and processes."""

from __future__ import annotations

from typing import Final, Protocol

from antiphon.cli.top.model import Snapshot

MAX_CALLS: Final = 5000
"""Calls that are fetched; the table says how many there are beyond."""


class SourceError(Exception):
    """The source can't answer now; the text says why, for people. It may answer the next time."""


class DeniedError(SourceError):
    """The source will not answer this user; the text says what is missing."""


class Source(Protocol):
    """A way to the stack. Owned by the command, used on its event loop. All methods raise `SourceError`."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    async def snapshot(self) -> Snapshot:
        """What runs now."""
        ...

    async def hang_up(self, session_id: str) -> str:
        """End the call; says what has become of it."""
        ...

    async def drain(self, service: str, instance: str) -> str:
        """Have the process hand its calls over and end; says what it answered."""
        ...
