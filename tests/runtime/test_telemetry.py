"""Lines of the log, as people and as programs read them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

PROGRAM = """
import logging
from antiphon.runtime import telemetry
telemetry.start("relay")
log = logging.getLogger("antiphon.relay.core.core")
log.info("call %s\\nplaced", "rtc_1", extra={"session": "rtc_1", "where": {1}})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
"""


def lines_of(**settings: str) -> tuple[int, list[str]]:
    """Exit status and stderr of a process that logs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return run.returncode, run.stderr.splitlines()


def test_a_record_is_one_object_on_one_line_with_its_fields_and_its_exception() -> None:
    status, lines = lines_of(ANTIPHON_LOG_FORMAT="json")
    assert status == 0
    placed, failed = map(json.loads, lines)
    assert placed["time"].endswith("+00:00")
    assert {name: placed[name] for name in ("level", "service", "logger", "message", "fields")} == {
        "level": "INFO",
        "service": "relay",
        "logger": "antiphon.relay.core.core",
        "message": "call rtc_1\nplaced",
        "fields": {"session": "rtc_1", "where": "{1}"},
    }
    assert failed["level"] == "ERROR"
    assert "ZeroDivisionError" in failed["exception"]


def test_text_is_the_default() -> None:
    status, lines = lines_of()
    assert status == 0
    assert "INFO relay call rtc_1" in lines[0]


@pytest.mark.parametrize("variable", ["ANTIPHON_LOG_FORMAT", "ANTIPHON_LOG_LEVEL"])
def test_a_log_setting_that_is_none_ends_the_process_with_one_line(variable: str) -> None:
    status, lines = lines_of(**{variable: "xml"})
    assert status == 2
    assert len(lines) == 1
    assert variable in lines[0]
