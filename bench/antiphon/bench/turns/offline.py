"""Decisions computed faster than real time: the detector and the models of the bridge, and a clock that is reckoned.

Each call is one detector that hears its scenes one after the other. Where it asks the models, they run at once, and
their answer arrives when it would: after the processor time that they took, and, with five calls, after the time that
it waits for a core. `AFTER_DECISION_S` is what a live answer takes from decision and transcript to the caller.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.bench.models.whole_turns import plain
from antiphon.bench.turns.outcomes import TurnOutcome
from antiphon.bench.turns.scenes import Scene
from antiphon.bench.turns.speakers import RATE
from antiphon.inference_bridge.models.smart_turn import SmartTurn
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.turns.detector import MaybeDone, TurnDetector, TurnEnded, Utterance
from antiphon.inference_bridge.turns.expected_answer import ANYTHING, expected
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import WINDOW, Window

AFTER_DECISION_S: Final = 0.03
"""First clause of a known phrase, event loop, wire and jitter buffer; live, at 400 ms of silence, the gap is 487 ms."""
_BUSY_MEDIAN_S: Final = 0.057
_BUSY_SIGMA: Final = 1.46
"""What a transcript waits for with five calls on two cores: log-normal, 57 ms (p50) and 370 ms (p90), as measured."""


@dataclass(frozen=True)
class Judged:
    """What the models say of an utterance, and what it costs them. A value; seconds of processor time."""

    words: str
    words_s: float
    voice: float | None
    voice_s: float


class Models:
    """The bridge's models, which remember what they have judged: in the cache directory too.

    Owned by the bench, used on one thread.
    """

    def __init__(
        self, voice_activity: VoiceActivity, transcriber: Transcriber, smart_turn: SmartTurn | None, cache: Path
    ) -> None:
        self._activity, self._transcriber, self._smart_turn = voice_activity, transcriber, smart_turn
        recogniser = hashlib.sha256(inspect.getsource(inspect.getmodule(type(transcriber)) or Models).encode())
        signs = "voice" if smart_turn else "words"
        self._path = cache / f"judged-{signs}-{recogniser.hexdigest()[:12]}.jsonl"
        self._known: dict[str, Judged] = {}
        if self._path.is_file():
            for line in self._path.read_text().splitlines():
                key, *values = json.loads(line)
                self._known[key] = Judged(*values)

    def probabilities(self, samples: np.typing.NDArray[np.int16]) -> list[float]:
        """Of each window."""
        stream, pcm = self._activity.stream(), samples.astype("<i2").tobytes()
        size = WINDOW * 2
        return [stream.probability(pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size)]

    def judge(self, pcm: bytes, language: str) -> Judged:
        """Words and voice of an utterance."""
        key = hashlib.sha256(language.encode() + pcm).hexdigest()[:24]
        if key not in self._known:
            began = time.process_time()
            words = transcribe(self._transcriber, pcm, language)
            between = time.process_time()
            voice = self._smart_turn.judge(pcm) if self._smart_turn else None
            judged = Judged(words, between - began, voice, time.process_time() - between)
            self._known[key] = judged
            with self._path.open("a") as file:
                file.write(json.dumps([key, judged.words, judged.words_s, judged.voice, judged.voice_s]) + "\n")
        return self._known[key]


def transcribe(transcriber: Transcriber, pcm: bytes, language: str) -> str:
    """In the language of the caller."""
    options = {} if language == "en" else {"language": language}
    return transcriber.transcribe(pcm, **options)


class _Waiting:
    """What a model's answer waits for a core, at one or two calls or at five. Owned by one run."""

    def __init__(self, calls: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self.is_busy = calls > 2

    def seconds(self) -> float:
        return self._chance.lognormvariate(np.log(_BUSY_MEDIAN_S), _BUSY_SIGMA) if self.is_busy else 0.0


@dataclass(frozen=True)
class _End:
    at: float
    """Seconds of the call."""
    utterance: Utterance
    audible: float


def run_call(
    scenes: Sequence[Scene], models: Models, settings: TurnSettings, calls: int, seed: int
) -> list[TurnOutcome]:
    """One call of one voice: its scenes in a row, one outcome each."""
    language = scenes[0].script.language
    detector, waiting = TurnDetector(replace(settings, language=language)), _Waiting(calls, seed)
    samples = np.concatenate([each.samples for each in scenes])
    pcm = samples.astype("<i2").tobytes()
    likely = models.probabilities(samples)
    begins = np.cumsum([0, *(len(each.samples) / RATE for each in scenes)])
    ends: list[_End] = []
    due: list[tuple[float, Utterance, str | None, float | None]] = []
    for number, probability in enumerate(likely):
        now = (number + 1) * WINDOW / RATE
        asked = ANYTHING
        here = min(len(scenes) - 1, int(np.searchsorted(begins, now, "right")) - 1)
        if detector.is_judged:
            asked = expected(scenes[here].script.asks, language)
        for item in [each for each in due if each[0] <= now]:
            due.remove(item)
            detector.evidence(item[1], words=item[2], voice=item[3], expected=asked)
        first = number * WINDOW
        window = Window(first, pcm[first * 2 : (first + WINDOW) * 2], False, False)
        for event in detector.window(window, probability, now, not waiting.is_busy):
            if isinstance(event, MaybeDone) and detector.is_judged:
                judged = models.judge(event.utterance.pcm, language)
                due.append((now + judged.words_s + waiting.seconds(), event.utterance, judged.words, None))
                if judged.voice is not None:
                    due.append((now + judged.voice_s + waiting.seconds() / 2, event.utterance, None, judged.voice))
            elif isinstance(event, TurnEnded):
                began = event.utterance.first_sample / RATE + len(event.utterance.pcm) / 2 / RATE
                judged = models.judge(event.utterance.pcm, language)
                ready = began + judged.words_s + waiting.seconds()
                ends.append(_End(now, event.utterance, max(now, ready) + AFTER_DECISION_S))
    return [
        _outcome(scene, float(begins[number]), float(begins[number + 1]), ends, models)
        for number, scene in enumerate(scenes)
    ]


def _outcome(scene: Scene, begin: float, until: float, ends: Sequence[_End], models: Models) -> TurnOutcome:
    """`begin`, `until`: of the scene in the call."""
    script = scene.script
    own = [end for end in ends if begin <= end.at < until]
    true_end = begin + scene.true_end
    early = [end for end in own if end.at < true_end]
    cut_in = False
    for end in early:
        following = [begin + start for start in scene.starts if begin + start > end.at]
        cut_in |= end.audible < (following[0] if following else true_end)
    after = next((end for end in own if end.at >= true_end), None)
    if after is None and early and not cut_in:
        after = early[-1]  # decided over the softest end of the last word
    said = plain(script.text)
    transcript = plain(" ".join(models.judge(end.utterance.pcm, script.language).words for end in own))
    found = sum(block.size for block in SequenceMatcher(None, said, transcript, autojunk=False).get_matching_blocks())
    good = after is not None and not cut_in
    return TurnOutcome(
        kind=script.kind,
        paused=script.has_pauses,
        cut_in=cut_in,
        ended_early=bool(early),
        missed=after is None,
        gap_s=after.audible - true_end if good and after else None,
        decision_s=after.at - true_end if good and after else None,
        words=len(said),
        words_lost=len(said) - found,
        language=script.language,
        text=f"{scene.voice}: {script.text}",
    )
