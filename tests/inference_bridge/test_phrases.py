"""The sentences of the bridge itself are there in each language, and none is another language's."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.languages import LANGUAGES, Language
from antiphon.inference_bridge.phrases import PHRASES, Phrase, phrase

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PHRASES)
def test_each_phrase_is_a_clause_that_needs_no_normalising(name: Phrase, language: Language) -> None:
    text = phrase(name, language)
    assert text == text.strip()
    assert text.endswith((".", "?"))
    assert not any(character.isdigit() or character in "*_#@<>" for character in text)
    assert len(text) < 200


@pytest.mark.parametrize("name", PHRASES)
def test_no_two_languages_share_a_phrase(name: Phrase) -> None:
    assert len({phrase(name, language) for language in LANGUAGES}) == len(LANGUAGES)


def test_a_tag_with_a_region_is_its_language_and_an_unknown_language_gets_english() -> None:
    assert phrase("idle_prompt", "de-AT") == phrase("idle_prompt", "de") == "Sind Sie noch da?"
    assert phrase("idle_prompt", "PT-br") == phrase("idle_prompt", "") == "Are you still there?"
