"""The beats of all agents, received and read once for all that want to know them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AgentBeat

Listener = Callable[[str, AgentBeat, float], object]
"""Called with the agent's name, its beat and `time.monotonic()`."""


class AgentBeats:
    """Gives each beat to its listeners, in their order.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(self, client: Client, listeners: Sequence[Listener]) -> None:
        self._client, self._listeners = client, listeners

    async def start(self) -> None:
        """Listen, until the connection ends."""
        await self._client.subscribe(subjects.ANY_AGENT_BEAT, cb=self._on_beat)

    async def _on_beat(self, message: Msg) -> None:
        with contextlib.suppress(MalformedError):
            agent = subjects.parse_agent_beat(message.subject)
            beat = messages.decode(message.data, AgentBeat)
            now = time.monotonic()
            for listener in self._listeners:
                listener(agent, beat, now)
