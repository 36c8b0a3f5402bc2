"""Speech to text by a service with a URL, as the OpenAI API has it: `POST audio/transcriptions` with a WAV file.

Bounded: bytes of an answer, requests at once, requests of one call, seconds. A request whose result is not needed any
more is closed at once. The service is not trusted: what is no transcript is an error that says so, and annotations such
as `[music]` are no words.
"""

from __future__ import annotations

import asyncio
import email.utils
import io
import json
import logging
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import httpx2
import numpy as np

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.stt.chunking import RATE
from antiphon.inference_bridge.stt.repeats import has_no_voice, is_of
from antiphon.inference_bridge.stt.transcriber import has_words, without_annotations

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Requests that are with the service; further ones wait."""
MAX_OUTSTANDING: Final = 4
"""Requests of one call that wait or are with the service: a long turn in pieces. Above it they fail at once."""
MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer; 30 s of speech as `verbose_json` with the times of all words have some 20 KB."""
MAX_TRANSCRIPT: Final = 4000
"""Characters of 30 s of speech."""
MAX_PROMPT: Final = 2000
MAX_WAIT: Final = 1.0
"""Seconds of `Retry-After` that a caller waits for; a longer one is a failure."""
CONNECT_SECONDS: Final = 3.0
WARM_SECONDS: Final = 120.0
"""For the check at the start: a service may load its model first."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two checks; doubled from the first on."""
_SHOWN: Final = 200
_NO_SPEECH: Final = 0.6
_UNLIKELY: Final = -1.0
"""Whisper's own rule for a segment without speech; `verbose_json` has the two numbers."""


