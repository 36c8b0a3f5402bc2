"""The turns of `antiphon bench transcription`: texts of `transcription_texts.txt` in several voices, at several speeds.

Synthetic: the packaged voice, and voices of Debian's flite where it is installed. Real: LibriVox sentences of
`pocketsphinx-testdata`, prompts of `asterisk-core-sounds-*-g722`, where these Debian packages are. And sounds without
words. All of it is the same in each run, but for what a synthesizer varies by itself.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np
import numpy.typing as npt
import soxr

from antiphon.inference_bridge.models.sources import lexicon_files, voice_file
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.synthesizer import PiperVoice

RATE: Final = 16000
TEXTS: Final = Path(__file__).with_name("transcription_texts.txt")
FLITE_VOICES: Final = ("slt", "rms")
SPEEDS: Final = (0.8, 1.0, 1.3)
LENGTHS_S: Final = (2, 4, 6, 9, 13, 18, 24, 29)
"""Of the turns of several sentences, about."""
_BEFORE_S: Final = 0.3
"""Of the room in front of a turn: what the turn detector keeps from before the onset."""
_BEHIND_S: Final = (0.16, 0.4)
"""Of the room behind it: a transcription begins after the first, a turn ends after the second."""
_ROOM: Final = 6.0
Samples = npt.NDArray[np.int16]


class SpokenTurn(NamedTuple):
    """A turn as the recogniser gets it."""

    kind: str
    voice: str
    speed: float
    text: str
    samples: Samples
    language: str = "en"


def texts() -> dict[str, list[str]]:
    """By kind."""
    found: dict[str, list[str]] = {}
    kind = ""
    for line in TEXTS.read_text().splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(kind, []).append(line)
    return found


class _Joe:
    name = "joe"

    def __init__(self) -> None:
        self._voice = PiperVoice(voice_file(None, ""), Phonemizer(Lexicon.read(lexicon_files())), variation=0)

    def say(self, text: str, speed: float) -> Samples:
        return np.asarray(soxr.resample(self._voice.synthesize(text, speed), 24000, RATE), dtype=np.int16)


class _Flite:
    def __init__(self, program: str, name: str) -> None:
        self._program, self._voice = program, name
        self.name = f"flite {name}"

    def say(self, text: str, speed: float) -> Samples:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            stretch = f"duration_stretch={1 / speed:.3f}"
            command = [self._program, "-voice", self._voice, "--setf", stretch, "-t", text, "-o", file.name]
            subprocess.run(command, check=True, capture_output=True)
            return read_wav(Path(file.name))


Voice = _Joe | _Flite


def voices(flite: str = "") -> list[Voice]:
    """Those that this machine has. `flite`: the program, else the one on the path."""
    program = flite or shutil.which("flite")
    return [_Joe(), *([_Flite(program, name) for name in FLITE_VOICES] if program else [])]


def read_wav(path: Path) -> Samples:
    """Mono at `RATE`."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples if file.getframerate() == RATE else soxr.resample(samples, file.getframerate(), RATE)


def read_g722(path: Path) -> Samples:
    """A file of G.722 without a header."""
    with av.open(str(path), format="g722") as file:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]).astype(np.int16)


