"""Speech to text by a service with a URL, as the OpenAI API has it: `POST audio/transcriptions` with a WAV file.

Bounded: bytes and seconds of an answer, and requests as `http_service` has it. A request whose result is not needed any
more is closed at once. The service is not trusted: what is no transcript is an error that says so, and annotations such
as `[music]` are no words.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
import wave
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import httpx2
import numpy as np

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.models.remote.http_service import WARM_SECONDS, Asked, HttpService, error_text
from antiphon.inference_bridge.models.remote.speech_service import SHOWN, SpeechServiceError, says_of
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.stt.chunking import RATE
from antiphon.inference_bridge.stt.repeats import has_no_voice, is_of
from antiphon.inference_bridge.stt.transcriber import has_words, without_annotations

log = logging.getLogger(__name__)

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer; 30 s of speech as `verbose_json` with the times of all words have some 20 KB."""
MAX_TRANSCRIPT: Final = 4000
"""Characters of 30 s of speech."""
MAX_PROMPT: Final = 2000
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two checks; doubled from the first on."""
_AGAIN_AFTER: Final = 0.2
"""Seconds before the second try, where the service names none."""
_NO_SPEECH: Final = 0.6
_UNLIKELY: Final = -1.0
"""Whisper's own rule for a segment without speech; `verbose_json` has the two numbers."""


