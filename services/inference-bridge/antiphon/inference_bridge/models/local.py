"""Load, check and warm up a model for this process; each takes 1 to 3 s.

`ModelError` says which file is wrong and what to do. Called on a worker thread, before the first call is taken.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Final

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.models.kokoro_source import INSTALL as KOKORO_INSTALL
from antiphon.inference_bridge.models.kokoro_source import (
    kokoro_graph,
    kokoro_styles,
    kokoro_vocabulary,
    lexicon_and_tagger,
)
from antiphon.inference_bridge.models.smart_turn import SmartTurn
from antiphon.inference_bridge.models.sources import (
    ModelError,
    lexicon_files,
    silero_file,
    smart_turn_file,
    voice_file,
    whisper_directory,
)
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber, Whisper
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.kokoro import Kokoro, Phonemes, english_phonemes, spanish_phonemes
from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES, USUAL
from antiphon.inference_bridge.tts.normalization import speakable
from antiphon.inference_bridge.tts.synthesizer import PiperVoice, Synthesizer, piper_config, piper_language
from antiphon.inference_bridge.tts.voice_set import NamedVoice, VoiceSet
from antiphon.inference_bridge.tts.word_phonemes import FrenchPhonemes, ItalianPhonemes, WordPhonemes
from antiphon.inference_bridge.turns.window import WINDOW

log = logging.getLogger(__name__)

JOE: Final = "joe"
_WARM_UP: Final = {
    "en": ("Sure,", "I have booked you for tomorrow at half past ten."),
    "es": ("Claro,", "Le he reservado para mañana a las diez y media."),
    "fr": ("D'accord,", "Je vous ai réservé une place demain à dix heures et demie."),
    "it": ("Certo,", "Ho prenotato per domani alle dieci e mezza."),
}
"""Clauses that are synthesised at the start: the first run of a graph allocates and plans."""


def load_voice_activity(settings: Settings) -> VoiceActivity:
    """Silero, or the model of `ANTIPHON_VAD_PATH`."""
    log.info("loading voice activity: silero")
    voice_activity = VoiceActivity(silero_file(settings.vad_path, settings.vad_sha256))
    voice_activity.stream().probability(bytes(WINDOW * 2))
    return voice_activity


def load_end_of_turn(settings: Settings) -> SmartTurn | None:
    """Smart-turn; None if `ANTIPHON_SMART_TURN` is off, or `auto` and the model is not there."""
    if settings.smart_turn == "off":
        return None
    try:
        path = smart_turn_file(settings.smart_turn_path, settings.smart_turn_sha256)
    except ModelError as error:
        if settings.smart_turn == "on" or settings.smart_turn_path:
            raise
        log.info("turns end without smart-turn: %s", error)
        return None
    log.info("loading end of turn: %s", settings.smart_turn_path or "smart-turn")
    model = SmartTurn(path)
    model.judge(bytes(32000))
    return model


def load_transcriber(settings: Settings) -> Transcriber:
    """Whisper base, or the model of `ANTIPHON_WHISPER_PATH`."""
    log.info("loading speech-to-text: %s", settings.whisper_path or "whisper base")
    directory = whisper_directory(settings.whisper_path, settings.whisper_sha256, settings.cache_dir)
    transcriber = Whisper(directory, settings.bridge_threads)
    # the first run of a graph allocates and plans: a caller would wait for it
    transcriber.transcribe(bytes(32000))
    return transcriber


def load_synthesizer(settings: Settings) -> Synthesizer:
    """The voices of `ANTIPHON_VOICE` and `ANTIPHON_VOICE_PATH`; the Piper voice joe, if neither is set."""
    names = settings.voice_names
    log.info("loading speech: %s", ", ".join(names))
    phonemizer = Phonemizer(Lexicon.read(lexicon_files()))
    kokoro = None
    voices: list[NamedVoice] = []
    for name in names:
        if settings.voice_path and name == settings.voice_path.stem:
            voices.append(_own_voice(settings.voice_path, settings.voice_sha256, phonemizer))
        elif name == JOE:
            voices.append(NamedVoice(JOE, "en", PiperVoice(voice_file(None, ""), phonemizer)))
        elif kokoro is None:
            kokoro = _load_kokoro(settings, phonemizer)
            voices.append(NamedVoice(name, KOKORO_VOICES[name], kokoro))
        else:
            voices.append(NamedVoice(name, KOKORO_VOICES[name], kokoro))
    if kokoro:
        there = {voice.name for voice in voices}
        usual = [*USUAL.values(), *KOKORO_VOICES]
        others = [name for name in dict.fromkeys(usual) if name not in there]
        voices += [NamedVoice(name, KOKORO_VOICES[name], kokoro) for name in others]
    synthesizer = VoiceSet(voices)
    for clause in _WARM_UP.get(voices[0].language, _WARM_UP["en"]):
        synthesizer.synthesize(clause)
    return synthesizer


def own_voice_language(settings: Settings) -> str:
    """The language of the voice of `ANTIPHON_VOICE_PATH`, from its configuration; `en` if none is set."""
    if not settings.voice_path or settings.tts_url:
        return "en"
    path = voice_file(settings.voice_path, settings.voice_sha256)
    try:
        return piper_language(piper_config(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}.json can't be read ({error})", "correct ANTIPHON_VOICE_PATH") from None


def _own_voice(path: Path, sha256: str, phonemizer: Phonemizer) -> NamedVoice:
    file = voice_file(path, sha256)
    return NamedVoice(path.stem, piper_language(piper_config(file)), PiperVoice(file, phonemizer))


def _load_kokoro(settings: Settings, phonemizer: Phonemizer) -> Kokoro:
    try:
        phonemes: dict[Language, Phonemes] = {
            "en": english_phonemes(phonemizer.phonemes),
            "es": spanish_phonemes(partial(speakable, language="es")),
            "fr": FrenchPhonemes(WordPhonemes(*lexicon_and_tagger("gruut_lang_fr")), partial(speakable, language="fr")),
            "it": ItalianPhonemes(
                WordPhonemes(*lexicon_and_tagger("gruut_lang_it")), partial(speakable, language="it")
            ),
        }
    except ImportError as error:
        raise ModelError(f"the package {error.name} is not installed", KOKORO_INSTALL) from None
    return Kokoro(kokoro_graph(settings.cache_dir), kokoro_vocabulary(), kokoro_styles(settings.cache_dir), phonemes)
