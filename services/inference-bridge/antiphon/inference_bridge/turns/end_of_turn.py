"""How much silence ends a turn, by all that is known of it: its words, its voice, the question, the caller. Pure.

    Evidence -> the first rule of RULES that fits -> ms of silence, longer for a caller who pauses for long

Each sign alone is weak. A voice says little about dictation and single words, the words do not tell that a second
sentence follows, and a question is not always asked. So a turn ends early only where two of them agree, or where the
question is answered; where they differ, or more is to come, the caller gets time. Silence always ends the turn at last:
no wait is longer than `LONGEST_MS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.languages import ruled
from antiphon.inference_bridge.turns.dictation import Ending, ending
from antiphon.inference_bridge.turns.expected_answer import ANYTHING, Expected, answered, is_dictated, is_in_parts
from antiphon.inference_bridge.turns.spoken_digits import digits, letters

SHORTEST_MS: Final = 160
LONGEST_MS: Final = 2000
_PATIENT_FROM_MS: Final = 700
"""Waits from here on grow with the caller's own pauses: shorter ones are for turns that are surely over."""
_BRIEF: Final = 1
"""Words."""
_RHYTHM: Final = 1.15
"""The wait as a multiple of the longest pause that the caller has made inside a turn."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a turn in a silence. A value; None in a field: not known, yet or ever."""

    ending: Ending | None = None
    """How its words end."""
    voice: float | None = None
    """How likely the speaker sounds done, 0 to 1 (smart-turn)."""
    answered: bool | None = None
    """Whether the words answer what was asked; None: nothing was asked, or there is no telling."""
    in_parts: bool = False
    """The agent has asked for something that has several parts: a number, a name to be spelled, an order."""
    symbols: int = 0
    """Digits and letters that were dictated so far."""
    brief: bool = False
    """Hardly any words: a greeting, the beginning of a sentence."""
    overlaps: bool = False
    """The agent speaks, and its speech is held until it is known what the caller's sound was."""
    longest_pause_ms: float = 0.0
    """The longest pause that the caller has made inside a turn of late."""


@dataclass(frozen=True)
class Rule:
    """A row of the table: which evidence it is for, and how much silence it asks for. A value."""

    wait_ms: int
    endings: tuple[Ending | None, ...] = ()
    """Empty: however the words end."""
    voice: tuple[float, float] | None = None
    """From, and below; None: whatever the voice sounds like, also where it was not judged."""
    answered: tuple[bool | None, ...] = ()
    in_parts: bool | None = None
    symbols: int = 0
    """At least so many."""
    brief: bool | None = None
    overlaps: bool | None = None

    def fits(self, evidence: Evidence) -> bool:
        """Whether the row is for this evidence."""
        if self.endings and evidence.ending not in self.endings:
            return False
        if self.voice is not None and (evidence.voice is None or not self.voice[0] <= evidence.voice < self.voice[1]):
            return False
        if self.answered and evidence.answered not in self.answered:
            return False
        if evidence.symbols < self.symbols or self.brief not in (None, evidence.brief):
            return False
        if self.overlaps not in (None, evidence.overlaps):
            return False
        return self.in_parts in (None, evidence.in_parts)


_DONE: Final = (0.8, 1.01)
_HALF: Final = (0.5, 0.8)
_UNSURE: Final = (0.1, 0.5)
_OPEN: Final = (0.0, 0.1)
_WHOLE_NUMBER: Final = 7
"""Symbols from which on a number of unknown length may be whole: the shortest telephone numbers."""

RULES: Final[tuple[Rule, ...]] = (
    # over the agent's speech, which is silent meanwhile: a cough or "mhm" is to be told from words soon
    Rule(SHORTEST_MS, (Ending.NOTHING,), overlaps=True),
    Rule(256, (Ending.COMPLETE, Ending.INCOMPLETE), brief=True, overlaps=True),
    # digits, letters, parts of an address; recognisers write a digit too many, so a full count is not waited for less
    Rule(832, (Ending.DICTATION,), answered=(True,)),
    Rule(1700, (Ending.DICTATION,), answered=(False,)),
    Rule(1120, (Ending.DICTATION,), symbols=_WHOLE_NUMBER),
    Rule(1536, (Ending.DICTATION,)),
    Rule(1216, (Ending.NOTHING,), in_parts=True),
    Rule(1700, answered=(False,), in_parts=True),
    # the question is answered; "yes" and "no" often have a second word behind a short pause
    Rule(256, (Ending.COMPLETE,), _DONE, answered=(True,), brief=False),
    Rule(352, (Ending.COMPLETE,), answered=(True,), brief=False),
    Rule(416, (Ending.COMPLETE,), answered=(True,)),
    # it is not, though something was said
    Rule(1216, (Ending.COMPLETE, Ending.LIST), answered=(False,)),
    # one of several parts
    Rule(1000, (Ending.COMPLETE,), in_parts=True),
    # open questions, and answers of which there is no telling
    Rule(288, (Ending.COMPLETE,), _DONE, brief=False),
    Rule(416, (Ending.COMPLETE,), _DONE),
    Rule(416, (Ending.COMPLETE,), _HALF),
    Rule(512, (Ending.COMPLETE,), _UNSURE),
    Rule(800, (Ending.COMPLETE,), _OPEN),
    Rule(700, (Ending.COMPLETE,)),
    Rule(1000, (Ending.LIST,)),
    Rule(1120, (Ending.INCOMPLETE,), _DONE),
    Rule(1600, (Ending.INCOMPLETE,), _OPEN),
    Rule(1280, (Ending.INCOMPLETE,)),
    # a sound without words
    Rule(600, (Ending.NOTHING,)),
    # the words are not known yet: without them there is no answer either, so to wait for them costs nothing
    Rule(LONGEST_MS),
)
"""The first row that fits decides. `antiphon bench turns --offline` measures what it does."""


def wait_ms(evidence: Evidence, rules: tuple[Rule, ...] = RULES) -> int:
    """How much silence ends the turn, `SHORTEST_MS` to `LONGEST_MS`."""
    wait = next((rule.wait_ms for rule in rules if rule.fits(evidence)), LONGEST_MS)
    if wait >= _PATIENT_FROM_MS:
        wait = max(wait, round(evidence.longest_pause_ms * _RHYTHM))
    return max(SHORTEST_MS, min(LONGEST_MS, wait))


@dataclass(frozen=True)
class Known:
    """What came of the models and the agent in a silence. A value; None: nothing yet."""

    words: str | None = None
    """The transcript of the turn so far."""
    voice: float | None = None
    expected: Expected = ANYTHING
    overlaps: bool = False


def evidence_of(known: Known, language: str = "en", longest_pause_ms: float = 0.0) -> Evidence:
    """The evidence in what is known. `language`: of the words, a tag (BCP 47)."""
    in_parts = is_in_parts(known.expected)
    if known.words is None:
        return Evidence(
            voice=known.voice, in_parts=in_parts, overlaps=known.overlaps, longest_pause_ms=longest_pause_ms
        )
    return Evidence(
        ending=ending(known.words, language, is_dictated(known.expected)),
        voice=known.voice,
        answered=answered(known.expected, known.words, language),
        in_parts=in_parts,
        symbols=digits(known.words, ruled(language) or "en") + letters(known.words),
        brief=len(known.words.split()) <= _BRIEF,
        overlaps=known.overlaps,
        longest_pause_ms=longest_pause_ms,
    )
