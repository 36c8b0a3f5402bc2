"""The table of subjects, the functions that build them, the vectors and the export say the same."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from support import vectors

from antiphon.cli import schema
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import MESSAGES
from antiphon.schemas.subjects import SUBJECTS

pytestmark = pytest.mark.pure

NO_JSON = {"", "AudioFrame", "msgpack"}
PARTS = {"cluster": 1, "slot": 2, "epoch": 3, "number": 4, "header": b"\x02\x00"}
"""Arguments that are no names."""
WITHOUT_PARTS = {"flow_find", "calls_list", "worker_llm"}
"""Constants instead of functions."""


def built() -> dict[str, str]:
    """Function -> a subject that it builds; wildcards, keys of buckets and parsers are left out."""
    found = {}
    for name, function in inspect.getmembers(subjects, inspect.isfunction):
        if function.__module__ == subjects.__name__ and not name.startswith(("_", "parse_")):
            subject = function(*(PARTS.get(each, f"some-{each}") for each in inspect.signature(function).parameters))
            if isinstance(subject, str) and subject.startswith(subjects.PREFIX) and not set(subject) & set("*>"):
                found[name] = subject
    return found


def test_every_function_that_builds_a_subject_is_in_the_table_and_the_other_way_round() -> None:
    assert built().keys() | WITHOUT_PARTS == SUBJECTS.keys()


@pytest.mark.parametrize("name", sorted(SUBJECTS.keys() - WITHOUT_PARTS))
def test_a_function_builds_what_the_pattern_of_its_name_says(name: str) -> None:
    pattern = re.escape(SUBJECTS[name].pattern)
    assert re.fullmatch(re.sub("<[a-z]+>", "[A-Za-z0-9_-]+", pattern), built()[name])


def test_every_wildcard_constant_is_a_pattern_with_stars() -> None:
    patterns = {re.sub("<[a-z]+>", "*", subject.pattern) for subject in SUBJECTS.values()}
    constants = {value for name, value in vars(subjects).items() if name.startswith("ANY_")}
    assert constants <= patterns
    assert {SUBJECTS[name].pattern for name in WITHOUT_PARTS} == {
        subjects.FLOW_FIND,
        subjects.CALLS_LIST,
        subjects.WORKER_LLM,
    }


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


def test_an_agents_subjects_say_nothing_of_the_calls_of_another_one() -> None:
    """One pattern holds all that an agent needs of its sessions, and no subject of a call or of another agent."""
    own = re.compile(re.escape(subjects.session_all("echo")).replace(r"\*", r"[^.]+").replace(">", ".+"))
    of_sessions = {
        name for name, subject in SUBJECTS.items() if "agent" in subject.publisher and "<id>" in subject.pattern
    }
    assert of_sessions == {"audio_out", "data_out", "session_control"}
    for name in (*of_sessions, "audio_in", "data_in", "session_event"):
        assert own.fullmatch(getattr(subjects, name)("echo", "rtc_1"))
        assert not own.fullmatch(getattr(subjects, name)("other", "rtc_1"))
    for name in ("call_attach", "call_open", "call_hang_up", "call_transfer", "call_status"):
        assert SUBJECTS[name].publisher.split(", ")[0] == "signaling"
        assert not own.fullmatch(getattr(subjects, name)("rtc_1"))


@pytest.mark.parametrize("name", ["", "*", ">", "a.b", "a b", "a" * 65])
def test_no_name_widens_a_subject(name: str) -> None:
    for build in (subjects.audio_in, subjects.session_out, subjects.session_control, subjects.session_all):
        for parts in ((name, "rtc_1"), ("echo", name)):
            with pytest.raises(MalformedError):
                build(*parts)
    with pytest.raises(MalformedError):
        subjects.call_all(name)


@pytest.mark.parametrize(
    "old", ["antiphon.v1.session.rtc_1.audio.in", "antiphon.v1.session.rtc_1.event", "antiphon.v1.status.rtc_1"]
)
def test_the_old_subjects_name_no_session_and_no_call(old: str) -> None:
    for parse in (subjects.parse_call_subject, subjects.parse_session_subject):
        with pytest.raises(MalformedError):
            parse(old)


def test_a_claim_of_another_release_is_refused_with_the_way_out() -> None:
    """Its session would have other subjects: an agent that took it would receive silence."""
    old = b'{"version":1,"session_id":"rtc_1","agent":"echo"}'
    with pytest.raises(MalformedError, match=r"Claim is malformed at version: version 2 is read here; run one release"):
        messages.decode(old, messages.Claim)
    assert json.loads(messages.encode(messages.Claim(session_id="rtc_1", agent="echo")))["version"] == 2
