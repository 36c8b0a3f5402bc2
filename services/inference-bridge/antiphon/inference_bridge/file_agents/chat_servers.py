"""The chat servers that agents of files ask: one client and one check for all agents with the same server and key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from antiphon.inference_bridge.agents.chat_check import ChatCheck, ServerNames
from antiphon.inference_bridge.agents.chat_client import ChatClient
from antiphon.inference_bridge.file_agents.reader import ReadAgent
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.metrics import Metrics
from antiphon.runtime.metrics.model_meter import ModelMeter

_IN_FILES: Final = ServerNames("url in [chat]", "model in [chat]", "key_env in [chat]")
_OF_THE_BRIDGE: Final = ServerNames()


@dataclass(frozen=True)
class ChatTarget:
    """A model at a server, and how it is asked. A value: what is learnt of a server differs between its models."""

    url: str
    model: str
    key: SecretStr
    timeout: float
    load_timeout: float
    warm_seconds: float
    names: ServerNames = _IN_FILES
    """What its settings are called."""


def target_of(read: ReadAgent, settings: Settings) -> ChatTarget | None:
    """What the agent of this file asks; None: a language model of the workers."""
    chat = read.definition.chat
    if chat is not None:
        return ChatTarget(chat.url, chat.model, read.key, chat.timeout, chat.load_timeout, chat.warm_seconds)
    if settings.llm == "remote" or not settings.llm_url:
        return None
    return ChatTarget(
        settings.llm_url,
        settings.llm_model,
        settings.llm_api_key,
        settings.llm_timeout,
        settings.llm_load_timeout,
        settings.llm_warm_seconds,
        _OF_THE_BRIDGE,
    )


class ChatServer:
    """One target: its client, its check, its metrics. Owned by `ChatServers`."""

    def __init__(self, target: ChatTarget, metrics: Metrics, on_trouble: Callable[[str | None], None]) -> None:
        key = target.key.get_secret_value()
        self.target = target
        self.client = ChatClient(target.url, key)
        self.check = ChatCheck(
            self.client, target.model, bool(key), target.timeout, on_trouble, target.warm_seconds, target.names
        )
        self.meter = ModelMeter(metrics, "llm", target.model)
        self._checking = asyncio.create_task(self.check.run())

    async def close(self) -> None:
        """No agent may ask it any more."""
        await tasks.end(self._checking)
        await self.client.close()


class ChatServers:
    """Those in use. Owned by `FileAgents`, for the life of the bridge; event loop only. As many as agents' versions."""

    def __init__(self, metrics: Metrics, on_change: Callable[[], None]) -> None:
        """`on_change`: `troubles` has changed."""
        self.troubles: dict[ChatTarget, str] = {}
        """What is wrong with a server, without its address."""
        self._metrics, self._on_change = metrics, on_change
        self._servers: dict[ChatTarget, ChatServer] = {}

    def of(self, target: ChatTarget) -> ChatServer:
        """The server, which is asked for a token from now on until it answers."""
        if (server := self._servers.get(target)) is None:
            server = ChatServer(target, self._metrics, lambda trouble: self._tell(target, trouble))
            self._servers[target] = server
        return server

    async def keep(self, targets: Collection[ChatTarget]) -> None:
        """Close all others."""
        for target in self._servers.keys() - set(targets):
            server = self._servers.pop(target)
            await server.close()
            if self.troubles.pop(target, None):
                self._on_change()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._servers)

    def _tell(self, target: ChatTarget, trouble: str | None) -> None:
        self.troubles.pop(target, None)
        if trouble:
            self.troubles[target] = trouble
        self._on_change()
