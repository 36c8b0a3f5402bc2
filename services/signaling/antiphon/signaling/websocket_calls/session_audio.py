"""The audio formats of one call's session, as its client asks for them, and how the agent's events show them. Sans-IO.

An agent reads and writes PCM and knows nothing of formats: the events that it sends show the default ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.runtime.resampling import Resampler
from antiphon.signaling.websocket_calls.audio_format import AudioFormat, Side, asked_format

Event = dict[str, Any]


class SessionAudio:
    """Owner: the `WebSocketCall`, for its whole life; event loop only."""

    def __init__(self) -> None:
        self._formats: dict[Side, AudioFormat] = {"input": AudioFormat.PCM, "output": AudioFormat.PCM}
        self._resampler: tuple[int, AudioFormat, Callable[[bytes], bytes]] | None = None

    @property
    def input(self) -> AudioFormat:
        """Of what the client appends."""
        return self._formats["input"]

    def adopt(self, session: Event, locked: Sequence[str]) -> None:
        """Take the formats that a session names, but for what a secret has fixed."""
        for side in ("input", "output"):
            fixed = (f"audio.{side}.format", f"{side}_audio_format")
            wanted = asked_format(session, side)
            if wanted is not None and not any(path.startswith(fixed) for path in locked):
                self._formats[side] = wanted

    def encode(self, pcm: bytes, rate: int) -> bytes:
        """The client's bytes for s16le mono of the agent at `rate`; what came before it is its beginning."""
        format = self._formats["output"]
        if rate != format.rate:
            if self._resampler is None or self._resampler[:2] != (rate, format):
                self._resampler = rate, format, Resampler(rate, format.rate).push
            pcm = self._resampler[2](pcm)
        return format.encode(pcm)

    def parts(self) -> Event:
        """The section `audio` of a session that no agent has described."""
        return {side: {"format": chosen.shown()} for side, chosen in self._formats.items()}

    def shown(self, event: Event) -> Event | None:
        """An agent's event with the formats that are in force; None: it names none."""
        session, response = event.get("session"), event.get("response")
        if event["type"] in ("session.created", "session.updated") and isinstance(session, dict):
            return {**event, "session": self._in_session(session)}
        if self._formats["output"] is not AudioFormat.PCM and isinstance(response, dict):
            return {**event, "response": self._in_response(response)}
        return None

    def _in_session(self, session: Event) -> Event:
        audio = session.get("audio")
        if not isinstance(audio, dict):
            return session
        shown = dict(audio)
        for side, chosen in self._formats.items():
            if isinstance(audio.get(side), dict):
                shown[side] = {**audio[side], "format": chosen.shown()}
        return {**session, "audio": shown}

    def _in_response(self, response: Event) -> Event:
        audio = response.get("audio")
        output = audio.get("output") if isinstance(audio, dict) else None
        if not isinstance(audio, dict) or not isinstance(output, dict) or "format" not in output:
            return response
        shown = {**audio, "output": {**output, "format": self._formats["output"].shown()}}
        return {**response, "audio": shown}


def detects_turns(session: Event) -> bool | None:
    """Whether the agent finds the ends of turns, as a session says it; None: it does not say."""
    audio = session.get("audio")
    given = audio.get("input") if isinstance(audio, dict) else None
    found: bool | None = None
    for part in (session, given):
        if isinstance(part, dict) and "turn_detection" in part:
            found = part["turn_detection"] is not None
    return found
