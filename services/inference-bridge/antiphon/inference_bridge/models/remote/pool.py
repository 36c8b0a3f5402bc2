"""The bridge's side of models on NATS: ask a worker, ask another one if it is busy, slow or dead, then fail.

The call that awaits the work gets `BusyError` or `WorkerError`; it then plays a phrase that was made beforehand.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Generic, TypeVar

import nats.errors
import numpy as np
from nats.aio.client import Client

from antiphon.inference_bridge.models.clients import Pending
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.stt.chunking import RATE
from antiphon.inference_bridge.tts.synthesizer import Samples
from antiphon.runtime import telemetry
from antiphon.runtime.nats import service_discovery
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
SPEECH_SECONDS: Final = 30.0
"""Seconds for all pieces of a transcription, or of a clause as speech."""
_ASK_REGISTER_SECONDS: Final = 0.2
MAX_OUTSTANDING: Final = 4
"""Requests of one call that are with workers: a long turn in pieces and a clause. Above it they fail at once, so that
one call does not keep all workers busy."""
MAX_PIECES: Final = 1000
"""Messages of one answer; five minutes of speech are 300."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of one answer; a clause of `wire.MAX_TEXT` characters, spoken slowly, has 14 MB."""
MAX_SPEECH: Final = 300 * wire.PIECE
"""Bytes of a clause: five minutes."""
MAX_TRANSCRIPT: Final = 4000
"""Characters of 30 s of speech."""
_SLICE_SECONDS: Final = 0.002
"""Time after which other tasks get the event loop, while pieces are there already."""
_MAX_PENDING: Final = 8192
"""Pieces that wait in the subscription while the earlier ones are used: more than any answer has."""


class WorkerError(Exception):
    """No worker has answered in time, or the last one that was asked has failed."""


