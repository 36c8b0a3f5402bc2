"""Registers of which a majority counts act as one: whatever is late, lost, repeated or empty."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lease_registers import Register

from antiphon.schemas.messages import CopyLease
from antiphon.transceiver.copies.quorum_lease import Outcome, QuorumLease, Request

pytestmark = pytest.mark.pure

WALKS = 150
CREATOR = 0
PROCESSES = 3


class Walk:
    """Registers, and processes that swap one lease. Each public method is a step that may happen."""

    def __init__(self, count: int = 3) -> None:
        self.registers = [Register(f"{index}") for index in range(count)]
        self.tokens = count
        self.processes = [QuorumLease(count, f"process-{index}") for index in range(PROCESSES)]
        self.on_the_way: list[tuple[int, Callable[[], None]]] = []
        self.waiting: dict[tuple[int, int], Callable[[], None]] = {}
        """What happens when a process waits for an answer no longer."""
        self.numbers = [0] * PROCESSES
        """What each process believes to stand there."""
        self.began = [0] * PROCESSES
        self.wanted: list[CopyLease | None] = [None] * PROCESSES
        self.serial = 0
        self.chosen: dict[int, CopyLease] = {}
        self.created = False
        self.losses = 0
        self.losses_at = [0] * PROCESSES

    # ---- processes

    def a_process_swaps(self, process: int) -> None:
        quorum = self.processes[process]
        create = process == CREATOR and not self.created
        if not self.created and not create:
            return
        self.serial += 1
        lease = CopyLease(
            cluster=1, slot=2, epoch=3, holder=f"{process}", holder_cluster=1, generation=1, number=self.serial
        )
        expected = self.numbers[process]
        self._begin(process, lease)
        quorum.swap(lambda present, number: lease if number == expected else None, create=create)
        self._go_on(process)

    def a_process_reads(self, process: int, recover: bool = True) -> None:
        self._begin(process, None)
        self.processes[process].read(recover)
        self._go_on(process)

    def a_process_reads_and_swaps(self, process: int, reachable: tuple[int, ...]) -> None:
        self.a_process_reads(process)
        self.messages_of(reachable)
        self.a_process_swaps(process)
        self.messages_of(reachable)
        self.a_process_swaps(process)

    def _begin(self, process: int, lease: CopyLease | None) -> None:
        self.began[process], self.losses_at[process] = max(self.chosen, default=0), self.losses
        self.wanted[process] = lease

    def a_process_gives_up(self, process: int) -> None:
        self.processes[process].give_up()
        self._go_on(process)

    def _go_on(self, process: int) -> None:
        quorum = self.processes[process]
        outcome, quorum.outcome = quorum.outcome, None
        if outcome is not None:
            self._ended(process, outcome)
        for request in quorum.requests():
            self.on_the_way.append((request.register, self._request(process, request)))

    def _ended(self, process: int, outcome: Outcome) -> None:
        if not outcome.done:
            return
        if outcome.lease is None:
            lost_since = self.losses > self.losses_at[process]  # two registers, read empty one after the other
            assert lost_since or not self.began[process], "what was chosen before is found"
            return
        assert self.chosen.setdefault(outcome.number, outcome.lease) == outcome.lease, "one value has this number"
        wanted = self.wanted[process]
        if wanted is not None:
            assert outcome.lease == wanted
            assert outcome.number > self.began[process], "nothing that was chosen before is overwritten unseen"
        assert outcome.number >= self.began[process], "nothing older than what was chosen before is read"
        self.created = True
        self.numbers[process] = outcome.number

    def _request(self, process: int, request: Request) -> Callable[[], None]:
        quorum, register = self.processes[process], self.registers[request.register]
        waits = [True]

        def answer(said: Callable[[], None]) -> Callable[[], None]:
            def arrives() -> None:
                if waits.pop() if waits else False:
                    said()
                    self._go_on(process)

            return arrives

        def arrives() -> None:
            if register.is_down:
                return
            if request.entry is None:
                known = register.read()
                self.on_the_way.append((request.register, answer(lambda: quorum.has_read(request, known))))
            else:
                revision = register.write(request)
                self.on_the_way.append((request.register, answer(lambda: quorum.written(request, revision))))

        self.waiting[process, request.register] = answer(lambda: quorum.failed(request))
        return arrives

    # ---- the network and the hub

    def a_message(self, which: int, fate: str) -> None:
        if not self.on_the_way:
            return
        index = which % len(self.on_the_way)
        message = self.on_the_way[index] if fate == "is repeated" else self.on_the_way.pop(index)
        if fate != "is lost":
            message[1]()
        if len(self.on_the_way) > 60:
            del self.on_the_way[which % 30]

    def messages_of(self, indices: tuple[int, ...]) -> None:
        """Whatever waits for these registers arrives, and answers for which nothing is on the way are given up."""
        for _ in range(12):
            arriving = [message for index, message in self.on_the_way if index in indices]
            self.on_the_way = [each for each in self.on_the_way if each[0] not in indices]
            for message in arriving:
                message()
        for process in range(PROCESSES):
            for index in indices:
                self.an_answer_is_not_waited_for(process, index)

    def an_answer_is_not_waited_for(self, process: int, index: int) -> None:
        self.waiting.pop((process, index), lambda: None)()

    def a_register_is_down_or_back(self, index: int, down: bool) -> None:
        self.registers[index % len(self.registers)].is_down = down

    def a_register_comes_back_empty(self, index: int) -> None:
        """Not a second one, before the first holds something again: then no majority would know."""
        register = self.registers[index % len(self.registers)]
        others = [each for each in self.registers if each is not register]
        if not self.created or sum(each.holds for each in others) < len(self.registers) // 2 + 1:
            return
        self.losses += 1
        self.tokens += 1
        register.is_lost(f"{self.tokens}")


@dataclass(frozen=True)
class Step:
    name: str
    arguments: tuple[object, ...] = ()

    def happen(self, walk: Walk) -> None:
        getattr(walk, self.name)(*self.arguments)


FATES = ("arrives", "arrives", "arrives", "arrives", "is repeated", "is lost")
SETS = ((0, 1), (1, 2), (0, 2), (0, 1, 2), (0,), (1,), (2,), (0, 1, 2, 3, 4))
STEPS = st.one_of(
    st.builds(Step, st.just("a_process_swaps"), st.tuples(st.integers(0, 2))),
    st.builds(Step, st.just("a_process_reads_and_swaps"), st.tuples(st.integers(0, 2), st.sampled_from(SETS))),
    st.builds(Step, st.just("a_process_reads"), st.tuples(st.integers(0, 2), st.booleans())),
    st.builds(Step, st.just("a_process_gives_up"), st.tuples(st.integers(0, 2))),
    st.builds(Step, st.just("an_answer_is_not_waited_for"), st.tuples(st.integers(0, 2), st.integers(0, 4))),
    st.builds(Step, st.just("a_message"), st.tuples(st.integers(0, 59), st.sampled_from(FATES))),
    st.builds(Step, st.just("messages_of"), st.tuples(st.sampled_from(SETS))),
    st.builds(Step, st.just("a_register_is_down_or_back"), st.tuples(st.integers(0, 4), st.booleans())),
    st.builds(Step, st.just("a_register_comes_back_empty"), st.tuples(st.integers(0, 4))),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((1, 3, 5)), st.lists(STEPS, max_size=80))
def test_no_two_processes_ever_hold_a_majority(count: int, steps: list[Step]) -> None:
    walk = Walk(count)
    for step in [Step("a_process_swaps", (CREATOR,)), Step("messages_of", ((0, 1, 2),)), *steps]:
        step.happen(walk)


def test_long_walks_with_registers_that_come_back_empty_choose_one_value_after_the_other() -> None:
    chosen = losses = 0
    for seed in range(WALKS):
        random_, walk = random.Random(seed), Walk((3, 3, 5)[seed % 3])
        for _ in range(180):
            what = random_.random()
            if what < 0.05:
                walk.a_process_reads_and_swaps(random_.randrange(PROCESSES), random_.choice(SETS))
            elif what < 0.45:
                walk.a_message(random_.randrange(60), random_.choice(FATES))
            elif what < 0.60:
                walk.messages_of(random_.choice(SETS))
            elif what < 0.75:
                walk.a_process_swaps(random_.randrange(PROCESSES))
            elif what < 0.87:
                walk.a_process_reads(random_.randrange(PROCESSES), random_.random() < 0.7)
            elif what < 0.89:
                walk.an_answer_is_not_waited_for(random_.randrange(PROCESSES), random_.randrange(5))
            elif what < 0.91:
                walk.a_process_gives_up(random_.randrange(PROCESSES))
            elif what < 0.95:
                walk.a_register_is_down_or_back(random_.randrange(5), random_.random() < 0.3)
            else:
                walk.a_register_comes_back_empty(random_.randrange(5))
        chosen += len(walk.chosen)
        losses += walk.losses
    assert chosen > WALKS * 3, "the walks show something"
    assert losses > WALKS
