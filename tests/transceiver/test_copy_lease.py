"""Copies in a second region: whatever is lost, late, repeated or stopped, two senders never use one counter.

Two parties (the owner of a call, the second region), three registers of the hub that swap, of which one may be down or
come back empty, and messages between all of them that may take as long as they like. Time passes for both parties at
their own rates, and either may stand still.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lease_registers import Register

from antiphon.schemas.messages import CopyLease, LeaseRegister, StoreCopy
from antiphon.transceiver.copies import shelf
from antiphon.transceiver.copies.copied_calls import WITHDRAW_AFTER, CopiedCalls, Numbered
from antiphon.transceiver.copies.owned_lease import LEASE_SECONDS, Copies, OwnedLease, Write
from antiphon.transceiver.copies.quorum_lease import Outcome, QuorumLease, Request
from antiphon.transceiver.copies.watched_lease import TAKE_AFTER, AnsweringClock, WatchedLease

pytestmark = pytest.mark.pure

AHEAD = 6
"""Counters that a checkpoint reserves."""
WALKS = 600
IDENTITY = (1, 2, 3)
CALL = "rtc_call"


class Hub:
    """What a majority of registers does, as the owner sees it."""

    def __init__(self) -> None:
        self.entry: tuple[CopyLease, int] | None = None
        self.revision = 0

    def swap(self, lease: CopyLease, expected: int) -> int | None:
        present = self.entry[1] if self.entry else 0
        if present != expected:
            return None
        self.revision += 1
        self.entry = (lease, self.revision)
        return self.revision


class TwoRegions:
    """The call of one session; its counters are numbers from 0. Each public method is a step that may happen."""

    def __init__(self) -> None:
        self.registers = [Register(f"{index}") for index in range(3)]
        self.tokens = 3
        self.quorums = {"owner": QuorumLease(3, "owner"), "adopter": QuorumLease(3, "adopter")}
        self.waiting: dict[tuple[str, int], Callable[[], None]] = {}
        """What happens when a party waits for the answer of a register no longer."""
        self.on_the_way: list[Callable[[], None]] = []
        self.owner_now = self.watcher_now = 100.0
        self.rate = 1.0
        self.owner_stopped = self.watcher_stopped = False
        # the owner
        self.calls = CopiedCalls(OwnedLease(IDENTITY, "owner"))
        self.write: Write | None = None
        self.reading = False
        self.counter = 0
        self.limit: int | None = None
        self.written: tuple[int, Numbered | None] | None = None
        """The checkpoint that is not confirmed yet: its counter, and its copy."""
        self.sent: list[int] = []
        # the second region
        self.watched = WatchedLease(3, "adopter", 2)
        self.clocks = [100.0] * 3
        self.stored: StoreCopy | None = None
        self.adopted_counter: int | None = None
        self.sent_there: list[int] = []

    # ---- time

    def time_passes(self, seconds: float) -> None:
        self.owner_now += seconds * self.rate
        self.watcher_now += seconds
        for index, register in enumerate(self.registers):
            self.clocks[index] += 0 if register.is_down or self.watcher_stopped else seconds

    def a_clock_runs_at_another_rate(self, rate: float) -> None:
        self.rate = rate

    def the_owner_is_stopped_or_goes_on(self, stopped: bool) -> None:
        self.owner_stopped = stopped

    def the_watcher_is_stopped_or_goes_on(self, stopped: bool) -> None:
        self.watcher_stopped = stopped

    # ---- messages

    def a_message(self, which: int, fate: str) -> None:
        if not self.on_the_way:
            return
        index = which % len(self.on_the_way)
        message = self.on_the_way[index] if fate == "is repeated" else self.on_the_way.pop(index)
        if fate != "is lost":
            message()

    def all_messages_arrive_in_order(self) -> None:
        for _ in range(20):
            waiting, self.on_the_way = self.on_the_way, []
            for message in waiting:
                message()

    def send(self, message: Callable[[], None]) -> None:
        if len(self.on_the_way) < 40:
            self.on_the_way.append(message)

    # ---- the registers

    def a_register_is_down_or_back(self, index: int, down: bool) -> None:
        self.registers[index].is_down = down

    def a_register_comes_back_empty(self, index: int) -> None:
        """Only while the two others have the lease."""
        others = [each for each in self.registers if each is not self.registers[index]]
        if self.calls.lease.generation and all(each.holds for each in others):
            self.tokens += 1
            self.registers[index].is_lost(f"{self.tokens}")

    def _go_on(self, party: str) -> None:
        quorum = self.quorums[party]
        outcome, quorum.outcome = quorum.outcome, None
        if outcome is not None:
            self._owner_knows(outcome) if party == "owner" else self._watcher_knows(outcome)
        for request in quorum.requests():
            self._ask(party, request)

    def _ask(self, party: str, request: Request) -> None:
        index, quorum, waits = request.register, self.quorums[party], [True]
        register = self.registers[index]

        def answer(take: Callable[[], None]) -> Callable[[], None]:
            def arrives() -> None:
                if waits:
                    waits.clear()
                    take()
                    self._go_on(party)

            return arrives

        def arrives() -> None:
            if register.is_down:
                return
            if request.entry is None:
                known = register.read()
                self.send(answer(lambda: quorum.has_read(request, known)))
                return
            revision, entry = register.write(request), request.entry
            self.send(answer(lambda: quorum.written(request, revision)))
            if revision is not None:
                self.send(lambda: self._watcher_sees(index, entry))

        self.waiting[party, index] = answer(lambda: quorum.failed(request))
        self.send(arrives)

    def an_answer_is_not_waited_for(self, party: str, index: int) -> None:
        self.waiting.pop((party, index), lambda: None)()

    # ---- the owner

    def the_owner_renews(self) -> None:
        if self.owner_stopped:
            return
        lease, quorum = self.calls.lease, self.quorums["owner"]
        if self.reading:
            return
        if lease.must_read:
            self.reading = True
            quorum.read(True)
        elif (write := lease.due(self.owner_now)) is not None:
            self.write = write
            expected, wanted = write.revision, write.lease
            quorum.swap(lambda _, number: wanted if number == expected else None, create=expected == 0)
        self._go_on("owner")

    def _owner_knows(self, outcome: Outcome) -> None:
        lease = self.calls.lease
        if self.reading:
            self.reading = False
            if outcome.done:
                lease.read((outcome.lease, outcome.number) if outcome.lease else None, self.owner_now)
        elif self.write is not None:
            write, self.write = self.write, None
            lease.written(write, outcome.number) if outcome.done else lease.refused(write)

    def the_owner_gives_an_answer_up(self) -> None:
        if self.owner_stopped or not (self.write or self.reading):
            return
        self.quorums["owner"].give_up()
        for index in range(3):
            self.an_answer_is_not_waited_for("owner", index)
        self.reading = False
        if self.write is not None:
            self.calls.lease.unanswered(self.write)
            self.write = None

    def the_owner_wants_copies_or_withdraws_them(self, count: bool) -> None:
        if self.owner_stopped:
            return
        if count:
            self.calls.lease.let_count()
        else:
            self.calls.lease.withdraw()

    def the_owner_writes_a_checkpoint(self) -> None:
        if self.owner_stopped:
            return
        copy = self.calls.next_copy(CALL, self.owner_now)
        self.written = (self.counter, copy)
        if self.limit is None:
            self.limit = self.counter + AHEAD
        if copy is None:
            self._checkpoint_counts()
            return
        asked = StoreCopy(
            cluster=1,
            slot=2,
            epoch=3,
            session_id=CALL,
            generation=copy.generation,
            number=copy.number,
            sealed=f"{self.counter}",
        )
        self.send(lambda: self._second_region_gets(asked, copy))

    def _second_region_gets(self, asked: StoreCopy, copy: Numbered) -> None:
        verdict = shelf.verdict(self.stored, asked)
        if verdict == "store":
            self.stored = asked
        confirmed = verdict in ("store", "is_stored")
        self.send(lambda: self._copy_is_answered(copy, confirmed))

    def _copy_is_answered(self, copy: Numbered, confirmed: bool) -> None:
        if self.written is not None and self.written[1] == copy and confirmed:
            self._checkpoint_counts()

    def the_owner_waits_no_longer_for_a_copy(self) -> None:
        if self.written is None or self.owner_stopped:
            return
        copy = self.written[1]
        if copy is None or not self.calls.is_needed(copy):
            self._checkpoint_counts()

    def _checkpoint_counts(self) -> None:
        assert self.written is not None
        self.limit, self.written = self.written[0] + AHEAD, None

    def the_owner_sends(self, packets: int) -> None:
        if self.owner_stopped:
            return
        for _ in range(packets):
            if self.calls.may_send(CALL, self.owner_now) and (self.limit is None or self.counter < self.limit):
                self.sent.append(self.counter)
                self.counter += 1

    # ---- the second region

    def _watcher_sees(self, index: int, entry: LeaseRegister) -> None:
        if not self.watcher_stopped:
            self.watched.seen(index, entry, self.clocks[index])

    def the_watcher_looks(self) -> None:
        if self.watcher_stopped:
            return
        take = self.watched.due(self.clocks, self.watcher_now)
        if take is not None:
            for index in range(3):
                self.an_answer_is_not_waited_for("adopter", index)
            self.quorums["adopter"].swap(take.change, only=take.only)
            self._go_on("adopter")

    def the_watcher_reads_the_hub(self) -> None:
        for index, register in enumerate(self.registers):
            if register.holds and not register.is_down:
                self._watcher_sees(index, register.entry)

    def the_owner_says_nothing_for_a_while_and_the_watcher_takes_the_call(self) -> None:
        self.the_watcher_reads_the_hub()
        self.time_passes(3.0)
        before = len(self.on_the_way)
        self.the_watcher_looks()
        for _ in range(6):
            now, self.on_the_way = self.on_the_way[before:], self.on_the_way[:before]
            for message in now:
                message()

    def _watcher_knows(self, outcome: Outcome) -> None:
        if outcome.done and outcome.lease is not None:
            self._adopt(outcome.lease)

    def _adopt(self, lease: CopyLease) -> None:
        assert lease.holder == "adopter"
        assert not lease.withdrawn
        if self.stored is None or not shelf.counts(self.stored, lease.generation):
            return
        self.adopted_counter = int(self.stored.sealed) + AHEAD
        self.stored = shelf.taken(self.stored, "adopter")

    def the_adopter_sends(self, packets: int) -> None:
        if self.adopted_counter is None or self.watcher_stopped:
            return
        self.sent_there += range(self.adopted_counter, self.adopted_counter + packets)
        self.adopted_counter += packets

    def check(self) -> None:
        """No counter is used by both; and the owner may use none of the adopter's, though it does not know of it."""
        assert not set(self.sent) & set(self.sent_there)
        if self.sent_there and self.limit is not None and self.calls.may_send(CALL, self.owner_now):
            assert self.limit <= self.sent_there[0]


