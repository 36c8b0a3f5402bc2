"""Agents that a folder of files describes, for the bridge that takes calls in their names."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from nats.aio.client import Client

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.file_agents.chat_servers import ChatServers, target_of
from antiphon.inference_bridge.file_agents.definition import NAME
from antiphon.inference_bridge.file_agents.files import AgentFiles, Look
from antiphon.inference_bridge.file_agents.mistakes import Mistake, file_of
from antiphon.inference_bridge.file_agents.profiles import Parts, Version
from antiphon.inference_bridge.file_agents.reader import ReadAgent, Surroundings
from antiphon.inference_bridge.file_agents.tool_support import ToolSet, ToolSupport, installed
from antiphon.inference_bridge.models.measured import WaitsOfModel
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.model_meter import ModelMeter

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
"""Between two looks at the folder. A change is in force after the second look that sees it."""
TOOLS_WITHIN: Final = 15.0
"""Seconds that tools have to start; the agent is in force all the same then."""


class FileAgents:
    """An `AgentSource`. Owned by the bridge, for the life of the process; event loop only.

    A file with mistakes is logged with all of them, and costs no other agent: what it said before stays in force. A
    file that is gone takes its agent away. Calls keep what they began with, and so do the chat servers and tools that
    they use: those are closed when the last call that needs them has ended.
    """

    def __init__(
        self,
        directory: Path,
        client: Client,
        settings: Settings,
        metrics: Metrics = OFF,
        *,
        waits: WaitsOfModel | None = None,
        on_trouble: Callable[[Mapping[str, str]], None] = lambda troubles: None,
        tools: ToolSupport | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """`waits`: told how long callers wait for answers.

        `on_trouble`: called with what is wrong, by agent, whenever that has changed: with its file, its chat server
        and its tools; that of the folder itself under no name. For everybody to see: without addresses and values.
        `tools`: None: what is installed.
        """
        self._client, self._settings, self._waits, self._on_trouble = client, settings, waits, on_trouble
        self._support = installed() if tools is None else tools
        around = Surroundings(
            environment,
            None,
            settings.has_language_model,
            self._support.http_tool,
            self._support.mcp_server,
        )
        self._files = AgentFiles(directory, around)
        self._servers = ChatServers(metrics, self._tell)
        self._worker_meter = ModelMeter(metrics, "llm", "worker")
        self._in_force: dict[str, Version] = {}
        self._versions: list[Version] = []
        """Those in force, and older ones that calls use."""
        self._wrong: dict[str, list[Mistake]] = {}
        self._lacking: dict[str, str] = {}
        """By agent: why it has not all of its tools."""
        self._folder_trouble = ""
        self._told: dict[str, str] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the folder, and watch it from now on. Mistakes, and a folder that is not there, are logged."""
        await self._apply(await asyncio.to_thread(self._files.read, time.monotonic()))
        if self._in_force:
            log.info("agents of %s: %s", self._files.directory, ", ".join(sorted(self._in_force)))
        else:
            log.warning("no agent in %s yet: one is a file such as desk.toml there", self._files.directory)
        self._watching = asyncio.create_task(self._watch())

    def profiles(self) -> dict[str, AgentProfile]:
        """Those in force, by name."""
        return {name: version.profile for name, version in self._in_force.items() if version.profile is not None}

    async def close(self) -> None:
        """No call may use the agents any more."""
        if self._watching is not None:
            await tasks.end(self._watching)
        self._in_force.clear()
        await self._close_tools(self._versions)
        self._versions.clear()
        await self._servers.keep(())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._apply(await asyncio.to_thread(self._files.look, time.monotonic()))
                await self._close_unused()
            except Exception:  # one look that fails must not be the last one
                log.exception("a look at the agents' files in %s has failed", self._files.directory)
                await asyncio.sleep(60 * LOOK_SECONDS)

    async def _apply(self, look: Look) -> None:
        if look.trouble != self._folder_trouble:
            self._folder_trouble = look.trouble
            if look.trouble:
                log.warning("agents' files: %s", look.trouble)
        for name in look.gone:
            self._wrong.pop(name, None)
            self._lacking.pop(name, None)
            if (version := self._in_force.pop(name, None)) is not None:
                version.retire()
                log.info("agent %s: its file is gone, and it takes no further calls", name)
        for name, mistakes in look.wrong.items():
            self._report(name, mistakes)
        new = []
        for name, read in look.read.items():
            self._wrong.pop(name, None)
            old = self._in_force.get(name)
            if old is None or old.read != read:
                new.append(read)
        if new:
            await asyncio.gather(*map(self._put_in_force, new))
        self._tell()

    def _report(self, name: str, mistakes: list[Mistake]) -> None:
        if self._wrong.get(name) == mistakes:
            return
        self._wrong[name] = mistakes
        then = "what it said before stays in force" if name in self._in_force else "the agent takes no calls"
        for mistake in mistakes:
            log.error("%s", mistake)
        log.error("%s has %d mistake(s): %s", mistakes[0].file, len(mistakes), then)

    async def _put_in_force(self, read: ReadAgent) -> None:
        name = read.name
        try:
            tool_set = self._tool_set(read)
        except ValueError as error:  # of all tools together: each by itself was good
            self._report(name, [Mistake(file_of(name), read.tools_line, "tools", "", str(error)[:300])])
            return
        self._lacking.pop(name, None)
        if tool_set is not None and (lacking := await self._start(tool_set)):
            self._lacking[name] = lacking
            log.warning("agent %s: %s", name, lacking)
        target = target_of(read, self._settings)
        version = Version(
            Parts(
                read,
                self._settings,
                self._client,
                self._worker_meter,
                self._servers.of(target) if target is not None else None,
                tool_set,
                self._support.using,
                self._waits,
            )
        )
        self._versions.append(version)
        if (old := self._in_force.get(name)) is not None:
            old.retire()
            log.info("agent %s: new calls use %s.toml as it is now", name, name)
        elif self._watching is not None:
            log.info("agent %s takes calls", name)
        self._in_force[name] = version

    def _tool_set(self, read: ReadAgent) -> ToolSet | None:
        if not read.has_tools or self._support.tool_set is None:
            return None
        return self._support.tool_set(read.http, read.mcp)

    async def _start(self, tool_set: ToolSet) -> str:
        """Why not all tools are there; empty: they are. The agent is in force all the same."""
        try:
            async with asyncio.timeout(TOOLS_WITHIN):
                await tool_set.start()
        except TimeoutError:
            return f"not all of its tools are there after {TOOLS_WITHIN:g} s"
        except Exception as error:  # a tool's server may fail in any way
            return f"not all of its tools start: {str(error)[:300] or type(error).__name__}"
        return ""

    async def _close_unused(self) -> None:
        """Close what only versions have used that no call has any more."""
        over = [version for version in self._versions if not version.in_use]
        if not over:
            return
        self._versions = [version for version in self._versions if version not in over]
        await self._close_tools(over)
        await self._servers.keep({version.target for version in self._versions if version.target is not None})

    async def _close_tools(self, versions: Iterable[Version]) -> None:
        for version in versions:
            if version.tool_set is not None:
                try:
                    await version.tool_set.close()
                except Exception:  # the others are to be closed all the same
                    log.exception("agent %s: its tools do not close", version.read.name)

    def _tell(self) -> None:
        found: dict[str, list[str]] = {}
        if self._folder_trouble:
            found[""] = ["the folder of agents' files can't be used as it is"]
        for name, mistakes in self._wrong.items():
            first = mistakes[0]
            field = f" ({first.field})" if first.field else ""
            text = f"its file has {len(mistakes)} mistake(s), the first in line {first.line}{field}"
            found.setdefault(name if NAME.fullmatch(name) else "", []).append(text)
        for name in self._lacking:
            found.setdefault(name, []).append("not all of its tools are there")
        for name, version in self._in_force.items():
            trouble = self._servers.troubles.get(version.target) if version.target is not None else None
            if trouble:
                found.setdefault(name, []).append(f"its chat server won't answer callers: {trouble}")
        told = {name: "; ".join(each) for name, each in found.items()}
        if told != self._told:
            self._told = told
            self._on_trouble(told)
