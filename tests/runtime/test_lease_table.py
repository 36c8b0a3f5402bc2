"""What is due for the leases of one instance, on a clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.lease_table import RESCAN_SECONDS, HeldLease, LeaseTable
from antiphon.runtime.nats import stores
from antiphon.schemas import MalformedError
from antiphon.schemas.messages import AgentBeat, Lease

pytestmark = pytest.mark.pure

OURS = AgentBeat(instance="ours")
BEAT = leases.BEAT_SECONDS


def table_with(session_id: str = "rtc_1", written: float = 100.0) -> tuple[LeaseTable, HeldLease]:
    table = LeaseTable("ours")
    held = HeldLease(Lease(session_id=session_id, agent="echo", instance="ours"), 1, dirty=False, written=written)
    table.add(held)
    return table, held


def test_a_lease_is_due_when_it_changed_but_at_most_once_a_beat() -> None:
    table, held = table_with(written=100.0)
    assert not table.due(100.1)
    assert not table.save("rtc_1", {"a": 1}, 100.1), "it was just written"
    assert not table.due(100.1)
    assert table.due(100.0 + BEAT) == [held]
    assert table.save("rtc_1", {"a": 2}, 100.0 + BEAT)
    assert held.lease.state == {"a": 2}


def test_a_lease_is_due_before_the_bucket_forgets_it() -> None:
    table, held = table_with(written=100.0)
    assert not table.due(100.0 + leases.RENEW_SECONDS)
    assert table.due(100.1 + leases.RENEW_SECONDS) == [held]
    assert leases.RENEW_SECONDS * 2 <= stores.MIN_LEASE_RETENTION


def test_another_instance_that_acts_for_a_session_makes_it_due_at_once() -> None:
    table, held = table_with(written=100.0)
    assert table.verify("rtc_1")
    assert table.due(100.0) == [held]
    assert not table.verify("rtc_2"), "not ours"


def test_own_beats_that_come_late_make_every_lease_due() -> None:
    table, held = table_with(written=100.0)
    table.received(OURS, 100.0)
    assert not table.due(100.0)
    table.received(OURS, 100.0 + leases.MISSED * BEAT)
    assert held.unverified


def test_a_state_that_cannot_be_kept_changes_nothing_and_one_of_a_session_that_is_over_is_dropped() -> None:
    table, held = table_with()
    with pytest.raises(MalformedError):
        table.save("rtc_1", {"a": object()}, 100.0)
    assert not held.dirty
    assert table.remove("rtc_1") is held
    assert not table.save("rtc_1", {"a": 1}, 200.0)
    assert table.remove("rtc_1") is None


def test_leaving_frees_all_leases() -> None:
    table, held = table_with()
    assert table.beat(room=3) == AgentBeat(instance="ours", sessions=1, capacity=4)
    assert table.remove_all() == [held]
    assert held.lease.instance == ""
    assert table.beat(room=-1, leaving=True) == AgentBeat(instance="ours", leaving=True)


def test_leases_are_looked_for_at_the_start_after_a_death_and_again_while_some_are_left() -> None:
    table = LeaseTable("ours")
    assert table.scan_is_due(0.0), "leases without a holder are free at once"
    assert not table.scan_is_due(1.0)
    for number in range(leases.MISSED):
        table.received(OURS, number * BEAT)
    assert table.scan_is_due(1.0), "holders without any beat are dead by now"
    table.received(AgentBeat(instance="theirs"), 1.0)
    table.received(OURS, 1.0)
    assert not table.scan_is_due(1.0)
    assert table.received(AgentBeat(instance="theirs", leaving=True), 1.1) == ["theirs"]
    assert table.scan_is_due(1.1)
    table.scan_again(1.1)
    assert not table.scan_is_due(1.1 + RESCAN_SECONDS / 2)
    assert table.scan_is_due(1.1 + RESCAN_SECONDS)
