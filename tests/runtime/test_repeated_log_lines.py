"""What a timer repeats is logged when it changes, and requests of HTTP clients are not logged at all."""

from __future__ import annotations

import logging
import time

import pytest

from antiphon.runtime.bounded_log import MAX_SOURCES, OncePerChange
from antiphon.runtime.telemetry.logs import start_logs

pytestmark = pytest.mark.pure
log = logging.getLogger("antiphon.test")


def test_a_line_is_logged_once_until_it_says_something_else(caplog: pytest.LogCaptureFixture) -> None:
    lines = OncePerChange(log)
    for text in ("NATS is away", "NATS is away", "NATS refuses us", "NATS refuses us", "NATS is away"):
        lines.say(text)
    assert caplog.messages == ["NATS is away", "NATS refuses us", "NATS is away"]


def test_sources_are_told_apart_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    lines = OncePerChange(log)
    for number in range(MAX_SOURCES + 1):
        lines.say("bad", str(number))
    lines.say("bad", str(MAX_SOURCES))
    assert len(caplog.messages) == MAX_SOURCES + 1
    lines.say("bad", "0")  # it was forgotten
    assert len(caplog.messages) == MAX_SOURCES + 2


def test_after_an_hour_it_is_logged_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 60.0, 3599.0, 3601.0, 3700.0))
    lines = OncePerChange(log)
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    for _ in range(5):
        lines.say("bad")
    monkeypatch.undo()
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_http_clients_log_no_line_for_a_request(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_LOG_LEVEL", level)
    handlers, before = list(logging.root.handlers), logging.root.level
    try:
        start_logs("test")
        for name in ("httpx", "httpx2", "httpcore", "openai"):
            assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger("antiphon").isEnabledFor(logging.INFO)
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(before)