@dataclass(frozen=True)
class Step:
    """One of the steps, with what it takes."""

    name: str
    arguments: tuple[object, ...] = ()

    def happen(self, regions: TwoRegions) -> None:
        getattr(regions, self.name)(*self.arguments)
        regions.check()


FATES = ("arrives", "arrives", "arrives", "is repeated", "is lost")
STEPS = st.one_of(
    st.builds(Step, st.just("time_passes"), st.tuples(st.sampled_from((0.1, 0.5, 1.0, 2.1, 3.0, 30.0)))),
    st.builds(Step, st.just("a_clock_runs_at_another_rate"), st.tuples(st.sampled_from((0.3, 1.0, 3.0)))),
    st.builds(Step, st.just("the_owner_is_stopped_or_goes_on"), st.tuples(st.booleans())),
    st.builds(Step, st.just("the_watcher_is_stopped_or_goes_on"), st.tuples(st.booleans())),
    st.builds(Step, st.just("a_message"), st.tuples(st.integers(0, 39), st.sampled_from(FATES))),
    st.builds(Step, st.just("all_messages_arrive_in_order")),
    st.builds(Step, st.just("the_owner_renews")),
    st.builds(Step, st.just("the_owner_gives_an_answer_up")),
    st.builds(Step, st.just("the_owner_wants_copies_or_withdraws_them"), st.tuples(st.booleans())),
    st.builds(Step, st.just("the_owner_writes_a_checkpoint")),
    st.builds(Step, st.just("the_owner_waits_no_longer_for_a_copy")),
    st.builds(Step, st.just("the_owner_sends"), st.tuples(st.integers(1, 10))),
    st.builds(Step, st.just("the_watcher_looks")),
    st.builds(Step, st.just("a_register_is_down_or_back"), st.tuples(st.integers(0, 2), st.booleans())),
    st.builds(Step, st.just("a_register_comes_back_empty"), st.tuples(st.integers(0, 2))),
    st.builds(
        Step,
        st.just("an_answer_is_not_waited_for"),
        st.tuples(st.sampled_from(("owner", "adopter")), st.integers(0, 2)),
    ),
    st.builds(Step, st.just("the_watcher_reads_the_hub")),
    st.builds(Step, st.just("the_owner_says_nothing_for_a_while_and_the_watcher_takes_the_call")),
    st.builds(Step, st.just("the_adopter_sends"), st.tuples(st.integers(1, 10))),
)
COPIED = [
    Step("the_owner_wants_copies_or_withdraws_them", (True,)),
    Step("the_owner_renews"),
    Step("all_messages_arrive_in_order"),
    Step("the_owner_renews"),
    Step("all_messages_arrive_in_order"),
    Step("the_owner_writes_a_checkpoint"),
    Step("all_messages_arrive_in_order"),
]
"""How a call gets its first copy."""


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=80))
def test_no_counter_is_ever_used_by_two_senders(steps: list[Step]) -> None:
    regions = TwoRegions()
    for step in steps:
        step.happen(regions)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=80))
