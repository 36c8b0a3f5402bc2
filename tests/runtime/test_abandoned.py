"""When a call of a dead agent may be ended by somebody else, on a clock of beats."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.abandoned import AbandonedLeases
from antiphon.schemas.messages import AgentBeat, Lease

pytestmark = pytest.mark.pure

OURS = AgentBeat(instance="bridge")
LEASE = Lease(session_id="rtc_1", agent="echo", instance="echo-1")
GRACE = 10


def beats(orphans: AbandonedLeases, count: int, *others: str) -> set[str]:
    """So many of our own, with those of others before each."""
    gone: set[str] = set()
    for _ in range(count):
        for name in others:
            orphans.heard("echo", AgentBeat(instance=name), 0.0)
        gone |= orphans.heard("concierge", OURS, 0.0)
    return gone


def watching() -> AbandonedLeases:
    return AbandonedLeases("concierge", "bridge", grace=GRACE * leases.BEAT_SECONDS)


def test_a_lease_is_an_orphan_when_its_holder_was_dead_for_the_whole_grace() -> None:
    orphans = watching()
    assert not beats(orphans, 5, "echo-1")
    assert not orphans.is_orphan(LEASE)
    assert beats(orphans, leases.MISSED) == {"echo"}
    assert not orphans.is_orphan(LEASE), "the grace begins"
    beats(orphans, GRACE - 1)
    assert not orphans.is_orphan(LEASE)
    beats(orphans, 1)
    assert orphans.is_orphan(LEASE)


def test_who_comes_back_or_is_replaced_in_time_keeps_the_call() -> None:
    orphans = watching()
    beats(orphans, 5, "echo-1")
    beats(orphans, leases.MISSED)
    assert not orphans.is_orphan(LEASE)
    beats(orphans, GRACE, "echo-1")
    assert not orphans.is_orphan(LEASE), "it only hung"
    beats(orphans, leases.MISSED, "echo-2")
    taken = leases.taken(LEASE, "echo-2")
    beats(orphans, GRACE, "echo-2")
    assert not orphans.is_orphan(taken)
    assert not orphans.any_waiting


def test_the_sessions_of_shadows_and_of_our_own_agent_are_left_alone() -> None:
    orphans = watching()
    beats(orphans, 100)
    for lease in (LEASE.model_copy(update={"shadow_of": "main"}), LEASE.model_copy(update={"agent": "concierge"})):
        assert not orphans.is_orphan(lease)
        beats(orphans, 100)
        assert not orphans.is_orphan(lease)


def test_without_beats_of_our_own_no_time_passes() -> None:
    orphans = watching()
    beats(orphans, leases.MISSED)
    assert not orphans.is_orphan(LEASE)
    for _ in range(1000):
        orphans.heard("other", AgentBeat(instance="x"), 3600.0)
    assert not orphans.is_orphan(LEASE)


def test_a_bridge_that_sees_a_caller_off_is_known_to_the_others_by_its_own_beats() -> None:
    orphans = watching()
    taken = leases.taken(LEASE, "bridge-2")
    for _ in range(100):
        orphans.heard("concierge", AgentBeat(instance="bridge-2"), 0.0)
        orphans.heard("concierge", OURS, 0.0)
        assert not orphans.is_orphan(taken)
