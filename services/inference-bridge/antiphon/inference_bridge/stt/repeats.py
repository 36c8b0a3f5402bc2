"""Repeats at the end of a transcript: which were spoken, and which the recogniser made up. Pure.

Whisper sometimes goes round: `Saturday. Saturday. Saturday.` of one word. Callers repeat themselves too: `one two one
two`, `New York, New York`, `no, no, no`. The text alone can't tell the two apart, the audio can: more syllables than a
voice speaks in that time were not spoken.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import numpy as np
import numpy.typing as npt

_RATE: Final = 16000
_STEP: Final = _RATE // 50
_FLOOR: Final = 60.0
"""Root mean square of a step of 20 ms below which nothing is a voice: -55 dBFS."""
_BELOW_LOUDEST: Final = 0.04
"""Of the loudest step: 28 dB below it."""
FASTEST: Final = 8.0
"""Syllables per second that no repeat exceeds; ordinary speech has 3 to 6, our voice at twice its speed 9."""
_GRACE: Final = 1.0
"""Syllables, because a voice's first and last are cut short by the measure of loudness."""
_STEADY: Final = 1.6
"""A sound whose loud steps are at most so much louder than its soft ones (4 dB) has no syllables: a hum, a room."""
_SYLLABLES: Final = {"0": 2, "7": 2}
_LETTERS: Final = {"w": 3}
_VOWELS: Final = re.compile(r"[aeiouyæœøаеёиоуыэюя]+")
_LOOP_ROUNDS: Final = 3


def voiced_seconds(pcm: npt.NDArray[np.floating]) -> float:
    """From the first to the last step that may be a voice; a pause counts as 0.3 s at most. `pcm`: 16 kHz, -1 to 1."""
    loud = np.flatnonzero(_is_loud(_levels(pcm)))
    if not loud.size:
        return 0.0
    gaps = np.minimum(np.diff(loud), 15)
    return float(gaps.sum() + 1) * _STEP / _RATE


def has_no_voice(pcm: npt.NDArray[np.floating]) -> bool:
    """Silence, or a steady noise, which needs no recogniser to have no words."""
    levels = _levels(pcm)
    if levels.size < 2:
        return levels.size == 0 or bool(levels.max() < _FLOOR)
    loudest, softest = np.quantile(levels, 0.98), np.quantile(levels, 0.05)
    return bool(loudest < _FLOOR / 4 or loudest <= _STEADY * softest)


def _levels(pcm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    steps = (pcm[: len(pcm) // _STEP * _STEP].astype(np.float64) * 32768).reshape(-1, _STEP)
    return np.asarray(np.sqrt((steps**2).mean(axis=1)))


def _is_loud(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if not levels.size:
        return np.zeros(0, dtype=bool)
    return np.asarray(levels > max(_FLOOR, float(levels.max()) * _BELOW_LOUDEST))


def syllables(text: str) -> float:
    """About how many a speaker needs for it; digits and single letters one by one."""
    count = 0.0
    for word in re.findall(r"\w+", text.lower()):
        plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
        for part in re.findall(r"\d|[^\d]+", plain):
            if part.isdigit():
                count += _SYLLABLES.get(part, 1)
            elif len(part) == 1:
                count += _LETTERS.get(part, 1)
            elif part.isascii() and not _VOWELS.search(part):
                count += len(part)  # spelled
            else:
                count += max(1, len(_VOWELS.findall(re.sub(r"(?<=[a-z]{2})e$", "", part))))
    return count


def fits(text: str, voiced_s: float) -> bool:
    """A voice can have said all of it in that time."""
    return syllables(text) <= voiced_s * FASTEST + _GRACE


def as_spoken(text: str, voiced_s: float) -> str:
    """`text` without the repeats at its end that were not spoken: those for which the audio is too short.

    What does not repeat itself is left as it is, however fast it is. Of a word over and over, as many stay as fit.
    """
    while not fits(text, voiced_s):
        words = text.split()
        shorter = _one_round_less(words)
        if shorter is None:
            break
        text = " ".join(words[:shorter])
    return text


def _one_round_less(words: list[str]) -> int | None:
    """Where a last, perhaps unfinished, round of a phrase begins that is right before it too; None: there is none."""
    bare = [_bare(word) for word in words]
    best = None
    for period in range(1, len(bare) // 2 + 1):
        tail = _partial_round(bare, period)
        if tail is not None:
            best = tail if best is None else max(best, tail)
    return best if best is not None else _unfinished(bare)


def _partial_round(bare: list[str], period: int) -> int | None:
    start = len(bare) - period
    return start if start >= period and bare[start - period : start] == bare[start:] else None


def _unfinished(bare: list[str]) -> int | None:
    """Where the last words begin what the text began with: `What time is it? What ti`."""
    for start in range(len(bare) - 1, 0, -1):
        *tail, last = bare[start:]
        first = bare[: len(tail) + 1]
        if last and len(first) == len(tail) + 1 and first[:-1] == tail and first[-1].startswith(last):
            return start
    return None


def without_loop(text: str, least: int = 3) -> str:
    """Cut the repeats of a phrase that the text ends in, three times at least; for text that ran into a limit.

    `... and nobody called. And nobody called. And nobody called. And no` -> `... and nobody called.` Phrases of less
    than `least` words are left, because speakers repeat digits and "no, no" like that; in a number each digit counts.
    """
    words = text.split()
    bare = [_bare(word) for word in words]
    for period in range(1, len(words) // _LOOP_ROUNDS + 1):
        *whole, last = bare
        if not whole[-period].startswith(last):  # the limit may have cut it in the middle
            continue
        start = len(whole) - period
        while start > 0 and bare[start - 1] == bare[start - 1 + period]:
            start -= 1
        phrase = bare[start : start + period]
        if len(bare) - start < _LOOP_ROUNDS * period or sum(_weight(word) for word in phrase) < least:
            continue
        glued = period == 1 and start > 0 and phrase[0].isdecimal() and bare[start - 1].endswith(phrase[0])
        return " ".join(words[: start if glued else start + period])
    return text


def is_doubled(text: str) -> bool:
    """The same words twice or more, and nothing else."""
    words = _words(text)
    return any(words == words[:period] * (len(words) // period) for period in range(1, len(words) // 2 + 1))


def is_of(text: str, prompt: str) -> bool:
    """All words of `text` come from the prompt, in a row."""
    said, known = _words(text), _words(prompt)
    return bool(said) and any(known[at : at + len(said)] == said for at in range(len(known) - len(said) + 1))


_SAME: Final = {"dr": "doctor", "mr": "mister", "mrs": "missus", "st": "street", "ok": "okay"}


def _words(text: str) -> list[str]:
    return [_SAME.get(word, word) for word in re.findall(r"\w+", text.lower())]


def _weight(word: str) -> int:
    return len(word) if word.isdecimal() else 1


def _bare(word: str) -> str:
    return re.sub(r"[^\w']", "", word.lower())
