"""The table of subjects, the functions that build them, the vectors and the export say the same."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from support import vectors

from antiphon.cli import schema
from antiphon.schemas import subjects
from antiphon.schemas.messages import MESSAGES
from antiphon.schemas.subjects import SUBJECTS

pytestmark = pytest.mark.pure

NO_JSON = {"", "AudioFrame", "msgpack"}
PARTS = {"cluster": 1, "slot": 2, "epoch": 3, "header": b"\x02\x00"}
"""Arguments that are no names."""


def built() -> dict[str, str]:
    """Function -> a subject that it builds; wildcards, keys of buckets and parsers are left out."""
    found = {}
    for name, function in inspect.getmembers(subjects, inspect.isfunction):
        if function.__module__ == subjects.__name__ and not name.startswith(("_", "parse_")):
            subject = function(*(PARTS.get(each, f"some-{each}") for each in inspect.signature(function).parameters))
            if subject.startswith(subjects.PREFIX) and not set(subject) & set("*>"):
                found[name] = subject
    return found


def test_every_function_that_builds_a_subject_is_in_the_table_and_the_other_way_round() -> None:
    assert built().keys() | {"flow_find"} == SUBJECTS.keys()


@pytest.mark.parametrize("name", sorted(SUBJECTS.keys() - {"flow_find"}))
def test_a_function_builds_what_the_pattern_of_its_name_says(name: str) -> None:
    pattern = re.escape(SUBJECTS[name].pattern)
    assert re.fullmatch(re.sub("<[a-z]+>", "[A-Za-z0-9_-]+", pattern), built()[name])


def test_every_wildcard_constant_is_a_pattern_with_stars() -> None:
    patterns = {re.sub("<[a-z]+>", "*", subject.pattern) for subject in SUBJECTS.values()}
    constants = {value for name, value in vars(subjects).items() if name.startswith("ANY_")}
    assert constants <= patterns
    assert SUBJECTS["flow_find"].pattern == subjects.FLOW_FIND


def test_the_messages_of_the_table_exist() -> None:
    used = {each for subject in SUBJECTS.values() for each in (subject.message, subject.reply)}
    assert used <= MESSAGES.keys() | NO_JSON
    assert all(subject.publisher for subject in SUBJECTS.values())


def test_the_export_and_the_vectors_hold_every_subject() -> None:
    formats = schema.formats()
    assert formats["subjects"] == {name: subject.pattern for name, subject in SUBJECTS.items()}
    assert formats["subject_messages"].keys() == SUBJECTS.keys()
    written = json.loads((vectors.DIRECTORY / "subjects.json").read_text())
    assert written["valid"].keys() == SUBJECTS.keys()
