"""`deploy/fetch-smart-turn.py`: without the tested file there is one line, and set-up goes on."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As a module; its target and pip's only index are empty directories."""
    spec = importlib.util.spec_from_file_location("fetch_smart_turn", ROOT / "deploy" / "fetch-smart-turn.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TARGET", tmp_path / "target")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return module


def test_without_the_wheel_one_line_says_so(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("Setting up: without the end-of-turn model: ")
    assert said.count("\n") == 1
    assert not script.is_there()


def test_another_file_in_the_wheel_is_not_taken(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "pipecat_ai-1.14.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"pipecat/data/{script.MODEL}", b"another model")
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: pipecat-ai\nVersion: 1.14.0\n",
            "WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
            "RECORD": "",
            "licenses/LICENSE": "BSD",
        }.items():
            file.writestr(f"pipecat_ai-1.14.0.dist-info/{name}", text)
    requirement = tmp_path / "requirement.txt"
    requirement.write_text(f"pipecat-ai==1.14.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(script, "REQUIREMENT", requirement)
    assert script.main() == 0
    assert "is not the tested file" in capsys.readouterr().out
    assert not script.is_there()
