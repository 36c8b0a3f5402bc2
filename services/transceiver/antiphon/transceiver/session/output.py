"""The calls by which a session hands its output to the process, and the one end that has no `Ended` event."""

from __future__ import annotations

from typing import Final, Protocol

from antiphon.runtime.owned_calls import owned_call
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice.agent import Path

MOVED: Final = owned_call.MOVED
"""The value of `Session.ended` when the session continues in another process: nothing was published."""


class Output(Protocol):
    """Where a session's output goes: `bus.session_output.SessionOutput`, or a test. None of these may block."""

    def datagram(self, path: Path, data: bytes) -> None: ...
    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...
    def move(self, agent: str) -> None:
        """What follows is for another agent."""

    def turn(self, told: Told) -> None:
        """A turn is known better: its first sample was sent, or it has ended."""

    def milestone(self, name: str, now: float) -> None:
        """For the trace: ice, dtls, first_audio_in, first_audio_out."""

    def first_packet(self, path: Path, now: float) -> None:
        """For the trace: the client's first packet has come, by this path."""
