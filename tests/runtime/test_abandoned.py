"""When a call of a dead agent may be ended by a bridge, on a clock of beats."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.abandoned import AbandonedLeases
from antiphon.schemas.messages import AgentBeat, Lease

pytestmark = pytest.mark.pure

OURS = AgentBeat(instance="bridge")
LEASE = Lease(session_id="rtc_1", agent="echo", instance="echo-1")
GRACE = 10


def beats(abandoned: AbandonedLeases, count: int, *others: str) -> set[str]:
    """So many of our own, with those of others before each."""
    gone: set[str] = set()
    for _ in range(count):
        for name in others:
            abandoned.received("echo", AgentBeat(instance=name), 0.0)
        gone |= abandoned.received("concierge", OURS, 0.0)
    return gone


def watching() -> AbandonedLeases:
    return AbandonedLeases("concierge", "bridge", grace=GRACE * leases.BEAT_SECONDS)


def test_a_lease_is_abandoned_when_its_holder_was_dead_for_the_whole_grace() -> None:
    abandoned = watching()
    assert not beats(abandoned, 5, "echo-1")
    assert not abandoned.is_abandoned(LEASE)
    assert beats(abandoned, leases.MISSED) == {"echo"}
    assert not abandoned.is_abandoned(LEASE), "the grace begins"
    beats(abandoned, GRACE - 1)
    assert not abandoned.is_abandoned(LEASE)
    beats(abandoned, 1)
    assert abandoned.is_abandoned(LEASE)


def test_an_agent_that_comes_back_or_is_replaced_in_time_keeps_the_call() -> None:
    abandoned = watching()
    beats(abandoned, 5, "echo-1")
    beats(abandoned, leases.MISSED)
    assert not abandoned.is_abandoned(LEASE)
    beats(abandoned, GRACE, "echo-1")
    assert not abandoned.is_abandoned(LEASE), "it only hung"
    beats(abandoned, leases.MISSED, "echo-2")
    taken = leases.taken(LEASE, "echo-2")
    beats(abandoned, GRACE, "echo-2")
    assert not abandoned.is_abandoned(taken)
    assert not abandoned.any_waiting


def test_the_sessions_of_shadows_and_of_our_own_agent_are_left_alone() -> None:
    abandoned = watching()
    beats(abandoned, 100)
    for lease in (LEASE.model_copy(update={"shadow_of": "main"}), LEASE.model_copy(update={"agent": "concierge"})):
        assert not abandoned.is_abandoned(lease)
        beats(abandoned, 100)
        assert not abandoned.is_abandoned(lease)


def test_without_beats_of_our_own_no_time_passes() -> None:
    abandoned = watching()
    beats(abandoned, leases.MISSED)
    assert not abandoned.is_abandoned(LEASE)
    for _ in range(1000):
        abandoned.received("other", AgentBeat(instance="x"), 3600.0)
    assert not abandoned.is_abandoned(LEASE)


def test_a_bridge_that_apologises_to_a_caller_is_known_to_the_others_by_its_own_beats() -> None:
    abandoned = watching()
    taken = leases.taken(LEASE, "bridge-2")
    for _ in range(100):
        abandoned.received("concierge", AgentBeat(instance="bridge-2"), 0.0)
        abandoned.received("concierge", OURS, 0.0)
        assert not abandoned.is_abandoned(taken)


def test_the_calls_of_all_agents_that_a_bridge_serves_are_left_alone_until_it_serves_them_no_more() -> None:
    served = {"echo"}
    abandoned = AbandonedLeases("concierge", "bridge", GRACE * leases.BEAT_SECONDS, lambda agent: agent in served)
    beats(abandoned, 5, "echo-1")
    assert not beats(abandoned, 100)
    assert not abandoned.is_abandoned(LEASE)
    served.clear()
    assert not abandoned.is_abandoned(LEASE), "the grace begins"
    beats(abandoned, GRACE)
    assert abandoned.is_abandoned(LEASE)


def test_the_beats_of_one_of_our_names_are_the_clock() -> None:
    abandoned = watching()
    for _ in range(100):
        abandoned.received("desk", OURS, 0.0)
    assert not abandoned.is_warmed_up
    assert not abandoned.is_dead("echo-1")


def test_a_bridge_that_leaves_one_of_its_agents_lives() -> None:
    abandoned = watching()
    for name in ("echo", "desk"):
        abandoned.received(name, AgentBeat(instance="bridge-2"), 0.0)
    abandoned.received("echo", AgentBeat(instance="bridge-2", leaving=True), 0.0)
    assert beats(abandoned, 1) == {"echo"}, "what it has left may wait for a successor"
    assert not abandoned.is_dead("bridge-2")
    abandoned.received("desk", AgentBeat(instance="bridge-2", leaving=True), 0.0)
    assert beats(abandoned, 1) == {"desk"}
    assert abandoned.is_dead("bridge-2")


def test_a_bridge_that_dies_is_missed_by_all_its_agents() -> None:
    abandoned = watching()
    for name in ("echo", "desk"):
        abandoned.received(name, AgentBeat(instance="bridge-2"), 0.0)
    assert beats(abandoned, leases.MISSED) == {"echo", "desk"}
