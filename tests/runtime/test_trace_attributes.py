"""Attributes for trace viewers by a setting, content only where it is allowed, and log lines that name their call."""

from __future__ import annotations

import json
import logging

import pytest
from support.spans import recorded_spans

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import attributes, call_trace, names, spans

pytestmark = pytest.mark.pure
CALL = "rtc_" + "a" * 24


def test_spans_have_what_langfuse_and_phoenix_want_where_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded_spans() as recorded:
        spans.begin("chat qwen", spans.of_call(CALL)).end()
        monkeypatch.setenv("ANTIPHON_TRACE_ATTRIBUTES", " Langfuse,openinference ")
        spans.begin("chat qwen", spans.of_call(CALL)).end()
        telemetry.end_call(telemetry.new_call(), CALL, "hang_up")
        plain, both, root = [dict(span.attributes or {}) for span in recorded.all()]
    assert plain == {names.SESSION_ID: CALL, names.CONVERSATION_ID: CALL}
    assert both[names.LANGFUSE_SESSION] == root[names.LANGFUSE_SESSION] == CALL
    assert (both[names.OPENINFERENCE_KIND], root[names.OPENINFERENCE_KIND]) == ("LLM", "CHAIN")


def test_what_was_said_is_on_spans_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_TRACE_ATTRIBUTES", "openinference")
    assert not attributes.content("my card number", "thank you")
    monkeypatch.setenv("ANTIPHON_TRACE_CONTENT", "on")
    said = attributes.content("x" * 9000, "thank you")
    assert len(str(said[names.INPUT_VALUE])) == attributes.MAX_CONTENT
    assert said[names.OUTPUT_VALUE] == "thank you"
    assert json.loads(str(said[names.OUTPUT_MESSAGES]))[0]["role"] == "assistant"


@pytest.mark.parametrize("variable", ["ANTIPHON_TRACE_ATTRIBUTES", "ANTIPHON_TRACE_CONTENT"])
def test_a_setting_that_is_none_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "jaeger")
    with pytest.raises(ValueError, match=f"{variable}: 'jaeger'"):
        attributes.check()


def line(message: str, **fields: object) -> dict[str, object]:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "antiphon", **fields})
    written: dict[str, object] = json.loads(telemetry.JsonFormatter("transceiver").format(record))
    return written


def test_a_line_of_a_call_names_the_call_and_its_trace() -> None:
    with recorded_spans():
        call = telemetry.new_call()
        assert "call_id" not in line("slot 1 ready")
        assert "trace_id" not in line(f"session {CALL}: late"), "another process's call"
        call_trace.know(CALL, call)
        for written in (line(f"session {CALL}: late"), line("late", session=CALL)):
            assert (written["call_id"], written["trace_id"]) == (CALL, telemetry.trace_id(call))
        call_trace.forget(CALL)
        with spans.current(names.OPEN, telemetry.call_context(call, CALL)):
            written = line("late")
        assert (written["call_id"], written["trace_id"]) == (CALL, telemetry.trace_id(call))
        assert "trace_id" not in line(f"session {CALL}: late")


@pytest.mark.parametrize("allowed", [False, True])
def test_an_exception_s_text_is_content(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_TRACE_CONTENT", "on" if allowed else "off")

    def tool() -> None:
        words = " ".join(["my", "marmalade"])  # a line of a stack shows its source, and not what is in it
        raise ValueError(words)

    with recorded_spans() as recorded:
        with pytest.raises(ValueError, match="marmalade"), spans.current("execute_tool weather"):
            tool()
        span = recorded.one("execute_tool weather")
    assert not span.status.is_ok
    assert span.status.description == "ValueError"
    (event,) = span.events
    assert "in tool" in str((event.attributes or {})[names.EXCEPTION_STACKTRACE])
    assert ("my marmalade" in str(span.to_json())) is allowed
