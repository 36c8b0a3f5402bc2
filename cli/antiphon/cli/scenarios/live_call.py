"""A scenario's call through a running stack: WebRTC, speech and turns in real time, spoken by the built-in voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from antiphon.agent.testing.answer import Answer, ToolCall, arguments_of
from antiphon.agent.testing.transcript import Transcript
from antiphon.cli.call.call_listener import Listener, await_answer, let_greet, until_answered
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, last_voiced, read_wav
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError

_HEARD: Final = "conversation.item.input_audio_transcription.completed"
_SPOKEN: Final = "response.output_audio_transcript.delta"


class LiveCall:
    """One call. Made by `antiphon test`, used on its loop; closed by `hang_up`, or when the agent ends it.

    The agent's own tools can't be seen from here: expectations of them are left out.
    """

    def __init__(self, url: str, key: str, agent: str, language: str, session: Mapping[str, Any]) -> None:
        self.transcript = Transcript()
        """What was said so far, as the recogniser and the agent's transcript have it."""
        self._url, self._key, self._agent = url, key or None, agent
        self._session = dict(session)
        if language != "en":
            self._session.setdefault("audio", {"input": {"transcription": {"language": language}}})
        self._listener = Listener()
        self._peer = Peer(self._listener.audio, self._listener.message)
        self._began = asyncio.get_running_loop().time()

    @property
    def over(self) -> bool:
        """The call has ended."""
        return self._peer.closed.is_set()

    @property
    def seconds(self) -> float:
        """Since the beginning of the call."""
        return asyncio.get_running_loop().time() - self._began

    async def start(self) -> Answer:
        """Call, and listen to the greeting; `CallError` if there is no call."""
        await self._peer.connect(self._url, self._agent, self._key)
        if self._session:
            session = {"type": "realtime", **self._session}
            self._peer.send_text(json.dumps({"type": "session.update", "session": session}))
        await let_greet(self._peer, self._listener, asyncio.get_running_loop().time())
        return self._answer(0, None, 0.0)

    async def say(self, text: str, interrupt_after: str = "") -> Answer:
        """Speak a text, or the recording whose path ends with `.wav`."""
        self.transcript.add(self.seconds, "caller", text)
        return await self._speak(await asyncio.to_thread(_speech_of, text), interrupt_after)

    async def press(self, keys: str) -> Answer:
        """Not from here: the client of the command line sends no telephone events."""
        raise CallError(f"keys {keys!r}: a live call of `antiphon test` can't press keys; run it without --live")

    async def wait(self, seconds: float | None = None) -> Answer:
        """Say nothing for so long, and take what the agent says meanwhile."""
        seen = len(self._listener.events)
        self.transcript.add(self.seconds, "silence", f"{seconds or 0:g} s")
        await asyncio.sleep(seconds or 0)
        await until_answered(self._peer, self._listener, seen)
        return self._answer(seen, None, 0.0)

    async def hang_up(self) -> None:
        """End the call."""
        await self._peer.close()

    async def _speak(self, speech: Samples, interrupt_after: str) -> Answer:
        loop = asyncio.get_running_loop()
        seen = len(self._listener.events)
        spoken_until = loop.time() + last_voiced(speech) / RATE
        self._peer.speak(speech.tobytes())
        answer_at = await await_answer(self._peer, self._listener, spoken_until)
        interrupted = False
        if answer_at is not None:
            ended = asyncio.ensure_future(until_answered(self._peer, self._listener, seen))
            try:
                while not (ended.done() or interrupted):
                    await asyncio.wait([ended], timeout=0.02)
                    interrupted = bool(interrupt_after) and self._has_said(seen, interrupt_after)
            finally:
                ended.cancel()
                await asyncio.wait([ended])
        assert interrupted or not interrupt_after, f"the answer ended without {interrupt_after!r}"
        ms = None if answer_at is None else max(0.0, answer_at - spoken_until) * 1000
        answer = self._answer(seen, ms, (loop.time() - spoken_until) * 1000)
        answer.interrupted = interrupted
        if answer_at is None and not self.over:
            answer.failure = "no speech answered"
        return answer

    def _has_said(self, seen: int, words: str) -> bool:
        return words.casefold() in self._words(seen).casefold()

    def _words(self, seen: int) -> str:
        spoken = (each for each in self._listener.events[seen:] if each.get("type") == _SPOKEN)
        return "".join(str(each.get("delta", "")) for each in spoken)

    def _answer(self, seen: int, ms: float | None, whole_ms: float) -> Answer:
        words, listener = self._words(seen).strip(), self._listener
        answer = Answer(text=words, played=words, ms=ms, whole_ms=whole_ms, tools_known=False, hung_up=self.over)
        if heard := listener.texts(_HEARD, seen):
            self.transcript.add(self.seconds, "heard", heard)
        for event in listener.events[seen:]:
            if event.get("type") == "response.function_call_arguments.done":
                arguments = arguments_of(str(event.get("arguments") or ""))
                call = ToolCall(str(event.get("name")), arguments, str(event.get("call_id")), 0.0)
                answer.client_calls.append(call)
            if event.get("type") == "antiphon.hand_over":
                answer.person = str(event.get("state"))
        self.transcript.add(self.seconds, "agent", words or "(nothing)")
        return answer


def _speech_of(text: str) -> Samples:
    """The recording whose path this is, or the text in the built-in voice."""
    if text.endswith(".wav"):
        return read_wav(Path(text), RATE)
    return say([text], RATE)[0]
