"""Where a call's model work is done: speech to text and speech, by threads of this process or by workers on NATS.

A call sees a pool and cannot tell which it is.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, Protocol, TypeVar

from antiphon.inference_bridge.hearing.transcriber import Transcriber
from antiphon.inference_bridge.speech.synthesizer import Samples, Synthesizer
from antiphon.inference_bridge.workers import Urgency, Workers

T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """Work that was asked for. Await it for its result."""

    @property
    def work_ms(self) -> float:
        """What the work itself took, without waiting."""

    def __await__(self) -> Generator[Any, None, T_co]: ...

    def promote(self, urgency: Urgency) -> None:
        """Somebody waits for it now."""

    def cancel(self) -> None:
        """Nobody wants it."""


class Hearer(Protocol):
    """Makes text of speech."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        """`pcm`: an utterance, s16le mono at 16 kHz; `prompt`: words to expect."""


class Speaker(Protocol):
    """Makes speech of text."""

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`."""


class ModelPool:
    """Both, each from where it is."""

    def __init__(self, hearer: Hearer, speaker: Speaker) -> None:
        self.transcribe = hearer.transcribe
        self.synthesize = speaker.synthesize


class LocalHearer:
    """On this process's threads."""

    def __init__(self, model: Transcriber, workers: Workers) -> None:
        self._model, self._workers = model, workers

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        return self._workers.submit(partial(self._model.transcribe, pcm, prompt), urgency)


class LocalSpeaker:
    """On this process's threads."""

    def __init__(self, model: Synthesizer, workers: Workers) -> None:
        self._model, self._workers = model, workers

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        return self._workers.submit(partial(self._model.synthesize, clause, speed), urgency)
