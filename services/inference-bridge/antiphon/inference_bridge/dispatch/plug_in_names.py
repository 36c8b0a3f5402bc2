"""Which agents are plug-ins with sessions of their own: their beats say that they are no bridge. Pure."""

from __future__ import annotations

from typing import Final

from antiphon.schemas.messages import AgentBeat

GONE_SECONDS: Final = 3.0
"""Without a beat of a plug-in its name is free."""
MAX_NAMES: Final = 4096


class PlugInNames:
    """The names of plug-ins that live, `MAX_NAMES` at most; then the one without a beat for longest goes.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(self) -> None:
        self._beats: dict[str, tuple[str, float]] = {}
        """Name -> the instance of the last beat, and when it came."""

    def received(self, agent: str, beat: AgentBeat, now: float) -> None:
        """A beat came, of any agent."""
        if beat.bridge:
            return
        known = self._beats.get(agent)
        if beat.leaving:
            if known is not None and known[0] == beat.instance:
                del self._beats[agent]  # the next beat of another instance brings it back
            return
        self._beats.pop(agent, None)
        self._beats[agent] = beat.instance, now
        while len(self._beats) > MAX_NAMES:
            del self._beats[next(iter(self._beats))]

    def names(self, now: float) -> dict[str, str]:
        """Those that live, each with an instance of it."""
        while self._beats:
            oldest = next(iter(self._beats))
            if now - self._beats[oldest][1] <= GONE_SECONDS:
                break
            del self._beats[oldest]
        return {name: instance[:64] for name, (instance, _) in self._beats.items()}
