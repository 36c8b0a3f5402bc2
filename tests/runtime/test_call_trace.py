"""The root span of a call: ids that are made once, and written by the process that has the call at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from support.spans import Recorded, recorded_spans

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names, spans

pytestmark = pytest.mark.pure
CLIENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recorded_spans() as kept:
        yield kept


def test_the_root_has_the_ids_that_its_children_know_and_is_a_child_of_the_clients_span(recorded: Recorded) -> None:
    call = telemetry.new_call({"traceparent": CLIENT})
    kept = call.model_dump()  # as in a checkpoint
    spans.begin(names.ICE, telemetry.call_context(kept, "rtc_1")).end()
    telemetry.end_call(kept, "rtc_1", "hang_up", "client")
    root, child = recorded.one(names.CALL), recorded.one(names.ICE)
    assert root.context is not None
    assert child.parent is not None
    assert root.parent is not None
    assert (child.parent.trace_id, child.parent.span_id) == (root.context.trace_id, root.context.span_id)
    assert f"{root.context.trace_id:032x}" == "ab" * 16 == telemetry.trace_id(kept)
    assert f"{root.parent.span_id:016x}" == "cd" * 8
    assert root.start_time == int(call.began * 1e9)
    for span in (root, child):
        assert span.attributes is not None
        assert span.attributes[names.SESSION_ID] == span.attributes[names.CONVERSATION_ID] == "rtc_1"
    assert root.attributes is not None
    assert root.attributes[names.CALL_REASON] == "hang_up"
    assert root.attributes[names.CALL_CAUSE] == "client"


def test_a_call_without_a_client_s_trace_is_the_first_of_its_own(recorded: Recorded) -> None:
    for headers in (None, {}, {"traceparent": "00-zz"}, {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"}):
        call = telemetry.new_call(headers)
        assert not call.client
        telemetry.end_call(call, "", "refused")
    roots = recorded.all()
    assert len({span.context.trace_id for span in roots if span.context}) == 4
    assert not [span.parent for span in roots if span.parent]


def test_a_call_that_its_client_does_not_sample_is_recorded_nowhere(recorded: Recorded) -> None:
    call = telemetry.new_call({"traceparent": CLIENT[:-1] + "0"})
    with spans.current(names.OFFER, telemetry.call_context(call)):
        headers = telemetry.trace_headers()
    telemetry.end_call(call, "rtc_1", "internal")
    assert not recorded.all()
    assert headers["traceparent"].startswith("00-" + "ab" * 16)
    assert headers["traceparent"].endswith("-00")


@pytest.mark.parametrize(
    ("reason", "cause", "failed"),
    [
        ("hang_up", "client", False),
        ("hang_up", "agent_returned", False),
        ("hang_up", "agent_error", True),
        ("client_closed", "", False),
        ("client_vanished", "", False),
        ("setup_timeout", "", False),
        ("dtls_failed", "", False),
        ("over_budget", "", False),
        ("agent_lost", "", True),
        ("draining", "", True),
        ("internal", "", True),
    ],
)
def test_only_a_failure_of_ours_is_an_error(recorded: Recorded, reason: str, cause: str, failed: bool) -> None:
    telemetry.end_call(telemetry.new_call(), "rtc_1", reason, cause)
    assert (recorded.one(names.CALL).status.status_code is StatusCode.ERROR) is failed


def test_a_process_without_traces_passes_the_context_of_a_call_on() -> None:
    call = telemetry.new_call({"traceparent": CLIENT})
    with spans.current(names.OFFER, telemetry.call_context(call, "rtc_1")) as span:
        assert not span.is_recording()
        assert telemetry.trace_headers()["traceparent"] == call.parent
        assert spans.current_call() == "rtc_1"
    assert not telemetry.trace_headers()
    assert not spans.current_call()
    telemetry.end_call(call, "rtc_1", "hang_up")


def test_a_span_after_a_root_has_ids_of_its_own(recorded: Recorded) -> None:
    call = telemetry.new_call()
    telemetry.end_call(call, "rtc_1", "hang_up")
    with spans.current(names.OFFER) as span:
        assert f"{span.get_span_context().trace_id:032x}" != telemetry.trace_id(call)


@pytest.mark.parametrize("kept", [None, {}, {"parent": 7}, {"parent": "00-1-2-01", "began": 1.0}, {"other": 1}])
def test_what_is_no_call_s_trace_is_none(recorded: Recorded, kept: dict[str, object] | None) -> None:
    telemetry.end_call(kept, "rtc_1", "hang_up")
    assert not recorded.all()
    assert telemetry.trace_id(kept) == ""
    context = telemetry.call_context(kept, "rtc_1")
    assert not trace.get_current_span(context).get_span_context().is_valid
