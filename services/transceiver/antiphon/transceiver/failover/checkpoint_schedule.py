"""Which checkpoints are due: those that a session wants now, and those whose time has come. Pure: takes `now`.

A session that was just written rests, so that a client whose messages make it want a checkpoint each time neither
fills the connection that carries the frames of all calls nor holds those frames up by computing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

COALESCE: Final = 0.010
"""Seconds from the first wish for a checkpoint to its writing: what arrives meanwhile shares it."""
POLLS: Final = 40
"""Between two checkpoints of a session that speaks: 2 s, polled every 50 ms."""
BYTES_A_SECOND: Final = 1 << 20
"""Of one session's checkpoints: after each it rests for as long as this takes, at least for `COALESCE`."""
SLOW: Final = 0.002
"""Seconds of computing. A state that takes longer to write holds up the frames of all calls (16 ms where a client
leaves out messages and we keep thousands of chunks: `make fuzz-live`). It rests for `RESTS` times as long."""
RESTS: Final = 150
MAX_REST: Final = 5.0


class CheckpointSchedule:
    """The order in which sessions are written.

    Owner: `CheckpointWriter`. Bounded by the sessions of the process: each is in it once.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, float] = {}
        """Session id -> until when it rests."""
        self._wanted: dict[str, None] = {}
        """In the order in which they are written."""
        self._wanted_after_rest: set[str] = set()

    def add(self, session_id: str) -> None:
        """Its checkpoints are written from now on."""
        self._sessions.setdefault(session_id, 0.0)

    def remove(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        self._wanted.pop(session_id, None)
        self._wanted_after_rest.discard(session_id)

    def want(self, session_id: str, now: float) -> float | None:
        """The session is to be written as soon as it may.

        Returns when it has rested, for the caller to call `rested` then; None if it is due at once, is not written at
        all, or the time was returned before.
        """
        rests_until = self._sessions.get(session_id)
        if rests_until is None:
            return None
        if rests_until <= now:
            self._wanted[session_id] = None
            return None
        if session_id in self._wanted_after_rest:
            return None
        self._wanted_after_rest.add(session_id)
        return rests_until

    def rested(self, session_id: str, now: float) -> float | None:
        """Its rest has ended: `want` it, with the same result."""
        self._wanted_after_rest.discard(session_id)
        return self.want(session_id, now)

    def poll(self, is_due: Callable[[str], bool]) -> list[str]:
        """To be called every 50 ms: the sessions that are due by their own time, a few at a time.

        Sessions that began together are due together, and written at once they would make frames late.
        """
        share = 1 + len(self._sessions) // POLLS
        found = []
        for session_id in self._sessions:
            if session_id not in self._wanted and is_due(session_id):
                found.append(session_id)
                if len(found) == share:
                    break
        return found

    @property
    def has_wanted(self) -> bool:
        return bool(self._wanted)

    def take(self, most: int) -> list[str]:
        """The next sessions to write, at most so many."""
        batch = list(self._wanted)[:most]
        for session_id in batch:
            del self._wanted[session_id]
        return batch

    def written(self, session_id: str, size: int, computed: float, now: float) -> None:
        """A checkpoint of `size` bytes took `computed` seconds to make: the session rests."""
        if session_id in self._sessions:
            rest = min(MAX_REST, RESTS * computed) if computed > SLOW else COALESCE
            self._sessions[session_id] = now + max(rest, size / BYTES_A_SECOND)
