"""A bridge whose settings of voice and language contradict ends at the start with one line, before it loads a model."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        ([], {"LANGUAGE": "de"}, "ANTIPHON_LANGUAGE is 'de', but the voice joe speaks en: set a service"),
        (["--worker", "tts"], {"VOICE": "ef_dora"}, "ANTIPHON_LANGUAGE is 'en', but the voice ef_dora speaks es"),
    ],
)
def test_it_says_what_is_wrong_and_the_way_out(arguments: list[str], settings: dict[str, str], line: str) -> None:
    environment = {**os.environ, **{f"ANTIPHON_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "antiphon.inference_bridge", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 2
    assert line in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "loading" not in ended.stderr
