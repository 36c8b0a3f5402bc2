"""Turns of 1 to 40 s are transcribed to their last word.

`antiphon bench whole-turns` is the longer sweep, with speeds and letters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import Any, cast

import jiwer
import numpy as np
import pytest
from support.models.voice import Models
from support.processes.bridge import Samples, Speak

from antiphon.inference_bridge.models.clients import ChunkedStt
from antiphon.inference_bridge.models.threads import BusyError, Job, Urgency
from antiphon.inference_bridge.stt.chunking import LONGEST_S, cut
from antiphon.inference_bridge.stt.repeats import without_loop

pytestmark = pytest.mark.pure

RATE = 16000
SENTENCES = [
    "I called you last week about the heating in my apartment on the third floor.",
    "The radiator in the bedroom has been cold since Monday morning.",
    "Your colleague told me that somebody would come on Wednesday, but nobody was here.",
    "I have waited the whole afternoon and nobody has called me.",
    "My neighbor below says that the water is dripping through the ceiling of the kitchen.",
    "So I would be grateful if you could send somebody today.",
    "My phone number has changed as well, please write down the new one.",
    "The old contract ends in December and I would like to know what happens then.",
    "And please tell the plumber to ring twice, because the bell is hard to hear.",
]


def words(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ").split()


def monologue(speak: Speak, seconds: float) -> tuple[list[str], Samples]:
    """Sentences in a row, as one caller says them, and about so long; the words and the audio."""
    pause = np.random.default_rng(2).normal(0, 8, RATE // 4).astype(np.int16)
    said: list[str] = []
    spoken: list[Samples] = []
    if seconds < 3:
        return words("Good morning."), speak("Good morning.")
    for turn in range(100):
        sentence = SENTENCES[turn % len(SENTENCES)]
        speech = speak(sentence)
        if spoken and sum(map(len, spoken)) + len(speech) > seconds * RATE:
            break
        said += words(sentence)
        spoken += [speech, pause]
    return said, np.concatenate(spoken)


@pytest.fixture(scope="module")
def spoken(speak: Speak) -> Speak:
    """Each sentence is made once."""
    known: dict[str, Samples] = {}
    return lambda text: known[text] if text in known else known.setdefault(text, speak(text))


@pytest.mark.models
@pytest.mark.parametrize("seconds", [1, 4, 7, 13, 25, 29, 40])
def test_a_turn_is_transcribed_to_its_last_word(models: Models, spoken: Speak, seconds: int) -> None:
    said, samples = monologue(spoken, seconds)
    transcribed = words(models.transcriber.transcribe(samples.tobytes()))
    assert transcribed[-2:] == said[-2:], f"{len(samples) / RATE:.1f} s: {transcribed[-12:]}"
    assert jiwer.wer(" ".join(said), " ".join(transcribed)) < 0.08, transcribed


@pytest.mark.models
def test_spelled_letters_have_many_tokens_and_are_all_transcribed(models: Models, speak: Speak) -> None:
    letters = "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"
    transcribed = models.transcriber.transcribe(speak(f"{letters}.").tobytes())
    assert [c for c in transcribed.upper() if c.isalpha()] == letters.split()


@pytest.mark.models
def test_the_limit_of_ordinary_speech_is_noticed_when_it_is_reached(
    models: Models, speak: Speak, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.inference_bridge.stt.transcriber._FEW_TOKENS", -4)
    with caplog.at_level(logging.INFO):
        transcribed = models.transcriber.transcribe(speak(SENTENCES[8]).tobytes())
    assert words(transcribed) == words(SENTENCES[8])
    assert "decoded again" in caplog.text


@pytest.mark.parametrize(
    ("transcribed", "kept"),
    [
        ("I left. And he called me. And he called me. And he called me. And", "I left. And he called me."),
        ("I waited and nobody called. And nobody called. And nobody called. And no", "I waited and nobody called."),
        ("I left. Thank you very much. Thank you very much.", "I left. Thank you very much. Thank you very much."),
        ("My number is five five five five five five", "My number is five five five five five five"),
        ("5555501 55501 55501 55501 555", "5555501"),
        ("5 5 5 5 5 5 5", "5 5 5 5 5 5 5"),
        ("No, no, no, no, no", "No, no, no, no, no"),
        ("Hello.", "Hello."),
        ("", ""),
    ],
)
def test_a_loop_at_the_limit_is_cut_to_one_round(transcribed: str, kept: str) -> None:
    assert without_loop(transcribed) == kept


def tone_with_pauses(seconds: float, *pauses: float) -> bytes:
    """Loud, but for 0.4 s around each of `pauses`; no two samples in a row of the same value."""
    samples = np.resize(np.array([9000, -9000], dtype="<i2"), int(seconds * RATE))
    for at in pauses:
        samples[int((at - 0.2) * RATE) : int((at + 0.2) * RATE)] //= 100
    return samples.tobytes()


def test_what_is_longer_than_the_window_is_cut_in_pauses_and_nothing_is_lost() -> None:
    pcm = tone_with_pauses(70, 5, 20, 33, 44, 60)
    pieces = cut(pcm)
    assert b"".join(pieces) == pcm
    ends = np.cumsum([len(piece) / 2 / RATE for piece in pieces])
    assert ends == pytest.approx([20, 44, 70], abs=0.1)
    assert cut(tone_with_pauses(29)) == [tone_with_pauses(29)]


def test_speech_without_any_pause_is_cut_all_the_same_and_nothing_is_lost() -> None:
    pieces = cut(tone_with_pauses(95))
    assert b"".join(pieces) == tone_with_pauses(95)
    assert all(1.6 < len(piece) / 2 / RATE <= LONGEST_S for piece in pieces)


def test_the_pieces_of_a_turn_that_grows_stay_the_same() -> None:
    pcm = tone_with_pauses(70, 5, 20, 33, 44, 60)
    known = cut(pcm)
    for seconds in (30, 41.3, 50):
        assert cut(pcm[: int(seconds * RATE) * 2])[:-1] == known[: len(cut(pcm[: int(seconds * RATE) * 2])) - 1]


class Counting:
    """An `SttClient` whose text says how many seconds it was given."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.languages: list[str] = []
        self.fails = False

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = "") -> Job[str]:
        self.languages.append(language)
        self.asked.append(round(len(pcm) / 2 / RATE))
        future = asyncio.get_running_loop().create_future()
        if self.fails:
            future.set_exception(BusyError("full"))
        else:
            future.set_result(f"{self.asked[-1]} s {prompt}".strip())
        return cast(Job[str], Ready(future))


