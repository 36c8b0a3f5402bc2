"""`antiphon doctor` says which setting of voice and language is wrong, and whether the service by URL speaks."""

from __future__ import annotations

import asyncio

import pytest
from support.models.speech_server import Answer, speech_server

from antiphon.cli.doctor.finding import Finding
from antiphon.cli.doctor.speech import check_speech

pytestmark = pytest.mark.process


def test_the_default_voice_is_well() -> None:
    assert list(check_speech()) == [Finding("voices", "ok", "joe speaks en")]


def test_a_language_without_a_voice_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_LANGUAGE", "de")
    (finding,) = check_speech()
    assert finding.state == "fail"
    assert "'de'" in finding.message
    assert "ANTIPHON_TTS_URL" in finding.fix


def test_voices_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("ANTIPHON_VOICE", "kokoro:af_heart")
    monkeypatch.setenv("ANTIPHON_CACHE_DIR", str(tmp_path))
    (finding,) = check_speech()
    assert finding.state == "fail"
    assert "make voices" in finding.fix


@pytest.mark.parametrize(("answer", "state"), [(Answer(), "ok"), (Answer(status=401, error="who are you?"), "fail")])
async def test_a_service_by_url_is_asked_for_a_word(
    answer: Answer, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speech_server() as server:
        server.answer = lambda _: answer
        monkeypatch.setenv("ANTIPHON_TTS_URL", server.url)
        (finding,) = await asyncio.to_thread(lambda: list(check_speech()))
    assert finding.state == state
    assert server.url in finding.message
    assert state == "ok" or finding.fix.startswith("Set ANTIPHON_TTS_API_KEY.")
