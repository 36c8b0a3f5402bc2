"""Whether turns are transcribed to their last word: the packaged voice says texts of 1 to 40 s, at several speeds.

Some texts are digits and letters. For each it prints words lost, tokens and time; all of them take some minutes. The
last column is the transcript where the text's last word is missing or more than one word in ten is wrong.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Final

import ctranslate2
import numpy as np
import soxr

from antiphon.bench._lib.word_errors import word_error_rate
from antiphon.inference_bridge.models.sources import lexicon_files, voice_file, whisper_directory
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Whisper
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.normalization import speakable
from antiphon.inference_bridge.tts.synthesizer import PiperVoice

SENTENCES: Final = [
    "I called you last week about the heating in my apartment on the third floor.",
    "The radiator in the bedroom has been cold since Monday morning.",
    "Your colleague told me that somebody would come on Wednesday, but nobody was here.",
    "I have waited the whole afternoon and nobody has called me.",
    "My neighbor below says that the water is dripping through the ceiling of the kitchen.",
    "So I would be grateful if you could send somebody today.",
    "My phone number has changed as well, please write down the new one.",
    "The old contract ends in December and I would like to know what happens then.",
    "By the way, the lamp in the hallway is broken too.",
    "And please tell the plumber to ring twice, because the bell is hard to hear.",
]
SHORT: Final = [
    "What time is it?",
    "I would like to book an appointment.",
    "Can you cancel my appointment?",
    "Please move it to Friday.",
    "My name is Anna Miller.",
    "How much does it cost?",
    "Tomorrow at half past ten.",
    "No, the other one, please.",
    "Is there anything on Monday?",
    "I need to speak to somebody.",
]
DIGITS: Final = list("55550123479981267543")
SPELLED: Final = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def texts() -> list[tuple[str, float]]:
    """(text, speed) of each."""
    found = [(text, 1.0) for text in SHORT + SENTENCES]
    for count in (2, 3, 4, 6, 8, 10, 12):
        found += [(" ".join((SENTENCES + SHORT)[:count]), speed) for speed in (1.0, 1.5, 2.0)]
    for count in (6, 12, 20):
        found += [(" ".join(DIGITS[:count]) + ".", speed) for speed in (1.0, 1.5)]
    for count in (10, 26, 78):
        found += [(" ".join((SPELLED * 3)[:count]) + ".", speed) for speed in (1.0, 1.5)]
    return found


def plain(text: str) -> list[str]:
    """For comparison: digits and spelled letters one by one, numbers as words, no punctuation."""
    text = re.sub(r"(?<=\d)(?=\d)", " ", text)
    text = re.sub(r"\b[A-Z]{2,}\b|\b(?:[A-Za-z]-)+[A-Za-z]\b", lambda found: " ".join(found[0].replace("-", "")), text)
    return re.findall(r"[a-z']+", speakable(text).lower())


class CountingWhisper(Whisper):
    """Notes how many tokens each decoding gave. Used by one thread."""

    def __init__(self, directory: Path, threads: int) -> None:
        super().__init__(directory, threads)
        self.tokens: list[int] = []

    def decode(
        self, encoded: ctranslate2.StorageView, begin: list[int], limit: int
    ) -> ctranslate2.models.WhisperGenerationResult:
        result = super().decode(encoded, begin, limit)
        self.tokens.append(len(result.sequences_ids[0]))
        return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=1e9, help="only texts that take less to speak (default: all)")


def run(args: argparse.Namespace) -> int:
    settings = Settings()
    voice = PiperVoice(voice_file(None, ""), Phonemizer(Lexicon.read(lexicon_files())), variation=0)
    directory = whisper_directory(settings.whisper_path, settings.whisper_sha256, settings.cache_dir)
    transcriber = CountingWhisper(directory, settings.bridge_threads)
    missed = measured = 0
    for text, speed in texts():
        samples = np.asarray(soxr.resample(voice.synthesize(text, speed), 24000, 16000), dtype="<i2")
        seconds = len(samples) / 16000
        if seconds > args.seconds:
            continue
        transcriber.tokens.clear()
        began = time.perf_counter()
        transcript = transcriber.transcribe(samples.tobytes())
        took = (time.perf_counter() - began) * 1000
        spoken, transcribed = plain(text), plain(transcript)
        wrong = word_error_rate([(spoken, transcribed)])
        whole = bool(transcribed) and spoken[-1] == transcribed[-1] and wrong <= 0.1
        measured += 1
        missed += not whole
        print(
            f"{seconds:5.1f} s at {speed:3.1f}: {took:6.0f} ms, tokens {transcriber.tokens}, {wrong:6.1%} wrong"
            + ("" if whole else f"  {transcript[:60]} ... {transcript[-60:]}"),
            flush=True,
        )
    print(f"{missed} of {measured} with a last word missing or more than a tenth wrong")
    return 0
