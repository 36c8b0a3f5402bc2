"""What is planned for the endpoint of a dead process. Pure: no process, no NATS, no clock."""

from __future__ import annotations

import pytest

from antiphon.schemas import messages
from antiphon.transceiver.failover.checkpoint_bucket import Found
from antiphon.transceiver.failover.distribution import Load
from antiphon.transceiver.failover.takeover_planner import (
    ORPHANS_AFTER,
    PASSES,
    Adopt,
    Leave,
    Rescan,
    Take,
    TakeoverPlanner,
    orphans,
)
from antiphon.transceiver.net.endpoint import TransceiverIdentity
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure

DEAD = TransceiverIdentity(0, 3, 17)


def peer(slot: int, sessions: int, capacity: int) -> messages.TransceiverAnnouncement:
    return messages.TransceiverAnnouncement(
        cluster=0,
        slot=slot,
        epoch=1,
        tunnel_address="127.0.0.1:9",
        state="ready",
        sessions=sessions,
        capacity=capacity,
        lateness_ms=0.0,
        holder=f"{slot:016}",
        lifeline="127.0.0.1:10",
    )


def found(*numbers: int) -> list[Found]:
    """Checkpoints; one with a higher number was written later."""
    return [
        Found(
            f"0.3.17.rtc_{number}",
            1,
            SessionState(
                session_id=f"rtc_{number}",
                agent="a",
                ufrags=[],
                remote_fingerprints=[],
                input_rate=16000,
                rtp=RtpState(1, 111, 1, 1),
                written_at=float(number),
            ),
        )
        for number in numbers
    ]


def names(checkpoints: list[Found]) -> list[str]:
    return [each.state.session_id for each in checkpoints]


def test_an_endpoint_is_taken_while_any_process_has_room() -> None:
    planner = TakeoverPlanner(DEAD)
    assert planner.process_died(Load(0, 10), []) == Take(DEAD)
    assert planner.process_died(Load(10, 10), [peer(1, 9, 10)]) == Take(DEAD)
    assert isinstance(planner.process_died(Load(10, 10), [peer(1, 10, 10)]), Leave)


def test_a_process_that_is_about_to_end_leaves_it_to_others() -> None:
    plan = TakeoverPlanner(DEAD).process_died(Load(0, 0), [peer(1, 0, 10)])
    assert plan == Leave("this process is about to end", [])


def test_sessions_that_were_written_last_are_adopted_here_and_the_rest_is_shared_out() -> None:
    plan = TakeoverPlanner(DEAD).checkpoints_read(found(1, 4, 2, 3), (), Load(0, 4), [peer(1, 0, 4)])
    assert isinstance(plan, Adopt)
    assert names(plan.here) == ["rtc_4", "rtc_3"]
    assert [(share.peer.slot, share.sessions) for share in plan.elsewhere] == [(1, ["rtc_2", "rtc_1"])]


def test_when_all_are_adopted_nothing_more_is_done() -> None:
    planner = TakeoverPlanner(DEAD)
    assert isinstance(planner.checkpoints_read(found(1), (), Load(0, 10), []), Adopt)
    assert planner.checkpoints_read(found(1), {"rtc_1"}, Load(1, 10), []) == Leave("all sessions are taken over", [])


def test_an_endpoint_without_checkpoints_is_read_once_more() -> None:
    """Its process may be alive, and write until it hears of us; and of its sessions some have moved already."""
    planner = TakeoverPlanner(DEAD)
    assert planner.checkpoints_read([], (), Load(0, 10), []) == Adopt([], [])
    late = planner.checkpoints_read(found(1), (), Load(0, 10), [])
    assert isinstance(late, Adopt)
    assert names(late.here) == ["rtc_1"]


def test_what_others_fail_to_adopt_is_ours_in_the_last_pass_and_ends_where_there_is_no_room() -> None:
    planner = TakeoverPlanner(DEAD)
    own, peers = Load(9, 10), [peer(1, 0, 10)]
    for _ in range(PASSES - 1):
        plan = planner.checkpoints_read(found(1, 2), (), own, peers)
        assert isinstance(plan, Adopt)
        assert plan.elsewhere, "others are asked as long as there is another pass"
    last = planner.checkpoints_read(found(1, 2), (), own, peers)
    assert isinstance(last, Adopt)
    assert names(last.here) == ["rtc_2"]
    assert not last.elsewhere
    end = planner.checkpoints_read(found(1, 2), {"rtc_2"}, Load(10, 10), peers)
    assert isinstance(end, Leave)
    assert names(end.unplaced) == ["rtc_1"]


def test_a_process_that_has_just_started_waits_until_all_that_are_alive_have_announced_themselves() -> None:
    known, dead = TransceiverIdentity(0, 1, 1), DEAD
    assert orphans(100.0, 101.0, {known, dead}, {known}) == Rescan(100.0 + ORPHANS_AFTER)
    assert orphans(100.0, 100.0 + ORPHANS_AFTER, {known, dead}, {known}) == [Take(dead)]
