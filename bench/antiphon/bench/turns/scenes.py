"""Scripts to audio: what the microphone of a scripted caller sends, and what is true of it.

A scene is one turn: some silence, the parts with exactly the scripted pauses between them, and silence until the
agent must have answered. The microphone always has a little noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.bench.turns.scripts import Overlap, Script
from antiphon.bench.turns.speakers import RATE, Samples, Speakers, sound

LEAD_S: Final = 0.6
TAIL_S: Final = 2.8
_BEHIND_DB: Final = -17.0
"""A voice behind the caller: between 15 and 20 dB softer."""
_TALK: Final = (
    "And then he told me that the train would be late again, so we went home by bus.",
    "The weather will stay dry until the end of the week, with some clouds in the north.",
    "I said that we should buy some bread and a little cheese for the evening.",
)


@dataclass(frozen=True)
class Scene:
    """A script as audio. A value; seconds from its first sample."""

    script: Script
    voice: str
    samples: Samples
    starts: tuple[float, ...]
    """Where each part begins."""
    ends: tuple[float, ...]
    """Where each part ends; the last one is the true end of the turn."""

    @property
    def true_end(self) -> float:
        return self.ends[-1]


def scene(script: Script, voice: str, speakers: Speakers, seed: int) -> Scene:
    """`seed`: of the noise."""
    pieces: list[Samples] = [np.zeros(int(LEAD_S * RATE), dtype=np.int16)]
    starts, ends, position = list[float](), list[float](), len(pieces[0])
    for number, part in enumerate(script.parts):
        speech = speakers.say(voice, part)
        starts.append(position / RATE)
        position += len(speech)
        ends.append(position / RATE)
        silence = script.pauses[number] if number < len(script.pauses) else TAIL_S
        pieces += [speech, np.zeros(int(silence * RATE), dtype=np.int16)]
        position += len(pieces[-1])
    mixed = np.concatenate(pieces).astype(np.float64)
    chance = np.random.default_rng(seed)
    mixed += chance.normal(0, 8, mixed.size)
    if script.behind:
        mixed += _behind(script.behind, mixed.size, voice, speakers, seed)
    samples = np.clip(mixed, -32768, 32767).astype(np.int16)
    return Scene(script, voice, samples, tuple(starts), tuple(ends))


def _behind(kind: str, size: int, voice: str, speakers: Speakers, seed: int) -> Samples:
    """What is to be heard behind the caller, from the first sample to the last."""
    if kind != "talk":
        return sound(kind, seed, size / RATE + 0.1)[:size]
    names = speakers.names("en")
    other = names[(names.index(voice) + 1) % len(names)] if voice in names else names[0]
    said = [speakers.say(other, text) for text in _TALK[seed % 3 :] + _TALK[: seed % 3]]
    repeated = np.tile(np.concatenate(said), 1 + size // max(1, sum(map(len, said))))[:size]
    return np.asarray(repeated * 10 ** (_BEHIND_DB / 20), dtype=np.int16)


def overlap_samples(overlap: Overlap, voice: str, speakers: Speakers, seed: int) -> Samples:
    """The sound of an `Overlap`, from its first loud sample."""
    if not overlap.text:
        return sound(overlap.kind, seed)
    names = speakers.names(overlap.language)
    if overlap.kind == "talk":
        voice = names[(names.index(voice) + 1) % len(names)]
    return np.asarray(speakers.say(voice, overlap.text) * 10 ** (overlap.level_db / 20), dtype=np.int16)
