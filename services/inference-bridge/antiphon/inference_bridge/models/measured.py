"""The clients of the models as the calls use them, with the time measured that callers wait: `ModelLoad` gets it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any, Final, Generic, Protocol, TypeVar

from antiphon.inference_bridge.agents import Agent, ReplyPart, Request
from antiphon.inference_bridge.models.clients import Pending, StreamedTts, SttClient, TtsClient
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.tts.synthesizer import Samples

T = TypeVar("T")
_CLOCK: Final = time.monotonic


class WaitsOfModel(Protocol):
    """What is told of one model: `Waits`."""

    def began(self, now: float) -> int: ...
    def ended(self, number: int, now: float) -> None: ...
    def dropped(self, number: int) -> None: ...
    def took(self, seconds: float) -> None: ...


class _Measured(Generic[T]):
    """A `Pending` whose wait counts from the moment in which a caller waits for it. Owned as the one inside is."""

    def __init__(
        self, pending: Pending[T], urgency: Urgency, waits: WaitsOfModel, done: Callable[[], None] = lambda: None
    ) -> None:
        """`done`: the result was there."""
        self._pending, self._waits, self._done = pending, waits, done
        self._number: int | None = None
        self._over = False
        if urgency is Urgency.NOW:
            self._number = waits.began(_CLOCK())

    @property
    def work_ms(self) -> float:
        return self._pending.work_ms

    def __await__(self) -> Generator[Any, None, T]:
        try:
            result = yield from self._pending.__await__()
        except BaseException:
            self._drop()
            raise
        if not self._over:
            self._over = True
            if self._number is not None:
                self._waits.ended(self._number, _CLOCK())
            if self._pending.work_ms:
                self._waits.took(self._pending.work_ms / 1000)
            self._done()
        return result

    def promote(self, urgency: Urgency) -> None:
        if urgency is Urgency.NOW and self._number is None and not self._over:
            self._number = self._waits.began(_CLOCK())
        self._pending.promote(urgency)

    def cancel(self) -> None:
        self._drop()
        self._pending.cancel()

    def _drop(self) -> None:
        if self._number is not None:
            self._waits.dropped(self._number)


class MeasuredStt:
    """An `SttClient`. Owned by the bridge, for all calls of its process; used on the event loop."""

    def __init__(self, stt: SttClient, waits: WaitsOfModel, spoke: Callable[[str], None]) -> None:
        """`spoke(owner)`: words of this call are known."""
        self._stt, self._waits, self._spoke = stt, waits, spoke

    def transcribe(
        self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = ""
    ) -> Pending[str]:
        pending = self._stt.transcribe(pcm, prompt, urgency, owner, language)
        return _Measured(pending, urgency, self._waits, lambda: self._spoke(owner))


class MeasuredTts:
    """A `TtsClient`. Owned by the bridge, for all calls of its process; used on the event loop."""

    def __init__(self, tts: TtsClient, waits: WaitsOfModel) -> None:
        self._tts, self._waits = tts, waits

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Pending[Samples]:
        pending = self._tts.synthesize(clause, speed, urgency, owner, voice, language)
        return _Measured(pending, urgency, self._waits)


class MeasuredStreamedTts(MeasuredTts):
    """A `StreamedTts`: the caller waits for the beginning of a clause. Owned as `MeasuredTts` is."""

    def __init__(self, tts: StreamedTts, waits: WaitsOfModel) -> None:
        super().__init__(tts, waits)
        self._streamed = tts

    async def stream(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> AsyncGenerator[Samples, None]:
        number = self._waits.began(_CLOCK()) if urgency is Urgency.NOW else None
        try:
            async with aclosing(self._streamed.stream(clause, speed, urgency, owner, voice, language)) as pieces:
                async for piece in pieces:
                    if number is not None:
                        self._waits.ended(number, _CLOCK())
                    yield piece
        finally:
            if number is not None:
                self._waits.dropped(number)


def measured_tts(tts: TtsClient, waits: WaitsOfModel) -> TtsClient:
    """The client, measured; streamed if it is."""
    return MeasuredStreamedTts(tts, waits) if isinstance(tts, StreamedTts) else MeasuredTts(tts, waits)


class MeasuredAgent:
    """An `Agent` whose first word callers wait for. Owned by its call; used on the event loop."""

    def __init__(self, agent: Agent, waits: WaitsOfModel) -> None:
        self._agent, self._waits = agent, waits

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        number = self._waits.began(_CLOCK())
        try:
            async with aclosing(self._agent.reply(request)) as parts:
                async for part in parts:
                    self._waits.ended(number, _CLOCK())
                    yield part
        finally:
            self._waits.dropped(number)

    def played(self, text: str) -> None:
        self._agent.played(text)

    def greeting_played(self, text: str) -> None:
        self._agent.greeting_played(text)

    def saved(self) -> Any:
        return self._agent.saved()

    def restore(self, saved: Any) -> None:
        self._agent.restore(saved)

    def ended(self) -> None:
        self._agent.ended()
