"""Which voices speak which languages follows from the settings, and settings that contradict end the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from antiphon.inference_bridge.dispatch.speech_support_of import SpeechSettingsError, speech_support
from antiphon.inference_bridge.realtime_protocol.voice_choice import voice_for
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.synthesizer import piper_language

pytestmark = pytest.mark.pure


def test_the_default_is_joe_in_english() -> None:
    support = speech_support(Settings())
    assert (support.language, support.voice) == ("en", "joe")
    assert support.can_speak("en-GB", "joe")
    assert not support.can_speak("es", "joe")
    assert not support.can_speak("en", "af_heart")
    assert support.can_transcribe("fr")
    assert not support.can_transcribe("fi")
    assert voice_for("es", support, "") is None


@pytest.mark.parametrize("voice", ["kokoro:ef_dora", "ef_dora", " ef_dora , joe"])
def test_a_voice_of_kokoro_brings_all_of_them(voice: str) -> None:
    support = speech_support(Settings(voice=voice, language="es-MX"))
    assert (support.language, support.voice) == ("es", "ef_dora")
    assert support.can_speak("fr", "ff_siwis")
    assert not support.can_speak("fr", "ef_dora")
    assert ("joe" in support.voices) == ("joe" in voice)
    assert [voice_for(language, support, "") for language in ("es", "it", "fr", "de")] == [
        "ef_dora", "if_sara", "ff_siwis", None,
    ]  # fmt: skip


def test_a_service_speaks_any_language_with_any_voice() -> None:
    support = speech_support(Settings(tts_url="http://127.0.0.1:8000/v1", language="de"))
    assert support.voice == "alloy"
    assert support.can_speak("de", "alloy")
    assert support.can_speak("fi", "whatever")
    named = speech_support(Settings(tts_url="http://127.0.0.1:8000/v1", voice="af_bella+af_sky,2"))
    assert named.voice == "af_bella+af_sky,2", "the service's own way to name voices is left alone"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"language": "es"}, "ANTIPHON_VOICE=ef_dora"),
        ({"language": "de"}, "ANTIPHON_TTS_URL"),
        ({"language": "en", "voice": "ef_dora"}, "the voice ef_dora speaks es"),
        ({"language": "it", "voice": "ff_siwis"}, "ANTIPHON_VOICE=if_sara"),
        ({"voice": "bob"}, "'bob'"),
        ({"voice": "joe,jf_alpha"}, "jf_alpha, whose language has no phonemes"),
        ({"tts_url": "http://127.0.0.1:8000/v1", "language": "fi"}, "ANTIPHON_STT_URL"),
    ],
)
def test_settings_that_contradict_are_refused_with_the_way_out(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(SpeechSettingsError, match=named):
        speech_support(Settings(**settings))


def test_a_piper_voice_of_ones_own_speaks_english_or_is_refused() -> None:
    settings = Settings(voice_path=Path("voices/de_DE-thorsten.onnx"))
    assert speech_support(settings, "en").voice == "de_DE-thorsten"
    with pytest.raises(SpeechSettingsError, match="voice for 'de'"):
        speech_support(settings, "de")
    both = speech_support(Settings(voice_path=Path("lessac.onnx"), voice="af_heart"))
    assert both.voice == "af_heart"
    assert both.can_speak("en", "lessac")


@pytest.mark.parametrize(
    ("config", "language"),
    [
        ({"language": {"code": "de_DE"}, "espeak": {"voice": "de"}}, "de"),
        ({"espeak": {"voice": "en-gb-x-rp"}}, "en"),
        ({"espeak": {"voice": "fr"}}, "fr"),
        ({"espeak": "odd", "language": {"code": 7}}, "en"),
        ({}, "en"),
    ],
)
def test_a_piper_voice_says_its_language_in_its_configuration(config: dict[str, Any], language: str) -> None:
    assert piper_language(config) == language


@pytest.mark.parametrize("language", ["", "english please", "e", "en us", "../de"])
def test_a_language_that_is_no_tag_is_refused(language: str) -> None:
    with pytest.raises(ValidationError):
        Settings(language=language)


def test_a_service_and_workers_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        Settings(tts_url="http://127.0.0.1:8000/v1", tts="remote")
