"""The caller's sounds, words and keys: what is transcribed when, and what a text means for the agent's speech."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events, lifecycle
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.interruption import Sound, interrupt, sound
from antiphon.inference_bridge.conversation.core.language import asks_for_words
from antiphon.inference_bridge.conversation.core.state import MAX_KEYS, State, Words
from antiphon.inference_bridge.turns.backchannel import is_backchannel, is_presence_check
from antiphon.inference_bridge.turns.detector import (
    MaybeDone,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    StillSpeaking,
    TurnEnded,
    Utterance,
)

MIN_WORD_MS: Final = 160
"""Speech below this is no word, whatever a recogniser makes of it."""
WORDS_WITHOUT_TEXT_MS: Final = 700
"""Speech of that length counts as words when its transcription has failed."""


# ---- sounds --------------------------------------------------------------------------------------------


def speech_started(state: State, event: SpeechStarted, now: float) -> list[Command]:
    """The caller makes a sound: the agent's speech is held."""
    state.speaking, state.has_interrupted = True, False
    if not state.hold.is_held:
        state.onset = event.first_sample
    if not state.hold.is_held and (not state.speech or not state.rules.interrupts or state.hold.is_noise):
        return []
    return sound(state, Sound.STARTED, now)


def still_speaking(state: State, event: StillSpeaking, now: float) -> list[Command]:
    """Held speech is decided about as early as there are words."""
    return [do.TranscribePartly(event.utterance)] if state.hold.is_held else []


def maybe_done(state: State, event: MaybeDone, now: float) -> list[Command]:
    """Transcribe before it is known that the turn has ended."""
    state.speculated = event.utterance
    return [do.Speculate(event.utterance, state.rules.semantic)]


def resumed(state: State, event: Resumed, now: float) -> list[Command]:
    """No turn; but the first words may be certain."""
    return _drop_speculation(state, keep_words=state.rules.transcribes)


def speech_dropped(state: State, event: SpeechDropped, now: float) -> list[Command]:
    """A sound that was too short for a word."""
    out = _drop_speculation(state)
    return out + _silent(state, now, text_follows=False)


def turn_ended(state: State, event: TurnEnded, now: float) -> list[Command]:
    """The turn's text is awaited; it decides about held speech, or is answered."""
    decides = state.hold.is_held
    words, out = _transcribed(state, event.utterance)
    words.decides = decides
    if decides:
        state.undecided.append(words)
        return out + _silent(state, now, text_follows=True)
    return [*out, *_silent(state, now, text_follows=False), *lifecycle.answer(state, words, now)]


def committed(state: State, event: events.Committed, now: float) -> list[Command]:
    """The client ends the turn; its text waits for a `response.create`."""
    words, out = _transcribed(state, event.utterance)
    lifecycle.keep(state, words)
    return out + (_silent(state, now, text_follows=False) if event.speaking else [])


def _silent(state: State, now: float, text_follows: bool) -> list[Command]:
    state.speaking = state.hold.is_noise = False
    state.hold.silent_since = now
    if state.idle_since is not None:
        state.idle_since = now
    if not state.hold.is_held:
        return []
    state.hold.texts_due += text_follows
    return sound(state, Sound.ENDED_WITH_TEXT if state.hold.texts_due else Sound.ENDED, now)


def _transcribed(state: State, utterance: Utterance) -> tuple[Words, list[Command]]:
    words = Words(
        state.new_id(),
        speech_ms=utterance.speech_ms,
        speech_end=utterance.speech_end,
        has_interrupted=state.has_interrupted,
    )
    speculated, state.speculated = state.speculated, None
    is_of_it = speculated is utterance
    out: list[Command] = [do.DropSpeculation()] if speculated is not None and not is_of_it else []
    return words, [*out, do.Transcribe(words.key, utterance, is_of_it, utterance.speech_ms > 0)]


