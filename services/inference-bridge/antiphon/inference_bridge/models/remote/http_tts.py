"""Speech from a service by URL, as the OpenAI API has it: `POST audio/speech`, read while it comes.

Bounded: bytes and seconds of an answer, and requests as `http_service` has it. An answer that is not needed any more
is closed at once. A service that refuses an optional field (`language`, `speed`, raw samples) is asked without it, and
if it speaks then, the field is not sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import httpx2
import numpy as np

from antiphon.inference_bridge.models.remote.http_service import WARM_SECONDS, Asked, HttpService, error_text
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError, says_of
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.tts.speech_stream import NotSpeechError, SilenceTrimmer, SpeechDecoder
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples

log = logging.getLogger(__name__)

MAX_SECONDS: Final = 120
"""Of speech for one clause, which has at most 300 characters."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of one answer: two minutes of two channels at 32 kHz."""
FIRST_SECONDS: Final = 10.0
"""Until the first byte, and as long for a place among the requests at once."""
BETWEEN_SECONDS: Final = 5.0
"""Between two pieces."""
WHOLE_SECONDS: Final = 60.0
"""For all pieces of an answer, without the time that its consumer takes."""
_PIECE: Final = 24_000
"""Bytes that are decoded before other tasks get the event loop."""
_OPTIONAL: Final = ("language", "speed", "response_format")
_REFUSED_AS: Final = (400, 422)


class HttpTts:
    """A `TtsClient` that asks one service by URL.

    Owned by the bridge, for all calls of its process, which closes it; used on the event loop.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str,
        voice: str,
        prepare: Callable[[str], str] = str,
        language: str = "",
        on_change: Callable[[str | None], None] = lambda _: None,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        """`url`: such as http://127.0.0.1:8000/v1. `voice`, `language`: of calls that ask for none.

        `prepare`: takes out of a text what no voice may read. `on_change`: called with what is wrong when the service
        fails, and with None when it answers again.
        """
        self._service = HttpService("speech service", "ANTIPHON_TTS", "audio/speech", url, model, key, on_change)
        self._model, self._voice, self._language, self._prepare = model, voice, language, prepare
        self._first_seconds = first_seconds
        self._left_out: set[str] = set()
        """Optional fields that the service refuses."""

    async def close(self) -> None:
        """End the connections."""
        await self._service.close()

    async def check(self, within: float = WARM_SECONDS) -> None:
        """Have a word synthesised, which loads the model; `SpeechServiceError` says what is wrong."""
        async with aclosing(self._speech("Hello.", 1.0, Urgency.SOON, "", "", "", within)) as pieces:
            async for _ in pieces:
                pass

    def stream(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> AsyncGenerator[Samples, None]:
        """The clause as samples at `SPEECH_RATE`, each piece as soon as it is there; to be closed by the caller.

        Raises `BusyError` or `SpeechServiceError`, perhaps behind some pieces. Nothing for a text without words.
        """
        return self._speech(clause, speed, urgency, owner, voice, language, self._first_seconds)

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Asked[Samples]:
        """The whole clause at once, as `TtsClient` has it."""
        return Asked(partial(_gathered, self.stream(clause, speed, urgency, owner, voice, language)))

    async def _speech(
        self, clause: str, speed: float, urgency: Urgency, owner: str, voice: str, language: str, within: float
    ) -> AsyncGenerator[Samples, None]:
        text = self._prepare(clause).strip()
        if not text:
            return
        async with self._service.place(owner, urgency, self._first_seconds):
            for last in (False, True):
                begun = False
                try:
                    async with aclosing(self._asked(text, speed, voice, language, within)) as pieces:
                        async for samples in pieces:
                            begun = True
                            yield samples
                except SpeechServiceError as error:
                    if last or begun or not error.again:
                        self._service.report(error)
                        raise
                    await asyncio.sleep(error.wait)
                else:
                    self._service.report(None)
                    return

    async def _asked(
        self, text: str, speed: float, voice: str, language: str, within: float
    ) -> AsyncGenerator[Samples, None]:
        """One clause; optional fields that the service refuses are left out, one after the other."""
        dropped: list[str] = []
        while True:
            body = self._body(text, speed, voice, language, dropped)
            response = await self._send(body, within)
            try:
                if response.status_code == 200:
                    self._remember(dropped)
                    async with aclosing(self._read(response)) as pieces:
                        async for samples in pieces:
                            yield samples
                    return
                said = await error_text(response)
                refusal = _refused_field(response.status_code, said, body)
                if not refusal:
                    raise self._refused(response, said, str(body["voice"]))
                dropped.append(refusal)
            finally:
                await response.aclose()

    async def _send(self, body: dict[str, Any], within: float) -> httpx2.Response:
        """The answer's head."""
        try:
            async with asyncio.timeout(within):
                return await self._service.post(json=body)
        except TimeoutError:
            raise _late(within) from None

    def _refused(self, response: httpx2.Response, said: str, voice: str) -> SpeechServiceError:
        if response.status_code == 404 and "voice" in said.lower() and "model" not in said.lower():
            fix = f"Correct ANTIPHON_VOICE. {says_of(said)}"
            return SpeechServiceError(f"it has no voice {voice} (status 404)", fix, lasting=True)
        wrong = f"Is ANTIPHON_VOICE ({voice}) or ANTIPHON_TTS_MODEL ({self._model}) wrong?"
        return self._service.names.refused(response, said, wrong)

    def _body(self, text: str, speed: float, voice: str, language: str, dropped: list[str]) -> dict[str, Any]:
        left_out = self._left_out.union(dropped)
        body: dict[str, Any] = {
            "model": self._model,
            "input": text,
            "voice": voice or self._voice,
            "response_format": "wav" if "response_format" in left_out else "pcm",
        }
        optional = {"language": language or self._language, "speed": speed if speed != 1.0 else None}
        return body | {name: value for name, value in optional.items() if value and name not in left_out}

    def _remember(self, dropped: list[str]) -> None:
        """The service speaks without these fields, and refused them."""
        for name in dropped:
            what = "raw samples: WAV is asked for" if name == "response_format" else f"{name}: it is left out"
            log.warning("the speech service %s refuses %s from now on", self._service.url, what)
        self._left_out.update(dropped)

    async def _read(self, response: httpx2.Response) -> AsyncGenerator[Samples, None]:
        headers = response.headers
        decoder = SpeechDecoder(headers.get("content-type", ""), headers.get("x-sample-rate", ""))
        trimmer = SilenceTrimmer()
        received = spoken = 0
        left = WHOLE_SECONDS
        try:
            chunks = response.aiter_raw()
            while True:
                began = time.monotonic()
                if (chunk := await _next(chunks, left)) is None:
                    break
                left -= time.monotonic() - began  # without the time that the consumer takes: speech may be held
                received += len(chunk)
                if received > MAX_BYTES or spoken > MAX_SECONDS * SPEECH_RATE:
                    bound = f"{MAX_BYTES} bytes or {MAX_SECONDS} s of speech"
                    raise SpeechServiceError(f"it sends more than {bound} for one clause", "Its log may say why.")
                for at in range(0, len(chunk), _PIECE):
                    samples = trimmer.feed(decoder.feed(chunk[at : at + _PIECE]))
                    spoken += samples.size
                    if samples.size:
                        yield samples
                    if at:
                        await asyncio.sleep(0)
            for samples in (trimmer.feed(decoder.end()), trimmer.end()):
                if samples.size:
                    yield samples
        except NotSpeechError as error:
            raise SpeechServiceError(f"it sends {error.kind}", f"{error.fix[:1].upper()}{error.fix[1:]}.") from None
        except (httpx2.HTTPError, OSError) as error:
            raise self._service.names.unreachable(error) from None


