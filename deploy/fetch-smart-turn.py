"""Takes the end-of-turn model smart-turn out of the wheel that carries it, and puts it below this Python's prefix.

Nothing else of the package pipecat-ai is installed, and none of its requirements. Wheel and model are compared with
recorded hashes. pip fetches the wheel, so mirrors and offline directories work as for all other packages. Without the
wheel Antiphon works, and ends turns by words and silence alone: one line says so, and the status is 0.

The model is BSD-2-Clause (c) Daily; its licence lies beside it. Needs nothing but the standard library and pip.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODEL = "smart-turn-v3.2-cpu.onnx"
SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
TARGET = Path(sys.prefix, "share", "antiphon")
REQUIREMENT = Path(__file__).with_name("smart-turn.txt")


def is_there() -> bool:
    path = TARGET / MODEL
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def fetch(directory: str) -> str:
    """What went wrong; empty if nothing did."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "-q", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENT), "-d", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(Path(directory).glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return errors[-1].removeprefix("ERROR: ") if errors else "pip did not bring its wheel"
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = wheel.namelist()
        model = next((name for name in names if name.endswith(f"/{MODEL}")), None)
        licence = next((name for name in names if name.endswith("dist-info/licenses/LICENSE")), None)
        if model is None or licence is None:
            return f"{wheels[0].name} does not hold {MODEL} and its licence"
        data = wheel.read(model)
        if hashlib.sha256(data).hexdigest() != SHA256:
            return f"{MODEL} in {wheels[0].name} is not the tested file"
        TARGET.mkdir(parents=True, exist_ok=True)
        (TARGET / "smart-turn.LICENSE").write_bytes(wheel.read(licence))
        part = TARGET / f"{MODEL}.part"
        part.write_bytes(data)
        part.replace(TARGET / MODEL)
    return ""


def main() -> int:
    if is_there():
        return 0
    try:
        with tempfile.TemporaryDirectory() as directory:
            trouble = fetch(directory)
    except (OSError, zipfile.BadZipFile) as error:
        trouble = str(error)
    if trouble:
        print(f"Setting up: without the end-of-turn model: {trouble:.200}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
