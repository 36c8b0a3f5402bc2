"""An operator's system gives a call to another agent, or says that no person takes it, over HTTP."""

from __future__ import annotations

import httpx
import pytest
from support.processes.signaling import StandIns, until

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def ready(http: httpx.Client) -> None:
    """Signaling is connected to NATS: a call that is not there is 404."""
    until(lambda: http.post(PATH, json={"agent": "desk"}).status_code == 404, "it is connected")


PATH = "/v1/operator/calls/rtc_000000000000000000000001/transfer"


def test_a_call_goes_to_the_agent_that_is_named(http: httpx.Client, stand_ins: StandIns) -> None:
    owner = stand_ins.transceiver()
    answer = http.post(PATH, json={"agent": "desk", "summary": "Anna is on the line"})
    assert (answer.status_code, answer.json()["state"]) == (200, "transferred")
    assert [(each.agent, each.summary) for each in owner.transferred] == [("desk", "Anna is on the line")]


def test_its_agent_is_told_that_nobody_takes_it(http: httpx.Client, stand_ins: StandIns) -> None:
    owner = stand_ins.transceiver()
    answer = http.post(PATH, json={"refusal": "the office is closed"})
    assert (answer.status_code, answer.json()["state"]) == (200, "refused")
    assert [(each.agent, each.refusal) for each in owner.transferred] == [("", "the office is closed")]


def test_a_call_stays_where_it_is_when_no_agent_takes_it(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.transceiver().refuses = "agent desk does not answer"
    answer = http.post(PATH, json={"agent": "desk"})
    assert answer.status_code == 409
    assert "desk does not answer" in answer.json()["error"]["message"]


def test_a_body_that_says_nothing_or_two_things_is_refused_with_the_way_out(
    http: httpx.Client, stand_ins: StandIns
) -> None:
    owner = stand_ins.transceiver()
    bodies: list[dict[str, object]] = [{}, {"agent": "desk", "refusal": "no"}, {"agent": "a b"}, {"agent": 7}]
    for body in bodies:
        answer = http.post(PATH, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "agent"
    assert owner.transferred == []