async def _next(chunks: AsyncIterator[bytes], left: float) -> bytes | None:
    """The next piece of a body; None behind the last one. `left`: seconds for all of them."""
    if left <= 0:
        raise SpeechServiceError(f"it takes more than {WHOLE_SECONDS:.0f} s for one clause", "Is it overloaded?")
    try:
        async with asyncio.timeout(min(BETWEEN_SECONDS, left)):
            return await anext(chunks, None)
    except TimeoutError:
        raise _late(BETWEEN_SECONDS) from None


def _late(seconds: float) -> SpeechServiceError:
    fix = "Is it overloaded, or still loading its model? Its log says more."
    return SpeechServiceError(f"it sends nothing for {seconds:g} s", fix)


def _refused_field(status: int, said: str, body: dict[str, Any]) -> str:
    """The optional field that this answer refuses; empty if it refuses something else."""
    if status not in _REFUSED_AS:
        return ""
    said = said.lower()
    sent = [name for name in _OPTIONAL if name in body and body[name] != "wav"]
    for name in sent:
        if name in said or (name == "response_format" and "pcm" in said):
            return name
    # a refusal that names none: try without one after the other, the samples' format last
    return sent[0] if len(sent) > 1 and "voice" not in said else ""


async def _gathered(pieces: AsyncGenerator[Samples, None]) -> tuple[Samples, float]:
    """A clause as a whole, and the milliseconds until its end."""
    began = time.perf_counter()
    async with aclosing(pieces) as stream:
        parts = [samples async for samples in stream]
    samples = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
    return samples, (time.perf_counter() - began) * 1000
