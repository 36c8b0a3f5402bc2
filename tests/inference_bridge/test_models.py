"""The models themselves: the files are the tested ones, and what our voice speaks our recogniser reads."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import av
import jiwer
import numpy as np
import pytest
from support.models.sounds import cough, keyboard, music
from support.models.voice import Models
from support.processes.bridge import Samples, Speak

from antiphon.inference_bridge.models.sources import (
    SMART_TURN_SHA256,
    ModelError,
    smart_turn_file,
    voice_file,
    whisper_directory,
)
from antiphon.inference_bridge.stt.transcriber import RATE, UnknownLanguageError
from antiphon.inference_bridge.tts.normalization import speakable
from antiphon.inference_bridge.turns.backchannel import is_backchannel
from antiphon.inference_bridge.turns.window import WINDOW

pytestmark = pytest.mark.pure

SENTENCES = [
    "I would like to book an appointment for tomorrow at ten thirty.",
    "The next free time is Tuesday, November 24th at 3:30 PM.",
    "Can you cancel my appointment on the fifth of December?",
    "That costs $12.50 for two people.",
    "It is 72 degrees and the humidity is 45 percent today.",
    "Please move it to half past two on Wednesday.",
    "In 1999 there were 1,234 people in this town.",
    "We are open Monday to Friday, from 9 AM to 5 PM.",
    "My name is Anna Miller and I live in Boston.",
    "I'm sorry, I didn't understand that.",
    "The package has 3 parts and costs 40 dollars.",
    "Thank you very much for calling the clinic.",
]


def words(text: str) -> str:
    """For comparison: numbers as words, no punctuation, no case. A recogniser writes ten thirty in four ways."""
    text = re.sub(r"\b(1[0-2])([0-5]0)\b", r"\1:\2", text)
    text = re.sub(r"(?<!\$)\b(\d{1,2})\.([0-5]\d)\b", r"\1:\2", text)
    return re.sub(r"[^a-z0-9 ]", "", speakable(text).lower().replace("'", ""))


@pytest.mark.nightly
@pytest.mark.models
def test_our_recogniser_reads_what_our_voice_speaks(models: Models, speak: Speak) -> None:
    transcribed = [words(models.transcriber.transcribe(speak(sentence).tobytes())) for sentence in SENTENCES]
    said = [words(sentence) for sentence in SENTENCES]
    assert jiwer.wer(said, transcribed) < 0.1, list(zip(said, transcribed, strict=True))


@pytest.mark.models
def test_a_one_word_answer_is_one_word(models: Models, speak: Speak) -> None:
    assert words(models.transcriber.transcribe(speak("Yes.").tobytes())) == "yes"


@pytest.mark.nightly
@pytest.mark.models
def test_single_words_are_transcribed_as_what_they_are(models: Models, speak: Speak) -> None:
    asked = [
        "okay",
        "yes",
        "no",
        "help",
        "cancel",
        "goodbye",
        "monday",
        "tuesday",
        "thanks",
        "repeat",
        "hello",
        "sure",
        "tomorrow",
        "please",
        "wait",
        "today",
        "sorry",
    ]
    room = np.random.default_rng(3)
    transcribed = []
    for word in asked:
        spoken = speak(f"{word.capitalize()}.").astype(np.float64)
        around = np.concatenate([room.normal(0, 4, 4800), spoken, room.normal(0, 4, 2560)])
        transcribed.append(words(models.transcriber.transcribe(around.astype("<i2").tobytes())))
    right = sum(said == got for said, got in zip(asked, transcribed, strict=True))
    assert right >= len(asked) - 2, list(zip(asked, transcribed, strict=True))


@pytest.mark.models
def test_no_words_are_made_of_a_quiet_room(models: Models) -> None:
    """The words that a short utterance may be are told to the recogniser: it must not find them in nothing."""
    for seconds in (0.5, 0.8, 1.2):
        noise = np.random.default_rng(5).normal(0, 30, int(16000 * seconds)).astype("<i2")
        assert models.transcriber.transcribe(noise.tobytes()) == ""


@pytest.mark.models
@pytest.mark.parametrize("prompt", ["", "Invoice, Riverside, Doctor Miller."])
def test_no_words_are_made_of_sounds_nor_of_the_prompt(models: Models, prompt: str) -> None:
    chance = np.random.default_rng(7)
    breath = chance.normal(0, 1, RATE) * 600 * np.maximum(0, np.sin(np.arange(RATE) * 4 / RATE)) ** 2
    for sound in (cough(), music(1.2), keyboard(1.0), breath.astype("<i2"), np.zeros(2 * RATE, dtype="<i2")):
        assert models.transcriber.transcribe(sound.astype("<i2").tobytes(), prompt) == ""


@pytest.mark.models
def test_words_after_a_long_silence_are_not_taken_for_a_noise(models: Models) -> None:
    """4 s of silence, then our voice, over Opus. At first its words come again and again, with 0.53 of no speech."""
    with av.open(Path(__file__).parent / "recordings" / "words_after_silence.flac") as file:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    text = models.transcriber.transcribe(heard.astype("<i2").tobytes())
    assert re.findall(r"[a-z]+", text.lower())[:6] == ["done", "i", "have", "booked", "you", "for"]
    assert text.lower().count("anything else") == 1


@pytest.mark.models
@pytest.mark.parametrize("said", ["New York, New York.", "No, no, no.", "one two, one two", "Bye bye.", "Hello."])
def test_what_a_caller_says_twice_is_transcribed_twice(models: Models, speak: Speak, said: str) -> None:
    """And once what is said once: the agent's `Hello.` is no `Killa Lo`."""
    transcribed = models.transcriber.transcribe(speak(said).tobytes()).lower()
    spelled = transcribed.replace("1", " one ").replace("2", " two ")
    assert re.findall("[a-z]+", spelled) == re.findall("[a-z]+", said.lower())


