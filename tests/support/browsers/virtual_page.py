"""A page's modules in node and in virtual time, for what they decide by clocks and events.

`virtual_page.mjs` has what they get of a browser.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_suffix(".mjs")


class VirtualPage:
    """One node process. Blocking, for one test at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What a JavaScript expression, or a function of `argument`, comes to; AssertionError if it throws."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"script": script, "argument": argument}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "node has ended: its error is above"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def advance(self, milliseconds: float) -> None:
        self.evaluate("advance", milliseconds)

    def advance_until(self, condition: str) -> None:
        """Until the JavaScript expression is true; AssertionError after 15 s of virtual time."""
        for _ in range(300):
            if self.evaluate(f"Boolean({condition})"):
                return
            self.advance(50)
        raise AssertionError(f"not within 15 s: {condition}")


@contextmanager
def virtual_page() -> Iterator[VirtualPage]:
    with subprocess.Popen(["node", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield VirtualPage(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0, "a promise was rejected and nobody took it: see above"
