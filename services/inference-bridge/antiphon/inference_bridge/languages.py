"""The languages that this bridge has rules for, and how a client or a setting names them."""

from __future__ import annotations

from typing import Final, Literal, get_args

Language = Literal["en", "de", "es", "fr", "it"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
"""Those with rules for numbers, words and turns. A service by URL may speak and transcribe others."""


def primary(tag: str) -> str:
    """The language of a tag (BCP 47) in lower case: `en-US` and `EN_us` are `en`."""
    return tag.strip().replace("_", "-").split("-")[0].lower()


def ruled(tag: str) -> Language | None:
    """The language of a tag, if this bridge has rules for it."""
    return next((language for language in LANGUAGES if language == primary(tag)), None)
