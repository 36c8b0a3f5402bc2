"""What the service register says of a bridge: its agent, its name among that agent's processes, and its troubles."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.runtime.nats import service_discovery


class RegisterEntry:
    """The metadata of this process's service; the health page and `antiphon doctor` show what it says.

    Owner: the bridge, for the life of the process. Clients of remote services tell it their troubles, on the event
    loop.
    """

    def __init__(self, agent: str, instance: str, metadata: Mapping[str, str] | None = None) -> None:
        """`metadata`: what else does not change."""
        self.metadata = {"agent": agent, "instance": instance, **(metadata or {})}
        """Changed in place: the register answers with what it holds at that moment."""
        self._troubles: dict[str, str] = {}

    def chat_server(self, trouble: str | None) -> None:
        """What is wrong with the chat server; None: it answers."""
        self._tell("chat", f"its chat server (ANTIPHON_LLM_URL) won't answer callers: {trouble}", trouble)

    def transcription_service(self, trouble: str | None) -> None:
        """What is wrong with the transcription service; None: it answers."""
        text = f"its transcription service (ANTIPHON_STT_URL) does not transcribe: {trouble}"
        self._tell("transcription", text, trouble)

    def speech_service(self, trouble: str | None) -> None:
        """What is wrong with the speech service; None: it speaks."""
        self._tell("speech", f"its speech service (ANTIPHON_TTS_URL) does not speak: {trouble}", trouble)

    def _tell(self, of: str, text: str, trouble: str | None) -> None:
        self._troubles.pop(of, None)
        if trouble:
            self._troubles[of] = text
        self.metadata.pop(service_discovery.TROUBLE, None)
        if self._troubles:
            self.metadata[service_discovery.TROUBLE] = "; ".join(self._troubles.values())
