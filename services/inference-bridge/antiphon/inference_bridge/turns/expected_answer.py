"""What the agent's last words ask for, and whether the caller's words answer it. Pure; rules by language.

The strongest single sign of the end of a turn: "Yes" is whole after "Shall I book it?", and three digits are not where
four were asked for. The built-in agents need not say what they ask: it is read off their last sentence. An agent that
knows better gives an `Expected` of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.languages import Language, ruled
from antiphon.inference_bridge.turns.answers import ANSWERS, Answers
from antiphon.inference_bridge.turns.questions import QUESTIONS, Asked, Questions
from antiphon.inference_bridge.turns.spoken_digits import count, digits, letters, tokens


@dataclass(frozen=True)
class Expected:
    """What kind of answer is expected. A value."""

    asked: Asked = Asked.OPEN
    digits: int | None = None
    """Of a `NUMBER`: how many digits it has, if the question says so."""


ANYTHING: Final = Expected()
TOLD: Final = {
    "number": Expected(Asked.NUMBER),
    "name": Expected(Asked.NAME),
    "date": Expected(Asked.DATE),
    "yes_no": Expected(Asked.YES_NO),
    "anything": ANYTHING,
}
"""What an agent may say itself (`schemas.messages.replies.Expected`) -> what it means."""
_SENTENCES: Final = re.compile(r"[^.!?…]*[.!?…]+(?=\s|$)|[^.!?…]+$")
_MOST_SENTENCES: Final = 3
"""A question further back was answered by the agent's own words since, or the caller has forgotten it."""
_MOST_TEXT: Final = 600
_DICTATED: Final = (Asked.SPELLING, Asked.EMAIL, Asked.PHONE, Asked.NUMBER, Asked.ADDRESS)


def _last_item(joins: str, ends: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{joins}) (?:\w+ ){{0,4}}\w+[.!?]?$|\b(?:{ends})\b")


_LAST_ITEM: Final[dict[Language, re.Pattern[str]]] = {
    "en": _last_item("and", "that's (?:all|it)|that is (?:all|it)|nothing|just|only"),
    "de": _last_item("und", "das (?:ist|wär'?s?|war'?s) (?:alles|dann)?|nichts|nur"),
    "es": _last_item("y|e", "eso es todo|nada más|nada|solo"),
    "fr": _last_item("et", "c'est tout|rien|seulement"),
    "it": _last_item("e|ed", "è tutto|basta così|niente|solo"),
}
"""The last of several things has an "and" before it, or the caller says that it was all."""
_FEWEST_DIGITS: Final = 7
"""No telephone number is shorter, but for short codes."""
_DOMAIN: Final = re.compile(
    r"(?:@|\b(?:at|ät|arroba|arobase|chiocciola)\b).*(?:\.|\b(?:dot|punkt|punto|point) )[a-z]{2,}\.?$"
)


def expected(agent_text: str, language: str = "en") -> Expected:
    """What the caller is likely to say to `agent_text`, the agent's last words as they were spoken.

    `language`: a tag (BCP 47). Of one without rules it is read as English, of which next to nothing is found.
    """
    questions = QUESTIONS[ruled(language) or "en"]
    sentences = [each.strip() for each in _SENTENCES.findall(agent_text[-_MOST_TEXT:].lower().replace("’", "'"))]
    sentences = [each for each in sentences if re.search(r"\w", each)]
    for sentence in reversed(sentences[-_MOST_SENTENCES:]):
        found = _asked(sentence, questions)
        if found is not None:
            return found
    return ANYTHING


def _asked(sentence: str, questions: Questions) -> Expected | None:
    """What one sentence asks for; None: nothing."""
    clause = sentence.rsplit(", ", 1)[-1] if questions.yes_no.search(sentence) is None else sentence
    if questions.confirm.search(sentence):
        return Expected(Asked.YES_NO)
    if sentence.endswith("?"):
        wants = questions.request.search(sentence) or questions.request.search(clause)
        if questions.choice.search(sentence) and not wants:
            return Expected(Asked.CHOICE)
        if not wants and (questions.yes_no.search(sentence) or questions.yes_no.search(clause)):
            return Expected(Asked.YES_NO)
        return _topic(sentence, questions) or ANYTHING
    return _topic(sentence, questions) if questions.asks.search(sentence) else None


def _topic(sentence: str, questions: Questions) -> Expected | None:
    for pattern, asked in questions.topics:
        if pattern.search(sentence):
            return Expected(asked, _digits(sentence, questions) if asked is Asked.NUMBER else None)
    return None


