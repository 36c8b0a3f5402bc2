"""A dead process's calls are spread over those that are left. Sans-IO, then real processes behind a real relay."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.several_transceivers import Several, several_transceivers
from support.processes.transceiver_process import Line

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import encode
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket
from antiphon.transceiver.failover.distribution import Load, shares
from antiphon.transceiver.net.endpoint import TransceiverIdentity

Call = tuple[CarriedPeer, Line]


@pytest.mark.pure
def test_one_that_is_hardly_loaded_keeps_all() -> None:
    assert shares(40, Load(10, 100), [Load(0, 100), Load(0, 100)]) == [40, 0, 0]


@pytest.mark.pure
def test_beyond_half_of_its_capacity_the_rest_goes_to_those_with_most_room() -> None:
    assert shares(60, Load(40, 100), [Load(10, 100), Load(30, 100)]) == [10, 35, 15]


@pytest.mark.pure
def test_where_all_are_well_loaded_each_gets_its_fair_share() -> None:
    assert shares(90, Load(70, 100), [Load(70, 100), Load(70, 100), Load(70, 100)]) == [23, 23, 22, 22]


loads = st.builds(Load, st.integers(0, 120), st.integers(0, 100))


@pytest.mark.pure
@given(st.integers(0, 300), loads, st.lists(loads, max_size=6))
def test_no_process_gets_more_than_its_room_and_nothing_is_left_while_any_has_room(
    count: int, own: Load, others: list[Load]
) -> None:
    takes = shares(count, own, others)
    rooms = [max(0, load.capacity - load.sessions) for load in (own, *others)]
    assert len(takes) == 1 + len(others)
    assert all(0 <= take <= room for take, room in zip(takes, rooms, strict=True))
    assert sum(takes) == min(count, sum(rooms))


def taken_over(line: Line) -> int:
    return sum(isinstance(event, messages.TakenOver) for event in line.events)


def count_answers(calls: list[Call]) -> Counter[str]:
    """From now on, how many checks of each client are answered."""
    answered: Counter[str] = Counter()
    for peer, line in calls:
        receive = peer.receive

        def noted(datagram: bytes, receive=receive, name: str = line.session_id) -> None:  # type: ignore[no-untyped-def]
            answered[name] += datagram[:2] == b"\x01\x01"
            receive(datagram)

        peer.receive = noted  # type: ignore[method-assign]
    return answered


async def all_go_on(several: Several, calls: list[Call], word: str) -> None:
    """Audio and messages pass both ways, and checks are answered, on every one of them."""
    answered = count_answers(calls)
    before = {line.session_id: (len(line.frames), len(peer.frames)) for peer, line in calls}
    for peer, line in calls:
        peer.speak(tone(1.0))
        await several.say(line, speech(1.0))
        peer.send_text(f"up {word}")
        down = messages.DataMessage.of("oai-events", f"down {word}")
        await several.client.publish(subjects.data_out(line.agent, line.session_id), encode(down))

    def loud(frames: list) -> bool:  # type: ignore[type-arg]
        return any(max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames)

    for peer, line in calls:
        said, heard = before[line.session_id]
        await several.until(lambda line=line, at=said: loud(line.frames[at:]), f"the caller is heard {word}")  # type: ignore[misc]
        await several.until(lambda peer=peer, at=heard: loud(peer.frames[at:]), f"the agent is heard {word}")  # type: ignore[misc]
        await several.until(lambda line=line: line.data[-1:] and line.data[-1].text == f"up {word}", f"up {word}")  # type: ignore[misc]
        await several.until(lambda peer=peer: peer.texts[-1:] == [f"down {word}"], f"down {word}")  # type: ignore[misc]
        await several.until(lambda line=line: answered[line.session_id] > 0, f"checks are answered {word}")  # type: ignore[misc]
        assert line.ended is None


@pytest.mark.process
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="ended in order", marks=pytest.mark.nightly),
    ],
)
async def test_the_calls_of_a_process_that_ends_are_spread_and_survive_the_next_one_s_death(
    nats_url: str, how: signal.Signals
) -> None:
    async with several_transceivers(nats_url, ANTIPHON_CAPACITY="5") as several:
        first = await several.spawn()
        await several.spawn()
        third = await several.spawn()
        calls = [await several.call_on(first.slot) for _ in range(5)]
        identity = (first.cluster, first.slot, first.epoch)
        several.processes[0].send_signal(how)
        await several.until(lambda: all(taken_over(line) == 1 for _, line in calls), "all are taken over")
        claimant = several.endpoints[identity].holder
        await several.until(
            lambda: (
                sorted(
                    said.sessions
                    for said in several.endpoints.values()
                    if said.state == "ready" and said.holder != first.holder
                )
                == [2, 3]
            ),
            "both have some of them",
        )
        await all_go_on(several, calls, "after the first")
        number = 2 if third.holder == claimant else 1
        several.processes[number].kill()
        await several.until(lambda: all(line.ended is None for _, line in calls), "none has ended")
        await several.until(
            lambda: sum(taken_over(line) for _, line in calls) == 5 + 3, "those of the second are taken over, too"
        )
        await several.until(
            lambda: several.endpoints[identity].holder != claimant, "and so is the first one's endpoint"
        )
        await all_go_on(several, calls, "after the second")


@pytest.mark.nightly
@pytest.mark.process
async def test_calls_that_went_to_a_third_process_survive_its_death_too(nats_url: str) -> None:
    async with several_transceivers(nats_url, ANTIPHON_CAPACITY="5") as several:
        first = await several.spawn()
        second = await several.spawn()
        await several.spawn()
        calls = [await several.call_on(first.slot) for _ in range(5)]
        identity = (first.cluster, first.slot, first.epoch)
        several.processes[0].kill()
        await several.until(lambda: all(taken_over(line) == 1 for _, line in calls), "all are taken over")
        claimant = several.endpoints[identity].holder
        adopter = 2 if second.holder == claimant else 1
        several.processes[adopter].kill()
        await several.until(
            lambda: sum(taken_over(line) for _, line in calls) == 5 + 2, "what it had adopted is taken over"
        )
        await all_go_on(several, calls, "after the adopter")
        # At a new offer a call that has moved gets a token of the endpoint where it is.
        for peer, line in calls:
            offer = messages.OpenRequest(offer=peer.offer(), session_id=line.session_id)
            answer = await several.client.request(subjects.call_open(line.session_id), encode(offer), timeout=5)
            assert b'"type":"opened"' in answer.data
            assert (await several.control(line, messages.HangUp())).ok
        await nothing_is_left_of(several, calls)


async def nothing_is_left_of(several: Several, calls: list[Call]) -> None:
    """Their checkpoints go, and so do the entries that name their new places."""
    async with asyncio.timeout(30):
        while True:
            keys = await several.checkpoints()
            if not any(line.session_id in key for _, line in calls for key in keys):
                return
            await asyncio.sleep(0.1)


@pytest.mark.process
async def test_an_endpoint_is_claimed_by_one_process_and_from_none_that_is_alive(nats_url: str) -> None:
    client = await connection.connect(nats_url, "test")
    one, other = (CheckpointBucket(client, bytes(16), name * 16) for name in "ab")
    identity = TransceiverIdentity(0, 1, 2)
    alive = {"a" * 16, "b" * 16}
    assert await one.claim(identity, "d" * 16, alive.__contains__)
    assert not await other.claim(identity, "d" * 16, alive.__contains__), "it is no longer the dead one's"
    assert not await other.claim(identity, None, alive.__contains__), "the process that has it is alive"
    alive.discard("a" * 16)
    assert await other.claim(identity, None, alive.__contains__)
    assert await other.claimant_of(identity) == "b" * 16
    await client.close()


@pytest.mark.process
@pytest.mark.nightly
async def test_only_sessions_that_no_process_has_room_for_end(nats_url: str) -> None:
    async with several_transceivers(nats_url, ANTIPHON_CAPACITY="2") as several:
        first = await several.spawn(ANTIPHON_CAPACITY="5")
        await several.spawn()
        await several.spawn()
        calls = [await several.call_on(first.slot) for _ in range(5)]
        several.processes[0].kill()
        await several.until(lambda: sum(taken_over(line) for _, line in calls) == 4, "four are taken over")
        await several.until(lambda: sum(line.ended == "internal" for _, line in calls) == 1, "the fifth ends, told so")
        await all_go_on(several, [call for call in calls if call[1].ended is None], "in a full house")