def in_a_room(speech: Samples, chance: np.random.Generator) -> Samples:
    """With a quiet room around it, as the turn detector passes it on."""
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 300)
    if loud.size:
        speech = speech[max(0, int(loud[0]) - RATE // 50) : int(loud[-1]) + RATE // 50]
    behind = chance.choice(_BEHIND_S)
    return np.concatenate([room(_BEFORE_S, chance), speech, room(float(behind), chance)])


def room(seconds: float, chance: np.random.Generator, level: float = _ROOM) -> Samples:
    return chance.normal(0, level, int(seconds * RATE)).astype(np.int16)


def scripted(flite: str = "", share: int = 1) -> Iterator[SpokenTurn]:
    """All kinds of `texts`, each line once by each voice, at one of the speeds; then turns of several sentences.

    `share`: every so many of them.
    """
    chance = np.random.default_rng(1)
    spoken = texts()
    sentences = spoken["sentences"]
    for number, voice in enumerate(voices(flite)):
        lines = [(kind, text) for kind, some in spoken.items() for text in some]
        for place, (kind, text) in islice(enumerate(lines), number % share, None, share):
            speed = SPEEDS[(place + number) % len(SPEEDS)]
            yield SpokenTurn(kind, voice.name, speed, text, in_a_room(voice.say(text, speed), chance))
        first = 5 * number
        for place, speed in enumerate(SPEEDS):
            for seconds in islice(LENGTHS_S, (place + number) % share, None, share):
                said, parts = list[str](), list[Samples]()
                while True:
                    sentence = sentences[first % len(sentences)]
                    speech = voice.say(sentence, speed)
                    if parts and sum(map(len, parts)) + len(speech) > seconds * RATE:
                        break
                    first += 1
                    said.append(sentence)
                    parts += [speech, room(float(chance.uniform(0.1, 0.6)), chance)]
                    if sum(map(len, parts)) > seconds * RATE:
                        break
                turn = in_a_room(np.concatenate(parts), chance)
                yield SpokenTurn("monologue", voice.name, speed, " ".join(said), turn)


def librivox(root: Path) -> Iterator[SpokenTurn]:
    """Read speech with its transcripts. `root`: where Debian packages are unpacked, such as `/`."""
    folder = root / "usr/share/pocketsphinx/test/data/librivox"
    chance = np.random.default_rng(2)
    if (folder / "transcription").is_file():
        for line in (folder / "transcription").read_text().splitlines():
            found = re.fullmatch(r"(.*) \((\S+)\)", line)
            if found:
                text = re.sub(r"</?s>", "", found[1])
                speech = read_wav(folder / f"{found[2]}.wav")
                yield SpokenTurn("librivox", "reader", 1.0, text, in_a_room(speech, chance))


ASTERISK: Final = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo"}


def asterisk(root: Path, language: str, longest_s: float = 30.0) -> Iterator[SpokenTurn]:
    """Prompts of a professional speaker, with the texts of Debian's packages; they differ here and there."""
    folder = root / "usr/share/asterisk/sounds" / ASTERISK[language]
    document = root / f"usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    chance = np.random.default_rng(3)
    if not document.is_file() or not folder.is_dir():
        return
    for line in gzip.decompress(document.read_bytes()).decode("utf-8", "replace").splitlines():
        name, parted, text = line.partition(":")
        path = folder / f"{name.strip()}.g722"
        if line.startswith(";") or not parted or not re.search(r"\w", text) or re.search(r"[\[<(]", text):
            continue
        if path.is_file() and path.stat().st_size / 8000 <= longest_s:
            speech = read_g722(path)
            yield SpokenTurn(f"asterisk {language}", "prompts", 1.0, text.strip(), in_a_room(speech, chance), language)


def without_words(seconds: float, seed: int) -> Iterator[tuple[str, Samples]]:
    """Sounds of a room, by name."""
    chance = np.random.default_rng(seed)
    size = int(seconds * RATE)
    time = np.arange(size) / RATE
    white = chance.normal(0, 1, size)
    yield "silence", np.zeros(size, dtype=np.int16)
    yield "room, -55 dBFS", (white * 32768 * 10 ** (-55 / 20)).astype(np.int16)
    yield "room, -40 dBFS", (_band(white, 100, 2000) * 32768 * 10 ** (-40 / 20)).astype(np.int16)
    hum = sum(np.sin(2 * np.pi * 50 * n * time + n) / n for n in (1, 2, 3, 5))
    yield "hum", (250 * np.asarray(hum) + 4 * white).astype(np.int16)
    breath = np.maximum(0, np.sin(2 * np.pi * 0.6 * time + seed)) ** 2
    yield "breathing", (700 * breath * _band(white, 300, 3000) + 4 * white).astype(np.int16)
    coughs = sum(np.where(time > at, np.exp(-(time - at) / 0.09), 0) for at in (0.3, 0.3 + seconds / 3))
    throat = _band(white, 300, 1800) + 0.4 * np.sign(np.sin(2 * np.pi * 140 * time))
    yield "coughs", np.clip(9000 * np.asarray(coughs) * throat + 8 * white, -32768, 32767).astype(np.int16)
    roots = np.array([220.0, 261.6, 196.0, 246.9])[(time * 2).astype(int) % 4]
    phase = 2 * np.pi * np.cumsum(roots) / RATE
    chord = sum(np.sin(phase * step * n) / n for step in (1, 1.25, 1.5) for n in (1, 2, 3))
    yield "music", (1500 * np.asarray(chord) * (1 + 0.2 * np.sin(10 * np.pi * time))).astype(np.int16)
    keys = np.zeros(size)
    for at in chance.integers(0, max(1, size - 500), int(seconds * 7)):
        keys[at : at + 480] += 8000 * chance.normal(0, 1, 480) * np.exp(-np.arange(480) / 90)
    yield (
        "keyboard",
        np.clip(_band(keys, 300, 6000) * float(np.abs(keys).std()) + 6 * white, -32768, 32767).astype(np.int16),
    )


def _band(noise: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """Between two frequencies, with the root mean square 1."""
    spectrum, hertz = np.fft.rfft(noise), np.fft.rfftfreq(noise.size, 1 / RATE)
    shaped = np.fft.irfft(np.where((hertz > low) & (hertz < high), spectrum, 0), noise.size)
    return np.asarray(shaped / (np.sqrt((shaped**2).mean()) or 1.0), dtype=np.float64)
