"""What a call of the command line hears, and when the agent has answered."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import numpy as np

from antiphon.cli.call.wav import Samples
from antiphon.cli.call.webrtc_client import Peer
from antiphon.schemas.audio import AudioFrame

AUDIBLE: Final = 0.01
"""Peak of a frame, of full scale, from which it counts as sound."""
GREETING_WAIT: Final = 1.5
"""Seconds in which an agent may begin to greet before we speak."""
PAUSE: Final = 0.8
"""Seconds of silence that end an utterance of the agent."""
ANSWER_WAIT: Final = 12.0
"""Seconds from the end of our speech to the first sound of the answer."""
MAX_ANSWER: Final = 60.0
"""Seconds for which an answer is recorded."""


class Listener:
    """The audio and the events that one call receives.

    Made by the caller of `Peer`, which calls `audio` and `message` on its loop; kept as long as the call.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.events: list[dict[str, object]] = []
        self.last_audible: float | None = None
        self._loop = asyncio.get_running_loop()

    def audio(self, frame: AudioFrame) -> None:
        """Keep a decoded frame, with its time."""
        now = self._loop.time()
        self.frames.append((now, frame.pcm))
        samples = np.frombuffer(frame.pcm, dtype="<i2")
        if np.abs(samples.astype(np.int32)).max() > AUDIBLE * 32768:
            self.last_audible = now

    def message(self, text: str) -> None:
        """Keep an event of the data channel; other texts are ignored."""
        try:
            event = json.loads(text)
        except ValueError:
            return
        if isinstance(event, dict):
            self.events.append(event)

    def audible_since(self, start: float) -> float | None:
        """The arrival time of the first audible frame after `start`; None without one."""
        for at, pcm in self.frames:
            if at > start and np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)).max() > AUDIBLE * 32768:
                return at
        return None

    def texts(self, kind: str, skip: int = 0) -> str:
        """The transcripts of all events of a type, without the first `skip` events."""
        found = [event for event in self.events[skip:] if event.get("type") == kind]
        return " ".join(str(event.get("transcript", "")).strip() for event in found).strip()

    def recording(self, start: float) -> Samples:
        """All audio since `start`; if none of it was audible, all audio of the call."""
        if self.audible_since(start) is None:
            start = 0.0
        if self.last_audible is None:
            return np.zeros(0, dtype=np.int16)
        pcm = b"".join(pcm for at, pcm in self.frames if at >= start)
        return np.frombuffer(pcm, dtype="<i2").astype(np.int16)


async def let_greet(peer: Peer, listener: Listener, connected: float) -> None:
    """Wait for the end of the agent's greeting, if it greets."""
    try:
        async with asyncio.timeout_at(connected + GREETING_WAIT):
            await peer.closed.wait()
    except TimeoutError:
        if listener.last_audible is not None:
            await until_quiet(peer, listener, PAUSE, MAX_ANSWER)


async def await_answer(peer: Peer, listener: Listener, spoken_until: float) -> float | None:
    """The arrival time of the first audible frame of the answer; None: there is none, or the call has ended."""
    loop = asyncio.get_running_loop()
    while loop.time() < spoken_until + ANSWER_WAIT:
        ended = peer.closed.is_set()
        if not ended:
            await asyncio.sleep(0.02)
        answer_at = listener.audible_since(spoken_until - 0.02)
        if answer_at is not None and (ended or not peer.speaking):
            return answer_at
        if ended:
            return None
    return None


async def until_answered(peer: Peer, listener: Listener, seen: int) -> None:
    """Wait for the agent's event that it has finished, if it sends one, and for silence; or for the end of the call."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while loop.time() - start < MAX_ANSWER and not peer.closed.is_set():
        await until_quiet(peer, listener, PAUSE * 1.5, MAX_ANSWER)
        kinds = [event.get("type") for event in listener.events[seen:]]
        if kinds.count("response.done") >= kinds.count("response.created"):
            return
        await asyncio.sleep(0.1)


async def until_quiet(peer: Peer, listener: Listener, pause: float, limit: float) -> None:
    """Wait until the agent has been silent for `pause` seconds, or for `limit` seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while loop.time() - start < limit and not peer.closed.is_set():
        if loop.time() - (listener.last_audible or start) > pause:
            return
        await asyncio.sleep(0.02)
