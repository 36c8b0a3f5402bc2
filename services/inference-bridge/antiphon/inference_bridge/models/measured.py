"""Clients of speech models whose requests are measured; what they do is what the client inside does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

from antiphon.inference_bridge.models.clients import Pending, StreamedTts, SttClient, TtsClient
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.tts.synthesizer import Samples
from antiphon.runtime.metrics.model_meter import ModelMeter

T = TypeVar("T")


class _Measured(Pending[T]):
    """A `Pending` that several tasks may await: the first that sees its end says so."""

    def __init__(self, inner: Pending[T], meter: ModelMeter) -> None:
        self._inner, self._meter = inner, meter
        self._began = meter.begin()
        self._open = True

    @property
    def work_ms(self) -> float:
        return self._inner.work_ms

    def __await__(self) -> Generator[Any, None, T]:
        try:
            result = yield from self._inner.__await__()
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._end(failed=True)
            raise
        if self._open:
            self._meter.answered(self._began)
        self._end()
        return result

    def promote(self, urgency: Urgency) -> None:
        self._inner.promote(urgency)

    def cancel(self) -> None:
        self._inner.cancel()
        self._end()

    def _end(self, failed: bool = False) -> None:
        if self._open:
            self._open = False
            self._meter.end(failed)


class MeasuredStt:
    """An `SttClient`. Owned by the bridge, for all calls of its process."""

    def __init__(self, inner: SttClient, meter: ModelMeter) -> None:
        self._inner, self._meter = inner, meter

    def transcribe(
        self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = ""
    ) -> Pending[str]:
        return _Measured(self._inner.transcribe(pcm, prompt, urgency, owner, language), self._meter)


class MeasuredTts:
    """A `TtsClient` that has a clause when it is complete. Owned by the bridge, for all calls of its process."""

    def __init__(self, inner: TtsClient, meter: ModelMeter) -> None:
        self._inner, self._meter = inner, meter

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Pending[Samples]:
        return _Measured(self._inner.synthesize(clause, speed, urgency, owner, voice, language), self._meter)


class MeasuredStreamedTts(MeasuredTts):
    """A `StreamedTts`."""

    def __init__(self, inner: StreamedTts, meter: ModelMeter) -> None:
        super().__init__(inner, meter)
        self._stream = inner

    def stream(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> AsyncGenerator[Samples, None]:
        return self._meter.measured(self._stream.stream(clause, speed, urgency, owner, voice, language))


def measured_tts(inner: TtsClient, meter: ModelMeter) -> TtsClient:
    """The client with its times measured; one that streams still does."""
    return MeasuredStreamedTts(inner, meter) if isinstance(inner, StreamedTts) else MeasuredTts(inner, meter)
