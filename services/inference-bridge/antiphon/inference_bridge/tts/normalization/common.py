"""Text to words by a list of rules: the frame that all languages share. Pure.

A language is a list of `Rule`s in order, the most particular first. The text is read once from left to right: at each
token the first rule whose pattern matches says what it stands for. A rule may decline (it returns None); then those
behind it are asked. Nothing is replaced twice, so no rule sees what another one has said.

    speakable(text) = finish(rules(canonical(plain(text))))

`plain` takes Markdown, HTML and thoughts away, `canonical` gives each sign one form, `finish` leaves words and the
punctuation `, . ! ? ; :`. A language puts its own rules between the shared ones:

    Grammar([*address_rules(WORDS), <its dates, times, telephones>, *code_rules(WORDS, ...),
             <its amounts, units, abbreviations, signs>, *last_rules(WORDS)], WORDS)

To be linear in the text, a pattern either is bounded (`{1,64}`) or starts only where nothing of its kind stands in
front of it (a lookbehind); words and blanks are taken whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common_markup import plain
from antiphon.inference_bridge.tts.normalization.common_scripts import canonical, name_emoji
from antiphon.inference_bridge.tts.normalization.common_words import Words, spell

Say = Callable[[Match[str]], str | None]


@dataclass(frozen=True)
class Rule:
    """One kind of token. `pattern`: numbered groups only, no references back to them, never matching nothing.

    `say`: the words for a match, or None if it is no token of this kind after all. It may look at the text around
    the match (`before`, `after`).
    """

    kind: str
    pattern: str
    say: Say
    first: str = "1a."
    """Which characters its tokens start with: `1` a digit, `a` a letter, `.` anything else. Fewer are faster."""


def before(match: Match[str], characters: int = 40) -> str:
    """The text in front of a match."""
    return match.string[max(0, match.start() - characters) : match.start()]


def after(match: Match[str], characters: int = 40) -> str:
    """The text behind a match."""
    return match.string[match.end() : match.end() + characters]


def any_of(forms: Iterable[str]) -> str:
    """A pattern for these forms as they are written, the longest first."""
    return "|".join(re.escape(form) for form in sorted(set(forms), key=len, reverse=True))


class _Start:
    """The rules whose tokens may start with one class of characters, in order, and one pattern for all of them."""

    def __init__(self, rules: Sequence[Rule], first: str) -> None:
        self.rules = [(re.compile(rule.pattern), rule.say) for rule in rules if first in rule.first]
        # the name of the outer group is the place of the rule in the list
        tokens = [f"(?P<r{index}>{pattern.pattern})" for index, (pattern, _) in enumerate(self.rules)]
        self.scan = re.compile("|".join(tokens) or "(?!)")


class Grammar:
    """The rules of one language, ready for use. Made once, at import; without state, so any thread may call it."""

    def __init__(self, rules: Sequence[Rule], words: Words, rule_words: frozenset[str] | None = None) -> None:
        """`rule_words`: the words of letters alone, in their case, with which a rule's token may start.

        Other words before a blank are then taken as they are, which makes ordinary text three times faster.
        """
        self._words = words
        self._rule_words = rule_words
        notices = any_of(words.scripts.values())
        self._notices = re.compile(rf"\b({notices})(?:[,.!?;:]? \1)+\b" if notices else "(?!)")
        self._digit, self._letter, self._sign = (_Start(rules, first) for first in "1a.")

    def speak(self, text: str) -> str:
        """The words for `text`; empty if nothing in it can be spoken."""
        text = canonical(plain(text))
        said = finish(self.tokens(text))
        if any(c.isalnum() for c in said):
            said = self._notices.sub(r"\1", said)
            return said.rstrip(",") if said.endswith(",") and not text.rstrip().endswith(",") else said
        # emoji are left out of a sentence, but an answer of nothing else must not be silence; so with signs
        signs = "".join(c for c in text if c in _SIGNS_ALONE)
        return finish(name_emoji(text, self._words)) or spell(signs, self._words)

    def tokens(self, text: str) -> str:
        """The rules alone, on text that `plain` and `canonical` have seen; what no rule knows stays as it is."""
        out: list[str] = []
        at, end = 0, len(text)
        while at < end:
            first = text[at]
            if first == " ":
                out.append(first)
                at += 1
                continue
            if first in "0123456789":
                start = self._digit
            elif not first.isalpha():
                start = self._sign
            elif self._rule_words is not None and (word := _WORD.match(text, at)) and word[0] not in self._rule_words:
                out.append(word[0])
                at = word.end()
                continue
            else:
                start = self._letter
            match = start.scan.match(text, at)
            if match is not None and match.lastgroup is not None:
                at = _say(start, text, at, int(match.lastgroup[1:]), out)
            else:
                at = _unchanged(text, at, out)
        return "".join(out)


def _say(start: _Start, text: str, at: int, index: int, out: list[str]) -> int:
    """Append what the first rule from `index` on says that does not decline; returns where its token ends."""
    for pattern, say in start.rules[index:]:
        match = pattern.match(text, at)
        if match and match.end() > at and (said := say(match)) is not None:
            out.append(f" {said} ")
            return match.end()
    return _unchanged(text, at, out)


def _unchanged(text: str, start: int, out: list[str]) -> int:
    """A token that no rule knows; a word whole, so that no rule is tried in its middle."""
    match = _ONE_TOKEN.match(text, start)
    end = match.end() if match else start + 1
    out.append(text[start:end])
    return end


_WORD: Final = re.compile(r"(?:[a-z]+|[A-Z][a-z]+)(?=[ ,;!?\n]|$)")
_SIGNS_ALONE: Final = frozenset("@&%+=#/\\")
_ONE_TOKEN: Final = re.compile(r"[^\W\d_⁰¹²³⁴-⁹]+|\s+|\d+|([^\w\s])\1*|.", re.DOTALL)
_HYPHEN: Final = re.compile(r"(?<=\w)-(?=\w)")
_LINE_ENDS: Final = re.compile(r"\s*\n\s*")
_DASHES: Final = re.compile(r"\s-+(?=\s)|--+|—")
_BRACKETS: Final = re.compile(r"(\(\s*\))|(?<=[^\W\d_])\(([^\W\d_]{1,3})\)|(?<=\w)([(\[{])|[()\[\]{}]")
_NOT_SPOKEN: Final = re.compile(r"[^\w\s,.!?;:']|_")
_APOSTROPHES: Final = re.compile(r"(?<!\w)'+|'+(?![\w'])(?<!s')|''+")
_BLANKS: Final = re.compile(r"\s+")
_BEFORE_MARK: Final = re.compile(r" (?=[,.!?;:])")
_MARKS: Final = re.compile(r"[,.!?;:](?:[ ]?[,.!?;:])+")
_FIRST_MARKS: Final = re.compile(r"^[\s,.!?;:]+")
_GLUED: Final = re.compile(r"(?<=[^\W\d_])([,!?;:.]+)(?=[^\W\d_])")


def _one_mark(match: Match[str]) -> str:
    """Of several marks in a row the strongest: a question stays one."""
    return max(match[0], key=",:;.!?".find)


def _bracket(match: Match[str]) -> str:
    """A remark in brackets gets pauses around it; a call's brackets or a plural in brackets none."""
    return ", " if match[0] in ")]}" or match.lastindex is None else f"{match[2] or ''} "


def finish(text: str) -> str:
    """Words with single blanks and single marks: what rules have left is dropped, lines become sentences."""
    text = _LINE_ENDS.sub(". ", text.strip())
    text = _DASHES.sub(",", text)
    text = _BRACKETS.sub(_bracket, text)
    text = _HYPHEN.sub(" ", text)
    text = _NOT_SPOKEN.sub(" ", text)
    text = _APOSTROPHES.sub(" ", text)
    text = _GLUED.sub(r"\1 ", text)
    text = _BEFORE_MARK.sub("", _BLANKS.sub(" ", text))
    text = _MARKS.sub(_one_mark, text)
    return _FIRST_MARKS.sub("", text).strip()
