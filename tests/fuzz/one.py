"""`python -m fuzz.one TARGET SECONDS CORPUS`: the fuzzer itself. libFuzzer ends the process, with status 0 if nothing
was found; what fails is written to the current directory.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["antiphon"], enable_loader_override=False):
    from fuzz import targets

MAX_LENGTH = 4096
"""Octets of an input: more than any datagram."""


def fuzz(target: str, seconds: str, corpus: str) -> None:
    """Fuzz one reader; libFuzzer ends the process."""
    options = [f"-max_total_time={int(seconds)}", f"-max_len={MAX_LENGTH}", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, corpus], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(*sys.argv[1:])
