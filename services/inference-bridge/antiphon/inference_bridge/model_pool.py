"""Where a call's model work is done: speech to text and speech, by threads of this process or by workers on NATS.

A call sees a pool and cannot tell which it is.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, Protocol, TypeVar

from antiphon.inference_bridge.models import Models
from antiphon.inference_bridge.speech.synthesizer import Samples
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


class ModelPool(Protocol):
    """Both kinds of work."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        """`pcm`: an utterance, s16le mono at 16 kHz."""

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`."""


class LocalPool:
    """A `ModelPool` on this process's threads."""

    def __init__(self, models: Models, workers: Workers) -> None:
        self._models, self._workers = models, workers

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        assert self._models.transcriber is not None
        return self._workers.submit(partial(self._models.transcriber.transcribe, pcm, prompt), urgency)

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        assert self._models.synthesizer is not None
        return self._workers.submit(partial(self._models.synthesizer.synthesize, clause, speed), urgency)
