"""The calls over WebSocket of this process, and what became of those that ended lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from antiphon.schemas import messages
from antiphon.signaling.websocket_calls.call import WebSocketCall

KEEP_SECONDS: Final = 120.0
"""As long as a transceiver remembers its calls."""
MAX_KEPT: Final = 1024


class CallTable:
    """A `CallTable` of `owned_calls`.

    Owner: `WebSocketCalls`, for the life of the process. Event loop only.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._calls: dict[str, WebSocketCall] = {}
        self._endings: OrderedDict[str, tuple[float, messages.CallStatus]] = OrderedDict()
        """By session id, the oldest first; above `MAX_KEPT` the oldest are forgotten."""

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[WebSocketCall]:
        return iter(tuple(self._calls.values()))

    def get(self, session_id: str) -> WebSocketCall | None:
        return self._calls.get(session_id)

    def add(self, call: WebSocketCall) -> None:
        self._calls[call.state.session_id] = call

    def remove(self, call: WebSocketCall) -> None:
        """It has ended."""
        session_id = call.state.session_id
        if self._calls.pop(session_id, None) is not None:
            self._endings[session_id] = self._clock(), _status(call)
            self._expire()

    def status(self, session_id: str) -> messages.CallStatus | None:
        """Of a running call, or of one that ended lately; None for others."""
        if (call := self._calls.get(session_id)) is not None:
            return _status(call)
        self._expire()
        kept = self._endings.get(session_id)
        return kept[1] if kept is not None else None

    def _expire(self) -> None:
        oldest = self._clock() - KEEP_SECONDS
        while self._endings and (len(self._endings) > MAX_KEPT or next(iter(self._endings.values()))[0] < oldest):
            self._endings.popitem(last=False)


def _status(call: WebSocketCall) -> messages.CallStatus:
    ended = call.ended if call.ended != "moved" else None
    return messages.CallStatus(
        session_id=call.state.session_id,
        state="running" if ended is None else "ended",
        connected=True,
        spoke=call.spoke,
        reason=ended,
        cause=call.cause,
        creator=call.state.creator,
        trace=str(call.state.call_trace.get("parent", "")),
    )
