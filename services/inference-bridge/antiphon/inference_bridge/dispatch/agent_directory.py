"""The agents in whose name this bridge can take calls, joined from all sources, and which came and went. Sans-IO."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from antiphon.inference_bridge.agents.profile import AgentProfile, AgentSource

log = logging.getLogger(__name__)

MAX_AGENTS: Final = 512
"""Agents of one bridge. Above it those of the later sources, and of them the last, are not served."""
_MAX_SAID: Final = 1000
"""Names that were logged, so that each is named once."""


class NamedSource(NamedTuple):
    """Where agents come from."""

    title: str
    """For the log: `text agents`."""
    agents: AgentSource


class Changes(NamedTuple):
    """What is different from the last look."""

    appeared: tuple[str, ...]
    vanished: tuple[str, ...]


class AgentDirectory:
    """One profile for each name: that of the first source that has it.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(self, sources: Sequence[NamedSource]) -> None:
        """`sources`: the first has the agent of the settings, which is served whoever else has its name."""
        self._sources = sources
        self.agents: Mapping[str, AgentProfile] = {}
        """By name, as of the last look."""
        self._said: set[str] = set()

    def look(self, plug_ins: Mapping[str, str]) -> Changes:
        """Ask all sources. `plug_ins`: names that plug-ins with sessions of their own have, each with its instance.

        Such a plug-in keeps its name: a bridge that took half of its calls would be a surprise.
        """
        found: dict[str, AgentProfile] = {}
        titles: dict[str, str] = {}
        for number, source in enumerate(self._sources):
            for name, profile in source.agents.profiles().items():
                if name in found:
                    self._say(f"{source.title}: {name} is not served, that name is one of the {titles[name]}")
                elif number and name in plug_ins:
                    self._say(f"{source.title}: {name} is not served, the plug-in {plug_ins[name]} has that name")
                elif len(found) >= MAX_AGENTS:
                    self._say(f"{source.title}: {name} is not served, this bridge has {MAX_AGENTS} agents already")
                else:
                    found[name], titles[name] = profile, source.title
        before, self.agents = self.agents, found
        return Changes(tuple(set(found) - set(before)), tuple(set(before) - set(found)))

    def _say(self, text: str) -> None:
        if text not in self._said and len(self._said) < _MAX_SAID:
            self._said.add(text)
            log.warning("%s", text)
