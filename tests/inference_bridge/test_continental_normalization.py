"""German, Spanish, French and Italian text to words: what must hold for any text and any number.

What single lines become is in `normalization/{de,es,fr,it}.txt`, checked by `test_normalization_corpus`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.tts.normalization import (
    french_numbers,
    german_numbers,
    italian_numbers,
    spanish_numbers,
    speakable,
)

pytestmark = pytest.mark.pure

LANGUAGES: Final[tuple[Language, ...]] = ("de", "es", "fr", "it")
CARDINALS: Final[dict[Language, Callable[[int], str]]] = {
    "de": german_numbers.cardinal,
    "es": spanish_numbers.cardinal,
    "fr": french_numbers.cardinal,
    "it": italian_numbers.cardinal,
}
DIGITS: Final[dict[Language, tuple[str, ...]]] = {
    "de": german_numbers.ONES[:10],
    "es": spanish_numbers.ONES[:10],
    "fr": french_numbers.ONES[:10],
    "it": italian_numbers.ONES[:10],
}
CODE: Final[dict[Language, str]] = {
    "de": "Der Code lautet {}.",
    "es": "El código es {}.",
    "fr": "Le code est {}.",
    "it": "Il codice è {}.",
}
WRITTEN: Final = st.text(
    st.one_of(
        st.sampled_from("0123456789 .,:;/-–+%€$°ºª'\"()#@&*_\n"),
        st.sampled_from("aehimnrstzüéñçàXVIDMLK"),
        st.characters(),
    ),
    max_size=60,
)


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=WRITTEN)
def test_only_words_and_marks_come_out(language: Language, text: str) -> None:
    said = speakable(text, language)
    assert not re.search(r"[0-9]", said)
    assert not re.search(r"[^\w\s,.!?;:']|_|\s\s", said)
    assert said == said.strip()


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=WRITTEN)
def test_a_text_with_a_letter_or_a_digit_is_never_silence(language: Language, text: str) -> None:
    if any(c.isascii() and c.isalnum() for c in text):
        assert any(c.isalpha() for c in speakable(text, language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", ["👍", "🏳️‍🌈", "你好", "العربية", "Привет", "שלום", "+", "%", "€", "$"])
def test_a_text_without_latin_letters_is_never_silence(language: Language, text: str) -> None:
    assert any(c.isalpha() for c in speakable(text, language))


@pytest.mark.parametrize("language", LANGUAGES)
@given(code=st.from_regex(r"[0-9]{3,15}", fullmatch=True))
def test_each_digit_of_a_code_is_said(language: Language, code: str) -> None:
    said = speakable(CODE[language].format(code), language).replace(",", "")
    assert said.endswith(" ".join(DIGITS[language][int(digit)] for digit in code) + ".")


@pytest.mark.parametrize("language", LANGUAGES)
@given(group=st.from_regex(r"[0-9]{4}", fullmatch=True), times=st.integers(2, 4))
def test_a_repeated_group_is_said_as_often_as_it_is_written(language: Language, group: str, times: int) -> None:
    said = speakable(CODE[language].format(" ".join([group] * times)), language)
    assert said.count(" ".join(DIGITS[language][int(digit)] for digit in group)) >= times


@pytest.mark.parametrize("language", LANGUAGES)
@given(number=st.integers(0, 10**15 - 1))
def test_grouping_does_not_change_a_number(language: Language, number: int) -> None:
    grouped = f"{number:,}".replace(",", ".")
    assume(not re.fullmatch(r"(?:[1-9]?[0-9]|[12][0-9][0-9])(?:\.(?:[1-9][0-9]?|[12][0-9][0-9]))+", grouped))
    assert speakable(f"{grouped}!", language) == speakable(f"{CARDINALS[language](number)}!", language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_numbers_have_the_same_words(language: Language) -> None:
    cardinal = CARDINALS[language]
    numbers = [*range(2000), *range(1_000, 1_000_000, 997), *range(10**6, 10**12, 10**9 + 7_919)]
    assert len({cardinal(number).replace(" ", "") for number in numbers}) == len(set(numbers))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("piece", ["1.", "1 111 ", "12:30-", "(0", "1/1/", "A", "a.", "M. "])
def test_the_work_grows_with_the_text_and_not_with_its_square(language: Language, piece: str) -> None:
    # a pattern that starts over at each of these characters would take minutes
    assert speakable(piece * (6000 // len(piece)), language)