@pytest.mark.models
def test_a_language_is_obeyed_or_refused(models: Models, speak: Speak) -> None:
    assert models.transcriber.languages >= {"en", "de", "es", "fr", "it"}
    pcm = speak("Tomorrow.").tobytes()
    assert words(models.transcriber.transcribe(pcm, "", "en-US")) == "tomorrow"
    with pytest.raises(UnknownLanguageError, match="'tlh'"):
        models.transcriber.transcribe(pcm, "", "tlh")


@pytest.mark.models
def test_speech_is_likely_in_speech_and_not_in_noise(models: Models, speak: Speak) -> None:
    def most_likely(samples: Samples) -> float:
        stream = models.voice_activity.stream()
        windows = [samples[at : at + WINDOW] for at in range(0, len(samples) - WINDOW, WINDOW)]
        return max(stream.probability(window.astype("<i2").tobytes()) for window in windows)

    assert most_likely(speak("Good morning, how are you?")) > 0.9
    assert most_likely(np.random.default_rng(0).normal(0, 300, 32000).astype(np.int16)) < 0.5


@pytest.mark.models
def test_nothing_to_say_is_no_speech(models: Models) -> None:
    assert models.synthesizer.synthesize("...").size == 0


@pytest.mark.models
def test_speech_begins_at_once(models: Models) -> None:
    speech = models.synthesizer.synthesize("Sure, I can do that.")
    assert int(np.flatnonzero(np.abs(speech) > 600)[0]) < 24000 * 60 // 1000


@pytest.mark.models
def test_the_halves_of_whisper_are_put_together_again_when_the_cache_is_damaged(tmp_path: Path) -> None:
    directory = whisper_directory(None, "", tmp_path)
    (directory / "config.json").write_text("{}")
    assert whisper_directory(None, "", tmp_path) == directory
    assert (directory / "config.json").stat().st_size > 100
    assert sorted(p.name for p in directory.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.json",
    ]


def test_a_file_that_is_not_the_recorded_one_is_refused_by_name(tmp_path: Path) -> None:
    voice = tmp_path / "voice.onnx"
    voice.write_bytes(b"something else")
    voice.with_name("voice.onnx.json").write_text("{}")
    with pytest.raises(ModelError, match=r"voice.onnx has SHA-256 .* expected 000.*ANTIPHON_VOICE_SHA256"):
        voice_file(voice, "0" * 64)
    with pytest.raises(ModelError, match="ANTIPHON_VOICE_PATH"):
        voice_file(tmp_path / "missing.onnx", "")
    with pytest.raises(ModelError, match=r"voice.onnx has SHA-256 .* expected 2bb.*ANTIPHON_SMART_TURN_PATH"):
        smart_turn_file(voice, SMART_TURN_SHA256)


@pytest.mark.skipif(importlib.util.find_spec("pipecat") is not None, reason="it is installed here")
def test_the_optional_model_that_is_not_there_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(ModelError, match=r"fetch-smart-turn.*ANTIPHON_SMART_TURN_PATH"):
        smart_turn_file(None, "")


@pytest.mark.models
def test_most_hums_of_our_voice_are_read_as_hums(models: Models, speak: Speak) -> None:
    """Each is a turn of its own in the test of interruptions, which lets one pass that is read as words."""
    hums = ["Mhm.", "Uh-huh.", "Mm-hmm.", "Mhm, mhm.", "Hm."]
    texts = [models.transcriber.transcribe(speak(hum).tobytes()) for hum in hums]
    assert sum(is_backchannel(text, False) for text in texts) >= 4, texts
