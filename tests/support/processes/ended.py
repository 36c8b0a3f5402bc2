"""Processes that end with their block, whatever it takes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Text = TypeVar("Text", str, bytes)


@contextmanager
def ended(process: subprocess.Popen[Text], seconds: float = 5) -> Iterator[subprocess.Popen[Text]]:
    """SIGTERM at the end of the block, and SIGKILL for a process that is still there after `seconds`."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