class HttpStt:
    """An `SttClient` that asks one service by URL.

    Owned by the bridge, for all calls of its process, which closes it; used on the event loop.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        language: str = "",
        timeout: float = 10.0,
        on_change: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """`url`: such as http://127.0.0.1:8000/v1. `language`: of calls that ask for none; empty: the service guesses.

        `timeout`: seconds for one answer. `on_change`: called with what is wrong when the service fails, and with None
        when it answers again.
        """
        self._model, self._language, self._timeout = model, language, timeout
        self._service = HttpService(
            "transcription service", "ANTIPHON_STT", "audio/transcriptions", url, model, key, on_change
        )
        self._takes_prompts = True
        self._failed = asyncio.Event()
        self._failed.set()

    async def close(self) -> None:
        """End the connections."""
        await self._service.close()

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = "") -> Asked[str]:
        """At most 30 s, s16le mono at 16 kHz. The result may be `BusyError` or `SpeechServiceError`."""
        language = primary(language or self._language)
        return Asked(partial(self._transcribe, pcm, prompt, owner, language), is_shared=True)

    async def check(self, within: float = WARM_SECONDS) -> None:
        """Have a second of sound transcribed, which loads the model; else `SpeechServiceError`."""
        sound = np.random.default_rng(0).normal(0, np.linspace(10, 1000, RATE)).astype("<i2")
        await self._asked(sound.tobytes(), "", primary(self._language), within)
        self._service.report(None)

    async def watch(self) -> None:
        """Check at the start, and after each failure until it answers; runs until it is cancelled."""
        while True:
            await self._failed.wait()
            pause = _FIRST_PAUSE
            while True:
                try:
                    await self.check()
                    break
                except SpeechServiceError as error:
                    self._service.report(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            self._failed.clear()

    async def _transcribe(self, pcm: bytes, prompt: str, owner: str, language: str) -> tuple[str, float]:
        """The text, and the milliseconds that the service took."""
        if has_no_voice(np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32) / 32768):
            return "", 0.0
        async with self._service.place(owner, Urgency.NOW, self._timeout):  # first come, first served
            began = time.perf_counter()
            text = await self._with_patience(pcm, prompt[:MAX_PROMPT], language)
            if prompt and has_words(text) and is_of(prompt, text):  # the prompt itself, read out of a noise
                text = text if has_words(await self._with_patience(pcm, "", language)) else ""
            return text, (time.perf_counter() - began) * 1000

    async def _with_patience(self, pcm: bytes, prompt: str, language: str) -> str:
        """One answer, after a second try where that may help."""
        for last in (False, True):
            try:
                text = await self._asked(pcm, prompt, language, self._timeout)
            except SpeechServiceError as error:
                if last or not error.again:
                    self._service.report(error)
                    self._failed.set()
                    raise
                await asyncio.sleep(error.wait or _AGAIN_AFTER)
            else:
                self._service.report(None)
                return text
        raise AssertionError

    async def _asked(self, pcm: bytes, prompt: str, language: str, within: float) -> str:
        """One request; without the prompt, from then on, if the service refuses it."""
        sends_prompt = bool(prompt) and self._takes_prompts
        fields = {"model": self._model, "response_format": "json"}
        fields |= {"language": language} if language else {}
        fields |= {"prompt": prompt} if sends_prompt else {}
        upload = {"file": ("speech.wav", _wav(pcm), "audio/wav")}
        try:
            async with asyncio.timeout(within):
                response = await self._service.post(data=fields, files=upload)
                try:
                    if response.status_code == 200:
                        return transcript_of(await _bounded(response), response.headers.get("content-type", ""))
                    said = await error_text(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            fix = "Is it overloaded, or still loading its model? ANTIPHON_STT_TIMEOUT says how long it is awaited."
            raise SpeechServiceError(f"it does not answer within {within:g} s", fix) from None
        except (httpx2.HTTPError, OSError) as error:
            raise self._service.names.unreachable(error) from None
        if sends_prompt and response.status_code in (400, 422) and "prompt" in said.lower():
            log.warning(
                "the transcription service %s refuses prompts: they are left out from now on", self._service.url
            )
            self._takes_prompts = False
            return await self._asked(pcm, "", language, within)
        if response.status_code == 413:
            limit = "A request has up to 1 MB: raise the limit of the service, or of the proxy in front of it."
            raise SpeechServiceError("it refuses audio of this length (status 413)", f"{limit} {says_of(said)}")
        wrong = f"Is ANTIPHON_STT_MODEL ({self._model}) wrong, or the language {language or '(none)'} unknown to it?"
        raise self._service.names.refused(response, said, wrong)


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(pcm[: len(pcm) // 2 * 2])
    return file.getvalue()


async def _bounded(response: httpx2.Response) -> bytes:
    body = bytearray()
    async with aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MAX_ANSWER:
                raise SpeechServiceError(f"it sends more than {MAX_ANSWER} bytes", "Is it a speech service?")
    return bytes(body)


def transcript_of(body: bytes, kind: str) -> str:
    """The text of an answer: `json`, `verbose_json`, or plain text; `SpeechServiceError` for anything else."""
    text = body.decode("utf-8", "replace").strip()
    kind = kind.partition(";")[0].strip().lower()
    if kind == "text/plain" and not text.startswith(("{", "<")):
        return _cleaned(text)
    fix = "Is ANTIPHON_STT_URL a transcription service's? It begins: " + " ".join(text.split())[:SHOWN]
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise SpeechServiceError(f"its answer is no JSON ({kind or 'no type'})", fix) from None
    if not isinstance(answer, dict):
        raise SpeechServiceError("its answer is no JSON object", fix)
    segments = answer.get("segments")
    if isinstance(segments, list) and segments and all(isinstance(part, dict) for part in segments):
        texts = [part.get("text") for part in segments if not _is_noise(part)]
        if all(isinstance(part, str) for part in texts):
            return _cleaned(" ".join(texts))
    if not isinstance(answer.get("text"), str):
        raise SpeechServiceError("its answer has no text", fix)
    return _cleaned(answer["text"])


def _is_noise(segment: dict[str, Any]) -> bool:
    no_speech, score = segment.get("no_speech_prob"), segment.get("avg_logprob")
    if not isinstance(no_speech, int | float) or not isinstance(score, int | float):
        return False
    return no_speech > _NO_SPEECH and score < _UNLIKELY


def _cleaned(text: str) -> str:
    text = without_annotations(text)[:MAX_TRANSCRIPT]
    return text if has_words(text) else ""