class TranscriptionServiceError(Exception):
    """The service did not transcribe. `what` names no address: the stack's public health page shows it."""

    def __init__(self, what: str, fix: str, again: bool = False, wait: float = 0.2) -> None:
        """`again`: another try may help, after `wait` seconds."""
        super().__init__(f"{what}. {fix}")
        self.what, self.fix, self.again, self.wait = what, fix, again, wait


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
        self._url = f"{url.rstrip('/')}/audio/transcriptions"
        self._model, self._keyed, self._language, self._timeout = model, bool(key), language, timeout
        self._on_change = on_change
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),  # `_asked` sees to the rest
            limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            follow_redirects=False,
        )
        self._places = asyncio.Semaphore(AT_ONCE)
        self._outstanding: Counter[str] = Counter()
        self._takes_prompts = True
        self._trouble: str | None = None
        self._failed = asyncio.Event()
        self._failed.set()

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    def transcribe(
        self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = ""
    ) -> _Transcription:
        """At most 30 s, s16le mono at 16 kHz. The result may be `BusyError` or `TranscriptionServiceError`."""
        return _Transcription(self._transcribe(pcm, prompt, owner, primary(language or self._language)))

    async def check(self, within: float = WARM_SECONDS) -> None:
        """Have a second of sound transcribed, which loads the model; else `TranscriptionServiceError`."""
        sound = np.random.default_rng(0).normal(0, np.linspace(10, 1000, RATE)).astype("<i2")
        await self._asked(sound.tobytes(), "", primary(self._language), within)
        self._report(None)

    async def watch(self) -> None:
        """Check at the start, and after each failure until it answers; runs until it is cancelled."""
        while True:
            await self._failed.wait()
            pause = _FIRST_PAUSE
            while True:
                try:
                    await self.check()
                    break
                except TranscriptionServiceError as error:
                    self._report(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            self._failed.clear()

    async def _transcribe(self, pcm: bytes, prompt: str, owner: str, language: str) -> tuple[str, float]:
        """The text, and the milliseconds that the service took."""
        if has_no_voice(np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32) / 32768):
            return "", 0.0
        async with self._place(owner):
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
            except TranscriptionServiceError as error:
                if last or not error.again:
                    self._report(error)
                    self._failed.set()
                    raise
                await asyncio.sleep(error.wait)
            else:
                self._report(None)
                return text
        raise AssertionError

    @asynccontextmanager
    async def _place(self, owner: str) -> AsyncIterator[None]:
        if owner and self._outstanding[owner] >= MAX_OUTSTANDING:
            raise BusyError(f"{MAX_OUTSTANDING} requests of this call are with the transcription service already")
        self._outstanding[owner] += 1
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._places.acquire()
            except TimeoutError:
                raise BusyError("all places at the transcription service are taken") from None
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._outstanding[owner] -= 1
            if not self._outstanding[owner]:
                del self._outstanding[owner]

    async def _asked(self, pcm: bytes, prompt: str, language: str, within: float) -> str:
        """One request; without the prompt, from then on, if the service refuses it."""
        sends_prompt = bool(prompt) and self._takes_prompts
        fields = {"model": self._model, "response_format": "json"}
        fields |= {"language": language} if language else {}
        fields |= {"prompt": prompt} if sends_prompt else {}
        status, headers, body = await self._post(_wav(pcm), fields, within)
        if status == 200:
            return transcript_of(body, headers.get("content-type", ""))
        said = " ".join(body.decode("utf-8", "replace").split())
        if sends_prompt and status in (400, 422) and "prompt" in said.lower():
            log.warning("the transcription service %s refuses prompts: they are left out from now on", self._url)
            self._takes_prompts = False
            return await self._asked(pcm, "", language, within)
        raise refused(status, headers, said, self._model, language, self._keyed)

    async def _post(self, file: bytes, fields: dict[str, str], within: float) -> tuple[int, httpx2.Headers, bytes]:
        upload = {"file": ("speech.wav", file, "audio/wav")}
        try:
            request = self._http.build_request("POST", self._url, data=fields, files=upload)
            async with asyncio.timeout(within):
                response = await self._http.send(request, stream=True)
                try:
                    return response.status_code, response.headers, await _bounded(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            fix = "Is it overloaded, or still loading its model? ANTIPHON_STT_TIMEOUT says how long it is awaited."
            raise TranscriptionServiceError(f"it does not answer within {within:g} s", fix) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise unreachable(error, self._url) from None

    def _report(self, error: TranscriptionServiceError | None) -> None:
        """Once for each change."""
        what = error.what if error else None
        if what == self._trouble:
            return
        if error:
            log.warning("the transcription service %s fails: %s. %s", self._url, error.what, error.fix)
        else:
            log.info("the transcription service %s answers", self._url)
        self._trouble = what
        self._on_change(what)


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
                raise TranscriptionServiceError(f"it sends more than {MAX_ANSWER} bytes", "Is it a speech service?")
    return bytes(body)


def transcript_of(body: bytes, kind: str) -> str:
    """The text of an answer: `json`, `verbose_json`, or plain text; `TranscriptionServiceError` for anything else."""
    text = body.decode("utf-8", "replace").strip()
    kind = kind.partition(";")[0].strip().lower()
    if kind == "text/plain" and not text.startswith(("{", "<")):
        return _cleaned(text)
    fix = "Is ANTIPHON_STT_URL a transcription service's? It begins: " + " ".join(text.split())[:_SHOWN]
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise TranscriptionServiceError(f"its answer is no JSON ({kind or 'no type'})", fix) from None
    if not isinstance(answer, dict):
        raise TranscriptionServiceError("its answer is no JSON object", fix)
    segments = answer.get("segments")
    if isinstance(segments, list) and segments and all(isinstance(part, dict) for part in segments):
        texts = [part.get("text") for part in segments if not _is_noise(part)]
        if all(isinstance(part, str) for part in texts):
            return _cleaned(" ".join(texts))
    if not isinstance(answer.get("text"), str):
        raise TranscriptionServiceError("its answer has no text", fix)
    return _cleaned(answer["text"])


def _is_noise(segment: dict[str, Any]) -> bool:
    no_speech, score = segment.get("no_speech_prob"), segment.get("avg_logprob")
    if not isinstance(no_speech, int | float) or not isinstance(score, int | float):
        return False
    return no_speech > _NO_SPEECH and score < _UNLIKELY


def _cleaned(text: str) -> str:
    text = without_annotations(text)[:MAX_TRANSCRIPT]
    return text if has_words(text) else ""


def refused(
    status: int, headers: httpx2.Headers, said: str, model: str, language: str, keyed: bool
) -> TranscriptionServiceError:
    """What a status that is no success means. `said`: its text. `keyed`: a key was sent."""
    says = f"It says: {said[:_SHOWN]}" if said else "It says nothing more."
    if status in (401, 403):
        fix = "Correct ANTIPHON_STT_API_KEY." if keyed else "Set ANTIPHON_STT_API_KEY."
        return TranscriptionServiceError(f"it does not accept the key (status {status})", f"{fix} {says}")
    if status == 404 and "model" in said.lower():
        fix = f"Load it there, or correct ANTIPHON_STT_MODEL. {says}"
        return TranscriptionServiceError(f"it has no model {model} (status 404)", fix)
    if status == 404:
        fix = "Correct ANTIPHON_STT_URL; most such URLs end in /v1, without audio/transcriptions."
        return TranscriptionServiceError("it has no audio/transcriptions (status 404)", fix)
    if status == 413:
        fix = f"A request has up to 1 MB: raise the limit of the service, or of the proxy in front of it. {says}"
        return TranscriptionServiceError("it refuses audio of this length (status 413)", fix)
    if status == 429:
        wait = retry_after(headers.get("retry-after", ""), time.time())
        fix = f"Its limit is reached: ask for a higher one, or take fewer calls. {says}"
        again = wait is None or wait <= MAX_WAIT
        return TranscriptionServiceError("it has too many requests (status 429)", fix, again, wait or 0.2)
    if 300 <= status < 400:
        there = headers.get("location", "?")[:_SHOWN]
        fix = f"No redirect is followed: set ANTIPHON_STT_URL to the address that it names, {there}, if that is right."
        return TranscriptionServiceError(f"it redirects (status {status})", fix)
    if status in (400, 422):
        fix = f"Is ANTIPHON_STT_MODEL ({model}) wrong, or the language {language or '(none)'} unknown to it? {says}"
        return TranscriptionServiceError(f"it refuses the request (status {status})", fix)
    return TranscriptionServiceError(f"it answers with status {status}", says, again=status >= 500)


def unreachable(error: Exception, url: str) -> TranscriptionServiceError:
    """What a failed connection means."""
    text = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    where = f"Does it run, and is {url} right?"
    if isinstance(error, httpx2.TimeoutException):
        return TranscriptionServiceError("it can't be reached (timeout)", where)
    if isinstance(error, httpx2.ConnectError):
        return TranscriptionServiceError(f"it can't be reached ({text})", where, again=True)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | ValueError):
        return TranscriptionServiceError(f"its address can't be used ({text})", "Correct ANTIPHON_STT_URL.")
    return TranscriptionServiceError(f"its answer is cut off or no HTTP ({text})", "Its log may say why.", again=True)


def retry_after(value: str, now: float) -> float | None:
    """Seconds of the header `Retry-After` (RFC 9110, 10.2.3), a number or a date; None for none."""
    value = value.strip()
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


class _Transcription:
    """The `Pending` of one request."""

    def __init__(self, work: Any) -> None:
        self.work_ms = 0.0
        self._task: asyncio.Task[tuple[str, float]] = asyncio.create_task(work)
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def __await__(self) -> Generator[Any, None, str]:
        text, self.work_ms = yield from asyncio.shield(self._task).__await__()
        return text

    def promote(self, urgency: Urgency) -> None:
        """Nothing to do: the service has the request already, or will have it soon."""

    def cancel(self) -> None:
        """The request is closed; the service may stop."""
        self._task.cancel()
