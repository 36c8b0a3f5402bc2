"""Whether what callers say is transcribed whole and true: ours beside Whisper padded to 30 s, on the same audio.

Synthetic voices say the texts of `transcription_texts.txt` at three speeds, and turns of 1 to 30 s; Debian's packages
have real speech. Then come sounds without words, each with a prompt as well: what is written of them is wrong. Words
are compared as they sound: `42`, `forty two` and `four two` are the same, and so are `B B C` and `BBC`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from faster_whisper import WhisperModel

from antiphon.bench._lib.statistics import median
from antiphon.bench._lib.word_errors import edit_distance
from antiphon.bench.models.transcription_corpus import RATE, SpokenTurn, asterisk, librivox, scripted, without_words
from antiphon.inference_bridge.models.sources import whisper_directory
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Whisper

PROMPT: Final = "Invoice, Riverside, Doctor Miller."
_NOISE_SECONDS: Final = (0.5, 0.9, 1.6, 2.5, 4.0)
_NOISE_SEEDS: Final = 3
_REAL_EVERY: Final = 2
"""Of the prompts; there are 500 in each language."""
_BELOW_TEN: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS: Final = ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONES: Final = {word: str(number) for number, word in enumerate((*_BELOW_TEN, "ten", *_TEENS))}
_TENS: Final = {
    word: str(10 * number)
    for number, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_SAME: Final = {"ok": "okay", "mr": "mister", "dr": "doctor", "st": "street", "alright": "all right"}


def comparable(text: str) -> list[str]:
    """Words as they sound: digits one by one, abbreviations in letters, no accents, no punctuation."""
    text = re.sub(r"\b(?:[A-Z]\.?){2,6}(?![a-z'])", lambda found: " ".join(re.findall("[A-Z]", found[0])), text)
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    words = re.findall(r"[^\W\d_']+(?:'[^\W\d_]+)*|\d", plain)
    out: list[str] = []
    place = 0
    while place < len(words):
        word, following = words[place], words[place + 1] if place + 1 < len(words) else ""
        digit = _ONES.get(following, following)
        if word == "double" and re.fullmatch(r"\d", digit):
            out += [digit, digit]
            place += 1
        elif word in _TENS and len(_ONES.get(following, "")) == 1 and following != "zero":
            out += [_TENS[word][0], digit]
            place += 1
        elif word in _TENS or word in _ONES:
            out += list(_TENS.get(word) or _ONES[word])
        else:
            out += _SAME.get(word, word).split()
        place += 1
    return out


def errors(said: str, transcript: str) -> tuple[int, int]:
    """Words put in, left out and changed, and words said."""
    expected, got = comparable(said), comparable(transcript)
    if all(len(word) == 1 for word in expected):  # spelled: `xyz` is right too
        got = [letter for word in got for letter in (word if len(word) <= 8 else [word])]
    return edit_distance(expected, got), len(expected)


@dataclass
class Tally:
    """Of one kind of turns, by one recogniser."""

    turns: int = 0
    words: int = 0
    wrong: int = 0
    wrong_turns: int = 0
    took_ms: list[float] = field(default_factory=list)

    def add(self, said: str, transcript: str, took_ms: float) -> None:
        wrong, words = errors(said, transcript)
        self.turns += 1
        self.words += words
        self.wrong += wrong
        self.wrong_turns += wrong > 0
        self.took_ms.append(took_ms)

    def as_json(self) -> dict[str, float]:
        return {
            "turns": self.turns,
            "words": self.words,
            "wrong_words": self.wrong,
            "word_error_rate": round(self.wrong / max(1, self.words), 4),
            "wrong_turns": self.wrong_turns,
            "ms_p50": round(median(self.took_ms)),
            "ms_p95": round(float(np.quantile(self.took_ms, 0.95))),
        }


Transcribe = Callable[[SpokenTurn], str]


def measure(
    turns: Iterable[SpokenTurn], recognisers: dict[str, Transcribe], shows: bool
) -> dict[str, dict[str, Tally]]:
    """Kind -> recogniser -> its tally."""
    found: dict[str, dict[str, Tally]] = {}
    for turn in turns:
        for name, transcribe in recognisers.items():
            began = time.perf_counter()
            transcript = transcribe(turn)
            took_ms = (time.perf_counter() - began) * 1000
            found.setdefault(turn.kind, {}).setdefault(name, Tally()).add(turn.text, transcript, took_ms)
            if shows and errors(turn.text, transcript)[0]:
                print(f"{name}: {turn.kind}, {turn.voice} at {turn.speed}: {turn.text} -> {transcript}", flush=True)
    return found


def in_sum(found: dict[str, dict[str, Tally]], recogniser: str) -> Tally:
    whole = Tally()
    for tallies in found.values():
        each = tallies[recogniser]
        whole.turns, whole.words = whole.turns + each.turns, whole.words + each.words
        whole.wrong, whole.wrong_turns = whole.wrong + each.wrong, whole.wrong_turns + each.wrong_turns
        whole.took_ms += each.took_ms
    return whole


def made_of_noise(ours: Whisper) -> dict[str, Any]:
    """Which sounds without words became words, without a prompt and with one."""
    count, written = 0, list[str]()
    for seed in range(_NOISE_SEEDS):
        for seconds in _NOISE_SECONDS:
            for name, samples in without_words(seconds, 100 * seed + int(10 * seconds)):
                for prompt in ("", PROMPT):
                    count += 1
                    text = ours.transcribe(samples.tobytes(), prompt)
                    if text:
                        written.append(f"{name}, {seconds} s{', with a prompt' if prompt else ''}: {text}")
    return {"sounds": count, "with_words": len(written), "words": written}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="every Nth turn only (default: all)")
    parser.add_argument("--without-stock", action="store_true", help="leave padded Whisper out")
    parser.add_argument("--languages", default="en", help="of en,es,fr,it, the real ones from Debian (default: en)")
    parser.add_argument("--debian", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    parser.add_argument("--flite", default="", help="the synthesizer's program (default: on the path)")
    parser.add_argument("--show", action="store_true", help="print each turn that is wrong")


def run(args: argparse.Namespace) -> int:
    settings = Settings()
    directory = whisper_directory(settings.whisper_path, settings.whisper_sha256, settings.cache_dir)
    ours, stock = Whisper(directory, 1), WhisperModel(str(directory), device="cpu", compute_type="int8", cpu_threads=1)

    def padded(turn: SpokenTurn) -> str:
        segments, _ = stock.transcribe(turn.samples.astype(np.float32) / 32768, language=turn.language)
        return " ".join(segment.text.strip() for segment in segments)

    recognisers: dict[str, Transcribe] = {
        "ours": lambda turn: ours.transcribe(turn.samples.tobytes(), "", turn.language)
    }
    if not args.without_stock:
        recognisers["stock"] = padded
    languages = [each for each in args.languages.split(",") if each]
    turns: list[SpokenTurn] = []
    if "en" in languages:
        turns += scripted(args.flite, args.share)
        turns += librivox(args.debian)
    for language in languages:
        turns += [*asterisk(args.debian, language)][:: args.share * _REAL_EVERY]
    found = measure(turns, recognisers, args.show and not args.json)
    noise = made_of_noise(ours)
    seconds = sum(len(turn.samples) for turn in turns) / RATE
    if args.json:
        kinds = {kind: {name: tally.as_json() for name, tally in each.items()} for kind, each in found.items()}
        whole = {name: in_sum(found, name).as_json() for name in recognisers}
        print(json.dumps({"seconds": round(seconds), "all": whole, "kinds": kinds, "noise": noise}, indent=1))
        return 0
    for kind, tallies in [*found.items(), ("all", {name: in_sum(found, name) for name in recognisers})]:
        shown = "   ".join(
            f"{name} {tally.wrong / max(1, tally.words):6.1%} wrong ({tally.wrong_turns:3} turns), "
            f"{median(tally.took_ms):4.0f} ms"
            for name, tally in tallies.items()
        )
        first = next(iter(tallies.values()))
        print(f"{kind:12} {first.turns:4} turns {first.words:5} words   {shown}")
    print(f"{noise['with_words']} of {noise['sounds']} sounds without words became words")
    for text in noise["words"]:
        print(f"  {text}")
    return 0
