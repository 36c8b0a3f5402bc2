"""The bridge's side of models on NATS: ask a worker, ask another one if it is busy, slow or dead, then fail.

The call that awaits the work gets `BusyError` or `WorkerError`; it then plays a phrase that was made beforehand.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

import nats.errors
import numpy as np
from nats.aio.client import Client

from antiphon.inference_bridge.models.clients import Pending
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.stt.chunking import RATE
from antiphon.inference_bridge.tts.synthesizer import Samples
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS: Final = 3
STT_TIMEOUT: Final = 3.0
"""Seconds for a transcription; after that the bridge asks another worker."""
STT_TIMEOUT_PER_S: Final = 0.2
"""More for each second of audio: 29 s of speech take a worker 1.7 s on a core of its own."""
TTS_TIMEOUT: Final = 3.0
"""Seconds between two pieces of speech."""
LLM_TIMEOUT: Final = 2.0
"""Seconds without a sign of life of a language model."""
_MAX_PENDING: Final = 8192
"""Pieces that wait in the subscription while the earlier ones are used: more than any answer has."""


class WorkerError(Exception):
    """No worker has answered in time, or the last one that was asked has failed."""


class _Request(Generic[T]):
    """The `Pending` of a request to a worker."""

    def __init__(self, work: Coroutine[Any, Any, tuple[T, float]]) -> None:
        self.work_ms = 0.0
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._retrieve_exception)

    @staticmethod
    def _retrieve_exception(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # a failure that no call awaits any more is not reported by asyncio

    def __await__(self) -> Generator[Any, None, T]:
        result, self.work_ms = yield from self._task.__await__()
        return result

    def promote(self, urgency: Urgency) -> None:
        """Nothing to do: the worker has the request already."""

    def cancel(self) -> None:
        self._task.cancel()


class RemoteModels:
    """An `SttClient` and a `TtsClient` that ask workers on NATS.

    Owned by the bridge, for all calls of its process; used on the event loop.
    """

    def __init__(self, client: Client) -> None:
        """`client`: the bridge's connection, which outlives this object."""
        self._client = client

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency) -> Pending[str]:
        """`pcm`: s16le mono at 16 kHz; `ValueError` if it is longer than a worker takes (`wire.MAX_PCM`)."""
        if len(pcm) > wire.MAX_PCM:
            raise ValueError(f"{len(pcm)} bytes of audio: a worker takes {wire.MAX_PCM}, longer turns go in pieces")
        within = STT_TIMEOUT + STT_TIMEOUT_PER_S * len(pcm) / (2 * RATE)
        return _Request(self._transcribe(wire.pack(prompt, pcm), within))

    def synthesize(self, clause: str, speed: float, urgency: Urgency) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`; text beyond `wire.MAX_TEXT` is left out."""
        return _Request(self._synthesize(wire.pack(clause[: wire.MAX_TEXT], speed)))

    async def wait_for_worker(self, kind: wire.Kind) -> None:
        """Return when a worker of this kind answers. The bridge takes no calls before that."""
        waiting_since, warned = time.monotonic(), False
        while True:
            try:
                if kind == "stt":
                    await self.transcribe(bytes(32000), "", Urgency.NOW)
                elif kind == "tts":
                    await self.synthesize("Hello.", 1.0, Urgency.NOW)
                else:
                    await self._ready()
            except (WorkerError, BusyError) as error:
                if not warned and time.monotonic() - waiting_since > 5:
                    warned = True
                    log.warning(
                        "waiting for a worker: python -m antiphon.inference_bridge --worker %s (%s)", kind, error
                    )
                await asyncio.sleep(0.5)
            else:
                return

    async def _ready(self) -> None:
        async for kind, _, _ in self._answers("llm", wire.pack("ready", b""), LLM_TIMEOUT):
            if kind == "alive":
                return
        raise WorkerError("no worker for llm gave an answer")

    async def _transcribe(self, request: bytes, within: float) -> tuple[str, float]:
        async for kind, value, more in self._answers("stt", request, within):
            if kind == "text" and isinstance(value, str):
                return value, float(more[0])
        raise WorkerError("no worker for stt gave an answer")

    async def _synthesize(self, request: bytes) -> tuple[Samples, float]:
        pieces: list[bytes] = []
        async for kind, value, more in self._answers("tts", request, TTS_TIMEOUT):
            if kind == "again":
                pieces.clear()
            elif kind == "pcm" and isinstance(value, bytes):
                pieces.append(value)
                if more[1]:
                    return np.frombuffer(b"".join(pieces), dtype="<i2").astype(np.int16), float(more[0])
        raise WorkerError("no worker for tts gave an answer")

    async def _answers(
        self, kind: wire.Kind, request: bytes, timeout: float
    ) -> AsyncGenerator[tuple[str, Any, list[Any]], None]:
        """What a worker answers, piece by piece; `again` when another worker begins from the start."""
        failure = f"no worker for {kind} answers on NATS"
        busy = False
        for attempt in range(ATTEMPTS):
            if attempt:
                log.warning("%s: asking another worker (%s)", kind, failure)
                yield "again", None, []
            async with aclosing(pieces_of(self._client, kind, request, timeout)) as pieces:
                try:
                    async for answer, value, *more in pieces:
                        if answer == "error":
                            failure, busy = str(value), bool(more and more[0])
                            break
                        yield answer, value, more
                except TimeoutError:
                    failure = f"nothing came within {timeout:.0f} s"
                except nats.errors.NoRespondersError:
                    failure = f"no worker for {kind} answers on NATS"
                    await asyncio.sleep(0.1)
                except (nats.errors.Error, MalformedError) as error:
                    failure = str(error) or type(error).__name__
        raise BusyError(failure) if busy else WorkerError(failure)


async def pieces_of(client: Client, kind: wire.Kind, request: bytes, timeout: float) -> AsyncGenerator[list[Any], None]:
    """What one worker answers; `TimeoutError` when nothing comes for `timeout` seconds. The consumer ends it."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, pending_msgs_limit=_MAX_PENDING)
    try:
        await client.publish(subjects.worker(kind), request, reply=inbox)
        while True:
            async with asyncio.timeout(timeout):
                message = await subscription.next_msg(timeout=None)
            if message.headers and message.headers.get("Status") == "503":
                raise nats.errors.NoRespondersError
            yield wire.unpack(message.data, str)
    finally:
        await subscription.unsubscribe()
