#!/usr/bin/env python3
"""Write what each image contains as CycloneDX 1.5 (JSON): deploy/sbom.py [DIRECTORY], `dist/sbom` without it.

One file for each service, from its pinned requirements alone: names, versions, hashes of all files that may be
installed, and licences where the distribution is installed here. The same input makes the same octets, so two builds of
a release can be compared. Standard library only: no tool that sees a release has to be trusted beside Python.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
REQUIREMENTS: Final = ROOT / "deploy" / "requirements"
LIBOPUS: Final[dict[str, Any]] = {
    "bom-ref": "deb:libopus0",
    "type": "library",
    "name": "libopus0",
    "purl": "pkg:deb/debian/libopus0",
    "licenses": [{"license": {"id": "BSD-3-Clause"}}],
}
"""What the Dockerfile installs beside the requirements, in the version of the base image's Debian."""
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)(?: *; *([^\\]*?))? *\\?$")
_HASH: Final = re.compile(r"^ +--hash=sha256:([0-9a-f]{64})")


def main() -> int:
    """Write all files; their names on stdout."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "sbom"
    directory.mkdir(parents=True, exist_ok=True)
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        if path.stem not in ("build", "voices"):  # which no image has
            target = directory / f"{path.stem}.cdx.json"
            target.write_text(json.dumps(bill(path), indent=2, sort_keys=True) + "\n")
            print(target)
    return 0


def bill(requirements: Path) -> dict[str, Any]:
    """The document of one service."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    service = requirements.stem
    text = requirements.read_text()
    root = f"antiphon-{service}@{version}"
    components = [component(*pin) for pin in pins(text)]
    if service == "transceiver":
        components.append(LIBOPUS)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + text)}",
        "metadata": {
            "component": {
                "bom-ref": root,
                "type": "container",
                "name": f"antiphon-{service}",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": root, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def pins(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """(name, version, marker, hashes) of each line of a pinned file."""
    pin: tuple[str, str, str] | None = None
    hashes: list[str] = []
    for line in [*text.splitlines(), ""]:
        if found := _HASH.match(line):
            hashes.append(found[1])
            continue
        if pin:
            yield (*pin, hashes)
            pin, hashes = None, []
        if found := _PIN.match(line):
            pin = found[1], found[2], (found[3] or "").strip()


def component(name: str, version: str, marker: str, hashes: list[str]) -> dict[str, Any]:
    """One distribution. `hashes` are of its wheels and its archive: any one of them may be the installed file."""
    about: dict[str, Any] = {
        "bom-ref": f"{name}@{version}",
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "properties": [{"name": "antiphon:sha256", "value": each} for each in sorted(hashes)],
    }
    if marker:
        about["properties"].append({"name": "antiphon:marker", "value": marker})
    if licence := licence_of(name, version):
        about["licenses"] = [licence]
    return about


def licence_of(name: str, version: str) -> dict[str, Any] | None:
    """What the installed distribution of this very version states."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if metadata["Version"] != version:
        return None
    for expression in metadata.get_all("License-Expression", []):
        return {"expression": expression}
    for line in metadata.get_all("Classifier", []):
        if line.startswith("License ::"):
            return {"license": {"name": line.rpartition(" :: ")[2]}}
    stated = " ".join(metadata.get_all("License", [])).strip()
    return {"license": {"name": stated.splitlines()[0][:100]}} if stated else None


if __name__ == "__main__":
    sys.exit(main())