def test_no_counter_is_ever_used_by_two_senders_once_there_is_a_copy(steps: list[Step]) -> None:
    regions = TwoRegions()
    for step in [*COPIED, *steps]:
        step.happen(regions)


LIKELY = (
    *COPIED,
    *COPIED,
    Step("the_owner_sends", (10,)),
    Step("the_owner_sends", (3,)),
    Step("time_passes", (0.5,)),
    Step("time_passes", (2.1,)),
    Step("time_passes", (1.0,)),
    Step("a_clock_runs_at_another_rate", (0.3,)),
    Step("a_clock_runs_at_another_rate", (1.0,)),
    Step("the_watcher_looks"),
    Step("the_owner_says_nothing_for_a_while_and_the_watcher_takes_the_call"),
    Step("the_adopter_sends", (3,)),
    Step("the_owner_wants_copies_or_withdraws_them", (False,)),
    Step("the_owner_waits_no_longer_for_a_copy"),
    Step("the_owner_gives_an_answer_up"),
    Step("the_owner_is_stopped_or_goes_on", (True,)),
    Step("the_owner_is_stopped_or_goes_on", (False,)),
    Step("the_watcher_is_stopped_or_goes_on", (True,)),
    Step("the_watcher_is_stopped_or_goes_on", (False,)),
    *(Step("a_register_is_down_or_back", (index, down)) for index in range(3) for down in (False, False, index == 1)),
    *(Step("a_register_comes_back_empty", (index,)) for index in range(3)),
    *(Step("an_answer_is_not_waited_for", (party, index)) for party in ("owner", "adopter") for index in range(3)),
)


