"""The service answers any request as `/openapi.json` says: schemathesis makes the requests from the document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from support.processes.signaling import OFFER, SignalingProcess, StandIns, signaling_process, until

pytestmark = pytest.mark.process

KEY = "a-key-of-some-length"
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "allow_header_conformance",
]
NO_LIMITS = {
    f"ANTIPHON_LIMIT_{what}_PER_{of}": "0" for what in ("CALLS", "SECRETS", "REQUESTS") for of in ("KEY", "ADDRESS")
} | {"ANTIPHON_LIMIT_FAILURES_PER_ADDRESS": "1000000"}


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Any text may come as SDP; what can't be UTF-8 is replaced."""
    return str(value).encode(errors="replace")


@pytest.fixture
def service(nats_url: str, stand_ins: StandIns) -> Iterator[SignalingProcess]:
    """With keys, and a stack behind it that takes calls."""
    with signaling_process(nats_url, ANTIPHON_API_KEYS=KEY, **NO_LIMITS) as process:
        stand_ins.operated(stand_ins.transceiver(capacity=10**6), [])
        stand_ins.relay()
        stand_ins.agent()
        schema = schemathesis.openapi.from_url(f"{process.url}/openapi.json")
        until(lambda: "concierge" in schema["/v1/agents"]["GET"].Case().call(headers=bearer()).text, "it is known")
        yield process


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "examples", [pytest.param(3, id="some"), pytest.param(25, id="many", marks=pytest.mark.nightly)]
)
def test_every_operation_answers_as_the_document_says(
    service: SignalingProcess, stand_ins: StandIns, examples: int
) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    call_id = f"rtc_{1:024d}"
    checks: Any = CHECKS.get_by_names(CHECKED)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if "101" in operation.definition.raw["responses"]:
            continue  # a WebSocket
        tried += 1

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=examples < 10,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), running=st.booleans(), usable=st.booleans())
        def answers(case: schemathesis.Case[Any], running: bool, usable: bool) -> None:
            if running and "call_id" in (case.path_parameters or {}):
                case.path_parameters["call_id"] = call_id
            if usable and case.media_type == "application/sdp":
                case.body = OFFER
            case.call_and_validate(headers=bearer(), checks=checks)

        answers()
    assert tried > 10
