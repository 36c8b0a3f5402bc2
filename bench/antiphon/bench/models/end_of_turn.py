"""What smart-turn makes of recorded speech: whole sentences, and the same ones cut off where the reader is softest.

python -m antiphon.bench.models.end_of_turn MODEL.onnx [FOLDER]

FOLDER holds WAV files at 16 kHz, one sentence each (default: where Debian's pocketsphinx-testdata puts LibriVox). The
built-in voice says eight sentences more, whole and broken off. For each it prints how likely the model finds
it to be over after 160 ms of silence, and how much silence the turn detector would then wait for.
"""

import argparse
import time
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.models.smart_turn import RATE, SmartTurn
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.turns.turn_settings import TurnSettings, wait_ms

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
SAID = (
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=LIBRIVOX)
    arguments = parser.parse_args()
    model, settings, costs = SmartTurn(arguments.model), TurnSettings(judged=True), []
    voice = load_synthesizer(Settings())
    said = [[soxr.resample(voice.synthesize(text), 24000, RATE).astype(np.int16) for text in pair] for pair in SAID]
    read_aloud = [read(path) for path in sorted(arguments.folder.glob("*.wav"))]
    sets = {
        "recorded, whole": read_aloud,
        "recorded, cut off": [cut for speech in read_aloud for cut in cuts(speech)],
        "voice, whole": [whole for whole, _ in said],
        "voice, broken off": [broken for _, broken in said],
    }
    for name, speeches in sets.items():
        likely = []
        for speech in speeches:
            pcm = trimmed(speech).tobytes()
            began = time.perf_counter()
            likely.append(model.judge(pcm))
            costs.append((time.perf_counter() - began) * 1000)
        waits = sorted(wait_ms(settings, each) for each in likely)
        counted = {wait: waits.count(wait) for wait in sorted(set(waits))}
        told = ", ".join(f"{count} x {wait} ms" for wait, count in counted.items())
        print(f"{name:18} {len(speeches):3}   waits {told}   p {' '.join(f'{each:.2f}' for each in sorted(likely))}")
    print(f"one judgement: {sorted(costs)[len(costs) // 2]:.0f} ms")
