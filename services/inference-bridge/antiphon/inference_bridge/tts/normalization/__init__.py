"""Written text to text that a voice can speak: numbers, dates, money, addresses and marks become words. Pure.

`speakable` is the way in. Each language has a module of its own beside; `english` imports none of the others.
"""

from __future__ import annotations

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.tts.normalization import english


def speakable(text: str, language: Language = "en") -> str:
    """`text` as words of `language`, with the punctuation `, . ! ? ; :`; empty if nothing in it can be spoken."""
    if language == "en":
        return english.speakable(text)
    raise NotImplementedError(f"no rules for {language}")