class _Request(Generic[T]):
    """The `Pending` of a request to a worker.

    A worker can't be told that its result is not needed. So a cancelled request goes on, unawaited, until its worker
    has answered or is given up, and counts as its owner's for as long.
    """

    def __init__(self, work: Callable[[Callable[[], bool]], Coroutine[Any, Any, tuple[T, float]]]) -> None:
        """`work` gets a function that says whether the result is still wanted."""
        self.work_ms = 0.0
        self._wanted = True
        self.task = asyncio.create_task(work(lambda: self._wanted))
        self.task.add_done_callback(self._retrieve_exception)

    @staticmethod
    def _retrieve_exception(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # a failure that no call awaits any more is not reported by asyncio

    def __await__(self) -> Generator[Any, None, T]:
        result, self.work_ms = yield from asyncio.shield(self.task).__await__()
        return result

    def promote(self, urgency: Urgency) -> None:
        """Nothing to do: the worker has the request already."""

    def cancel(self) -> None:
        """No other worker is asked if this one fails."""
        self._wanted = False


async def _refused(wanted: Callable[[], bool]) -> tuple[Any, float]:
    raise BusyError(f"{MAX_OUTSTANDING} requests of this call are with the workers already")


class RemoteModels:
    """An `SttClient` and a `TtsClient` that ask workers on NATS.

    Owned by the bridge, for all calls of its process; used on the event loop.
    """

    def __init__(self, client: Client, language: str = "") -> None:
        """`client`: the bridge's connection, which outlives this object.

        `language`: of utterances for which none is named; empty: the worker's own.
        """
        self._client, self._language = client, language
        self._outstanding: Counter[str] = Counter()
        """Requests without an answer, by owner."""

    def transcribe(
        self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = ""
    ) -> Pending[str]:
        """`pcm`: s16le mono at 16 kHz; `ValueError` if it is longer than a worker takes (`wire.MAX_PCM`)."""
        if len(pcm) > wire.MAX_PCM:
            raise ValueError(f"{len(pcm)} bytes of audio: a worker takes {wire.MAX_PCM}, longer turns go in pieces")
        within = STT_TIMEOUT + STT_TIMEOUT_PER_S * len(pcm) / (2 * RATE)
        language = (language or self._language)[: wire.MAX_LANGUAGE]
        more = [language] if language else []
        return self._request(partial(self._transcribe, wire.pack(prompt[: wire.MAX_TEXT], pcm, *more), within), owner)

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Pending[Samples]:
        """Mono samples at `SPEECH_RATE`; text beyond `wire.MAX_TEXT` is left out."""
        chosen = [voice, language] if voice or language else []
        return self._request(partial(self._synthesize, wire.pack(clause[: wire.MAX_TEXT], speed, *chosen)), owner)

    def _request(
        self, work: Callable[[Callable[[], bool]], Coroutine[Any, Any, tuple[T, float]]], owner: str
    ) -> _Request[T]:
        if not owner:
            return _Request(work)
        if self._outstanding[owner] >= MAX_OUTSTANDING:
            return _Request(_refused)
        request = _Request(work)
        self._outstanding[owner] += 1
        request.task.add_done_callback(lambda _: self._answered(owner))
        return request

    def _answered(self, owner: str) -> None:
        self._outstanding[owner] -= 1
        if not self._outstanding[owner]:
            del self._outstanding[owner]

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
        """A worker for language models is in the register when its chat server has answered."""
        found = await service_discovery.instances(self._client, wire.SERVICE, _ASK_REGISTER_SECONDS)
        if not any(each.get("kind") == "llm" for each in found):
            raise WorkerError("no worker for llm is in the register")

    async def _transcribe(self, request: bytes, within: float, wanted: Callable[[], bool]) -> tuple[str, float]:
        async for kind, value, more in self._answers("stt", request, within, wanted):
            if kind == "text" and isinstance(value, str):
                return value[:MAX_TRANSCRIPT], _work_ms(more)
        raise WorkerError("no worker for stt gave an answer")

    async def _synthesize(self, request: bytes, wanted: Callable[[], bool]) -> tuple[Samples, float]:
        pcm = bytearray()
        async for kind, value, more in self._answers("tts", request, TTS_TIMEOUT, wanted):
            if kind == "again":
                pcm.clear()
            elif kind == "pcm" and isinstance(value, bytes):
                pcm += value
                if len(pcm) > MAX_SPEECH:
                    raise WorkerError(f"a worker for tts sent more than {MAX_SPEECH} bytes for one clause")
                if len(more) > 1 and more[1]:
                    whole = bytes(pcm[: len(pcm) // 2 * 2])
                    return np.frombuffer(whole, dtype="<i2").astype(np.int16), _work_ms(more)
        raise WorkerError("no worker for tts gave an answer")

    async def _answers(
        self, kind: wire.Kind, request: bytes, timeout: float, wanted: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[tuple[str, Any, list[Any]], None]:
        """What a worker answers, piece by piece; `again` when another worker begins from the start."""
        failure = f"no worker for {kind} answers on NATS"
        busy = False
        for attempt in range(ATTEMPTS):
            if attempt and not wanted():
                break
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
                except (nats.errors.Error, MalformedError, WorkerError) as error:
                    failure = str(error) or type(error).__name__
        raise BusyError(failure) if busy else WorkerError(failure)


def _work_ms(fields: list[Any]) -> float:
    """What the work took, as the worker says; 0 for anything else."""
    return float(fields[0]) if fields and isinstance(fields[0], int | float) else 0.0


async def pieces_of(
    client: Client, kind: wire.Kind, request: bytes, timeout: float, within: float = SPEECH_SECONDS
) -> AsyncGenerator[list[Any], None]:
    """What one worker answers; the consumer ends it.

    `TimeoutError` when nothing comes for `timeout` seconds, or when all of it takes more than `within` seconds, without
    the time that the consumer takes. `WorkerError` for more than `MAX_PIECES` pieces or `MAX_BYTES`.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, pending_msgs_limit=_MAX_PENDING, pending_bytes_limit=MAX_BYTES)
    pieces = size = 0
    left, breathed = within, time.monotonic()
    try:
        await client.publish(subjects.worker(kind), request, reply=inbox, headers=telemetry.trace_headers() or None)
        while True:
            began = time.monotonic()
            if began - breathed > _SLICE_SECONDS:
                await asyncio.sleep(0)
                breathed = time.monotonic()
            async with asyncio.timeout(min(timeout, max(0.0, left))):
                message = await subscription.next_msg(timeout=None)
            left -= time.monotonic() - began
            if message.headers and message.headers.get("Status") == "503":
                raise nats.errors.NoRespondersError
            pieces, size = pieces + 1, size + len(message.data)
            if pieces > MAX_PIECES or size > MAX_BYTES:
                raise WorkerError(f"a worker for {kind} sent more than {MAX_PIECES} pieces or {MAX_BYTES} bytes")
            yield wire.unpack(message.data, str)
    finally:
        await subscription.unsubscribe()
