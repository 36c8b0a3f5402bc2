"""Where the time of one turn went, as the bridge sees it: marks in, contiguous parts out. Pure.

A mark is a Unix time in nanoseconds; 0: not reached. The parts go from one mark to the next one that was reached, so
that they always add up, whichever of them are missing. `turn_spans` makes spans of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from antiphon.inference_bridge.turns.window import RATE
from antiphon.schemas import messages

BRIDGE_PARTS: Final = ("receive", "end_of_turn", "stt", "agent", "tts")
"""Those of `messages.TURN_PARTS` that the bridge measures, in order."""
MAX_TOOLS: Final = 32
"""Names of functions that are reported of a turn."""
_MS: Final = 1_000_000
_MAX_MS: Final = 600_000.0
"""The greatest that a message may hold."""
_BLOCK: Final = RATE // 200
"""5 ms: how exactly the end of speech is known."""
_BEFORE: Final = RATE // 4
"""So long before the end that voice activity has found the real one is looked for."""
_FLOOR: Final = 60.0
"""Root mean square, of 32768, below which nothing is speech: -55 dB of full scale."""
_ABOVE_NOISE: Final = 4.0
"""12 dB."""


@dataclass
class TurnMarks:
    """What is known of one turn's times. Owned by its `SpokenTurn` or `ResponseRecord`; used on the event loop."""

    began: int = 0
    """When the transceiver received the caller's last sample, or, in a turn without one, when an answer was asked."""
    is_spoken: bool = False
    """`began` is that of a caller's last sample."""
    last_sample: int = 0
    """Its number; 0 in a turn without one."""
    lag: int = 0
    """ns from a sample's arrival at the transceiver until the turn detector had judged it."""
    ended: int = 0
    """The turn was taken as over."""
    transcribed: int = 0
    """Its text was there."""
    first_words: int = 0
    """The agent's first clause went to the voice."""
    published: int = 0
    """The first frame of speech was published."""
    tools: list[str] = field(default_factory=list)
    """Names of the functions that were called for it, `MAX_TOOLS` at most."""


class Part(NamedTuple):
    """One stretch of a turn. A value."""

    name: str
    begins: int
    ends: int


def stretches(marks: TurnMarks) -> list[Part]:
    """The bridge's parts in order, without gaps. A mark before the one that precedes it counts as reached with it."""
    out: list[Part] = []
    at = marks.began
    if not at:
        return out
    # Speech is received for as long as the lag at the decision was: the silence behind it came through the same way.
    received = min(at + max(0, marks.lag), marks.ended) if marks.ended else 0
    steps = zip(
        BRIDGE_PARTS, (received, marks.ended, marks.transcribed, marks.first_words, marks.published), strict=True
    )
    for name, until in steps:
        if until and (marks.is_spoken or name in ("agent", "tts")):
            until = max(at, until)
            out.append(Part(name, at, until))
            at = until
    return out


def parts_of(marks: TurnMarks) -> messages.TurnParts:
    """The same as it is reported."""
    return messages.TurnParts(**{part.name: min(_MAX_MS, (part.ends - part.begins) / _MS) for part in stretches(marks)})


@dataclass
class InterruptionMarks:
    """The times of one interruption. Owned by `TurnSpans`; used on the event loop."""

    onset: int = 0
    """The transceiver received the first sample of the caller's sound."""
    held: int = 0
    """The transceiver was asked to hold the speech; 0: it was not held."""
    decided: int = 0
    """The sound is a caller who wants to speak."""
    flushed: int = 0
    """The speech that was left is dropped."""


def interruption_stretches(marks: InterruptionMarks, client_ns: int) -> list[Part]:
    """Onset, decision, flush, and the silence at the client, which comes `client_ns` after the last sample has left."""
    decided = max(marks.decided, marks.held, marks.onset)
    onset = min(marks.onset or marks.held or decided, decided)
    held = max(marks.held or decided, onset)
    flushed = max(marks.flushed, decided)
    silent_from = held if marks.held else flushed
    return [
        Part("onset", onset, held),
        Part("decision", held, decided),
        Part("flush", decided, flushed),
        Part("silence", silent_from, silent_from + max(0, client_ns)),
    ]


def last_sample(pcm: bytes, first_sample: int, speech_end: int) -> int:
    """Position behind the caller's last sample of speech, 5 ms exact; `speech_end` where the level does not say.

    Voice activity is judged in windows of 32 ms, and holds on for some more. `pcm`: the utterance with the silence
    behind it, s16le mono at 16 kHz, from `first_sample` on.
    """
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")
    begin = max(0, speech_end - first_sample - _BEFORE)
    count = (len(samples) - begin) // _BLOCK
    if count < 8:
        return speech_end
    blocks = samples[begin : begin + count * _BLOCK].astype(np.float32).reshape(count, _BLOCK)
    levels = np.sqrt(np.mean(blocks * blocks, axis=1))
    noise = float(np.percentile(levels, 10))
    loud = np.flatnonzero(levels > max(_FLOOR, _ABOVE_NOISE * noise))
    if not loud.size:
        return speech_end
    found = first_sample + begin + (int(loud[-1]) + 1) * _BLOCK
    return found if abs(found - speech_end) <= _BEFORE else speech_end
