"""Ended sessions are freed while others run: by a collection now and then, none of them for little."""

import pytest

from antiphon.transceiver.timing.cycle_collection import AT_LEAST, CycleCollection

pytestmark = pytest.mark.pure


def test_a_process_that_always_has_calls_frees_the_ended_ones() -> None:
    collection = CycleCollection()
    collected = [ended for ended in range(1, 1001) if collection.due(ended, running=30)]
    assert collected == list(range(AT_LEAST, 1001, AT_LEAST))


def test_with_many_calls_as_many_have_to_end_as_run() -> None:
    collection = CycleCollection()
    collected = [ended for ended in range(1, 1001) if collection.due(ended, running=250)]
    assert collected == [250, 500, 750, 1000]


def test_the_last_call_of_a_quiet_process_is_freed_at_once() -> None:
    collection = CycleCollection()
    assert not collection.due(1, running=1)
    assert collection.due(2, running=0)
    assert not collection.due(2, running=0)
