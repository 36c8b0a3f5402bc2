"""Where a call's model work is done: speech to text and speech, by threads of this process or by workers on NATS.

A call sees a pool and cannot tell which it is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Generator
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.stt.chunking import cut
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.tts.synthesizer import Samples, Synthesizer

T_co = TypeVar("T_co", covariant=True)
MAX_PIECES: Final = 128
"""Pieces of long turns whose text is kept while these turns go on; the oldest are forgotten and transcribed again."""


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


class SttClient(Protocol):
    """Makes text of speech."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        """`pcm`: an utterance, s16le mono at 16 kHz; `prompt`: words to expect."""


class TtsClient(Protocol):
    """Makes speech of text."""

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`."""


class ModelClients:
    """Both, each from where it is. Made by the bridge, for all its calls; used on the event loop."""

    def __init__(self, hearer: SttClient, speaker: TtsClient) -> None:
        self.synthesize = speaker.synthesize
        self._hearer = hearer
        self._heard: OrderedDict[bytes, asyncio.Task[str]] = OrderedDict()
        """By prompt and audio: whole pieces of turns that may still grow."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        """As an `SttClient` does, of any length: longer audio goes to the recogniser in pieces of its window."""
        *before, last = cut(pcm)
        if not before:
            return self._hearer.transcribe(pcm, prompt, urgency)
        known = [self._piece(piece, prompt, urgency) for piece in before]
        return _Joined(known, self._hearer.transcribe(last, prompt, urgency))

    def _piece(self, pcm: bytes, prompt: str, urgency: Urgency) -> asyncio.Task[str]:
        """A piece that will not change any more: a turn is transcribed at each pause, its pieces once."""
        key = hashlib.blake2b(pcm, key=hashlib.blake2b(prompt.encode(), digest_size=32).digest()).digest()
        task = self._heard.pop(key, None)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.ensure_future(_text(self._hearer.transcribe(pcm, prompt, urgency)))
            task.add_done_callback(_look)
        self._heard[key] = task
        while len(self._heard) > MAX_PIECES:
            self._heard.popitem(last=False)
        return task


async def _text(pending: Pending[str]) -> str:
    return await pending


def _look(task: asyncio.Task[str]) -> None:
    if not task.cancelled():
        task.exception()  # one that nobody waits for any more is no error


class _Joined:
    """The `Pending` of an utterance in several pieces."""

    def __init__(self, before: list[asyncio.Task[str]], last: Pending[str]) -> None:
        self._before, self._last = before, last

    @property
    def work_ms(self) -> float:
        """Of the last piece: the others were mostly heard while the caller spoke."""
        return self._last.work_ms

    def __await__(self) -> Generator[Any, None, str]:
        texts = []
        for task in self._before:
            text = yield from asyncio.shield(task).__await__()  # others may wait for it too
            texts.append(text)
        texts.append((yield from self._last.__await__()))
        return " ".join(text for text in texts if text)

    def promote(self, urgency: Urgency) -> None:
        self._last.promote(urgency)

    def cancel(self) -> None:
        """The pieces before the last one are finished: they are wanted when the caller goes on."""
        self._last.cancel()


class LocalStt:
    """On this process's threads."""

    def __init__(self, model: Transcriber, workers: ModelThreads) -> None:
        self._model, self._workers = model, workers

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        return self._workers.submit(partial(self._model.transcribe, pcm, prompt), urgency)


class LocalTts:
    """On this process's threads."""

    def __init__(self, model: Synthesizer, workers: ModelThreads) -> None:
        self._model, self._workers = model, workers

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        return self._workers.submit(partial(self._model.synthesize, clause, speed), urgency)
