"""The voices of Kokoro-82M that this bridge has phonemes for, and how a setting names one. Pure data.

Its Hindi, Japanese, Portuguese and Chinese voices are left out: no phonemes that are good enough were found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from antiphon.inference_bridge.languages import Language

_AMERICAN: Final = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_nova", "af_river",
    "af_sarah", "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_michael", "am_onyx", "am_puck",
    "am_santa",
)  # fmt: skip
_BRITISH: Final = (
    "bf_alice", "bf_emma", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
)  # fmt: skip
KOKORO_VOICES: Final[Mapping[str, Language]] = {
    **dict.fromkeys(_AMERICAN, "en"),
    **dict.fromkeys(_BRITISH, "en"),
    **dict.fromkeys(("ef_dora", "em_alex", "em_santa"), "es"),
    **dict.fromkeys(("ff_siwis",), "fr"),
    **dict.fromkeys(("if_sara", "im_nicola"), "it"),
}
"""Name to language."""
USUAL: Final[Mapping[Language, str]] = {"en": "af_heart", "es": "ef_dora", "fr": "ff_siwis", "it": "if_sara"}
"""For a call that names a language and no voice."""
_OTHERS: Final = re.compile(r"[hjpz][fm]_[a-z]+")


def plain_name(name: str) -> str:
    """`kokoro:af_heart` is `af_heart`; other names are as they are."""
    return name.strip().removeprefix("kokoro:")


def is_other_kokoro(name: str) -> bool:
    """The name of a voice that Kokoro has in a language for which there are no phonemes here."""
    return _OTHERS.fullmatch(plain_name(name)) is not None
