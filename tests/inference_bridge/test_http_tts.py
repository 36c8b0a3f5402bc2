"""Speech from a service by URL: played as it comes, closed when it is not needed, and its failures told in words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from support.conditions import until
from support.models.speech_server import Answer, Samples, SpeechServer, speech_server, tone, wav

from antiphon.inference_bridge.models.remote import http_tts
from antiphon.inference_bridge.models.remote.http_service import AT_ONCE, MAX_OUTSTANDING
from antiphon.inference_bridge.models.remote.http_tts import HttpTts
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.tts.normalization import for_remote_voice

pytestmark = pytest.mark.process

Pair = tuple[HttpTts, SpeechServer]


@asynccontextmanager
async def service(key: str = "", first_seconds: float = 5.0) -> AsyncIterator[Pair]:
    async with speech_server() as server:
        tts = HttpTts(server.url, "tts-1", key, "alloy", for_remote_voice, first_seconds=first_seconds)
        try:
            yield tts, server
        finally:
            await tts.close()


async def spoken(
    tts: HttpTts, text: str = "Hello.", speed: float = 1.0, voice: str = "", language: str = ""
) -> Samples:
    return await tts.synthesize(text, speed, Urgency.NOW, "call", voice, language)


async def failure(tts: HttpTts) -> SpeechServiceError:
    with pytest.raises(SpeechServiceError) as raised:
        await spoken(tts)
    return raised.value


async def test_the_first_piece_is_there_before_the_rest_was_made() -> None:
    async with service() as (tts, server):
        server.answer = lambda _: Answer([tone(0.2).tobytes()[:4801], None, tone(0.2).tobytes()[4801:]])
        async with aclosing(tts.stream("Hello.", 1.0, Urgency.NOW)) as pieces:
            first = await anext(pieces)
            server.go.set()
            rest = [piece async for piece in pieces]
    assert first.size >= 2300
    assert (
        np.concatenate([first, *rest]).tolist()[:4800] == tone(0.2)[: first.size + sum(r.size for r in rest)].tolist()
    )


async def test_the_request_is_that_of_the_protocol_with_the_key_and_without_markup() -> None:
    async with service("secret") as (tts, server):
        await spoken(tts, "**Hello** 👋, it costs 20 €.", 1.25, "nova", "es")
        request = {
            "model": "tts-1", "input": "Hello, it costs 20 €.", "voice": "nova", "response_format": "pcm",
            "speed": 1.25, "language": "es",
        }  # fmt: skip
        assert server.requests[0] | {"input": server.requests[0]["input"].replace(" ,", ",")} == request
        assert "authorization: bearer secret" in server.heads[0].lower()
        await spoken(tts)
    assert server.requests[1] == {"model": "tts-1", "input": "Hello.", "voice": "alloy", "response_format": "pcm"}


async def test_wav_in_place_of_raw_samples_is_read_at_its_own_rate() -> None:
    async with service() as (tts, server):
        body = wav(tone(0.5, 22050), 22050, 0xFFFFFFFF)
        server.answer = lambda _: Answer([body[:30], body[30:1001], body[1001:]], content_type="audio/wav")
        assert abs((await spoken(tts)).size - 12000) < 100


async def test_words_that_no_voice_can_read_are_not_asked_for() -> None:
    async with service() as (tts, server):
        assert (await spoken(tts, "**")).size == 0
    assert server.requests == []


@pytest.mark.parametrize(
    ("refusal", "left_out"),
    [
        ("Unrecognized request argument supplied: language", {"language"}),
        ("unsupported value for speed", {"speed"}),
        ("response_format must be wav or mp3", {"response_format"}),
        ("Extra inputs are not permitted", {"language"}),
    ],
)
async def test_an_optional_field_that_is_refused_is_left_out_from_then_on(refusal: str, left_out: set[str]) -> None:
    async with service() as (tts, server):
        server.answers = [Answer(status=422, error=refusal)]
        assert (await spoken(tts, "Hello.", 1.5, "", "es")).size > 0
        await spoken(tts, "Hello.", 1.5, "", "es")
    for request in server.requests[1:]:
        sent = {name for name in request if name in ("language", "speed")}
        sent |= {"response_format"} if request["response_format"] == "pcm" else set()
        assert {"language", "speed", "response_format"} - sent == left_out
    assert len(server.requests) == 3


async def test_a_refused_voice_costs_no_field() -> None:
    async with service() as (tts, server):
        server.answers = [Answer(status=400, error="voice 'alloy' does not exist")]
        with pytest.raises(SpeechServiceError, match="Is ANTIPHON_VOICE"):
            await spoken(tts, language="es")
        await spoken(tts, language="es")
    assert "language" in server.requests[-1]


@pytest.mark.parametrize(
    ("answer", "what", "fix"),
    [
        (Answer(status=401, error="bad key"), "does not accept the key (status 401)", "Set ANTIPHON_TTS_API_KEY."),
        (Answer(status=404, error="model tts-1 not found"), "no model tts-1", "ANTIPHON_TTS_MODEL"),
        (Answer(status=404, error="voice alloy not found"), "no voice alloy", "ANTIPHON_VOICE"),
        (Answer(status=404, error="Not Found"), "no audio/speech (status 404)", "ANTIPHON_TTS_URL"),
        (Answer(status=400, error="nope"), "refuses the request (status 400)", "It says: "),
        (Answer(status=429, headers="Retry-After: 30\r\n", error="limit"), "status 429", "higher"),
        (
            Answer(status=307, headers="Location: http://127.0.0.1:1/\r\n", error="x"),
            "redirects",
            "http://127.0.0.1:1/",
        ),
        (Answer([b"ID3" + bytes(99)], content_type="audio/mpeg"), "MP3", "It ignores response_format"),
        (Answer([b"OggS" + bytes(99)], content_type="audio/ogg"), "opus", "It ignores response_format"),
        (Answer([b'{"detail": "busy"}'], content_type="application/json"), "busy", "address"),
        (Answer([]), "no audio", "voice"),
    ],
)
async def test_a_failure_is_told_with_the_way_out(answer: Answer, what: str, fix: str) -> None:
    async with service() as (tts, server):
        server.answers = [answer]
        error = await failure(tts)
    assert what in error.what
    assert fix in error.fix
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=503, error="warming up"),
        Answer(status=500),
        Answer(status=429, headers="Retry-After: 0\r\n"),
        Answer(status=429),
        Answer([], cut=True),
    ],
)
async def test_what_may_pass_is_asked_once_more(answer: Answer) -> None:
    async with service() as (tts, server):
        server.answers = [answer]
        assert (await spoken(tts)).size > 0
        assert len(server.requests) == 2
        server.answers = [Answer(status=503), Answer(status=503)]
        assert "503" in (await failure(tts)).what
    assert len(server.requests) == 4


async def test_an_answer_that_breaks_off_is_not_begun_again() -> None:
    async with service() as (tts, server):
        server.answers = [Answer([tone(0.2).tobytes()], cut=True)]
        got: list[Samples] = []

        async def play() -> None:
            async with aclosing(tts.stream("Hello.", 1.0, Urgency.NOW)) as pieces:
                async for piece in pieces:
                    got.append(piece)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(SpeechServiceError, match="cut off"):
            await play()
        assert sum(piece.size for piece in got) > 4000
    assert len(server.requests) == 1


async def test_a_service_that_is_not_there_is_named_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        tts = HttpTts(url, "m", "", "v")
        error = await failure(tts)
        await tts.close()
    assert "can't be reached" in error.what
    assert url in error.fix
    assert url not in error.what, "the public health page shows it"


async def test_silence_of_the_service_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_tts, "BETWEEN_SECONDS", 0.1)
    async with service(first_seconds=0.2) as (tts, server):
        server.answers = [Answer(head_after=asyncio.Event())]
        assert "sends nothing for 0.2 s" in (await failure(tts)).what
        server.answers = [Answer([tone(0.1).tobytes(), None])]
        assert "sends nothing for 0.1 s" in (await failure(tts)).what
        async with asyncio.timeout(10):
            await server.closed_early.wait()


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_tts, "MAX_BYTES", 100_000)
    async with service() as (tts, server):
        server.answers = [Answer([tone(1).tobytes()] * 50)]
        assert "more than 100000 bytes" in (await failure(tts)).what


async def test_speech_that_nobody_needs_any_more_closes_its_request() -> None:
    async with service() as (tts, server):
        server.answer = lambda _: Answer([tone(0.1).tobytes(), None])
        pieces = tts.stream("Hello.", 1.0, Urgency.NOW)
        await anext(pieces)
        await pieces.aclose()
        async with asyncio.timeout(10):
            await server.closed_early.wait()
        server.closed_early.clear()
        job = tts.synthesize("Hello.", 1.0, Urgency.NOW)
        await until(lambda: len(server.requests) == 2)
        job.cancel()
        async with asyncio.timeout(10):
            await server.closed_early.wait()


async def test_one_call_has_so_many_requests_and_all_calls_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as (tts, server):
        server.answer = lambda _: Answer([None, tone(0.1).tobytes()])
        jobs = [tts.synthesize("Hello.", 1.0, Urgency.NOW, "flood") for _ in range(MAX_OUTSTANDING)]
        await until(lambda: len(server.requests) == MAX_OUTSTANDING)
        with pytest.raises(BusyError, match="of this call"):
            await tts.synthesize("Hello.", 1.0, Urgency.NOW, "flood")
        others = [tts.synthesize("Hello.", 1.0, Urgency.SOON, f"call {n}") for n in range(AT_ONCE)]
        await until(lambda: server.at_once == AT_ONCE)
        urgent = tts.synthesize("Now.", 1.0, Urgency.NOW, "other")
        await until(lambda: tts._service.waiting == 5)
        server.go.set()
        for job in (*jobs, *others, urgent):
            assert (await job).size > 0
    assert server.most_at_once <= AT_ONCE
    texts = [request["input"] for request in server.requests]
    assert texts.index("Now.") == AT_ONCE, "the most urgent of those that wait goes first"


async def test_the_start_waits_for_a_model_that_loads_and_tells_a_wrong_key() -> None:
    async with service(first_seconds=0.1) as (tts, server):
        loaded = asyncio.Event()
        server.answers = [Answer(head_after=loaded), Answer(status=401, error="who are you?")]
        checking = asyncio.create_task(tts.check())
        await until(lambda: bool(server.requests))
        asyncio.get_running_loop().call_later(0.2, loaded.set)  # later than an answer in a call may come
        await checking
        with pytest.raises(SpeechServiceError, match="key") as raised:
            await tts.check()
    assert raised.value.lasting


async def test_trouble_is_reported_once_and_so_is_its_end() -> None:
    reported: list[str | None] = []
    async with speech_server() as server:
        tts = HttpTts(server.url, "m", "", "v", on_change=reported.append)
        await spoken(tts)
        server.answers = [Answer(status=401), Answer(status=401)]
        await failure(tts)
        await failure(tts)
        await spoken(tts)
        await tts.close()
    assert reported == ["it does not accept the key (status 401)", None]
