#!/usr/bin/env python3
"""Ask the package index for advisories on every pinned version: `make audit`.

Exit status 0 where each was answered and none has an advisory, 1 where one has, 2 where one was not answered: silence
is no all-clear. It asks by the index's JSON interface (`/pypi/NAME/VERSION/json`, field `vulnerabilities`, which PyPI
fills from the OSV database). `ANTIPHON_ADVISORIES_URL` names another server with the same interface.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DEFAULT: Final = "https://pypi.org"
PATIENCE: Final = 15.0
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)


class Unanswered(Exception):
    """The server said nothing of advisories."""


def main() -> int:
    """Ask about all, and say what was found."""
    base = os.environ.get("ANTIPHON_ADVISORIES_URL", DEFAULT).rstrip("/")
    pinned = sorted({found for path in files() for found in _PIN.findall(path.read_text())})
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, base, *pinned[0])
        try:
            first.result()
        except Unanswered as error:
            print(
                f"audit: {base} gives no advisories ({error}): nothing was checked. Run this where an advisory", end=" "
            )
            print("database is reached, or name one in ANTIPHON_ADVISORIES_URL")
            return 2
        answers = [(pin, pool.submit(ask, base, *pin)) for pin in pinned]
    found, silent = 0, []
    for (name, version), answer in answers:
        try:
            for advisory in answer.result():
                found += 1
                print(f"{name} {version}: {advisory}")
        except Unanswered as error:
            silent.append(f"{name} {version} ({error})")
    print(f"audit: {len(pinned) - len(silent)} of {len(pinned)} pinned versions answered, {found} advisories")
    if silent:
        print(f"audit: not answered, so not checked: {'; '.join(silent[:10])}")
    return 1 if found else 2 if silent else 0


def files() -> list[Path]:
    """All pinned requirements."""
    return [ROOT / "requirements.lock", *sorted((ROOT / "deploy" / "requirements").glob("*.txt"))]


def ask(base: str, name: str, version: str) -> list[str]:
    """The advisories of one version, those that were withdrawn left out; `Unanswered`."""
    request = urllib.request.Request(f"{base}/pypi/{name}/{version}/json", headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            read = json.loads(answer.read(20_000_000))
            advisories = read["vulnerabilities"]
            return [text_of(each) for each in advisories if not each.get("withdrawn")]
    except urllib.error.HTTPError as error:
        raise Unanswered(f"status {error.code}") from None
    except OSError as error:
        raise Unanswered(str(getattr(error, "reason", error))) from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Unanswered("the answer has no field `vulnerabilities`") from None


def text_of(advisory: dict[str, object]) -> str:
    """One line: the number, what it is about, and where it is mended."""
    fixed = advisory.get("fixed_in") or ["no version"]
    summary = str(advisory.get("summary") or advisory.get("details") or "").strip().splitlines()
    mended = ", ".join(map(str, fixed)) if isinstance(fixed, list) else str(fixed)
    return f"{advisory.get('id')}: {summary[0][:120] if summary else 'no summary'} (mended in {mended})"


if __name__ == "__main__":
    sys.exit(main())
