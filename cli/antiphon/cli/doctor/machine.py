"""Checks of this machine: Python, the installed libraries, the speech models."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Final

from pydantic import ValidationError

from antiphon.cli.doctor.finding import Finding
from antiphon.cli.errors import installing

LIBRARIES: Final = {
    "relay": ("cryptography",),
    "transceiver": ("aiortc", "cffi", "pylibsrtp", "OpenSSL"),
    "signaling": ("fastapi", "uvicorn"),
    "inference-bridge": ("faster_whisper", "onnxruntime", "soxr"),
}
"""By extra, the modules that it needs; packages with models are checked together with the models."""


def check_python() -> Iterator[Finding]:
    """The versions, and which services could not run from this environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"{version}, antiphon {importlib.metadata.version('antiphon')}")
    for extra, modules in LIBRARIES.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            yield Finding(
                "libraries",
                "note",
                f"{extra} cannot run from this environment: {', '.join(missing)} not installed",
                f"{installing(extra)}, unless {extra} runs elsewhere",
            )


def check_models() -> Iterator[Finding]:
    """The speech models of this environment, by the hashes that the inference bridge has on record."""
    if importlib.util.find_spec("faster_whisper") is None:
        return
    try:
        from antiphon.inference_bridge.models import sources as models
        from antiphon.inference_bridge.settings import Settings, what_is_wrong
    except ImportError as error:
        fix = "pip install --force-reinstall '.[inference-bridge]' in a clone of Antiphon"
        yield Finding("models", "fail", f"the inference bridge can't be imported: {error}", fix)
        return
    try:
        settings = Settings()
    except ValidationError as error:
        fix = "Correct the variable, or leave it unset."
        yield Finding("models", "fail", f"not looked at: {what_is_wrong(error)}", fix)
        return
    own = {
        "voice activity": (settings.vad_path, settings.vad_sha256),
        "end of turn": (settings.smart_turn_path, settings.smart_turn_sha256),
        "speech to text": (settings.whisper_path, settings.whisper_sha256),
        "text to speech": (settings.voice_path, settings.voice_sha256),
    }
    sources: dict[str, Callable[[], object]] = {"voice activity": lambda: models.silero_file(*own["voice activity"])}
    is_there = settings.smart_turn_path is not None or models.fetched_smart_turn().is_file()
    if settings.smart_turn == "on" or (settings.smart_turn == "auto" and is_there):
        sources["end of turn"] = lambda: models.smart_turn_file(*own["end of turn"])
    if settings.stt == "local":
        sources["speech to text"] = lambda: models.whisper_directory(*own["speech to text"], settings.cache_dir)
    if settings.tts == "local" and not settings.tts_url:
        sources["text to speech"] = lambda: models.voice_file(*own["text to speech"])
        sources["lexicons"] = models.lexicon_files
    if settings.smart_turn == "auto" and not is_there:
        yield Finding("models", "ok", "end of turn: by words and silence, without smart-turn, which is not here")
    for name, source in sources.items():
        path, sha256 = own.get(name, (None, ""))
        try:
            source()
        except models.ModelError as error:
            yield Finding("models", "fail", f"{name}: {error.problem}", error.fix)
        else:
            with_hash = "no hash to compare with" if path and not sha256 else "with the recorded hash"
            yield Finding("models", "ok", f"{name}: present, {with_hash}")
