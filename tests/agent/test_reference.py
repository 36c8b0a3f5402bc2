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

WIRE_FIELDS_WITHOUT_WORDS: Final = frozenset(
    {
        "ChannelOpened.channel",
        "Draining.seconds",
        "Ended.reason",
        "Ended.statistics",
        "Flushed.dropped_ms",
        "Flushed.played_samples",
        "Flushed.rate",
        "MediaStarted.setup_ms",
        "Playout.generation",
        "Playout.rate",
        "PlayoutOverflow.dropped_frames",
        "SessionError.message",
        "Statistics.frames_concealed",
        "Statistics.jitter_ms",
        "Statistics.packets_late",
        "Statistics.packets_lost",
        "Statistics.packets_received",
        "Statistics.packets_sent",
        "Statistics.remote_packets_lost",
        "Statistics.round_trip_ms",
        "Suspect.silent_s",
        "TelephoneEvent.duration_ms",
    }
)
"""Fields of the transceiver's events, defined in `antiphon.schemas.messages.events`, that have no docstring there yet.
None is to be added here; one that has got its docstring leaves."""


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate_sdk_reference.py, which is a program and in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(GENERATOR.parent)
        return importlib.import_module(GENERATOR.stem)


def test_everything_that_the_sdk_exports_has_a_docstring(generator: ModuleType) -> None:
    entries = generator.exported()
    assert {entry.name for entry in entries} == set(antiphon.agent.__all__)
    assert set(generator.undescribed(entries)) - WIRE_FIELDS_WITHOUT_WORDS == set(), (
        "write a docstring: below `class` or `def`, or as a string below the assignment of an attribute"
    )


def test_fields_known_to_have_no_docstring_have_none(generator: ModuleType) -> None:
    assert WIRE_FIELDS_WITHOUT_WORDS - set(generator.undescribed(generator.exported())) == set(), (
        "these have a docstring by now: take them out of WIRE_FIELDS_WITHOUT_WORDS"
    )


def test_members_that_the_page_leaves_out_are_still_there(generator: ModuleType) -> None:
    assert generator.stale() == [], f"correct USED_BY_THE_SDK_ALONE in docs/{GENERATOR.name}, then `make reference`"


def test_the_committed_page_is_what_the_generator_writes_now(generator: ModuleType) -> None:
    written = generator.page(generator.exported())
    assert generator.PAGE.read_text() == written, "the SDK has changed: run `make reference` and commit the page"
