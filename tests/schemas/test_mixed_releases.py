"""Messages of the release before and of the one after are read: both serve calls together while one replaces the other.

`previous_release/messages.json` are the vectors of the release before. A release replaces the file by its own vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import vectors

from antiphon.schemas.messages import MESSAGES, decode_any
from antiphon.schemas.subjects import SUBJECTS

pytestmark = pytest.mark.pure

BEFORE: Any = json.loads((Path(__file__).parent / "previous_release" / "messages.json").read_text())
NOW: Any = json.loads((vectors.DIRECTORY / "messages.json").read_text())


@pytest.mark.parametrize("case", BEFORE["valid"], ids=lambda case: case["message"])
def test_a_message_of_the_release_before_is_read(case: Any) -> None:
    message = decode_any(json.dumps(case["json"]).encode(), MESSAGES[case["message"]], case["message"])
    written = json.loads(MESSAGES[case["message"]].dump_json(message, exclude_none=True))
    assert {name: written[name] for name in case["json"]} == case["json"], "what it says is understood as before"


def _with_more(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_more(each) for each in value]
    return value | {"of_the_next_release": {"a": [1]}} if isinstance(value, dict) else value


@pytest.mark.parametrize("case", NOW["valid"], ids=lambda case: case["message"])
def test_what_the_next_release_adds_is_ignored(case: Any) -> None:
    adapter = MESSAGES[case["message"]]
    ours = decode_any(json.dumps(case["json"]).encode(), adapter, case["message"])
    assert decode_any(json.dumps(_with_more(case["json"])).encode(), adapter, case["message"]) == ours


def test_no_message_of_the_release_before_is_gone() -> None:
    assert {case["message"] for case in BEFORE["valid"]} <= set(MESSAGES)


def test_subjects_keep_the_version_that_both_releases_use() -> None:
    assert {each.pattern.split(".")[1] for each in SUBJECTS.values() if each.pattern.startswith("antiphon.")} == {"v1"}
