"""What the containers of compose.yaml run is in the image that they run in."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
IN_EACH_WHEEL = ("schemas", "libs", "demo", "sdk")
"""Beside the service itself: the folders that the Dockerfile copies."""


def test_the_clinic_starts_with_what_its_image_has() -> None:
    clinic = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["clinic"]
    service = clinic["build"]["args"]["SERVICE"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert all(f"COPY {folder} ./{folder}\n" in dockerfile for folder in IN_EACH_WHEEL)
    folders = [str(ROOT / folder) for folder in (*IN_EACH_WHEEL, f"services/{service}")]
    # Without `site` no other folder of ours is on the path.
    command = [sys.executable, "-S", "-c", f"import {clinic['entrypoint'][-1]}.agent"]
    path = os.pathsep.join([*folders, *site.getsitepackages()])
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
