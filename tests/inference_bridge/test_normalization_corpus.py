"""What a voice is given for written text, line by line: `normalization/<language>.txt`.

A line is `written => spoken`; `\\n` in it is the end of a line. Lines that begin with `# ` are comments.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.inference_bridge.languages import LANGUAGES, Language
from antiphon.inference_bridge.tts.normalization import speakable

pytestmark = pytest.mark.pure

CORPORA = Path(__file__).parent / "normalization"


def lines(language: str) -> list[tuple[str, str, int]]:
    """Each line of a corpus with its number; none if there is no corpus for the language."""
    path = CORPORA / f"{language}.txt"
    read = path.read_text("utf-8").splitlines() if path.exists() else []
    found = []
    for number, line in enumerate(read, 1):
        if line.strip() and not line.startswith("# "):
            written, arrow, spoken = line.partition("=>")
            assert arrow, f"{path.name}:{number}: no => in {line!r}"
            found.append((written.strip().replace("\\n", "\n"), spoken.strip(), number))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_writing_is_said_as_the_corpus_says(language: Language) -> None:
    wrong = [
        f"{number}: {written!r}\n     said {said!r}\n   wanted {spoken!r}"
        for written, spoken, number in lines(language)
        if (said := speakable(written, language)) != spoken
    ]
    assert not wrong, "\n".join(wrong)
