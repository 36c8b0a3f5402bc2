"""Speech to text and text to speech as a call uses them, whether this process or a worker on NATS does the work.

`LocalStt` and `LocalTts` use threads of this process, `remote.pool.RemoteModels` workers on NATS, `remote.http_tts` a
service by URL; `ChunkedStt` makes one of them take turns of any length. All of them are used on the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.stt.chunking import cut
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.tts.synthesizer import Samples, Synthesizer

T_co = TypeVar("T_co", covariant=True)
MAX_PIECES: Final = 128
"""Pieces of long turns whose text is kept while these turns last; the oldest are dropped and transcribed again."""


class Pending(Protocol[T_co]):
    """Model work under way. Await it for its result, or for the exception that the work raised (`BusyError`, ...).

    The call that asked for it owns it, and uses it on the event loop.
    """

    @property
    def work_ms(self) -> float:
        """What the work itself took, without waiting; 0 before the result is there."""

    def __await__(self) -> Generator[Any, None, T_co]: ...

    def promote(self, urgency: Urgency) -> None:
        """A caller waits for it now."""

    def cancel(self) -> None:
        """The result is not needed any more."""


class SttClient(Protocol):
    """Speech to text. Owned by the bridge, for all calls of its process."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "") -> Pending[str]:
        """`pcm`: an utterance, s16le mono at 16 kHz; `prompt`: words to expect; `owner`: the call."""


class TtsClient(Protocol):
    """Text to speech. Owned by the bridge, for all calls of its process."""

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`. `speed`: 1 is usual; `owner`: the call.

        `voice`, `language`: of the session; empty for those of the process. A voice of `SpeechSupport`, else the result
        is a `ValueError`.
        """


@runtime_checkable
class StreamedTts(TtsClient, Protocol):
    """A `TtsClient` that has the beginning of a clause before its end: a service by URL."""

    def stream(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> AsyncGenerator[Samples, None]:
        """The clause in pieces, each as soon as it is there; the caller closes it."""


class ChunkedStt:
    """An `SttClient` for audio of any length: what is longer than the recogniser's window goes to `stt` in pieces.

    A turn is transcribed at each pause of the caller, its finished pieces once: their texts are kept, `MAX_PIECES` at
    most. Owned by the bridge, for all calls of its process.
    """

    def __init__(self, stt: SttClient) -> None:
        self._stt = stt
        self._pieces: OrderedDict[bytes, asyncio.Task[str]] = OrderedDict()
        """By prompt and audio: whole pieces of turns that may still grow."""

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "") -> Pending[str]:
        """`pcm`: an utterance of any length, s16le mono at 16 kHz; `prompt`: words to expect."""
        *before, last = cut(pcm)
        if not before:
            return self._stt.transcribe(pcm, prompt, urgency, owner)
        known = [self._piece(piece, prompt, urgency, owner) for piece in before]
        return _Joined(known, self._stt.transcribe(last, prompt, urgency, owner))

    def _piece(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str) -> asyncio.Task[str]:
        """The text of a piece that will not change any more; asked for again if the last try failed."""
        key = hashlib.blake2b(pcm, key=hashlib.blake2b(prompt.encode(), digest_size=32).digest()).digest()
        task = self._pieces.pop(key, None)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.ensure_future(_text(self._stt.transcribe(pcm, prompt, urgency, owner)))
            task.add_done_callback(_retrieve_exception)
        self._pieces[key] = task
        while len(self._pieces) > MAX_PIECES:
            self._pieces.popitem(last=False)
        return task


async def _text(pending: Pending[str]) -> str:
    return await pending


def _retrieve_exception(task: asyncio.Task[str]) -> None:
    """A failure that no call awaits any more is not reported by asyncio."""
    if not task.cancelled():
        task.exception()


class _Joined:
    """The `Pending` of an utterance in several pieces."""

    def __init__(self, before: list[asyncio.Task[str]], last: Pending[str]) -> None:
        self._before, self._last = before, last

    @property
    def work_ms(self) -> float:
        """Of the last piece: most of the others were transcribed while the caller spoke."""
        return self._last.work_ms

    def __await__(self) -> Generator[Any, None, str]:
        texts = []
        for task in self._before:
            text = yield from asyncio.shield(task).__await__()  # other transcriptions of the turn may await it too
            texts.append(text)
        texts.append((yield from self._last.__await__()))
        return " ".join(text for text in texts if text)

    def promote(self, urgency: Urgency) -> None:
        self._last.promote(urgency)

    def cancel(self) -> None:
        """The pieces before the last one are kept: the next transcription of the turn needs them."""
        self._last.cancel()


class LocalStt:
    """An `SttClient` that transcribes on threads of this process. Owned by the bridge, for all its calls."""

    def __init__(self, model: Transcriber, threads: ModelThreads) -> None:
        self._model, self._threads = model, threads

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "") -> Pending[str]:
        """At most one window of the recogniser, 30 s; `BusyError` when the threads' queue is full."""
        return self._threads.submit(partial(self._model.transcribe, pcm, prompt), urgency, owner)


class LocalTts:
    """A `TtsClient` that synthesises on threads of this process. Owned by the bridge, for all its calls."""

    def __init__(self, model: Synthesizer, threads: ModelThreads) -> None:
        self._model, self._threads = model, threads

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`; `BusyError` when the threads' queue is full."""
        work = partial(self._model.synthesize, clause, speed, voice, language)
        return self._threads.submit(work, urgency, owner)
