"""What `antiphon bench conversation` counts: words that differ, and which recordings it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antiphon.bench._lib.word_errors import edit_distance, words
from antiphon.bench.calls.conversation import sentences_of
from antiphon.cli.call.wav import write_wav
from antiphon.cli.errors import UsageError

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("expected", "transcript", "count"),
    [
        ("ten of clubs", "Ten of clubs.", 0),
        ("ten of clubs", "ten clubs", 1),
        ("ten of clubs", "then of the clubs", 2),
        ("ill disposed", "ill-disposed", 0),
        ("", "hello", 1),
        ("hello", "", 1),
    ],
)
def test_the_word_error_rate_counts_words_put_in_left_out_and_mistaken(
    expected: str, transcript: str, count: int
) -> None:
    assert edit_distance(words(expected), words(transcript)) == count


def test_a_folder_of_read_speech_is_its_recordings_and_their_transcription(tmp_path: Path) -> None:
    write_wav(tmp_path / "one.wav", np.full(16000, 500, np.int16), 16000)
    (tmp_path / "transcription").write_text("<s> hello there </s> (one)\nnobody said this (two)\n")
    (sentence,), source = sentences_of(tmp_path, 5)
    assert sentence.text.strip() == "hello there"
    assert len(sentence.samples) == 24000
    assert source == str(tmp_path)
    with pytest.raises(UsageError, match="transcription"):
        sentences_of(tmp_path / "elsewhere", 5)
