"""The SDK by itself: it imports nothing of ours but schemas and runtime, and its own wheel makes an agent run."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 30_000_000
"""Bytes that an environment grows by."""
OURS: Final = {"antiphon.agent", "antiphon.schemas", "antiphon.runtime"}
FIRST_AGENT: Final = """
import asyncio
from antiphon.agent import TextAgent, Turn
from antiphon.schemas.messages import ReplyRequest

agent = TextAgent("desk", greeting="Good morning.")

@agent.reply
async def reply(turn: Turn) -> str:
    return f"You said: {turn.text}"

async def main() -> None:
    async for part in agent.answer(ReplyRequest(call_id="call", text="hello", now="2026-01-01T10:00:00+00:00")):
        print(type(part).__name__, getattr(part, "text", ""))

asyncio.run(main())
"""


def run(python: Path | str, code: str, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([str(python), "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
def test_the_sdk_imports_nothing_of_ours_but_what_its_wheel_has() -> None:
    code = (
        "import sys, antiphon.agent, antiphon.agent.testing; print(*(n for n in sys.modules if n[:9] == 'antiphon.'))"
    )
    loaded = {".".join(name.split(".")[:2]) for name in run(sys.executable, code).split()}
    assert loaded <= OURS


@pytest.mark.nightly
@pytest.mark.process(
    timeout=600, reason="builds a wheel and installs it with all that it needs into an empty environment"
)
def test_the_wheel_alone_is_small_and_runs_a_first_agent(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(ROOT / "sdk")]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("antiphon_agent-*.whl")
    packages = {"/".join(name.split("/")[:2]) for name in zipfile.ZipFile(wheel).namelist()}
    assert {each.replace("/", ".") for each in packages if each.startswith("antiphon/")} == OURS
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "-q", "--no-compile", str(wheel)], check=True)
    assert "You said: hello" in run(python, FIRST_AGENT)
    size = sum(file.stat().st_size for file in (home / "lib").rglob("*") if file.is_file() and file.suffix != ".pyc")
    assert size < LIMIT
