"""Written text to text that a voice can speak: numbers, dates, money, addresses and marks become words. Pure.

`speakable` is the way in. Each language has a module of its own beside; `english` imports none of the others, and
`common*` hold what languages share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Final

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.tts.normalization import english
from antiphon.inference_bridge.tts.normalization.common_markup import plain
from antiphon.inference_bridge.tts.normalization.common_scripts import without_emoji

_MODULES: Final[Mapping[Language, str]] = {"de": "german", "es": "spanish", "fr": "french", "it": "italian"}
_BLANKS: Final = re.compile(r"[ \t]{2,}")
_LINES: Final = re.compile(r"\s*\n\s*")


def speakable(text: str, language: Language = "en") -> str:
    """`text` as words of `language`, with the punctuation `, . ! ? ; :`; empty if nothing in it can be spoken."""
    return english.speakable(text) if language == "en" else _rules(language)(text)


@cache
def _rules(language: Language) -> Callable[[str], str]:
    """The rules of a language other than English, compiled when they are first asked for: that takes 0.15 s."""
    module = import_module(f"{__name__}.{_MODULES[language]}")
    said: Callable[[str], str] = module.speakable
    return said


def for_remote_voice(text: str) -> str:
    """`text` for a voice with rules of its own: only markup, thoughts and emoji are taken away.

    Empty if nothing else is in it.
    """
    text = _LINES.sub("\n", _BLANKS.sub(" ", without_emoji(plain(text)))).strip()
    return text if any(not c.isspace() for c in text) else ""
