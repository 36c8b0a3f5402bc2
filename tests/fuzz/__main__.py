"""`PYTHONPATH=tests python -m fuzz TARGET SECONDS`: fuzz one reader, or `all` in turn, with atheris.

Exit status 0 if nothing was found. An input that fails is kept in the current directory as `crash-...`, and is tried
again by `python -m fuzz TARGET FILE`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz import targets


def run(target: str, seconds: str) -> int:
    """Fuzz one reader from its seeds; exit status."""
    with tempfile.TemporaryDirectory(prefix="antiphon-fuzz-") as corpus:
        for number, seed in enumerate(targets.seeds(target)):
            Path(corpus, str(number)).write_bytes(seed)
        return subprocess.run([sys.executable, "-m", "fuzz.one", target, seconds, corpus], check=False).returncode


def main() -> int:
    match sys.argv[1:]:
        case ["all", seconds]:
            return max([run(target, seconds) for target in targets.TARGETS])
        case [target, file] if target in targets.TARGETS and Path(file).is_file():
            targets.TARGETS[target](Path(file).read_bytes())
            return 0
        case [target, seconds] if target in targets.TARGETS and seconds.isdecimal():
            return run(target, seconds)
    print(f"usage: python -m fuzz TARGET SECONDS|FILE; targets: all {' '.join(targets.TARGETS)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
