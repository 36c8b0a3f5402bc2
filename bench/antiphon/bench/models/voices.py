"""How fast the local voices are, and how well they are understood: real-time factor, first clause, word errors.

Each voice says twenty sentences of its language, which Whisper base transcribes as its library does by default, the
language given. Voices of the extra `voices` need `make voices`. One voice takes about a minute on an idle core.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
import unicodedata
from typing import Any, Final

import numpy as np
import soxr
from faster_whisper import WhisperModel

from antiphon.bench._lib.word_errors import word_error_rate
from antiphon.bench.models.voice_texts import FIRST_CLAUSE, SENTENCES
from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.models.sources import whisper_directory
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES, plain_name
from antiphon.inference_bridge.tts.normalization import speakable
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples, Synthesizer

USUAL: Final = "joe,af_heart,ef_dora,ff_siwis,if_sara"
_FIRST_RUNS: Final = 7


def words(text: str, language: Language) -> list[str]:
    """For comparison: numbers as words, lower case, accents kept, no punctuation; elided words count by themselves."""
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", speakable(text, language)).lower())


def _timed(voice: Synthesizer, text: str, name: str) -> tuple[Samples, float, float]:
    """The text spoken, the seconds that it took, and the seconds of a core: those hardly depend on other load."""
    began, used = time.perf_counter(), time.thread_time()
    samples = voice.synthesize(text, 1.0, name)
    return samples, time.perf_counter() - began, time.thread_time() - used


def measure(name: str, voice: Synthesizer, recogniser: WhisperModel, sentences: int) -> dict[str, Any]:
    """One voice's figures, and what was transcribed wrongly."""
    name = plain_name(name)
    language = KOKORO_VOICES.get(name, "en")
    first = [_timed(voice, FIRST_CLAUSE[language], name) for _ in range(_FIRST_RUNS)]
    took, used, spoken = 0.0, 0.0, 0.0
    pairs, wrong = [], []
    for text in SENTENCES[language][:sentences]:
        samples, seconds, core = _timed(voice, text, name)
        took += seconds
        used += core
        spoken += samples.size / SPEECH_RATE
        audio = soxr.resample(samples.astype(np.float32) / 32768, SPEECH_RATE, 16000)
        segments, _ = recogniser.transcribe(audio, language=language, beam_size=1)
        transcript = " ".join(segment.text for segment in segments)
        pair = (words(text, language), words(transcript, language))
        pairs.append(pair)
        if pair[0] != pair[1]:
            wrong.append((" ".join(pair[0]), " ".join(pair[1])))
    return {
        "voice": name,
        "language": language,
        "sentences": len(pairs),
        "words": sum(len(said) for said, _ in pairs),
        "real_time_factor": round(took / spoken, 3),
        "core_of_real_time": round(used / spoken, 3),
        "first_clause_ms": round(1000 * statistics.median(seconds for _, seconds, _ in first)),
        "first_clause_core_ms": round(1000 * statistics.median(core for _, _, core in first)),
        "sentence_ms": round(1000 * took / len(pairs)),
        "word_error_rate": round(word_error_rate(pairs), 4),
        "wrong": wrong,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--voices", default=USUAL, help=f"names, with commas between them (default: {USUAL})")
    parser.add_argument("--sentences", type=int, default=20, help="of each language (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    settings = Settings(voice=args.voices)
    directory = whisper_directory(settings.whisper_path, settings.whisper_sha256, settings.cache_dir)
    recogniser = WhisperModel(str(directory), device="cpu", compute_type="int8", cpu_threads=1)
    voice = load_synthesizer(settings)
    found = [measure(name, voice, recogniser, args.sentences) for name in args.voices.split(",") if name.strip()]
    if args.json:
        print(json.dumps({"voices": found}, ensure_ascii=False))
        return 0
    for figures in found:
        print(
            f"{figures['voice']:12} {figures['language']}  {figures['real_time_factor']:.2f} of real time, "
            f"{figures['core_of_real_time']:.2f} of a core, first clause {figures['first_clause_ms']} ms, "
            f"{figures['word_error_rate']:.1%} of {figures['words']} words wrong"
        )
        for said, transcribed in figures["wrong"]:
            print(f"    {said}\n    {transcribed}")
    return 0
