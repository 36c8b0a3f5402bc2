"""Of several voices the one that a call asks for speaks; and their phonemes are those that they were trained on."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.inference_bridge.tts.kokoro import MAX_TOKENS, english_phonemes, pieces
from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES, USUAL
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.tts.synthesizer import Samples
from antiphon.inference_bridge.tts.voice_set import NamedVoice, UnknownVoiceError, VoiceSet
from antiphon.inference_bridge.tts.word_phonemes import with_stress

pytestmark = pytest.mark.pure


class Named:
    """A voice whose samples are the number of requests so far; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Samples:
        self.asked.append((voice, language))
        return np.full(1, len(self.asked), dtype=np.int16)


@pytest.mark.parametrize(
    ("voice", "language", "speaks"),
    [
        ("", "", "joe"),
        ("", "en-GB", "joe"),
        ("", "es", "ef_dora"),
        ("em_alex", "", "em_alex"),
        ("em_alex", "es-419", "em_alex"),
    ],
)
def test_a_call_gets_the_voice_that_it_names_or_one_of_its_language(voice: str, language: str, speaks: str) -> None:
    joe, kokoro = Named(), Named()
    voices = VoiceSet(
        [NamedVoice("joe", "en", joe), NamedVoice("ef_dora", "es", kokoro), NamedVoice("em_alex", "es", kokoro)]
    )
    voices.synthesize("Hello.", 1.0, voice, language)
    assert [asked[0] for asked in joe.asked + kokoro.asked] == [speaks]


@pytest.mark.parametrize(("voice", "language"), [("bob", ""), ("", "fr"), ("joe", "es")])
def test_a_voice_that_is_not_there_is_refused_and_never_replaced(voice: str, language: str) -> None:
    with pytest.raises(UnknownVoiceError):
        VoiceSet([NamedVoice("joe", "en", Named())]).synthesize("Hello.", 1.0, voice, language)


def test_the_usual_voices_are_there_and_speak_their_language() -> None:
    assert all(KOKORO_VOICES[name] == language for language, name in USUAL.items())


def test_a_phrase_of_one_voice_or_language_is_not_played_for_another() -> None:
    phrases, samples = PhraseCache(), np.ones(3, dtype=np.int16)
    phrases.put("Si.", 1.0, samples, "ef_dora", "es")
    phrases.keep("Sorry.", samples)
    assert phrases.get("Si.", 1.0, "ef_dora", "es") is samples
    assert phrases.get("Si.", 1.0, "if_sara", "it") is None
    assert phrases.get("Si.", 1.0) is None
    assert phrases.get("Sorry.", 1.0) is samples
    assert phrases.get("Sorry.", 1.0, "ef_dora", "es") is None


def test_english_is_respelled_for_kokoro() -> None:
    respelled = english_phonemes(str)
    assert respelled("seɪ haɪ, naʊ oʊ bɔɪ dʒʌdʒ tʃɚtʃ bɜːd fiː") == "sA hI, nW O bY ʤʌʤ ʧəɹʧ bɜɹd fi"


@pytest.mark.parametrize(
    ("phonemes", "stressed"),
    [
        ("doˈmani", "domˈani"),
        ("ˈʧao", "ʧˈao"),
        ("kaza", "kˈaza"),
        ("vorrei", "vorrˈei"),
        ("un", "un"),
        ("ɛ", "ɛ"),
        ("perˈke", "perkˈe"),
        ("", ""),
        ("tˈ", "t"),
    ],
)
def test_italian_stress_is_right_before_its_vowel(phonemes: str, stressed: str) -> None:
    assert with_stress(phonemes) == stressed


@pytest.mark.parametrize("length", [1, MAX_TOKENS, MAX_TOKENS + 1, 3 * MAX_TOKENS])
@pytest.mark.parametrize("every", [7, 10_000])
def test_a_long_clause_goes_in_pieces_that_lose_nothing(length: int, every: int) -> None:
    tokens = [16 if at % every == every - 1 else 43 for at in range(length)]
    parts = pieces(tokens, 16)
    assert [token for part in parts for token in part] == tokens
    assert all(1 <= len(part) <= MAX_TOKENS for part in parts)
