"""What a session says and to whom, and the one end it says nothing of: the words between `session` and its shell."""

from __future__ import annotations

from typing import Final, Protocol

from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice.agent import Path

MOVED: Final = "moved"
"""It goes on in another process: ended here without a word."""


class Output(Protocol):
    """Where a session's output goes. None of these may block."""

    def datagram(self, path: Path, data: bytes) -> None: ...
    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...
    def milestone(self, name: str, now: float) -> None:
        """For the trace: ice, dtls, first_audio_in, first_audio_out."""
