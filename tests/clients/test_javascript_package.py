"""`clients/js`, the npm package: one source for it and for the page that signaling serves, and complete in both."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
SOURCE = PACKAGE / "src"


def manifest() -> dict[str, object]:
    told: dict[str, object] = json.loads((PACKAGE / "package.json").read_text())
    return told


def test_its_version_and_licence_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest()["version"] == project["version"]
    assert manifest()["license"] == project["license"]
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_it_needs_nothing_and_runs_nothing_when_it_is_installed() -> None:
    assert not {"dependencies", "peerDependencies", "optionalDependencies", "scripts"} & set(manifest())
    for module in SOURCE.glob("*.js"):
        imported = re.findall(r'(?:from|import\() ?"([^"]+)"', module.read_text())
        assert all(re.fullmatch(r"\./\w+\.js", name) for name in imported), module.name


def test_signaling_serves_the_packages_own_files() -> None:
    for module in SOURCE.glob("*.js"):
        served = files.STATIC / module.name
        assert served.is_symlink(), f"{served} has to be a link to {module}"
        assert not served.readlink().is_absolute()
        assert served.resolve() == module.resolve()


def test_an_image_is_built_with_them() -> None:
    assert "COPY clients/js/src ./clients/js/src" in (ROOT / "Dockerfile").read_text()
    assert "!clients/js/src" in (ROOT / ".dockerignore").read_text().splitlines()


def test_every_name_that_it_exports_has_a_type_and_no_other_has() -> None:
    exported = re.findall(r"export \{ ([^}]+) \}", (SOURCE / "antiphon.js").read_text())
    names = {name for line in exported for name in line.split(", ")}
    typed = re.findall(r"^export (?:class|function|const) (\w+)", (SOURCE / "antiphon.d.ts").read_text(), re.MULTILINE)
    assert set(typed) == names


def test_the_react_example_is_as_short_as_it_is_said_to_be() -> None:
    lines = (PACKAGE / "examples" / "react" / "Voice.jsx").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith(("import", "/**"))]) <= 20