def _digits(sentence: str, questions: Questions) -> int | None:
    for found in questions.digits.finditer(sentence):
        word = next((group for group in found.groups() if group), "")
        number = int(word) if word.isdigit() else questions.numbers.get(word, 0)
        if 2 <= number <= 32:
            return number
    return None


def answered(expected: Expected, words: str, tag: str = "en") -> bool | None:
    """Whether `words`, the transcript of a turn so far, are the whole answer; None: there is no telling.

    `tag`: their language (BCP 47).
    """
    language = ruled(tag) or "en"
    answers = ANSWERS[language]
    text = words.strip().lower().replace("’", "'")
    if not re.search(r"\w", text):
        return None
    if expected.asked is not Asked.OPEN and answers.thinking.search(text):
        return False
    rule = _RULES.get(expected.asked)
    return rule(expected, words.strip(), text, answers, language) if rule else None


def _number(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    found = digits(text, language) + letters(words)
    if expected.digits:
        return None if found >= expected.digits and _repeats(text) else found >= expected.digits
    return None if found >= 2 else _sentence_instead(text)


def _phone(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    found = digits(text, language)
    if found >= answers.phone:
        return None if _repeats(text) else True
    return None if found >= _FEWEST_DIGITS or not found else False


def _spelling(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    return None if letters(words) >= 3 else False


def _email(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    return bool(_DOMAIN.search(text))


def _address(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    return None if digits(text, language) and len(tokens(text)) >= 3 else False


def _date(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    if answers.day.search(text) or re.search(r"\d{1,2}[./-]\d{1,2}", text):
        return True
    if answers.month.search(text):
        return bool(digits(text, language)) or None
    return None if digits(text, language) else _sentence_instead(text)


def _birth_date(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    found = digits(text, language)
    return found >= 5 or (found >= 3 and answers.month.search(text) is not None)


def _time(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    if answers.time.search(text) or re.search(r"\d{1,2}[:.]\d{2}", text):
        return True
    found = tokens(text.rstrip(" .!?"))
    if found and count(found[-1], language):
        return True
    return None if digits(text, language) else _sentence_instead(text)


def _day_and_time(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    day = _date(expected, words, text, answers, language)
    time = bool(answers.time.search(text) or digits(text, language))
    return True if day and time else None


def _yes_no(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    bare = re.sub(r"[^\w' -]", "", text)
    if not answers.yes_no.search(bare):
        return None
    return True if len(bare.split()) <= 4 else None


def _name(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    lead = answers.leads.match(text)
    said = text[lead.end() :] if lead else text
    named = [token for token in tokens(said) if token.isalpha() and len(token) > 1]
    if not named:
        return False
    if expected.asked is Asked.FULL_NAME:
        return len(named) >= 2
    return True if len(named) <= 4 else None


def _items(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    return True if _LAST_ITEM[language].search(text) else None


def _amount(expected: Expected, words: str, text: str, answers: Answers, language: Language) -> bool | None:
    return True if digits(text, language) else None


def _repeats(text: str) -> bool:
    """The number is a group and the same group again, as recognisers write one that was broken off."""
    found = "".join(token for token in tokens(text) if token.isdigit())
    return bool(found) and len(found) % 2 == 0 and found[: len(found) // 2] == found[len(found) // 2 :]


def _sentence_instead(text: str) -> bool | None:
    """A caller who says something else may have said all of it, but a few words are only a beginning."""
    return None if len(text.split()) >= 6 else False


_RULES: Final = {
    Asked.NUMBER: _number,
    Asked.PHONE: _phone,
    Asked.SPELLING: _spelling,
    Asked.EMAIL: _email,
    Asked.ADDRESS: _address,
    Asked.DATE: _date,
    Asked.BIRTH_DATE: _birth_date,
    Asked.TIME: _time,
    Asked.DAY_AND_TIME: _day_and_time,
    Asked.YES_NO: _yes_no,
    Asked.NAME: _name,
    Asked.FULL_NAME: _name,
    Asked.ITEMS: _items,
    Asked.AMOUNT: _amount,
}


def is_dictated(expected: Expected) -> bool:
    """The answer is read out in groups, so that silence inside it says little."""
    return expected.asked in _DICTATED


def is_in_parts(expected: Expected) -> bool:
    """The answer has several parts, read out or not."""
    return expected.asked in _DICTATED or expected.asked is Asked.ITEMS