def test_long_walks_in_which_calls_are_taken_copied_and_withdrawn_use_no_counter_twice() -> None:
    """Longer than hypothesis makes them, and most of them with an adoption."""
    taken = withdrawn = went_on = 0
    for seed in range(WALKS):
        chosen, regions = random.Random(seed), TwoRegions()
        for step in COPIED if seed % 2 else ():
            step.happen(regions)
        for _ in range(250):
            step = chosen.choice(LIKELY)
            if chosen.random() < 0.25:
                step = Step("a_message", (chosen.randrange(40), chosen.choice(FATES)))
            step.happen(regions)
            withdrawn += regions.calls.lease.copies is Copies.WITHDRAWN and regions.calls.lease.generation > 0
        taken += bool(regions.sent_there)
        went_on += regions.calls.lease.copies is Copies.LOST
    assert taken > WALKS // 12, "the walks show something"
    assert withdrawn
    assert went_on


def show(watched: WatchedLease, hub: Hub, at: float) -> None:
    """All registers hold what the hub has."""
    assert hub.entry is not None
    lease, number = hub.entry
    entry = LeaseRegister(registers=3, accepted_round=1, accepted_of="owner", number=number, lease=lease)
    for index in range(3):
        watched.seen(index, entry, at)


def renewed(lease: OwnedLease, hub: Hub, now: float) -> None:
    """Until the hub has all that the owner wants; the first write says only that there is a lease."""
    while True:
        write = lease.due(now)
        assert write is not None
        revision = hub.swap(write.lease, write.revision)
        assert revision is not None
        lease.written(write, revision)
        if lease.settled:
            return


