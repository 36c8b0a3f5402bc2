"""What a plug-in needs is small: the SDK, what it imports of ours, and the base install, as they lie on the disc."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.pure

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 30_000_000
"""Bytes, without Python's caches."""


def closure(name: str, seen: set[str]) -> set[str]:
    """The distribution and all that it needs without extras."""
    if name not in seen:
        seen.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                closure(needed.name, seen)
    return seen


def size_of(distribution: str) -> int:
    """Bytes of its files."""
    files = [Path(str(each.locate())) for each in importlib.metadata.files(distribution) or ()]
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())


def test_the_sdk_with_all_that_it_needs_takes_less_than_30_megabytes() -> None:
    others = closure("antiphon", set()) - {"antiphon"}
    assert not others & {"numpy", "aiortc", "onnxruntime", "fastapi"}
    ours = sum(
        file.stat().st_size
        for home in ("schemas/antiphon", "libs/antiphon/runtime", "sdk/antiphon")
        for file in (ROOT / home).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    sizes = {name: size_of(name) for name in others}
    assert ours + sum(sizes.values()) < LIMIT, (ours, sizes)
