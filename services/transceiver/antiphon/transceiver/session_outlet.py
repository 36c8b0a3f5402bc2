"""What a session says, to whom, and why it ends: the words between `session` and its shell."""

from __future__ import annotations

from typing import Final, Literal, Protocol

from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice_lite import Path

EndReason = Literal[
    "hang_up",
    "client_closed",
    "client_vanished",
    "agent_lost",
    "setup_timeout",
    "dtls_failed",
    "draining",
    "internal",
]
MOVED: Final = "moved"
"""It goes on in another process: ended here without a word."""


class Outlet(Protocol):
    """Where a session's output goes. None of these may block."""

    def datagram(self, path: Path, data: bytes) -> None: ...
    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...
    def milestone(self, name: str, now: float) -> None:
        """For the trace: ice, dtls, first_audio_in, first_audio_out."""
