"""Speech to text by URL: what is sent, what is taken for a transcript, and what is said about a service that fails."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from nats.aio.client import Client
from support.models.transcription_server import Answer, TranscriptionServer, transcription_server
from support.processes.bridge import Speak, StartBridge, agent_is_there

from antiphon.inference_bridge.models.clients import ChunkedStt
from antiphon.inference_bridge.models.remote import http_service, http_stt
from antiphon.inference_bridge.models.remote.http_service import AT_ONCE, MAX_OUTSTANDING
from antiphon.inference_bridge.models.remote.http_stt import HttpStt
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process

RATE = 16000


def sound(seconds: float = 1.0) -> bytes:
    """Loud and soft in turn, as speech is."""
    size = int(seconds * RATE)
    level = 100 + 6000 * np.abs(np.sin(np.arange(size) * 12 / RATE))
    return np.asarray(np.random.default_rng(1).normal(0, level), dtype="<i2").tobytes()


@asynccontextmanager
async def service(
    key: str = "", timeout: float = 5.0, language: str = ""
) -> AsyncIterator[tuple[TranscriptionServer, HttpStt, list[str | None]]]:
    changes: list[str | None] = []
    async with transcription_server() as served:
        stt = HttpStt(served.url, "whisper-1", key, language, timeout, changes.append)
        try:
            yield served, stt, changes
        finally:
            await stt.close()


async def test_a_request_has_the_audio_as_wav_with_model_language_prompt_and_key() -> None:
    async with service("sk-1") as (served, stt, changes):
        served.says(" Buenos días. ")
        job = stt.transcribe(sound(1.5), "Anna", Urgency.NOW, "call", "es-MX")
        assert await job == "Buenos días."
        assert job.work_ms > 0
        asked = served.asked[0]
        assert (asked.path, asked.seconds) == ("/v1/audio/transcriptions", 1.5)
        assert asked.headers["authorization"] == "Bearer sk-1"
        assert asked.fields == {"model": "whisper-1", "response_format": "json", "language": "es", "prompt": "Anna"}
        assert changes == []


async def test_without_a_language_none_is_named_and_the_process_has_one_of_its_own() -> None:
    async with service() as (served, stt, _):
        await stt.transcribe(sound(), "", Urgency.NOW)
        assert served.asked[0].fields == {"model": "whisper-1", "response_format": "json"}
    async with service(language="fr") as (served, stt, _):
        await stt.transcribe(sound(), "", Urgency.NOW)
        await stt.transcribe(sound(), "", Urgency.NOW, language="it")
        assert [asked.fields["language"] for asked in served.asked] == ["fr", "it"]


NOISY = {"text": " Thank you.", "segments": [{"text": " Thank you.", "no_speech_prob": 0.9, "avg_logprob": -1.4}]}
SPOKEN = {"text": "x", "segments": [{"text": " One.", "no_speech_prob": 0.1, "avg_logprob": -0.2}, {"text": " Two."}]}


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ('{"text": "Hello."}', "application/json", "Hello."),
        ('{"text": "Hello.", "usage": {"type": "tokens"}}', "application/json; charset=utf-8", "Hello."),
        ('{"text": ""}', "application/json", ""),
        ('{"text": " [BLANK_AUDIO] "}', "application/json", ""),
        ('{"text": "(music) Yes, *coughs* please. ♪"}', "application/json", "Yes, please."),
        ('{"text": "..."}', "application/json", ""),
        (json.dumps(NOISY), "application/json", ""),
        (json.dumps(SPOKEN), "application/json", "One. Two."),
        ('{"text": "Hello.", "segments": null}', "application/json", "Hello."),
        ('{"text": "Hello.", "segments": [1]}', "application/json", "Hello."),
        ("Hello.\n", "text/plain; charset=utf-8", "Hello."),
        ('{"text": "Hello."}', "text/plain", "Hello."),
        (json.dumps({"text": "ab" * 9000}), "application/json", "ab" * (http_stt.MAX_TRANSCRIPT // 2)),
    ],
)
def test_an_answer_in_any_form_of_the_api_is_read_and_cleaned(body: str, kind: str, text: str) -> None:
    assert http_stt.transcript_of(body.encode(), kind) == text


@pytest.mark.parametrize(
    ("answer", "what", "fix"),
    [
        (Answer("bad key", 401), "it does not accept the key (status 401)", "Set ANTIPHON_STT_API_KEY"),
        (Answer("no", 403), "it does not accept the key (status 403)", "Set ANTIPHON_STT_API_KEY"),
        (Answer("Not Found", 404), "it has no audio/transcriptions (status 404)", "Correct ANTIPHON_STT_URL"),
        (Answer("model gone", 404), "it has no model whisper-1 (status 404)", "correct ANTIPHON_STT_MODEL"),
        (Answer("", 413), "it refuses audio of this length (status 413)", "of the proxy"),
        (Answer("", 429, headers={"Retry-After": "30"}), "it has too many requests (status 429)", "limit is reached"),
        (Answer("", 503), "it answers with status 503", "says nothing"),
        (Answer("", 302, headers={"Location": "http://else.invalid"}), "it redirects (status 302)", "else.invalid"),
        (Answer("language xx", 400), "it refuses the request (status 400)", "language xx"),
        (Answer("<html>Hi</html>", kind="text/html"), "its answer is no JSON (text/html)", "<html>Hi"),
        (Answer("<html>Hi</html>", kind="text/plain"), "its answer is no JSON (text/plain)", "<html>Hi"),
        (Answer("{"), "its answer is no JSON (application/json)", "It begins: {"),
        (Answer("[1]"), "its answer is no JSON object", "[1]"),
        (Answer('{"text": null}'), "its answer has no text", "null"),
        (Answer('{"error": "x"}'), "its answer has no text", "error"),
        (Answer("[" * 100_000), "its answer is no JSON (application/json)", "It begins"),
        (Answer(b" " * (http_stt.MAX_ANSWER + 1)), "it sends more than 1048576 bytes", "Is it a speech service?"),
    ],
)
async def test_what_is_wrong_with_the_service_is_named_with_a_way_out(answer: Answer, what: str, fix: str) -> None:
    async with service() as (served, stt, changes):
        served.answers = [answer]
        with pytest.raises(SpeechServiceError) as raised:
            await stt.transcribe(sound(), "", Urgency.NOW)
        assert raised.value.what == what
        assert fix in raised.value.fix
        assert changes == [what]


async def test_a_trouble_is_reported_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    async with service() as (served, stt, changes):
        served.answers = [Answer("", 401)] * 3 + [Answer()]
        with caplog.at_level(logging.INFO, http_service.__name__):
            for _ in range(3):
                with pytest.raises(SpeechServiceError):
                    await stt.transcribe(sound(), "", Urgency.NOW)
            assert await stt.transcribe(sound(), "", Urgency.NOW) == "hello"
        assert changes == ["it does not accept the key (status 401)", None]
        assert len(caplog.records) == 2


async def test_a_short_retry_after_and_a_server_error_are_tried_once_more() -> None:
    async with service() as (served, stt, changes):
        served.answers = [Answer("", 429, headers={"Retry-After": "0.01"}), Answer('{"text": "late"}')]
        assert await stt.transcribe(sound(), "", Urgency.NOW) == "late"
        served.answers = [Answer("", 502), Answer('{"text": "again"}')]
        assert await stt.transcribe(sound(), "", Urgency.NOW) == "again"
        assert changes == []


async def test_a_silent_service_is_given_up_and_a_cancelled_request_is_closed() -> None:
    async with service(timeout=0.1) as (served, stt, changes):
        served.answers = [Answer(stalls=True)]
        with pytest.raises(SpeechServiceError, match=r"it does not answer within 0\.1 s"):
            await stt.transcribe(sound(), "", Urgency.NOW)
        await served.left.wait()
    async with service(timeout=30) as (served, stt, changes):
        served.answers = [Answer(stalls=True)]
        job = stt.transcribe(sound(), "", Urgency.NOW)
        while not served.asked:  # noqa: ASYNC110 - the time limit bounds it
            await asyncio.sleep(0.005)
        job.cancel()
        await served.left.wait()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert changes == [], "a cancelled request says nothing about the service"


async def test_nobody_there_and_a_useless_address_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        stt = HttpStt(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "m")
        with pytest.raises(SpeechServiceError, match="it can't be reached"):
            await stt.transcribe(sound(), "", Urgency.NOW)
        await stt.close()
    stt = HttpStt("http://[::1", "m")
    with pytest.raises(SpeechServiceError, match=r"its address can't be used .*Correct ANTIPHON_STT_URL"):
        await stt.transcribe(sound(), "", Urgency.NOW)
    await stt.close()


async def test_requests_at_once_are_bounded_in_all_and_of_one_call() -> None:
    async with service() as (served, stt, _):
        served.hold = asyncio.Event()
        jobs = [stt.transcribe(sound(0.2), "", Urgency.NOW, "flood") for _ in range(MAX_OUTSTANDING + 1)]
        with pytest.raises(BusyError, match="of this call"):
            await jobs[-1]
        others = [stt.transcribe(sound(0.2), "", Urgency.NOW, f"call {n}") for n in range(2 * AT_ONCE)]
        while served.at_once < AT_ONCE:  # noqa: ASYNC110 - the time limit bounds it
            await asyncio.sleep(0.005)
        served.hold.set()
        assert await asyncio.gather(*map(_text, jobs[:-1] + others)) == ["hello"] * (4 + 2 * AT_ONCE)
        assert served.most_at_once == AT_ONCE
        assert not stt._service.outstanding


async def _text(job: http_service.Asked[str]) -> str:
    return await job


async def test_audio_without_a_voice_is_not_sent() -> None:
    async with service() as (served, stt, _):
        assert await stt.transcribe(bytes(64000), "Anna", Urgency.NOW) == ""
        room = np.random.default_rng(1).normal(0, 58, 2 * RATE).astype("<i2")
        assert await stt.transcribe(room.tobytes(), "", Urgency.NOW) == ""
        assert served.asked == []


async def test_the_prompt_itself_is_believed_only_if_there_are_words_without_it() -> None:
    async with service() as (served, stt, _):
        served.says("Invoice, Riverside.", "")
        assert await stt.transcribe(sound(), "Invoice, Riverside.", Urgency.NOW) == ""
        served.says("Invoice, Riverside.", "in voice riverside")
        assert await stt.transcribe(sound(), "Invoice, Riverside.", Urgency.NOW) == "Invoice, Riverside."
        assert ["prompt" in asked.fields for asked in served.asked] == [True, False] * 2


async def test_a_service_that_takes_no_prompts_is_asked_without_from_then_on() -> None:
    async with service() as (served, stt, changes):
        served.answers = [Answer("unsupported parameter: prompt", 400), Answer()]
        assert await stt.transcribe(sound(), "Anna", Urgency.NOW) == "hello"
        assert await stt.transcribe(sound(), "Anna", Urgency.NOW) == "hello"
        assert ["prompt" in asked.fields for asked in served.asked] == [True, False, False]
        assert changes == []


async def test_a_long_turn_goes_in_pieces_with_the_language_of_the_call() -> None:
    async with service() as (served, stt, _):
        served.says("one")
        assert await ChunkedStt(stt).transcribe(sound(40), "", Urgency.NOW, "call", "de") == "one one"
        assert [asked.fields["language"] for asked in served.asked] == ["de", "de"]
        assert sum(asked.seconds for asked in served.asked) == pytest.approx(40)


async def test_a_service_in_trouble_at_the_start_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_stt, "_FIRST_PAUSE", 0.01)
    async with service() as (served, stt, changes):
        served.answers = [Answer("", 401), Answer("", 401), Answer()]
        watching = asyncio.create_task(stt.watch())
        while changes != ["it does not accept the key (status 401)", None]:  # noqa: ASYNC110 - the time limit bounds it
            await asyncio.sleep(0.005)
        assert len(served.asked) == 3
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.models
async def test_a_call_is_transcribed_by_the_service_in_its_language_and_a_failure_is_told(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    async with transcription_server() as served:
        served.says("the time please")
        start_bridge(greeting="none", stt_url=served.url)
        await agent_is_there(bus_client, "concierge")
        async with FakeTransceiver(bus_client, "concierge") as call:
            await call.say(await asyncio.to_thread(speak, "What time is it?"))
            await call.wait_for("response.done", timeout=30)
            assert served.asked[-1].fields == {"model": "whisper-1", "response_format": "json", "language": "en"}
            served.answers = [Answer("", 401)]
            await call.say(await asyncio.to_thread(speak, "What time is it?"))
            failed = await call.wait_for("conversation.item.input_audio_transcription.failed", timeout=30)
            assert "does not accept the key" in failed["error"]["message"]
