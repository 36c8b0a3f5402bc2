"""Whatever the body of a speech service's answer is cut into: the same samples, or an error that names the way out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models.speech_server import Samples, tone, wav

from antiphon.inference_bridge.tts.speech_stream import NotSpeechError, SilenceTrimmer, SpeechDecoder, trimmed

pytestmark = pytest.mark.pure


def decoded(body: bytes, content_type: str = "", cuts: list[int] | None = None, rate: str = "") -> Samples:
    decoder = SpeechDecoder(content_type, rate)
    edges = [0, *sorted(cuts or []), len(body)]
    parts = [decoder.feed(body[start:end]) for start, end in pairwise(edges)]
    return np.concatenate([*parts, decoder.end()])


@given(st.lists(st.integers(0, 4000), max_size=40))
def test_raw_samples_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    samples = tone(0.1)
    assert decoded(samples.tobytes(), "audio/pcm", cuts).tolist() == samples.tolist()


@given(st.lists(st.integers(0, 4000), max_size=40), st.sampled_from([None, 0, 0xFFFFFFFF, 0x7FFFFFFF]))
def test_wav_is_the_same_however_it_is_cut_and_whatever_size_a_stream_names(cuts: list[int], size: int | None) -> None:
    samples = tone(0.1)
    assert decoded(wav(samples, 24000, size), "audio/wav", cuts).tolist() == samples.tolist()


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_wav_at_another_rate_keeps_its_length_and_its_level(rate: int) -> None:
    speech = decoded(wav(tone(0.5, rate), rate), "audio/wav", [50, 51, 3001])
    assert abs(speech.size - 12000) <= 2
    assert 7500 < np.abs(speech).max() < 8600


def test_two_channels_and_floats_are_read() -> None:
    samples = tone(0.1)
    both = np.stack((samples, samples), axis=1)
    assert np.abs(decoded(wav(both, 24000, channels=2)) - samples).max() <= 1
    floats = (samples / 32768).astype(np.float32)
    assert np.abs(decoded(wav(floats, 24000), cuts=[45, 47, 1001]) - samples).max() <= 1
    floats[3] = np.nan
    assert decoded(wav(floats, 24000)).size == samples.size


def test_what_lies_around_the_samples_of_a_wav_file_is_no_sound() -> None:
    samples = tone(0.05)
    about = b"LIST" + (5).to_bytes(4, "little") + b"hello\0"
    body = wav(samples, 24000, extra=about) + b"LIST" + (26).to_bytes(4, "little") + b"x" * 26
    assert decoded(body, "audio/x-wav", [40, 60]).tolist() == samples.tolist()


@pytest.mark.parametrize(
    ("content_type", "hint"), [("audio/pcm;rate=48000", ""), ("audio/L16; rate=48000", ""), ("audio/pcm", "48000")]
)
def test_a_rate_in_a_header_is_that_of_raw_samples(content_type: str, hint: str) -> None:
    assert abs(decoded(tone(0.5, 48000).tobytes(), content_type, rate=hint).size - 12000) <= 2


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert decoded(tone(0.1).tobytes() + b"\x01", "audio/pcm").size == 2400


@pytest.mark.parametrize(
    ("head", "content_type", "named"),
    [
        (b"ID3\x04" + bytes(60), "audio/mpeg", "MP3"),
        (b"ID3\x04" + bytes(60), "audio/pcm", "MP3"),
        (b"\xff\xf3\x84\xc4" + bytes(60), "application/octet-stream", "MP3"),
        (b"\xff\xfb\x90\x64" + bytes(60), "", "MP3"),
        (b"\xff\xf1\x50\x80" + bytes(60), "", "AAC"),
        (bytes(60), "audio/mpeg", "MP3"),
        (b"OggS" + bytes(60), "audio/ogg", "opus"),
        (b"OggS" + bytes(60), "", "opus"),
        (b"fLaC" + bytes(60), "audio/flac", "FLAC"),
        (b"\0\0\0\x1cftypM4A " + bytes(60), "", "aac"),
        (b'{"error": "no such voice", "hint": "try alloy"}', "application/json", "no such voice"),
        (b"<html>not here</html>", "text/html; charset=utf-8", "not here"),
        (b"", "audio/pcm", "no audio"),
        (wav(np.zeros(9, dtype=np.int16), 999), "audio/wav", "999 Hz"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav", "head never ends"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", "audio/wav", "without a format"),
        (b"RIFF\xff\0\0\0WAVELIST\xff\xff\xff\x0f" + bytes(70_000), "audio/wav", "head never ends"),
    ],
)
def test_what_is_no_sound_is_refused_by_its_name(head: bytes, content_type: str, named: str) -> None:
    with pytest.raises(NotSpeechError, match=named):
        decoded(head, content_type)


def test_quiet_raw_samples_are_not_taken_for_a_container() -> None:
    for first in (b"\xff\xff\xfe\xff", b"\xfe\xff\xff\xff", b"\x00\x00\xff\xff"):
        assert decoded(first * 30, "application/octet-stream").size == 60


@given(st.binary(max_size=400), st.sampled_from(["", "audio/pcm", "audio/wav", "audio/mpeg", "application/json"]))
def test_any_bytes_are_samples_or_the_one_error(body: bytes, content_type: str) -> None:
    try:
        speech = decoded(body, content_type, [7, 30])
    except NotSpeechError:
        return
    assert speech.dtype == np.int16


@given(st.lists(st.integers(0, 40_000), max_size=20))
def test_silence_at_both_ends_is_cut_and_a_pause_inside_is_kept(cuts: list[int]) -> None:
    quiet = np.zeros(9600, dtype=np.int16)
    speech = np.concatenate((quiet, tone(0.2), quiet, tone(0.2), quiet))
    trimmer = SilenceTrimmer()
    edges = [0, *sorted(cuts), speech.size]
    parts = [trimmer.feed(speech[start:end]) for start, end in pairwise(edges)]
    whole = np.concatenate([*parts, trimmer.end()])
    assert abs(whole.size - (480 + 4800 + 9600 + 4800 + 1440)) <= 20


def test_a_voice_that_says_nothing_leaves_nothing() -> None:
    assert trimmed(np.zeros(24000, dtype=np.int16)).size == 0
    assert trimmed(np.zeros(0, dtype=np.int16)).size == 0
