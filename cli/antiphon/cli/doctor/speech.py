"""Checks of speech services by URL, and of the voices: whether they speak the language and are installed."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from antiphon.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from antiphon.inference_bridge.settings import Settings

WITHIN: Final = 20.0
"""Seconds that a service has for one word."""


def check_speech() -> Iterator[Finding]:
    """The voices of this environment's settings; nothing where the inference bridge is not installed."""
    if importlib.util.find_spec("faster_whisper") is None:
        return
    try:
        from antiphon.inference_bridge.dispatch.speech_support_of import SpeechSettingsError, speech_support
        from antiphon.inference_bridge.models.local import own_voice_language
        from antiphon.inference_bridge.models.sources import ModelError
        from antiphon.inference_bridge.settings import Settings

        settings = Settings()
    except (ImportError, ValidationError):
        return  # `check_models` has told it
    if settings.stt_url:
        yield asyncio.run(_ask_for_text(settings))
    try:
        own_language = own_voice_language(settings)
    except ModelError as error:
        if settings.tts != "local":  # else `check_models` has told it
            yield Finding("voices", "fail", error.problem, error.fix)
        return
    try:
        support = speech_support(settings, own_language)
        if settings.tts == "local" and not settings.tts_url:
            _find_kokoro(settings)
    except SpeechSettingsError as error:
        problem, _, fix = str(error).partition(": ")
        yield Finding("voices", "fail", problem, f"{fix[:1].upper()}{fix[1:]}.")
    except ModelError as error:
        yield Finding("voices", "fail", error.problem, error.fix)
    else:
        if settings.tts_url:
            yield asyncio.run(_ask(settings))
        else:
            yield Finding("voices", "ok", f"{support.voice} speaks {support.language}")


def _find_kokoro(settings: Settings) -> None:
    from antiphon.inference_bridge.models import kokoro_source
    from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES

    if any(name in KOKORO_VOICES for name in settings.voice_names):
        kokoro_source.kokoro_graph(settings.cache_dir)
        kokoro_source.kokoro_vocabulary()
        kokoro_source.kokoro_styles(settings.cache_dir)
        for package in kokoro_source.LEXICONS_SHA256:
            kokoro_source.lexicon_and_tagger(package)


async def _ask_for_text(settings: Settings) -> Finding:
    """Whether the transcription service by URL takes a second of sound."""
    from antiphon.inference_bridge.models.remote.http_stt import HttpStt
    from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError

    key = settings.stt_api_key.get_secret_value()
    stt = HttpStt(settings.stt_url, settings.stt_model, key, settings.language)
    try:
        await stt.check(WITHIN)
    except SpeechServiceError as error:
        problem = f"the transcription service {settings.stt_url} does not transcribe: {error.what}"
        return Finding("transcription", "fail", problem, error.fix)
    finally:
        await stt.close()
    return Finding("transcription", "ok", f"{settings.stt_url} transcribes with the model {settings.stt_model}")


async def _ask(settings: Settings) -> Finding:
    """Whether the service by URL says a word."""
    from antiphon.inference_bridge.models.remote.http_tts import HttpTts
    from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError

    key = settings.tts_api_key.get_secret_value()
    tts = HttpTts(settings.tts_url, settings.tts_model, key, settings.voice_name, language=settings.service_language)
    try:
        await tts.check(WITHIN)
    except SpeechServiceError as error:
        problem = f"the speech service {settings.tts_url} does not speak: {error.what}"
        return Finding("speech service", "fail", problem, error.fix)
    finally:
        await tts.close()
    return Finding("speech service", "ok", f"{settings.tts_url} speaks with the voice {settings.voice_name}")
