"""Which claims are accepted, and what the statistics say of them."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions.admission import CLOCKS_APART, Admission, read_claim
from antiphon.schemas import MalformedError, messages
from antiphon.schemas.messages import Claim, ClaimReply

pytestmark = pytest.mark.pure

CLAIM = Claim(session_id="rtc_1", agent="echo", session={"a": 1}, expires_at=100.0)


def admission(sessions: dict[str, None], capacity: int = 2, setting: str = "") -> Admission:
    return Admission(sessions, capacity, "echo-1", 16000, setting)


def answer(data: bytes) -> ClaimReply:
    return messages.decode(data, ClaimReply)


def test_a_claim_is_accepted_while_there_is_room() -> None:
    sessions: dict[str, None] = {}
    one = admission(sessions, setting="A_SETTING")
    assert one.refusal(CLAIM, 99.0) == ""
    sessions["rtc_8"] = None
    assert one.room == 1
    sessions["rtc_9"] = None
    assert one.room == 0
    assert one.refusal(CLAIM, 99.0) == "this instance has 2 sessions, its capacity (A_SETTING)"


def test_more_than_can_be_served_in_time_is_refused_with_a_time_to_wait_whatever_places_there_are() -> None:
    load: tuple[str, int] = ("callers wait", 4)
    one = Admission({}, 2, "echo-1", 16000, overload=lambda: load)
    assert (one.refusal(CLAIM, 99.0), one.retry_after) == ("callers wait", 4)
    assert (one.room, one.places) == (0, 2), "calls whose agent has died are taken all the same"
    refused = answer(one.reply("callers wait", one.retry_after))
    assert (refused.accepted, refused.retry_after) == (False, 4)
    load = ("", 0)
    assert (one.refusal(CLAIM, 99.0), one.room) == ("", 2)


def test_a_session_that_runs_already_and_a_claim_that_is_too_old_are_refused_first() -> None:
    sessions: dict[str, None] = {"rtc_1": None}
    one = admission(sessions, capacity=1)
    assert one.refusal(CLAIM, 200.0, "late") == "session rtc_1 is claimed already"
    sessions.clear()
    assert one.refusal(CLAIM, 100.0 + CLOCKS_APART) == ""
    assert "too old" in one.refusal(CLAIM, 100.1 + CLOCKS_APART, "late")
    assert one.refusal(CLAIM.model_copy(update={"expires_at": 0.0}), 10**10) == "", "it says of no time that it expires"
    assert one.refusal(CLAIM, 99.0, "late") == "late"


def test_an_instance_that_stops_accepts_nothing_more() -> None:
    one = admission({})
    one.stop()
    assert one.room == 0
    assert one.refusal(CLAIM, 99.0) == one.full == "this instance is about to stop"


def test_a_lease_says_what_the_next_holder_needs() -> None:
    lease = admission({}).lease(CLAIM, {"traceparent": "00-1"}, 99.0)
    assert (lease.session_id, lease.agent, lease.instance, lease.session) == ("rtc_1", "echo", "echo-1", {"a": 1})
    assert (lease.input_rate, lease.started_at, lease.trace) == (16000, 99.0, {"traceparent": "00-1"})
    assert lease.takeovers == 0


def test_answers_and_times_are_counted() -> None:
    one = admission({"rtc_1": None})
    assert one.figures()["claim_ms_p50"] is None
    assert answer(one.reply()) == ClaimReply(accepted=True, input_rate=16000, instance="echo-1")
    for took_ms in (1.0, 2.0, 30.0):
        one.accepted("rtc_1", took_ms)
    refused = answer(one.reply(one.lost("rtc_2")))
    assert not refused.accepted
    assert refused.message == "another instance has taken session rtc_2"
    assert one.figures() == {
        "sessions": 1,
        "capacity": 2,
        "claims": 3,
        "claims_refused": 1,
        "claim_ms_p50": 2.0,
        "claim_ms_p95": 30.0,
    }


def test_a_claim_for_another_agent_or_of_another_release_is_refused_with_the_reason() -> None:
    with pytest.raises(MalformedError, match="is for agent echo: this is other"):
        read_claim(messages.encode(CLAIM), "other")
    old = messages.encode(CLAIM).replace(b'"version":2', b'"version":1')
    with pytest.raises(MalformedError, match="run one release of antiphon everywhere"):
        read_claim(old, "echo")


@pytest.mark.parametrize("session_id", ["", "a b", "a.b", "*"])
def test_a_session_id_that_no_subject_can_hold_is_malformed(session_id: str) -> None:
    data = messages.encode(CLAIM.model_copy(update={"session_id": session_id}))
    with pytest.raises(MalformedError):
        read_claim(data, "echo")