def test_the_first_write_of_a_lease_lets_nothing_be_adopted() -> None:
    """Without an answer it is made once more, so it must not be taken in between."""
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    lease.let_count()
    write = lease.due(10.0)
    assert write is not None
    assert write.lease.withdrawn
    renewed_number = hub.swap(write.lease, write.revision)
    lease.written(write, renewed_number or 0)
    following = lease.due(10.0)
    assert following is not None
    assert not following.lease.withdrawn


def test_an_owner_counts_its_lease_from_before_it_sent_the_renewal() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    lease.let_count()
    write = lease.due(10.0)
    assert write is not None
    revision = hub.swap(write.lease, write.revision)
    lease.written(write, revision or 0)  # however late the answer is
    assert lease.is_valid(10.0 + LEASE_SECONDS - 0.01)
    assert not lease.is_valid(10.0 + LEASE_SECONDS)


def test_a_renewal_without_an_answer_counts_once_it_is_read() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    lease.let_count()
    renewed(lease, hub, 10.0)
    write = lease.due(10.5)
    assert write is not None
    hub.swap(write.lease, write.revision)
    lease.unanswered(write)
    assert lease.must_read
    assert lease.due(10.6) is None
    lease.read(hub.entry, 11.0)
    assert lease.is_valid(12.4)
    assert not lease.is_valid(12.5)
    assert lease.due(11.1) is not None


def test_an_entry_that_is_gone_is_made_anew_only_by_an_owner_whose_lease_is_valid() -> None:
    for later, lost in ((1.0, False), (3.0, True)):
        lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
        lease.let_count()
        renewed(lease, hub, 10.0)
        write = lease.due(10.6)
        assert write is not None
        lease.refused(write)
        lease.read(None, 10.0 + later)
        assert (lease.copies is Copies.LOST) is lost


def test_a_withdrawal_holds_when_the_hub_has_it_and_not_before() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    calls = CopiedCalls(lease)
    lease.let_count()
    renewed(lease, hub, 10.0)
    copy = calls.next_copy(CALL, 10.0)
    assert copy == (1, 1)
    lease.withdraw()
    assert calls.is_needed(copy)
    assert not calls.may_send(CALL, 13.0)
    renewed(lease, hub, 13.0)
    assert not calls.is_needed(copy)
    assert calls.may_send(CALL, 99.0), "a call without a copy needs no lease"
    watched = WatchedLease(3, "adopter", 2)
    show(watched, hub, 13.0)
    assert watched.due([99.0] * 3, 99.0) is None, "a copy that the lease calls withdrawn is never adopted"
    lease.let_count()
    renewed(lease, hub, 20.0)
    assert calls.may_send(CALL, 99.0), "bound again by its next copy only"
    assert calls.next_copy(CALL, 20.0) == (2, 2), "a later copy has another number"
    assert not calls.may_send(CALL, 99.0)


def test_the_second_region_counts_from_when_it_saw_the_last_change() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    lease.let_count()
    renewed(lease, hub, 10.0)
    watched = WatchedLease(3, "adopter", 2)
    show(watched, hub, 50.0)
    show(watched, hub, 51.0)  # read again: no change
    almost, passed = 50.0 + TAKE_AFTER - 0.01, 50.0 + TAKE_AFTER
    assert watched.due([almost] * 3, 60.0) is None
    assert watched.due([passed, almost, almost], 60.0) is None, "in a minority"
    take = watched.due([passed, almost, passed], 60.0)
    assert take is not None
    assert take.only == {0, 2}
    renewed(lease, hub, 13.0)  # it wakes, and is faster
    assert hub.entry is not None
    assert take.change(*hub.entry) is None
    show(watched, hub, 53.0)
    assert watched.due([53.1] * 3, 70.0) is None


def test_only_time_in_which_a_register_answers_counts_against_a_lease() -> None:
    clock = AnsweringClock()
    for asked_at in (10.0, 10.5, 11.0):
        clock.answered(asked_at)
    assert clock.seconds == 1.0
    clock.answered(60.0)  # it was away
    assert clock.seconds == 1.0
    clock.answered(60.5)
    assert clock.seconds == 1.5


