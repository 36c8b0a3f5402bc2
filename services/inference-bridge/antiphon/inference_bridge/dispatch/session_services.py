"""What all sessions of a bridge share, built from its settings and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nats.aio.client import Client

from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.services import Services
from antiphon.inference_bridge.conversation.turn_spans import ModelNames
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_clients import ModelClients
from antiphon.inference_bridge.dispatch.speech_support_of import WHISPER_LANGUAGES, speech_support
from antiphon.inference_bridge.models.clients import ChunkedStt
from antiphon.inference_bridge.models.local import own_voice_language
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.runtime.tools.allowed_hosts import AllowedHosts


def session_services(
    client: Client,
    settings: Settings,
    models: LocalModels,
    clients: ModelClients,
    instance: str,
    save: Callable[[str, str, dict[str, Any]], None],
    verify: Callable[[str, str], None],
) -> Services:
    """`save`, `verify`: as `Services` has them."""
    transcribes = models.transcriber.languages if models.transcriber else WHISPER_LANGUAGES
    support = replace(
        speech_support(settings, own_voice_language(settings), transcribes),
        mcp_hosts=AllowedHosts.read(settings.mcp_hosts, "ANTIPHON_MCP_HOSTS"),
    )
    return Services(
        client=client,
        speech=Speech(ChunkedStt(clients.stt), clients.tts, PhraseCache(), support.language, support.voice),
        vad_executor=clients.vad_executor,
        turn_settings=turn_settings(settings),
        support=support,
        idle=settings.bridge_idle,
        save=save,
        verify=verify,
        instance=instance,
        patience_ms=settings.patience_ms,
        end_of_turn=models.end_of_turn,
        model_names=model_names(settings),
        cancels_echo=settings.echo == "cancel",
        has_room=clients.has_room,
    )


def model_names(settings: Settings) -> ModelNames:
    """As spans show them; of workers on NATS only the kind is known here."""
    stt = settings.stt_model if settings.stt_url else "worker" if settings.stt == "remote" else "whisper"
    tts = settings.tts_model if settings.tts_url else "worker" if settings.tts == "remote" else settings.voice_name
    chat = (settings.llm_model or "worker") if settings.has_language_model else ""
    return ModelNames(stt, chat, tts or "piper")


def turn_settings(settings: Settings) -> TurnSettings:
    """Of a call whose client asks for nothing else."""
    usual, early_ms = TurnSettings(), settings.turn_speculate_ms
    busy_ms = max(usual.speculate_ms, early_ms)
    if settings.turn_silence_ms is None:
        return TurnSettings(
            threshold=settings.vad_threshold,
            speculate_ms=busy_ms,
            early_ms=early_ms,
            judged=True,
            language=settings.language,
        )
    silence_ms = settings.turn_silence_ms
    return TurnSettings(
        threshold=settings.vad_threshold,
        silence_ms=silence_ms,
        speculate_ms=min(busy_ms, silence_ms),
        early_ms=min(early_ms, silence_ms),
        language=settings.language,
    )
