"""`python -m fuzz.all_at_once SECONDS`: a fuzzer for each reader, all at once.

The readers are imported and instrumented once, and each fuzzer is a fork of that: 12 times the import would be half a
minute of CPU time for fuzzers that run for 4 s. What a fuzzer says goes to TARGET.log in the current directory;
at the end the exit statuses are printed as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from fuzz.one import fuzz
from fuzz.targets import TARGETS, seeds


def start(target: str, seconds: str, corpus: Path) -> int:
    """Fork the fuzzer of one reader; its process id."""
    corpus.mkdir()
    for number, seed in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(seed)
    child = os.fork()
    if child:
        return child
    try:
        log = os.open(f"{target}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        fuzz(target, seconds, str(corpus))
    finally:
        os._exit(1)  # the fuzzer ends the process; nothing of the parent's may run here


def main(seconds: str) -> None:
    with tempfile.TemporaryDirectory(prefix="antiphon-fuzz-") as directory:
        running = {target: start(target, seconds, Path(directory, target)) for target in TARGETS}
        ended = {target: os.waitpid(child, 0)[1] for target, child in running.items()}
    print(json.dumps({target: os.waitstatus_to_exitcode(status) for target, status in ended.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