def test_a_withdrawal_that_a_single_register_holds_is_believed() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    lease.let_count()
    renewed(lease, hub, 10.0)
    watched = WatchedLease(3, "adopter", 2)
    show(watched, hub, 10.0)
    lease.withdraw()
    write = lease.due(11.0)
    assert write is not None
    entry = LeaseRegister(registers=3, accepted_round=1, accepted_of="owner", number=9, lease=write.lease)
    watched.seen(1, entry, 11.0)
    assert watched.due([20.0] * 3, 20.0) is None


def test_an_owner_finds_its_calls_taken_and_sends_nothing_more() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    calls = CopiedCalls(lease)
    lease.let_count()
    renewed(lease, hub, 10.0)
    assert calls.next_copy(CALL, 10.0) is not None
    watched = WatchedLease(3, "adopter", 2)
    show(watched, hub, 10.0)
    take = watched.due([13.0] * 3, 13.0)
    assert take is not None
    assert hub.entry is not None
    taken = take.change(*hub.entry)
    assert taken is not None
    assert hub.swap(taken, hub.entry[1]) is not None
    write = lease.due(14.0)
    assert write is not None
    assert hub.swap(write.lease, write.revision) is None
    lease.refused(write)
    lease.read(hub.entry, 14.1)
    assert lease.copies is Copies.LOST
    assert not calls.may_send(CALL, 14.1)
    assert calls.bound() == [CALL]
    assert calls.may_send("rtc_other", 14.1), "a call without a copy goes on"
    assert lease.due(99.0) is None


def test_a_take_whose_process_died_is_repeated_by_another_of_its_cluster_only() -> None:
    taken = CopyLease(
        cluster=1, slot=2, epoch=3, holder="first", holder_cluster=2, generation=4, withdrawn=False, number=9
    )
    hub = Hub()
    hub.swap(taken, 0)
    for cluster, again in ((2, True), (3, False)):
        watched = WatchedLease(3, "second", cluster)
        show(watched, hub, 10.0)
        assert (watched.due([10.0 + TAKE_AFTER] * 3, 13.0) is not None) is again
    watched = WatchedLease(3, "second", 2)
    hub.swap(taken.model_copy(update={"adopted": True}), 1)
    show(watched, hub, 10.0)
    assert watched.due([99.0] * 3, 99.0) is None
    assert watched.is_done


def test_the_second_region_is_lost_sight_of_when_it_confirms_nothing() -> None:
    lease, hub = OwnedLease(IDENTITY, "owner"), Hub()
    calls = CopiedCalls(lease)
    lease.let_count()
    renewed(lease, hub, 10.0)
    assert not calls.is_lost_sight_of(99.0), "nothing was asked"
    calls.next_copy(CALL, 10.0)
    calls.next_copy(CALL, 12.0)
    assert not calls.is_lost_sight_of(10.0 + WITHDRAW_AFTER - 0.1)
    assert calls.is_lost_sight_of(10.0 + WITHDRAW_AFTER + 0.1)
    calls.answered()
    assert not calls.is_lost_sight_of(99.0)


def test_an_older_copy_never_replaces_a_newer_one_and_none_replaces_a_call_that_is_taken() -> None:
    def copy(generation: int, number: int) -> StoreCopy:
        return StoreCopy(
            cluster=1, slot=2, epoch=3, session_id=CALL, generation=generation, number=number, sealed="sealed"
        )

    assert shelf.verdict(None, copy(1, 1)) == "store"
    assert shelf.verdict(copy(1, 5), copy(1, 6)) == "store"
    assert shelf.verdict(copy(1, 5), copy(2, 1)) == "store"
    assert shelf.verdict(copy(1, 5), copy(1, 5)) == "is_stored", "a request that was repeated"
    assert shelf.verdict(copy(1, 5), copy(1, 4)) == "stale"
    assert shelf.verdict(copy(2, 1), copy(1, 9)) == "stale"
    assert shelf.verdict(shelf.taken(copy(1, 5), "adopter"), copy(9, 9)) == "taken"
    assert not shelf.counts(shelf.taken(copy(1, 5), "adopter"), 1)
