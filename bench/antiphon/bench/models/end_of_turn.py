"""What smart-turn makes of recorded speech: whole sentences, and the same ones cut off where the reader is softest.

The built-in voice says eight sentences more, whole and broken off. For each set it prints how likely the model finds
the turn complete after 160 ms of silence, and how much silence the turn
detector would then wait for if its words sound complete.
"""

from __future__ import annotations

import argparse
import time
import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.bench._lib.statistics import median
from antiphon.cli.errors import UsageError
from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.models.smart_turn import RATE, SmartTurn
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.turns.dictation import Ending
from antiphon.inference_bridge.turns.end_of_turn import Evidence
from antiphon.inference_bridge.turns.turn_settings import TurnSettings, wait_ms

LIBRIVOX: Final = Path("/usr/share/pocketsphinx/test/data/librivox")
"""Where Debian's pocketsphinx-testdata puts it."""
SPOKEN: Final = (
    ("I would like to book an appointment for Tuesday.", "I would like to book an"),
    ("What time do you close today?", "What time do you"),
    ("My name is Anna Miller.", "My name is"),
    ("Can I come at half past ten?", "Can I come at half past ten or"),
    ("No, thank you, that is all.", "No, thank you, but"),
    ("Please cancel my appointment and tell me the time.", "Please cancel my appointment and"),
    ("I need to see the doctor because my knee hurts.", "I need to see the doctor because"),
    ("Thursday would be fine.", "Thursday would be"),
)
Samples = npt.NDArray[np.int16]


def read(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def trimmed(speech: Samples) -> Samples:
    """Up to the last loud sample, then 160 ms of a quiet room."""
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 600)
    room = np.random.default_rng(1).normal(0, 8, int(0.16 * RATE)).astype(np.int16)
    return np.concatenate((speech[: int(loud[-1]) + 1], room))


def cuts(speech: Samples) -> list[Samples]:
    """Four beginnings of a sentence: about 30, 45, 60 and 75 % of it, each up to the softest place nearby."""
    energy = np.convolve(speech.astype(float) ** 2, np.ones(RATE // 20), "same")
    out = []
    for share in (0.3, 0.45, 0.6, 0.75):
        begin, end = int((share - 0.07) * speech.size), int((share + 0.07) * speech.size)
        out.append(speech[: begin + int(np.argmin(energy[begin:end]))])
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="the smart-turn model, an ONNX file")
    help_text = "folder of WAV files at 16 kHz, one sentence each (default: %(default)s)"
    parser.add_argument("folder", type=Path, nargs="?", default=LIBRIVOX, help=help_text)


def run(args: argparse.Namespace) -> int:
    if not args.model.is_file():
        raise UsageError(f"{args.model}: there is no such model")
    model, settings, costs = SmartTurn(args.model), TurnSettings(judged=True), list[float]()
    voice = load_synthesizer(Settings())
    spoken = [[soxr.resample(voice.synthesize(text), 24000, RATE).astype(np.int16) for text in pair] for pair in SPOKEN]
    read_aloud = [read(path) for path in sorted(args.folder.glob("*.wav"))]
    sets = {
        "recorded, whole": read_aloud,
        "recorded, cut off": [cut for speech in read_aloud for cut in cuts(speech)],
        "voice, whole": [whole for whole, _ in spoken],
        "voice, broken off": [broken for _, broken in spoken],
    }
    for name, speeches in sets.items():
        likely = []
        for speech in speeches:
            pcm = trimmed(speech).tobytes()
            began = time.perf_counter()
            likely.append(model.judge(pcm))
            costs.append((time.perf_counter() - began) * 1000)
        waits = sorted(wait_ms(settings, Evidence(Ending.COMPLETE, each)) for each in likely)
        counted = {wait: waits.count(wait) for wait in sorted(set(waits))}
        shown = ", ".join(f"{count} x {wait} ms" for wait, count in counted.items())
        print(f"{name:18} {len(speeches):3}   waits {shown}   p {' '.join(f'{each:.2f}' for each in sorted(likely))}")
    print(f"one judgement: {median(costs):.0f} ms")
    return 0
