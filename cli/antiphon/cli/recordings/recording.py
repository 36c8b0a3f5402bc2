"""A recorded call: both sides on one time line, and the events between. Sans-IO: takes messages, gives bytes.

The caller's frames carry their position. The agent's are published ahead of time; the playout events say how many of
their samples had been sent by then. So the right channel holds the speech that the caller got, at the time when the
caller got it, and not all speech that the agent published.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.schemas.errors import MalformedError

Samples = NDArray[np.int16]
SETTLED_S: Final = 3.0
"""Seconds behind the newest audio after which no audio is added, so that it can be written to the file."""
MAX_AHEAD_S: Final = 40.0
"""Seconds between the newest and the oldest unwritten audio: more than a transceiver queues."""
MAX_REPLY_S: Final = 800.0
"""Seconds of one generation's speech that are kept; what the agent sends beyond that is missing in the recording."""
MAX_REPLIES: Final = 4
"""Generations whose speech is kept; a new one drops the oldest."""
SAME_CLOCK_S: Final = 0.5
"""What the caller's frames are behind at least, if their transceiver's clock is ours: network and jitter buffer."""
_JOINED_S: Final = 0.25
"""Seconds by which a playout report may miss the end of the one before and still continue it without a gap."""


class Voices:
    """Both sides of a call at the caller's rate; `take` gives what is complete, interleaved.

    Owned by a `Recording`, as long as that one.
    """

    def __init__(self) -> None:
        self.rate = 0
        self.began = 0.0
        """Unix time of the first sample that is kept; 0 before."""
        self._written = 0
        """Position of the first sample that is kept."""
        self._sides: list[Samples] = [np.zeros(0, np.int16), np.zeros(0, np.int16)]
        self._started_ns = 0
        self._newest = 0
        self._spoken: OrderedDict[int, bytearray] = OrderedDict()
        self._agent_rate = 24000
        self._played: dict[int, int] = {}
        self._agent_at = 0

    def caller(self, frame: AudioFrame) -> None:
        """Audio of the caller, at its own position."""
        if not self.rate:
            self.rate = frame.rate
            self.began = frame.captured_ns / 1e9
            self._started_ns = frame.captured_ns - frame.first_sample * 1_000_000_000 // frame.rate
            self._written = self._agent_at = frame.first_sample
        samples, position = np.frombuffer(frame.pcm, dtype="<i2"), frame.first_sample
        if frame.rate != self.rate:  # another agent has the call, which asked for another rate
            samples = np.asarray(soxr.resample(samples, frame.rate, self.rate), dtype=np.int16)
            position = position * self.rate // frame.rate
        self._put(0, position, samples)
        self._newest = max(self._newest, position + len(samples))

    def agent(self, frame: AudioFrame) -> None:
        """Speech that the agent has published; `played` places it."""
        self._agent_rate = frame.rate
        spoken = self._spoken.setdefault(frame.generation, bytearray())
        if len(spoken) < MAX_REPLY_S * frame.rate * 2:
            spoken += frame.pcm
        while len(self._spoken) > MAX_REPLIES:
            self._played.pop(self._spoken.popitem(last=False)[0], None)

    def played(self, generation: int, samples: int, at_ns: int) -> None:
        """By `at_ns` (Unix), `samples` of a generation had been sent to the caller."""
        before = self._played.get(generation, 0)
        spoken = self._spoken.get(generation)
        if spoken is None or samples <= before or not self.rate:
            return
        self._played[generation] = samples
        new = np.frombuffer(bytes(spoken[before * 2 : samples * 2]), dtype="<i2")
        if self._agent_rate != self.rate and len(new):
            new = soxr.resample(new, self._agent_rate, self.rate)
        at = (at_ns - self._started_ns) * self.rate // 1_000_000_000 - len(new)
        if abs(at - self._agent_at) < _JOINED_S * self.rate:
            at = self._agent_at
        self._put(1, at, np.asarray(new, dtype=np.int16))
        self._agent_at = at + len(new)

    def another_agent(self) -> None:
        """Forget what the agent before has published: the numbers of the next one's replies may be the same."""
        self._spoken.clear()
        self._played.clear()

    def take(self, everything: bool = False) -> bytes:
        """The audio that has become complete since the last call: s16le, left the caller, right the agent."""
        until = self._newest if everything else self._newest - int(SETTLED_S * self.rate)
        if everything:
            until = max(until, self._written + max(map(len, self._sides)))
        count = until - self._written
        if count <= 0:
            return b""
        out = np.zeros((count, 2), dtype="<i2")
        for number, side in enumerate(self._sides):
            there = side[:count]
            out[: len(there), number] = there
            self._sides[number] = side[count:]
        self._written = until
        return out.tobytes()

    def _put(self, side: int, position: int, samples: Samples) -> None:
        at = position - self._written
        if at < 0:
            samples, at = samples[-at:], 0
        if not len(samples) or at > MAX_AHEAD_S * self.rate:
            return
        there = self._sides[side]
        if at + len(samples) > len(there):
            there = np.concatenate([there, np.zeros(at + len(samples) - len(there), np.int16)])
        there[at : at + len(samples)] = samples
        self._sides[side] = there


class Recording:
    """One call: it is given the messages on the session's subjects. Owned by the recording command, per call."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.voices = Voices()
        self.ended = False
        self.transferred_to = ""
        """The agent that has the call now, until `take_transfer`."""
        self._began_ns = 0
        self._behind_ns: int | None = None
        """The least by which a frame of the caller came later than its transceiver received it; None before one."""

    @property
    def knows_clock(self) -> bool:
        """The clock of the call's transceiver is known: the caller has sent audio."""
        return self._behind_ns is not None

    def owner_ns(self, now_ns: int) -> int:
        """This moment by the clock of the call's transceiver, on which the audio is: ours may be another one."""
        behind = self._behind_ns or 0
        return now_ns if abs(behind) < SAME_CLOCK_S * 1e9 else now_ns - behind

    def take_transfer(self) -> str:
        """The agent that has the call now. Its generations begin anew, so the speech of the one before is forgotten."""
        agent, self.transferred_to = self.transferred_to, ""
        self.voices.another_agent()
        return agent

    def message(self, kind: str, data: bytes, now_ns: int) -> str:
        """A message on `...session.<agent>.<id>.<kind>`; returns a line for the time line, empty for audio."""
        self._began_ns = self._began_ns or now_ns
        try:
            if kind == "audio.in":
                frame = unpack_frame(data)
                behind = now_ns - frame.captured_ns
                self._behind_ns = behind if self._behind_ns is None else min(behind, self._behind_ns)
                self.voices.caller(frame)
                return ""
            if kind == "audio.out":
                self.voices.agent(unpack_frame(data))
                return ""
            if kind == "event":
                self._event(messages.decode_any(data, messages.SESSION_EVENT, "SessionEvent"), self.owner_ns(now_ns))
            content: Any = json.loads(data)
        except (MalformedError, ValueError) as error:
            content = {"unreadable": str(error)}
        at_ms = round((now_ns - self._began_ns) / 1e6, 1)
        return json.dumps({"at_ms": at_ms, "kind": kind, "message": content})

    def _event(self, event: messages.Message, now_ns: int) -> None:
        match event:
            case messages.Playout() | messages.Flushed():
                self.voices.played(event.generation, event.played_samples, now_ns)
            case messages.Transferred():
                self.transferred_to = event.agent
            case messages.Ended():
                self.ended = True
