"""What holds for every text that is made speakable, not only for the lines of a corpus."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_bridge.test_normalization_corpus import lines

from antiphon.inference_bridge.tts.clauses import ClauseSplitter
from antiphon.inference_bridge.tts.normalization import for_remote_voice, speakable
from antiphon.inference_bridge.tts.normalization.common_words import say_digits
from antiphon.inference_bridge.tts.normalization.english_words import WORDS

pytestmark = pytest.mark.pure

SIGNS = st.text(alphabet="0123456789 .,:;-–/$€%°'\"()[]#*_@&+=<>~|\\\naAbkMXxéжπ你👍²½", max_size=40)
ANY = st.one_of(st.text(max_size=60), SIGNS)
PLAIN = ["sure", "we", "are", "open", "tomorrow", "the", "doctor", "is", "glad", "it's", "Anna", "José", "people's"]


@given(ANY)
def test_only_latin_letters_and_marks_of_a_sentence_come_out(text: str) -> None:
    for c in speakable(text):
        assert c in " ,.!?;:'" or (c.isalpha() and unicodedata.name(c).startswith(("LATIN", "FEMININE", "MASCULINE")))


@given(ANY)
def test_a_letter_a_digit_or_an_emoji_is_never_silent(text: str) -> None:
    has_words = any(c.isascii() and c.isalnum() for c in re.sub(r"[<>&`~]|[a-z]", "", text))
    if has_words and not re.search(r"[\[\]<>&\\~`]", text):
        assert speakable(text)


@given(st.sampled_from(["👍", "🎉", "❤️", "😀", "🇩🇪", "你好", "Привет", "مرحبا", "5", "é", "Ω", "@", "%", "&", "€"]))
def test_a_sign_alone_is_said(text: str) -> None:
    assert any(c.isalpha() for c in speakable(text))


@pytest.mark.parametrize("nothing", ["", "  ", "**", "---", "```", "...", "\n\n", "| --- | --- |", "_", "<br>"])
def test_pure_markup_is_silent(nothing: str) -> None:
    assert speakable(nothing) == ""


@given(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=12), st.sampled_from([".", "?", "!", ""]))
def test_a_plain_sentence_stays_as_it_is(words: list[str], end: str) -> None:
    sentence = f"{' '.join(words)}{end}"
    assert speakable(sentence) == sentence


def test_what_was_made_speakable_is_not_changed_again() -> None:
    changed = {said: again for _, said, _ in lines("en") if said and (again := speakable(said)) != said}
    assert not changed


DIGITS = st.text(alphabet="0123456789", min_size=4, max_size=12)


@given(
    st.one_of(
        DIGITS.map(lambda d: f"Your code is {d}."),
        DIGITS.map(lambda d: f"The order number is {d}, thank you."),
        DIGITS.map(lambda d: f"PIN: {d}"),
        st.from_regex(r"\AZIP [0-9]{5}(-[0-9]{4})?\Z", fullmatch=True),
        st.from_regex(r"\ACall \+[1-9][0-9] [0-9]{2,3} [0-9]{3,4} [0-9]{4} now\Z", fullmatch=True),
        st.from_regex(r"\A\([2-9][0-9]{2}\) [0-9]{3}-[0-9]{4}\Z", fullmatch=True),
        st.from_regex(r"\A[2-9][0-9]{2} [0-9]{3} [0-9]{4}\Z", fullmatch=True),
        st.from_regex(r"\A[1-9][0-9]{3} [0-9]{4} [0-9]{4} [0-9]{4}\Z", fullmatch=True),
        st.from_regex(r"\A[a-z]{3,8}[0-9]{1,4}@example\.com\Z", fullmatch=True),
        st.from_regex(r"\Awww\.example\.com/[0-9]{2,6}\Z", fullmatch=True),
        st.from_regex(r"\A(1[0-9]{2}|[1-9][0-9]?)(\.(1[0-9]{2}|[1-9]?[0-9])){3}\Z", fullmatch=True),
        st.from_regex(r"\A[A-Z]{2}[0-9]{4}[A-Z]\Z", fullmatch=True),
        st.from_regex(r"\Aroom [1-9][0-9]{2}\Z", fullmatch=True),
    )
)
def test_each_digit_of_a_number_that_is_a_name_is_said(text: str) -> None:
    said = [word for word in re.findall(r"[a-z]+", speakable(text)) if word in WORDS.digits]
    assert said == re.findall(r"[a-z]+", say_digits(text, WORDS))


AMOUNTS = [
    "$1.5M", "27,50 €", "₹1,00,000", "-$50", "$20-$30", "1.234,56 €", "john.smith@example.com", "www.example.com/help",
    "192.168.1.10", "v2.1.3", "+44 20 7946 0958", "(555) 123-4567", "4111 1111 1111 1111", "10 a.m. tomorrow",
    "Nov. 3, 2026", "November 24, 2026", "Dr. Smith", "2026-11-24T15:30:00Z", "5 ft 10 in.", "No. 5", "3.14",
    "1,234,567 people", "9:05", "J. K. Rowling", "the code: 276983", "555 123 4567, ext. 12", "St. Mary", "CHF 12.50",
]  # fmt: skip


@given(st.lists(st.sampled_from(AMOUNTS), min_size=1, max_size=4), st.data())
def test_no_cut_into_clauses_takes_an_amount_or_an_address_apart(amounts: list[str], data: st.DataObject) -> None:
    text = "".join(f"Sure, it is {amount} there. " for amount in amounts) + "Anything else?"
    splitter = ClauseSplitter()
    clauses: list[str] = []
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, 30))
        clauses += splitter.feed(text[at : at + size])
        at += size
    clauses += splitter.rest()
    said = " ".join(speakable(clause) for clause in clauses)
    assert re.findall(r"[\w']+", said) == re.findall(r"[\w']+", speakable(text))


@pytest.mark.parametrize(
    ("text", "given_to_the_voice"),
    [
        ("**Total:** $1,234.56 at 3:30 pm 🎉", "Total: $1,234.56 at 3:30 pm"),
        ("<think>They ask.</think>It is 5.", "It is 5."),
        ("1. Monday\n2. Tuesday", "1. Monday\n2. Tuesday"),
        ("Call [us](tel:+1555) on 1️⃣", "Call us on 1"),
        ("Привет, José! 你好", "Привет, José! 你好"),
        ("Great 👍🏽 job", "Great job"),
        ("# Hours\n| a | b |\n|---|---|\n| 9 | 5 |", "Hours\na, b\n9, 5"),
        ("👍", ""),
        ("a_b@example.com costs 5 * 3", "a_b@example.com costs 5 * 3"),
    ],
)
def test_a_remote_voice_gets_text_without_markup_and_emoji(text: str, given_to_the_voice: str) -> None:
    assert for_remote_voice(text) == given_to_the_voice


@given(ANY)
def test_a_remote_voice_gets_no_emoji(text: str) -> None:
    assert not re.search("[\U0001f300-\U0001f64f\ufe0f\u200d]", for_remote_voice(text))
