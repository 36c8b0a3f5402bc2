"""Who listens to which call of this process: sessions of their own, which get both voices of the call and no agent.

A listener changes nothing in the call: it taps what this process decodes and plays anyway, publishes nothing, and has
no checkpoint. It ends with its call, and when the call moves to another process: its client may then listen anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.media.call_mixer import RATE, SAMPLES, CallMixer
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.session.output import MOVED
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.timing.pacing import SPEECH_TOLERANCE
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)

MAX_PER_CALL: Final = 8
MAX_PER_PROCESS: Final = 32
"""Further listeners are refused. A mix costs up to 0.17 ms a frame (docs/signaling.whep.md), a listener an encoder."""
CALL_ENDED: Final = "call_ended"
CALL_MOVED: Final = "call_moved"
"""The causes of a listener's hang-up: its call is over, or goes on in another process, where its client may listen."""


class Listeners:
    """Owner: the process, for its whole life. Event loop only. A `SessionListener`."""

    def __init__(self, demux: Demux, scheduler: Scheduler) -> None:
        self._demux = demux
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._calls: dict[str, _ListenedCall] = {}
        self._listens_to: dict[str, str] = {}
        """Of each listener: its call."""

    def refusal(self, call_id: str, asker: str) -> messages.Refused | None:
        """Why no further listener of this call is taken, if so. `asker`: as `messages.may_manage` takes it."""
        call = self._demux.get(call_id)
        if (
            call is None
            or call.ended is not None
            or call.state.listens_to
            or not messages.may_manage(asker, call.state.creator)
        ):
            return messages.Refused(code="no_session", message=f"session {call_id} is over")
        if call_id in self._calls and len(self._calls[call_id].listeners) >= MAX_PER_CALL:
            return messages.Refused(code="full", message=f"{MAX_PER_CALL} listen to session {call_id} already")
        if len(self._listens_to) >= MAX_PER_PROCESS:
            return messages.Refused(code="full", message=f"{MAX_PER_PROCESS} listen to calls of this transceiver")
        return None

    def add(self, listener: Session, asker: str) -> None:
        """This session listens from now on to the call that its state names. `asker`: for the log."""
        call_id, listener_id = listener.state.listens_to, listener.state.session_id
        call = self._demux.get(call_id)
        if call is None:
            raise LookupError(f"session {call_id} has ended")  # `refusal` was asked in this iteration of the loop
        listened = self._calls.get(call_id)
        if listened is None:
            listened = self._calls[call_id] = _ListenedCall(call)
            self._scheduler.join(listened.visit, self._loop.time(), SPEECH_TOLERANCE)
        listened.listeners[listener_id] = listener
        self._listens_to[listener_id] = call_id
        log.info("session %s: %s listens to it, for %s", call_id, listener_id, asker or "a caller without a key")

    def session_removed(self, session_id: str) -> None:
        """A listener has gone, or a call with its listeners."""
        if (call_id := self._listens_to.pop(session_id, None)) is not None:
            listened = self._calls.get(call_id)
            if listened is not None:
                listened.listeners.pop(session_id, None)
                if not listened.listeners:
                    self._stop(call_id)
            return
        if session_id in self._calls:
            cause = CALL_MOVED if self._calls[session_id].call.ended == MOVED else CALL_ENDED
            for listener in self._stop(session_id):
                listener.end("hang_up", self._loop.time(), cause)

    def _stop(self, call_id: str) -> list[Session]:
        listened = self._calls.pop(call_id)
        self._scheduler.leave(listened.visit)
        listened.call.tap(None)
        return list(listened.listeners.values())


class _ListenedCall:
    """One call with its listeners. Owner: `Listeners`, while there are any; the timing wheel visits it."""

    def __init__(self, call: Session) -> None:
        self.call = call
        self.listeners: dict[str, Session] = {}
        self._mixer = CallMixer()
        self._frames = 0
        call.tap(self._mixer)

    def visit(self, now: float) -> None:
        """Every 20 ms: mix, and give it to those that are connected."""
        pcm = self._mixer.mix()
        frame = AudioFrame(self._frames, self._frames * SAMPLES, time.time_ns(), RATE, 0, 0, pcm)
        self._frames += 1
        for listener in tuple(self.listeners.values()):
            if listener.connected:
                listener.speak(frame, now)
