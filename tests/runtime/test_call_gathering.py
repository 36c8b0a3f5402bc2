"""What owners of calls answer becomes one page: sorted, whole up to its end, and honest about what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from antiphon.runtime.operators.call_gathering import CallGathering, CallPage, ExpectedOwner, owners_of
from antiphon.runtime.owned_calls.call_listing import MAX_BYTES, packed
from antiphon.schemas.messages import CallList, CallSummary, ListCalls, TransceiverAnnouncement, encode

pytestmark = pytest.mark.pure


def call_id(number: int) -> str:
    return f"rtc_{number:024d}"


def summary(number: int, owner: str = "a", moves: int = 0, agent: str = "echo") -> CallSummary:
    return CallSummary(
        session_id=call_id(number), agent=agent, state="running", began=1.0, owner=owner, moves=moves, region="eu"
    )


def answer(owner: str, numbers: Iterable[int], total: int | None = None, slot: int = 0, region: str = "eu") -> bytes:
    calls = [summary(number, owner) for number in numbers]
    count = len(calls) if total is None else total
    return encode(CallList(owner=owner, region=region, slot=slot, calls=calls, total=count))


def gathered(answers: Sequence[bytes], asked: ListCalls | None = None, expected: Sequence[str] = ()) -> CallPage:
    owners = [ExpectedOwner(f"transceiver {each}", ids=frozenset({each})) for each in expected]
    gathering = CallGathering(asked or ListCalls(), owners)
    for each in answers:
        gathering.take(each)
    return gathering.page()


def numbers(page: CallPage) -> list[int]:
    return [int(call.session_id[4:]) for call in page.calls]


def test_ten_thousand_calls_of_twenty_owners_are_paged_without_a_gap() -> None:
    held = {f"o{owner}": list(range(owner, 10_000, 20)) for owner in range(20)}
    seen: list[int] = []
    after = ""
    while True:
        asked = ListCalls(after=after, limit=400)
        left = {owner: [n for n in mine if call_id(n) > after] for owner, mine in held.items()}
        page = gathered([answer(owner, mine[:400], len(mine)) for owner, mine in left.items()], asked, list(held))
        seen += numbers(page)
        assert page.total == 10_000 - len(seen) + len(page.calls)
        assert not page.incomplete
        if not page.more:
            break
        after = page.calls[-1].session_id
    assert seen == list(range(10_000))


def test_a_page_ends_where_an_owner_that_sent_fewer_has_its_last_call() -> None:
    page = gathered([answer("a", [1, 2], total=9), answer("b", [3, 4])])
    assert numbers(page) == [1, 2]
    assert page.more
    assert page.total == 11


def test_an_owner_that_is_silent_is_named_and_the_others_calls_are_listed() -> None:
    page = gathered([answer("a", [1])], expected=["a", "b"])
    assert numbers(page) == [1]
    assert page.incomplete == ["transceiver b"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{",
        b"\xff" * 50,
        b"[]",
        answer("", [1]),
        answer("b", [2, 1]),
        answer("b", [1, 1]),
        answer("b", [1, 2], total=1),
        answer("b", [], total=5),
        answer("b", [1]).replace(b'"began":1.0', b'"began":NaN'),
        encode(CallList(owner="b", total=1, calls=[summary(1, "another")])),
        encode(CallList(owner="b", total=1, calls=[summary(1, "b", agent="other")])),
        b" " * (600 << 10) + answer("b", [1]),
    ],
    ids=range(13),
)
def test_an_answer_that_does_not_hold_together_counts_as_none(rubbish: bytes) -> None:
    page = gathered([answer("a", [7]), rubbish], ListCalls(agent="echo"), ["a", "b"])
    assert numbers(page) == [7]
    assert page.incomplete == ["transceiver b"]


def test_an_owner_that_answers_twice_counts_once() -> None:
    page = gathered([answer("a", [1, 2]), answer("a", [1, 2, 3])])
    assert numbers(page) == [1, 2]
    assert page.total == 2


def test_calls_before_the_page_and_calls_that_were_not_asked_for_are_no_answer() -> None:
    assert not gathered([answer("a", [1])], ListCalls(after=call_id(5))).calls
    assert not gathered([answer("a", [1])], ListCalls(session_ids=[call_id(2)])).calls
    assert not gathered([answer("a", [1, 2])], ListCalls(limit=1)).calls


def test_a_call_that_has_just_moved_counts_where_it_moved_to() -> None:
    before = CallList(owner="a", total=1, calls=[summary(1, "a")])
    after = CallList(owner="b", total=1, calls=[summary(1, "b", moves=1)])
    for order in ([before, after], [after, before]):
        page = gathered([encode(each) for each in order])
        assert [call.owner for call in page.calls] == ["b"]
        assert page.total == 1
        assert not page.more


def test_a_process_with_two_slots_answers_once_for_both() -> None:
    def announced(slot: int, holder: str) -> TransceiverAnnouncement:
        return TransceiverAnnouncement(
            cluster=0,
            slot=slot,
            epoch=1,
            tunnel_address="127.0.0.1:1",
            state="ready",
            sessions=0,
            capacity=1,
            holder=holder,
        )

    owners = owners_of([announced(1, "p"), announced(2, "p"), announced(3, "q")])
    gathering = CallGathering(ListCalls(), owners)
    assert gathering.take(answer("a", [], slot=2))
    assert gathering.page().incomplete == ["transceiver 0.3"]


def test_the_page_says_which_regions_it_covers() -> None:
    assert gathered([answer("a", [1]), answer("b", [2], region="us")]).regions == ["eu", "us"]


def test_a_page_too_long_for_one_message_is_cut_and_says_what_follows() -> None:
    long = [summary(n).model_copy(update={"trace_id": "é" * 2000}) for n in range(500)]
    data = packed(CallList(owner="a"), long, 500)
    assert len(data) <= MAX_BYTES
    page = gathered([data])
    assert 0 < len(page.calls) < 500
    assert page.more
    assert page.total == 500


def test_an_owner_of_calls_over_websocket_is_not_taken_for_the_transceiver_of_slot_0() -> None:
    announced = TransceiverAnnouncement(
        cluster=0, slot=0, epoch=1, tunnel_address="10.0.0.1:1", state="ready", sessions=1, capacity=9, holder="h"
    )
    signaling = ExpectedOwner("signaling S", ids=frozenset({"S"}))
    gathering = CallGathering(ListCalls(), [*owners_of([announced]), signaling])
    gathering.take(answer("S", []))
    assert not gathering.complete
    gathering.take(answer("T", [1]))
    assert gathering.complete
    assert numbers(gathering.page()) == [1]
