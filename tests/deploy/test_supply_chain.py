"""Licences, bills of materials and the audit: what the scripts find, and that silence is no all-clear."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SERVICES = ("relay", "transceiver", "signaling", "inference-bridge")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), ROOT / "deploy" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("service", SERVICES)
def test_no_image_installs_pyav_or_what_is_not_listed(service: str) -> None:
    pinned = {
        name for name, *_ in script("sbom").pins((ROOT / "deploy" / "requirements" / f"{service}.txt").read_text())
    }
    assert "av" not in pinned
    assert len(pinned) > 20, "the file is read"
    last = (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2]
    assert "pip install --no-cache-dir --no-deps --require-hashes" in last, "so that pip adds nothing to the list"


@pytest.mark.parametrize("service", SERVICES)
def test_each_image_installs_what_its_extra_needs(service: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def needed(extra: str) -> set[str]:
        found: set[str] = set()
        for each in extras[extra]:
            inner = re.match(r"antiphon\[(.*)\]", each)
            found |= set().union(*map(needed, inner[1].split(","))) if inner else {re.split(r"[ ><=;~\[]", each)[0]}
        return found

    text = (ROOT / "deploy" / "requirements" / f"{service}.txt").read_text()
    assert needed(service) - {name for name, *_ in script("sbom").pins(text)} == set(), "make lock"


def test_the_licence_check_passes_what_the_images_install_and_finds_pyav_here(tmp_path: Path) -> None:
    """The distributions of the services, linked from this environment, which has them in the pinned versions."""
    licences, sbom = script("check-licences"), script("sbom")
    site = Path(sysconfig.get_path("purelib"))
    wanted = {
        name.replace("-", "_").replace(".", "_")
        for service in SERVICES
        for name, *_ in sbom.pins((ROOT / "deploy" / "requirements" / f"{service}.txt").read_text())
    }
    for about in site.glob("*.dist-info"):
        name = about.name.partition("-")[0].lower().replace(".", "_")
        if name not in wanted:
            continue
        for line in (about / "RECORD").read_text().splitlines():
            recorded = line.partition(",")[0]
            if recorded.startswith("..") or not (recorded.endswith("METADATA") or ".so" in Path(recorded).suffixes):
                continue
            (tmp_path / recorded).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / recorded).hardlink_to(site / recorded)
    assert len(list(tmp_path.glob("*.dist-info"))) > 50
    assert licences.findings(tmp_path) == []
    found = licences.findings(site)
    assert any("libx264" in text for text in found)
    assert any("libx265" in text for text in found)


@pytest.mark.parametrize(
    ("licence", "wrong"),
    [
        ("License-Expression: MIT", False),
        ("License-Expression: MIT OR GPL-2.0-or-later", False),
        ("License-Expression: GPL-3.0-only", True),
        ("License-Expression: LGPL-2.1-or-later", False),
        ("Classifier: License :: OSI Approved :: GNU General Public License v2 (GPLv2)", True),
        ("Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("License: AGPL-3.0", True),
        ("License: proprietary", True),
        ("Summary: says nothing", True),
    ],
)
def test_a_licence_is_judged_by_what_is_stated(tmp_path: Path, licence: str, wrong: bool) -> None:
    about = tmp_path / "thing-1.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.4\nName: thing\nVersion: 1\n{licence}\n\n")
    assert bool(script("check-licences").licence_trouble(about)) == wrong


def test_each_service_has_its_bill_of_materials_and_it_is_the_same_each_time(tmp_path: Path) -> None:
    for directory in ("first", "second"):
        command = [sys.executable, str(ROOT / "deploy" / "sbom.py"), str(tmp_path / directory)]
        subprocess.run(command, check=True, capture_output=True, timeout=50)
    for service in SERVICES:
        first, second = (tmp_path / name / f"{service}.cdx.json" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        bill = json.loads(first.read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        text = (ROOT / "deploy" / "requirements" / f"{service}.txt").read_text()
        pinned = {line.split()[0] for line in text.splitlines() if "==" in line and line[0] not in " #"}
        listed = {f"{each['name']}=={each['version']}" for each in bill["components"] if "version" in each}
        assert listed == pinned
        assert all(each["properties"] for each in bill["components"] if each["purl"].startswith("pkg:pypi/"))
        references = [each["bom-ref"] for each in bill["components"]]
        assert len(references) == len(set(references))


@contextmanager
def index_that_answers(status: int, body: bytes, only: str = "") -> Iterator[str]:
    """A package index; `only`: the answer for paths with this text, and no advisory for all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mine = only in self.path
            answer = body if mine else b'{"vulnerabilities": []}'
            self.send_response(status if mine else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "audit.py")]
    environment = {"ANTIPHON_ADVISORIES_URL": url, "no_proxy": "*"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)


ADVISORY = (
    b'{"vulnerabilities": [{"id": "PYSEC-1", "summary": "opens a door", "fixed_in": ["9.9"], "withdrawn": null}]}'
)


def test_an_audit_without_advisories_passes_and_one_with_an_advisory_names_it() -> None:
    with index_that_answers(200, b'{"vulnerabilities": []}') as url:
        done = audit(url)
    assert (done.returncode, "0 advisories" in done.stdout) == (0, True), done.stdout
    with index_that_answers(200, ADVISORY, only="/h11/") as url:
        done = audit(url)
    assert done.returncode == 1
    assert "h11 0.16.0: PYSEC-1: opens a door (mended in 9.9)" in done.stdout
    with index_that_answers(200, ADVISORY.replace(b"null", b'"2026-01-01"'), only="/h11/") as url:
        assert audit(url).returncode == 0, "it was withdrawn"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"vulnerabilities": null}', b'{"vulnerabilities": 3}'])
def test_an_answer_that_says_nothing_of_advisories_is_no_all_clear(body: bytes) -> None:
    with index_that_answers(200, body, only="/h11/") as url:
        done = audit(url)
    assert done.returncode == 2
    assert "not answered, so not checked: h11" in done.stdout


def test_an_index_out_of_reach_is_no_all_clear() -> None:
    done = audit("http://127.0.0.1:1")
    assert done.returncode == 2
    assert "nothing was checked" in done.stdout
    with index_that_answers(404, b"") as url:
        done = audit(url)
    assert (done.returncode, "status 404" in done.stdout) == (2, True)