class Ready:
    """A `Pending`."""

    work_ms = 1.0

    def __init__(self, future: asyncio.Future[str]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, str]:
        return self._future.__await__()

    def promote(self, urgency: Urgency) -> None: ...
    def cancel(self) -> None: ...


async def test_a_turn_that_is_transcribed_at_each_pause_has_its_first_pieces_transcribed_once() -> None:
    counting = Counting()
    stt = ChunkedStt(counting)
    pcm = tone_with_pauses(70, 5, 20, 33, 44, 60)
    texts = [await stt.transcribe(pcm[: seconds * RATE * 2], "", Urgency.SPECULATIVE) for seconds in (25, 33, 50, 70)]
    assert counting.asked == [25, 20, 13, 24, 6, 26]
    assert texts == ["25 s", "20 s 13 s", "20 s 24 s 6 s", "20 s 24 s 26 s"]
    assert await stt.transcribe(pcm, "other words", Urgency.NOW) == " ".join(f"{n} s other words" for n in (20, 24, 26))


async def test_a_piece_that_was_given_up_is_transcribed_again() -> None:
    counting = Counting()
    stt = ChunkedStt(counting)
    pcm = tone_with_pauses(35, 5, 20)
    counting.fails = True
    with pytest.raises(BusyError):
        await stt.transcribe(pcm, "", Urgency.SPECULATIVE)
    counting.fails = False
    assert await stt.transcribe(pcm, "", Urgency.NOW) == "20 s 15 s"


async def test_all_pieces_of_a_turn_are_asked_for_in_its_language_and_kept_by_it() -> None:
    counting = Counting()
    stt = ChunkedStt(counting)
    pcm = tone_with_pauses(35, 5, 20)
    for language in ("es", "es", "fr"):
        await stt.transcribe(pcm, "", Urgency.NOW, "call", language)
    assert counting.asked == [20, 15, 15, 20, 15]
    assert counting.languages == ["es", "es", "es", "fr", "fr"]
