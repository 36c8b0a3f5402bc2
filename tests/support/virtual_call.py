"""A call around the conversation core in virtual time: caller, recogniser, agent and transceiver as timers."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.machine import ConversationCore
from antiphon.inference_bridge.conversation.core.state import Response, Rules, State
from antiphon.inference_bridge.turns.detector import (
    MaybeDone,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    StillSpeaking,
    TurnEnded,
    Utterance,
)

STEP_MS = 10
ONSET_MS = 96
FLUSH_MS = 20


@dataclass
class Answer:
    """What the agent does when it is asked."""

    words: str = "This is the answer."
    first_ms: int = 200
    """Until its first word."""
    play_ms: int = 3000
    """The length of its speech; 0: it says nothing."""
    calls: Sequence[str] = ()
    """Ids of function calls, told with the first word."""


@dataclass
class _Speech:
    response: Response
    answer: Answer
    begins_at: float
    generated_at: float
    played_ms: float = 0.0
    open: bool = True
    started: bool = False
    generated: bool = False
    stopped: bool = False


@dataclass
class VirtualCall:
    """One call. `now` counts milliseconds."""

    rules: Rules = field(default_factory=Rules)
    state: dict[str, Any] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    """Taken one after the other; then the last again."""
    stt_ms: int = 150
    step_ms: int = STEP_MS
    """How exact time is."""
    now: float = 0.0
    log: list[tuple[float, Command]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = ConversationCore(State(rules=self.rules, idle_since=0.0, **self.state))
        self.speeches: dict[int, _Speech] = {}
        self.texts: dict[int, str] = {}
        """What the recogniser makes of each turn."""
        self.held = False
        self._speculated_at = 0.0
        self._timers: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._ticked = 0.0

    # ---- the test's side -------------------------------------------------------------------------------

    def feed(self, event: Any) -> list[Any]:
        """An event now; what came of it."""
        out = self.core.handle(event, self.now / 1000)
        for command in out:
            self.log.append((self.now, command))
            self._carry_out(command)
        return out

    def run(self, ms: float) -> None:
        """Time passes."""
        end = self.now + ms
        while self.now < end:
            self.now += self.step_ms
            while self._timers and self._timers[0][0] <= self.now:
                self.feed_late(heapq.heappop(self._timers)[2])
            self._play()
            if self.now - self._ticked >= 100:
                self._ticked = self.now
                self.feed(events.Tick())

    def says(self, text: str, ms: int = 800, silence_ms: int = 400) -> int:
        """The caller speaks for so long, then is silent until the turn ends; returns when the speech began."""
        began = self.now
        self.starts()
        spoken = ONSET_MS
        while ms - spoken >= 800:
            self.run(800)
            spoken += 800
            self.feed(StillSpeaking(self._utterance(text, spoken, began)))
        self.run(max(0, ms - spoken))
        self.ends(text, ms, silence_ms, began)
        return int(began)

    def starts(self) -> None:
        """The caller begins to speak; it is noticed."""
        began = self.now
        self.run(ONSET_MS)
        self.feed(SpeechStarted(int(began * 16)))

    def ends(self, text: str, ms: int, silence_ms: int = 400, began: float | None = None) -> None:
        """The caller falls silent, and the turn ends."""
        utterance = self._utterance(text, ms, self.now - ms if began is None else began)
        if ms < 120:
            self.run(silence_ms)
            self.feed(SpeechDropped(utterance.speech_end))
            return
        self.run(min(160, silence_ms))
        if silence_ms >= 160:
            self.feed(MaybeDone(utterance))
        self.run(max(0, silence_ms - 160))
        self.feed(TurnEnded(utterance))

    def pauses(self, text: str, ms: int = 800, pause_ms: int = 300) -> None:
        """The caller speaks, pauses for less than a turn's end, and speaks on."""
        began = self.now
        self.starts()
        self.run(ms - ONSET_MS)
        self.run(160)
        self.feed(MaybeDone(self._utterance(text, ms, began)))
        self.run(pause_ms - 160)
        self.feed(Resumed())

    def of(self, *kinds: type) -> list[Any]:
        """All commands of these types so far."""
        return [command for _, command in self.log if isinstance(command, kinds)]

    def times(self, kind: type) -> list[float]:
        """When they came."""
        return [at for at, command in self.log if isinstance(command, kind)]

    @property
    def asked(self) -> list[str]:
        """What the agent was asked."""
        return [command.response.text for command in self.of(do.Ask) if command.response.asked]

    @property
    def settled(self) -> list[tuple[str, str]]:
        """How responses ended: outcome and words played."""
        return [(command.outcome, command.played) for command in self.of(do.Settle)]

    # ---- inside ----------------------------------------------------------------------------------------

    def feed_late(self, event: Any) -> None:
        """An event whose time has come."""
        if isinstance(event, events.Ended):
            speech = self.speeches.pop(event.rid, None)
            played_ms = int(speech.played_ms) if speech else 0
            words = speech.answer.words.split() if speech else []
            share = min(1.0, played_ms / speech.answer.play_ms) if speech and speech.answer.play_ms else 0.0
            event = events.Ended(event.rid, "cancelled", " ".join(words[: int(share * len(words))]), played_ms)
        self.feed(event)

    def _later(self, ms: float, event: Any) -> None:
        heapq.heappush(self._timers, (self.now + ms, next(self._order), event))

    def _utterance(self, text: str, ms: float, began: float) -> Utterance:
        first = int(began * 16)
        return Utterance(text.encode(), first, first + int(ms * 16), ms)

    def _carry_out(self, command: Command) -> None:
        match command:
            case do.Transcribe(key, utterance, speculated, has_speech):
                text = utterance.pcm.decode() if has_speech else ""
                self.texts[key] = text
                begun = self._speculated_at if speculated else self.now
                left = begun + self.stt_ms - self.now if has_speech else 0
                self._later(max(STEP_MS, left), events.TextKnown(key, text))
            case do.Speculate():
                self._speculated_at = self.now
            case do.TranscribePartly(utterance):
                self._later(self.stt_ms, events.PartialText(utterance.pcm.decode()))
            case do.Ask(response, gated):
                answer = self.answers.pop(0) if len(self.answers) > 1 else (self.answers or [Answer()])[0]
                if response.fixed:
                    answer = Answer(response.fixed, 50, 60 * len(response.fixed))
                begins = self.now + answer.first_ms
                self.speeches[response.rid] = _Speech(response, answer, begins, begins + 20, open=not gated)
            case do.OpenGate(rid):
                speech = self.speeches[rid]
                speech.open = True
                speech.begins_at = max(speech.begins_at, self.now)
                speech.generated_at = speech.begins_at + 20
            case do.Stop(rid):
                self.speeches[rid].stopped = True
                self.held = False
                self._later(FLUSH_MS, events.Ended(rid, "cancelled"))
            case do.HoldSpeech():
                self.held = True
            case do.ResumeSpeech():
                self.held = False

    def _play(self) -> None:
        for rid, speech in list(self.speeches.items()):
            if not speech.open or speech.stopped or self.now < speech.begins_at:
                continue
            if not speech.started:
                speech.started = True
                self.feed(events.FirstPart(rid))
                for call_id in speech.answer.calls:
                    self.feed(events.Called(rid, call_id))
                if speech.answer.play_ms:
                    self.feed(events.Spoke(rid, speech.answer.words))
            if not speech.generated and self.now >= speech.generated_at:
                speech.generated = True
                self.feed(events.Generated(rid))
            if not self.held and speech.response.spoken:
                first = speech.played_ms == 0
                speech.played_ms += self.step_ms
                if first and speech.answer.play_ms:
                    self.feed(events.WordsPlayed(rid))
            over = speech.played_ms >= speech.answer.play_ms or not speech.response.spoken
            if speech.generated and over and rid in self.speeches and not speech.stopped:
                del self.speeches[rid]
                self.feed(events.Ended(rid, "completed", speech.answer.words))
