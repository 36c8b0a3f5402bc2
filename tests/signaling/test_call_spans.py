"""Requests about a call that has ended are spans of that call's trace, and no errors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.errors import NoRespondersError
from opentelemetry.trace import StatusCode
from support.spans import Recorded, recorded_spans

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names
from antiphon.schemas.messages import CallStatus, encode
from antiphon.signaling.calls.call_spans import CallSpans
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import no_call

pytestmark = pytest.mark.pure
CALL = "rtc_" + "a" * 24
CLIENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


class Owner:
    """Answers a question after the call as its owner does; None: no process knows it."""

    def __init__(self, status: CallStatus | None) -> None:
        self._status = status

    async def ask_owner(self, *_: Any) -> Any:
        if self._status is None:
            raise NoRespondersError
        return SimpleNamespace(data=encode(self._status))


async def written(recorded: Recorded, status: CallStatus | None, headers: dict[str, str], error: ApiError) -> Any:
    CallSpans().write(cast(Backend, Owner(status)), names.HANG_UP, CALL, headers, 1, error)
    async with asyncio.timeout(5):
        while not (found := recorded.all()):  # noqa: ASYNC110
            await asyncio.sleep(0)
    return found[0]


async def test_a_hang_up_of_an_ended_call_is_in_that_calls_trace_and_no_error() -> None:
    with recorded_spans() as recorded:
        call = telemetry.new_call()
        status = CallStatus(session_id=CALL, state="ended", connected=True, spoke=True, trace=call.parent)
        span = await written(recorded, status, {"traceparent": CLIENT}, no_call(CALL))
        assert f"{span.context.trace_id:032x}" == telemetry.trace_id(call)
        assert f"{span.parent.span_id:016x}" == call.parent[36:52]
        assert [f"{link.context.span_id:016x}" for link in span.links] == ["cd" * 8]
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes[names.SESSION_ID] == CALL
        assert span.attributes[names.REFUSED] == "no_call"


@pytest.mark.parametrize("status", [None, CallStatus(session_id=CALL, state="ended", connected=True, spoke=True)])
async def test_one_of_a_call_that_no_process_knows_is_in_its_client_s(status: CallStatus | None) -> None:
    with recorded_spans() as recorded:
        span = await written(recorded, status, {"traceparent": CLIENT}, no_call(CALL))
        assert f"{span.parent.span_id:016x}" == "cd" * 8


async def test_a_failure_of_ours_is_an_error() -> None:
    with recorded_spans() as recorded:
        span = await written(recorded, None, {}, ApiError(504, "transceiver_silent", "it does not answer"))
        assert span.status.status_code is StatusCode.ERROR
