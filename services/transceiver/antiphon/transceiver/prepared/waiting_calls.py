"""The prepared calls of a process whose clients may come: by the ufrag of their checks. Pure.

What a session is made from is in the bucket. Here is only what tells a check of a prepared call from any other, so that
no check costs a request to NATS unless its client was given that answer.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Final, NamedTuple

MAX_WAITING: Final = 20_000
"""Of a process: some 8 MB. Above it offers are not prepared, and callers place ordinary calls."""
MAX_PER_CALLER: Final = MAX_WAITING // 2


class Waiting(NamedTuple):
    """A prepared call. A value."""

    session_id: str
    key: str
    """In the bucket."""
    revision: int
    """Of the entry there: another one is another call's."""
    caller: str
    """As in `OpenRequest.caller`."""
    until: float
    """When it is too old."""


class WaitingCalls:
    """Owner: the process, for its whole life. Event loop only. Policy when full: no further one is taken."""

    def __init__(self) -> None:
        self._calls: dict[str, Waiting] = {}
        """By ufrag, in the order of their ends: all are kept for the same time."""
        self._ufrags: dict[str, str] = {}
        """By key."""
        self._callers: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def refusal(self, caller: str, now: float) -> str:
        """Why this caller gets no further one; empty: it gets one."""
        self._expire(now)
        if len(self._calls) >= MAX_WAITING:
            return f"{MAX_WAITING} prepared calls wait on this transceiver already"
        if caller and self._callers[caller] >= MAX_PER_CALLER:
            return f"this caller has {MAX_PER_CALLER} prepared calls on this transceiver already"
        return ""

    def add(self, ufrag: str, waiting: Waiting, now: float) -> None:
        """One more. It takes the place of another one under the same key."""
        self._expire(now)
        if (former := self._ufrags.get(waiting.key)) is not None:
            self.remove(former)
        self._calls[ufrag] = waiting._replace(caller=sys.intern(waiting.caller))
        self._ufrags[waiting.key] = ufrag
        if waiting.caller:
            self._callers[waiting.caller] += 1

    def find(self, ufrag: str, now: float) -> Waiting | None:
        """The one that a check with this ufrag is for."""
        waiting = self._calls.get(ufrag)
        return waiting if waiting is not None and now < waiting.until else None

    def ufrag_of(self, key: str, session_id: str) -> str | None:
        """Of the call under this key, if it is this call."""
        ufrag = self._ufrags.get(key)
        return ufrag if ufrag is not None and self._calls[ufrag].session_id == session_id else None

    def remove(self, ufrag: str) -> None:
        """It was used, or shall not be."""
        waiting = self._calls.pop(ufrag, None)
        if waiting is None:
            return
        if self._ufrags.get(waiting.key) == ufrag:
            del self._ufrags[waiting.key]
        if waiting.caller:
            self._callers[waiting.caller] -= 1
            if self._callers[waiting.caller] <= 0:
                del self._callers[waiting.caller]

    def _expire(self, now: float) -> None:
        while self._calls:
            oldest = next(iter(self._calls))
            if now < self._calls[oldest].until:
                return
            self.remove(oldest)