def _drop_speculation(state: State, keep_words: bool = False) -> list[Command]:
    speculated, state.speculated = state.speculated, None
    if speculated is None:
        return []
    return [do.KeepFirstWords() if keep_words else do.DropSpeculation()]


# ---- words ---------------------------------------------------------------------------------------------


def partial_text(state: State, event: events.PartialText, now: float) -> list[Command]:
    """The beginning of speech that has not ended: are there words in it?"""
    text, current = event.text, state.current
    if not text or not state.speaking or is_backchannel(text, False, state.rules.language):
        return []
    if current is not None and not current.words_played and is_presence_check(text, state.rules.language):
        return []
    return sound(state, Sound.WORDS, now)


def text_known(state: State, event: events.TextKnown, now: float) -> list[Command]:
    """The text of a turn or commit is there."""
    words = _find(state, event.key)
    if words is None:
        return []
    words.text, words.failed = event.text, event.failed
    if event.text:
        state.prompts = 0
    return _decide(state, words, now) if words.decides else lifecycle.advance(state, now)


def _find(state: State, key: int) -> Words | None:
    known = [*state.undecided, *state.waiting]
    for response in (*state.speech, *state.stopping.values(), *([state.next] if state.next else [])):
        known += response.texts
    return next((words for words in known if words.key == key), None)


def _decide(state: State, words: Words, now: float) -> list[Command]:
    """The agent's speech is held: was that a turn, or a mere sound?"""
    words.decides = False
    state.undecided.remove(words)
    held = state.hold.is_held
    state.hold.texts_due = max(0, state.hold.texts_due - 1)
    if _wants_the_turn(state, words):
        # a hold that has ended meanwhile: the agent speaks on
        stop = sound(state, Sound.WORDS, now) if held else interrupt(state, now) if state.rules.interrupts else []
        return stop + lifecycle.answer(state, words, now)
    agrees = bool(words.text) and not is_backchannel(words.text or "", True, state.rules.language)
    if not state.speech and agrees:  # the agent has ended meanwhile: it is an answer
        return lifecycle.answer(state, words, now)
    out = sound(state, Sound.NO_WORDS, now) if held and not state.hold.texts_due else []
    if agrees and not is_presence_check(words.text or "", state.rules.language):
        words.may_be_answer = True
        state.undecided.append(words)
        return out
    return [*out, do.FalseInterruption(words.key), *lifecycle.advance(state, now)]


def _wants_the_turn(state: State, words: Words) -> bool:
    if words.failed:
        return words.speech_ms >= WORDS_WITHOUT_TEXT_MS
    if not words.text or words.speech_ms < MIN_WORD_MS:
        return False
    current, language = state.current, state.rules.language
    if current is not None and not current.words_played and is_presence_check(words.text, language):
        return False  # the answer is being prepared: it goes on
    asked = current is not None and (current.asks or asks_for_words(current.written, language))
    return not is_backchannel(words.text, asked, language)


# ---- what is not spoken --------------------------------------------------------------------------------


def key_pressed(state: State, event: events.KeyPressed, now: float) -> list[Command]:
    """Keys interrupt as words do; they are complete after `#`, or when none has followed for a while."""
    out = interrupt(state, now) if state.speech and state.rules.interrupts else []
    state.keys, state.key_at, state.prompts = state.keys + event.key, now, 0
    if event.key == "#" or len(state.keys) >= MAX_KEYS:
        out += keys_complete(state, now)
    return out


def keys_complete(state: State, now: float) -> list[Command]:
    """What was pressed is a turn of the caller."""
    pressed, state.keys = state.keys, ""
    words = Words(state.new_id(), pressed.removesuffix("#") or pressed, is_keys=True)
    return [do.AddKeys(words.key, words.text or ""), *lifecycle.answer(state, words, now)]


def text_added(state: State, event: events.TextAdded, now: float) -> list[Command]:
    """A typed text waits for a `response.create`."""
    state.prompts = 0
    lifecycle.keep(state, Words(state.new_id(), event.text))
    return []
