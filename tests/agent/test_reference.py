"""The SDK's reference page: everything that is exported is described, and the page says what the code says."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import antiphon.agent

pytestmark = pytest.mark.pure

ROOT: Final = Path(__file__).parents[2]
GENERATOR: Final = ROOT / "docs" / "generate_sdk_reference.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate_sdk_reference.py, which is a program and in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(GENERATOR.parent)
        return importlib.import_module(GENERATOR.stem)


def test_everything_that_the_sdk_exports_has_a_docstring(generator: ModuleType) -> None:
    entries = generator.exported()
    assert {entry.name for entry in entries} == set(antiphon.agent.__all__)
    assert set(generator.undescribed(entries)) == set(), (
        "write a docstring: below `class` or `def`, or as a string below the assignment of an attribute"
    )


def test_members_that_the_page_leaves_out_are_still_there(generator: ModuleType) -> None:
    assert generator.stale() == [], f"correct USED_BY_THE_SDK_ALONE in docs/{GENERATOR.name}, then `make reference`"


def test_the_committed_page_is_what_the_generator_writes_now(generator: ModuleType) -> None:
    written = generator.page(generator.exported())
    assert generator.PAGE.read_text() == written, "the SDK has changed: run `make reference` and commit the page"
