"""What a seed draws."""

from __future__ import annotations

import pytest

from chaos.faults import KINDS, Fault, draw

pytestmark = pytest.mark.pure


def test_a_seed_always_draws_the_same_faults() -> None:
    assert draw(7, 100) == draw(7, 100)
    assert draw(7, 100) != draw(8, 100)


def test_a_run_that_is_long_enough_has_a_fault_of_each_kind() -> None:
    for seed in range(20):
        assert {fault.kind for fault in draw(seed, len(KINDS))} == set(KINDS)


def test_no_fault_is_longer_than_asked_for_or_strikes_where_its_kind_does_not() -> None:
    for fault in draw(1, 2000, longest=2.0):
        assert fault.part in KINDS[fault.kind].parts
        assert fault.seconds <= 2.0
        assert (fault.seconds > 0) == (KINDS[fault.kind].longest > 0)


@pytest.mark.parametrize(
    ("fault", "survive"),
    [
        (Fault("kill", "transceiver", 0), True),
        (Fault("terminate", "transceiver", 0), False),
        (Fault("stop", "relay", 7), True),
        (Fault("stop", "relay", 25), False),
        (Fault("stop", "signaling", 30), True),
        (Fault("stop", "echo", 7), True),
        (Fault("stop", "echo", 18), False),
    ],
)
def test_calls_have_to_survive_what_does_not_keep_the_client_away_for_long(fault: Fault, survive: bool) -> None:
    assert fault.calls_survive is survive
