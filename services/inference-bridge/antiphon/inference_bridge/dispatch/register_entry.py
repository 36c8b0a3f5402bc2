"""What the service register says of a bridge: under each of its agents its own name, and its troubles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from antiphon.runtime.nats import service_discovery

_CHAT: Final = "chat"
_FILE: Final = "file"


class RegisterEntry:
    """The metadata of this process's service for one agent; the health page and `antiphon doctor` show what it says.

    Owner: `RegisterEntries`, as long as the agent is served. Called from the event loop.
    """

    def __init__(self, metadata: dict[str, str], troubles: Mapping[str, str]) -> None:
        """`troubles`: those of the process, by what has them."""
        self.metadata = metadata
        """Changed in place: the register answers with what it holds at that moment."""
        self._troubles = dict(troubles)
        self._show()

    def tell(self, of: str, trouble: str) -> None:
        """What is wrong with `of`; empty: nothing."""
        self._troubles.pop(of, None)
        if trouble:
            self._troubles[of] = trouble
        self._show()

    def _show(self) -> None:
        self.metadata.pop(service_discovery.TROUBLE, None)
        if self._troubles:
            self.metadata[service_discovery.TROUBLE] = "; ".join(self._troubles.values())


class RegisterEntries:
    """The entries of one process: one for each agent that it serves.

    Owner: the bridge, for the life of the process. Clients of remote services tell it their troubles, on the event
    loop.
    """

    def __init__(self, agent: str, instance: str, metadata: Mapping[str, str] | None = None) -> None:
        """`agent`: of the settings, whose chat server the process asks. `metadata`: what else does not change."""
        self._agent, self._instance, self._metadata = agent, instance, dict(metadata or {})
        self._troubles: dict[str, str] = {}
        """Of the process: they concern all its agents."""
        self._of_files: Mapping[str, str] = {}
        """By agent."""
        self._entries: dict[str, RegisterEntry] = {}

    def add(self, agent: str, kind: str = "") -> RegisterEntry:
        """The entry of an agent that is served from now on. `kind`: such as `file`; empty: nothing is said of it."""
        metadata = {"agent": agent, "instance": self._instance, **self._metadata}
        if kind:
            metadata["kind"] = kind
        entry = self._entries[agent] = RegisterEntry(metadata, self._troubles)
        entry.tell(_FILE, self._of_files.get(agent, ""))
        return entry

    def remove(self, agent: str) -> None:
        """That agent is served no more."""
        self._entries.pop(agent, None)

    def chat_server(self, trouble: str | None) -> None:
        """What is wrong with the chat server; None: it answers."""
        text = f"its chat server (ANTIPHON_LLM_URL) won't answer callers: {trouble}" if trouble else ""
        if (entry := self._entries.get(self._agent)) is not None:
            entry.tell(_CHAT, text)

    def agent_files(self, troubles: Mapping[str, str]) -> None:
        """What is wrong with agents that files describe, by agent; those that are not named are well."""
        self._of_files = dict(troubles)
        for agent, entry in self._entries.items():
            entry.tell(_FILE, troubles.get(agent, ""))

    def transcription_service(self, trouble: str | None) -> None:
        """What is wrong with the transcription service; None: it answers."""
        text = f"its transcription service (ANTIPHON_STT_URL) does not transcribe: {trouble}"
        self._tell_all("transcription", text if trouble else "")

    def speech_service(self, trouble: str | None) -> None:
        """What is wrong with the speech service; None: it speaks."""
        text = f"its speech service (ANTIPHON_TTS_URL) does not speak: {trouble}"
        self._tell_all("speech", text if trouble else "")

    def _tell_all(self, of: str, trouble: str) -> None:
        self._troubles.pop(of, None)
        if trouble:
            self._troubles[of] = trouble
        for entry in self._entries.values():
            entry.tell(of, trouble)
