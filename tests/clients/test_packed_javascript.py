"""What leaves the repository of `clients/js`: as an npm package with its types, and as files in signaling's wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
MODULES = {module.name: module.read_text() for module in (PACKAGE / "src").glob("*.js")}


@pytest.mark.nightly
def test_npm_packs_the_modules_their_types_and_nothing_else() -> None:
    command = ["npm", "pack", "--dry-run", "--json", "--offline", str(PACKAGE)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    (packed,) = json.loads(told.stdout)
    wanted = {f"src/{name}" for name in MODULES} | {"src/antiphon.d.ts", "package.json", "README.md", "LICENSE"}
    assert {file["path"] for file in packed["files"]} == wanted


def test_node_imports_it_where_there_is_no_browser() -> None:
    """As a framework does that renders pages on its server."""
    script = "const all = await import(process.argv[1]); console.log(typeof all.connect, typeof all.VoiceCall)"
    command = ["node", "--input-type=module", "-e", script, (PACKAGE / "src" / "antiphon.js").as_uri()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["function"] * 2


def test_the_wheel_that_an_image_of_signaling_installs_has_them_as_files(tmp_path: Path) -> None:
    tree = tmp_path / "source"
    for name in ("services/signaling", "clients/js/src"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        for name, text in MODULES.items():
            assert files.read(f"antiphon/signaling/http/static/{name}").decode() == text
