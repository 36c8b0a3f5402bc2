"""`deploy/pin-images.sh`: base images by the digests of their registry, and never an invented one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
IMAGES = ("PYTHON", "NATS", "COLLECTOR", "JAEGER", "PROMETHEUS", "GRAFANA")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    for name in ("compose.yaml", "deploy/pin-images.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def pin_images(clone: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    command = [str(clone / "deploy" / "pin-images.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


def docker_that_says(clone: Path, digest: str) -> str:
    (clone / "bin").mkdir()
    script = clone / "bin" / "docker"
    script.write_text(f"#!/bin/sh\n[ $2 = version ] || echo '{digest}'\n")
    script.chmod(0o755)
    return str(clone / "bin")


def test_images_are_pinned_to_what_a_registry_says_and_the_check_wants_each(clone: Path) -> None:
    assert pin_images(clone, "--check").returncode == 1, "nothing is pinned"
    digest = f"sha256:{'ab' * 32}"
    done = pin_images(clone, path=docker_that_says(clone, digest))
    assert done.returncode == 0, done.stderr
    pinned = (clone / "deploy" / "images.env").read_text()
    for name in IMAGES:
        assert len([line for line in pinned.splitlines() if line.startswith(f"ANTIPHON_{name}_IMAGE=")]) == 1
    assert pinned.count(digest) == len(IMAGES)
    assert pin_images(clone, "--check").returncode == 0
    (clone / "deploy" / "images.env").write_text(pinned.replace("nats:", "nats-other:"))
    refused = pin_images(clone, "--check")
    assert refused.returncode == 1
    assert "ANTIPHON_NATS_IMAGE" in refused.stderr


@pytest.mark.parametrize("digest", ["", "sha256:abc", "not found"])
def test_a_registry_that_gives_no_digest_changes_nothing(clone: Path, digest: str) -> None:
    done = pin_images(clone, path=docker_that_says(clone, digest))
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert not (clone / "deploy" / "images.env").exists()
