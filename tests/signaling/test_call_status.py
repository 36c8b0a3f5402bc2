"""How a client is told why its call is over."""

from __future__ import annotations

import httpx
import pytest
from support.processes.signaling import SignalingProcess, until

from antiphon.schemas.messages import CallStatus, EndReason
from antiphon.signaling.placement.call_status import describe


@pytest.mark.pure
@pytest.mark.parametrize(
    ("reason", "cause", "spoke", "fault", "message"),
    [
        ("hang_up", "agent_returned", True, False, "the agent ended the call"),
        ("hang_up", "goodbye", False, True, "the agent ended the call at once, without a word"),
        ("hang_up", "agent_error", True, True, "the agent failed and ended the call"),
        ("hang_up", "agent_error", False, True, "the agent ended the call at once, without a word (it failed)"),
        ("hang_up", "client", False, False, "the client ended the call"),
        ("hang_up", "late", False, True, "the server gave the call up before it began"),
        ("client_closed", "", True, False, "the client ended the call"),
        ("agent_lost", "", True, True, "the agent of the call is gone"),
        ("draining", "", True, True, "the server was shut down"),
    ],
)
def test_an_end_is_a_fault_or_a_goodbye(reason: EndReason, cause: str, spoke: bool, fault: bool, message: str) -> None:
    status = CallStatus(session_id="rtc_1", state="ended", connected=spoke, spoke=spoke, reason=reason, cause=cause)
    assert describe(status) == (fault, message)


@pytest.mark.process
def test_a_call_that_nobody_knows_is_unknown_and_no_error(signaling: SignalingProcess) -> None:
    unknown = f"{signaling.url}/v1/realtime/calls/rtc_nobody"
    until(lambda: httpx.get(unknown).status_code != 503, "signaling has reached NATS")
    answer = httpx.get(unknown)
    assert (answer.status_code, answer.json()["status"]) == (200, "unknown")
    assert httpx.get(f"{signaling.url}/v1/realtime/calls/nonsense").status_code == 404
