"""The agents that a bridge serves: those of the directory, as they come and go while the process runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.micro.service import Service

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.dispatch.agent_directory import AgentDirectory
from antiphon.inference_bridge.dispatch.call_sessions import CallSessions
from antiphon.inference_bridge.dispatch.plug_in_names import PlugInNames
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntries
from antiphon.inference_bridge.dispatch.served_agent import ServedAgent
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import lease_crypto
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats.connection_errors import RefusedError
from antiphon.schemas.messages import AgentBeat

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""Between two looks at the directory, if nothing says that it has changed."""
LISTEN_SECONDS: Final = 1.5
"""For so long, at the start and when NATS is back, all are listened to that beat (4 times a second) or announce
themselves (each second), before it is said who is there."""
_START_WITHIN: Final = 5.0
RETRY_SECONDS: Final = 30.0
"""After an agent could not be served."""


class ServedAgents:
    """Serves the agents of the directory, from the first to the last of them one after the other.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        own: AgentProfile | None,
        directory: AgentDirectory,
        plug_ins: PlugInNames,
        calls: CallSessions,
        entries: RegisterEntries,
        instance: str,
        metrics: Metrics = OFF,
        unserved: Callable[[str], None] = lambda agent: None,
    ) -> None:
        """`own`: the agent of the settings, which is always served; None: they name none.

        `unserved(agent)`: that one is not served any more.
        """
        self._client, self._settings, self._metrics = client, settings, metrics
        self._directory, self._plug_ins = directory, plug_ins
        self._calls, self._entries, self._instance, self._unserved = calls, entries, instance, unserved
        key_file = settings.lease_key_file
        self._crypto = lease_crypto.from_file(key_file) if key_file is not None else None
        self._own = self._agent(own) if own is not None else None
        self._served = {self._own.name: self._own} if self._own is not None else {}
        self._retry_at: dict[str, float] = {}
        """Agents that could not be served, and when they are tried again."""
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def serves(self, agent: str) -> bool:
        """Its calls are taken over here."""
        return agent in self._served

    def received(self, agent: str, beat: AgentBeat, now: float) -> None:
        """A beat came, of any agent."""
        if served := self._served.get(agent):
            served.received(beat, now)

    def changed(self) -> None:
        """Look at the directory now."""
        self._changed.set()

    async def start(self) -> None:
        """Be known as alive, in the name of the agent of the settings."""
        if self._own is not None:
            await self._own.start()

    async def join(self, stop_process: Callable[[], None]) -> Service | None:
        """Claims may come, for the agent of the settings now, for others soon. Its entry in the register.

        `stop_process()` does what SIGTERM does: an operator may ask for it.
        """
        service = await self._own.serve(stop_process) if self._own is not None else None
        self._following = asyncio.create_task(self._follow(stop_process))
        return service

    async def stop(self) -> None:
        """No further claims."""
        if self._following is not None:
            await tasks.end(self._following)
        await _all(served.stop() for served in self._served.values())

    async def close(self) -> None:
        """Leave all calls to other processes."""
        await _all(served.close() for served in self._served.values())

    # ---- inside --------------------------------------------------------------------------------------

    def _agent(self, profile: AgentProfile) -> ServedAgent:
        entry = self._entries.add(profile.name, profile.kind)
        capacity = self._settings.bridge_capacity
        return ServedAgent(
            self._client, profile, self._calls, capacity, entry, self._instance, self._crypto, self._metrics
        )

    async def _follow(self, stop_process: Callable[[], None]) -> None:
        await asyncio.sleep(LISTEN_SECONDS)
        while True:
            self._changed.clear()
            if not self._client.is_connected:  # what nobody tells us is not gone
                await asyncio.sleep(LISTEN_SECONDS)
                continue
            try:
                await self._look(stop_process)
            except Exception:
                log.exception("the agents that are served could not be brought up to date")
                await asyncio.sleep(LISTEN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    async def _look(self, stop_process: Callable[[], None]) -> None:
        now = time.monotonic()
        directory = self._directory
        plug_ins = self._plug_ins.names(now)
        changes = directory.look(plug_ins)
        for name in changes.appeared:
            log.info("agent %s is there", name)
        self._retry_at = {name: at for name, at in self._retry_at.items() if name in directory.agents and now < at}
        for name, profile in directory.agents.items():
            if (served := self._served.get(name)) is not None:
                served.present(profile)
            elif name not in self._retry_at:
                await self._serve(profile, stop_process)
        for name, served in list(self._served.items()):
            if name not in directory.agents:
                plug_in = plug_ins.get(name)
                served.gone(f"the plug-in {plug_in} has its name" if plug_in else "no instance of it is there")
                if served.is_idle and await self._is_answered():
                    await self._end(served)

    async def _is_answered(self) -> bool:
        """NATS answers: subscriptions that end now are ended there too, and do not come back with the connection."""
        try:
            await self._client.flush(timeout=1)
        except (nats.errors.Error, TimeoutError, OSError):
            return False
        return True

    async def _serve(self, profile: AgentProfile, stop_process: Callable[[], None]) -> None:
        served = self._served[profile.name] = self._agent(profile)
        try:
            async with asyncio.timeout(_START_WITHIN):
                await served.start()
                await served.serve(stop_process)
        except (RefusedError, nats.errors.Error, TimeoutError, OSError) as error:
            log.error("agent %s can't be served: %s", profile.name, error or type(error).__name__)
            self._retry_at[profile.name] = time.monotonic() + RETRY_SECONDS
            await self._end(served)

    async def _end(self, served: ServedAgent) -> None:
        """It is served no more: it has no call, and takes none."""
        await _all((served.stop(),))
        await _all((served.close(),))
        del self._served[served.name]
        self._entries.remove(served.name)
        self._unserved(served.name)
        log.info("agent %s is served no more", served.name)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """All at once: what fails for one agent is logged, and costs the others nothing."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, Exception):
            log.warning("an agent was not left in order: %s", result or type(result).__name__)
