"""Calls with a copy in a second region outlive their cluster. Real processes of two clusters, and a hub."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import struct
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from support.models.sounds import speech
from support.processes.transceiver_process import Line
from support.processes.two_clusters import Client, TwoClusters, two_clusters

from antiphon.runtime.agent_sessions.session_bus import ControlOutcome, control
from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import encode

pytestmark = pytest.mark.process


@pytest.fixture
async def both(nats_url: str, tmp_path: Path) -> AsyncIterator[TwoClusters]:
    async with two_clusters(nats_url, tmp_path / "copy-of") as running:
        yield running


def taken_over(line: Line) -> bool:
    return any(isinstance(event, messages.TakenOver) for event in line.events)


def indices(packets: list[bytes]) -> tuple[set[int], set[int], set[int]]:
    """Of what was sent to a client: RTP sequence numbers, SRTCP indices, DTLS record numbers."""
    rtp, rtcp, records = set(), set(), set()
    for packet in packets:
        if 127 < packet[0] < 192:
            if 64 <= packet[1] & 127 < 96:
                rtcp.add(struct.unpack_from(">I", packet, len(packet) - 14)[0] & 0x7FFFFFFF)
            else:
                rtp.add(struct.unpack_from(">H", packet, 2)[0])
        elif 19 < packet[0] < 64:
            records.add(int.from_bytes(packet[3:11], "big"))
    return rtp, rtcp, records


def assert_no_index_of_both(caller: Client) -> None:
    for kind, first, second in zip(
        ("RTP", "RTCP", "DTLS"), indices(caller.sent[1]), indices(caller.sent[2]), strict=True
    ):
        assert first, f"cluster 1 has sent {kind}"
        assert second or kind == "RTCP", f"cluster 2 has sent {kind}"
        assert not first & second, f"{kind}: used by both"


async def speak(both: TwoClusters, line: Line, stop: asyncio.Event) -> None:
    """An agent that speaks without end and numbers its messages."""
    due, frames = asyncio.get_running_loop().time(), speech(60.0)
    for number, frame in enumerate(frames):
        if stop.is_set():
            return
        await both.say(line, [frame])
        if number % 10 == 0:
            down = messages.DataMessage.of("oai-events", f"down {number // 10}")
            await both.client.publish(subjects.data_out(line.agent, line.session_id), encode(down))
        due += 0.02
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


class Conversation:
    """Both sides of a call, all the time."""

    def __init__(self, both: TwoClusters, caller: Client, line: Line) -> None:
        self.both, self.caller, self.line = both, caller, line
        self.arrivals: list[float] = []
        self._stop = asyncio.Event()
        self._speaking: asyncio.Task[None]

    async def __aenter__(self) -> Conversation:
        receive = self.caller.peer.receive

        def noted(datagram: bytes) -> None:
            if 127 < datagram[0] < 192 and not 64 <= datagram[1] & 127 < 96:
                self.arrivals.append(asyncio.get_running_loop().time())
            receive(datagram)

        self.caller.peer.receive = noted  # type: ignore[method-assign]
        self._speaking = asyncio.create_task(speak(self.both, self.line, self._stop))
        await self.goes_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._speaking

    async def goes_on(self) -> None:
        """Media and messages pass, both ways."""
        heard, texts, data, frames = (len(self.arrivals), len(self.texts), len(self.line.data), len(self.line.frames))
        self.caller.peer.send_text(f"up {data}")
        await self.both.until(lambda: len(self.arrivals) > heard + 20, "the agent is heard")
        await self.both.until(lambda: len(self.texts) > texts, "messages of the agent")
        await self.both.until(lambda: len(self.line.data) > data, "messages of the client")
        await self.both.until(lambda: len(self.line.frames) > frames + 20, "the caller is heard")

    @property
    def texts(self) -> list[str]:
        return self.caller.peer.texts

    @property
    def longest_gap(self) -> float:
        return max(later - earlier for earlier, later in itertools.pairwise(self.arrivals))


async def test_copies_are_withdrawn_and_made_anew_and_a_call_goes_on_when_its_cluster_is_killed(
    both: TwoClusters,
) -> None:
    caller, line = await both.place()
    first = await both.has_copy(line)
    slot = caller.owner
    assert slot is not None
    async with Conversation(both, caller, line) as talk:
        os.kill(both.by_cluster[2].pid, signal.SIGSTOP)
        await both.until_lease(slot, lambda lease: lease.withdrawn)
        await talk.goes_on()
        os.kill(both.by_cluster[2].pid, signal.SIGCONT)
        lease = await both.until_lease(slot, lambda lease: not lease.withdrawn)
        assert lease.generation > first.generation, "a later copy has another number"
        assert lease.holder_cluster == 1, "what was withdrawn was never taken"
        async with asyncio.timeout(15):
            while (await both.has_copy(line)).generation != lease.generation:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert not caller.sent[2]
        print(f"longest gap while the second region was away: {talk.longest_gap:.2f} s")

        both.by_cluster[1].kill()
        await both.until(lambda: taken_over(line), "it is told that another process has the session")
        await talk.goes_on()
        print(f"longest gap: {talk.longest_gap:.2f} s")
    numbers = [int(text.split()[1]) for text in talk.texts]
    assert numbers == sorted(set(numbers)), "the data channel is in order"
    assert caller.owner is not None
    assert caller.owner[0] == 2
    assert_no_index_of_both(caller)
    assert (await both.control(line, messages.HangUp())).ok
    await both.until(lambda: line.ended == "hang_up" and caller.peer.closed.is_set(), "both are told of the end")


@pytest.mark.nightly
async def test_an_owner_that_stood_still_or_was_cut_off_uses_no_index_that_the_second_region_uses(
    both: TwoClusters,
) -> None:
    caller, line = await both.place()
    await both.has_copy(line)
    slot = caller.owner
    assert slot is not None
    async with Conversation(both, caller, line) as talk:
        os.kill(both.by_cluster[1].pid, signal.SIGSTOP)
        await both.until(lambda: taken_over(line), "the second region goes on with it")
        await talk.goes_on()
        sent_before = len(caller.sent[1])
        slots = {key for key in both.announced if key[0] == 1}
        os.kill(both.by_cluster[1].pid, signal.SIGCONT)
        await both.until(
            lambda: bool({key for key in both.announced if key[0] == 1} - slots), "it takes another slot for new calls"
        )
        await talk.goes_on()
        assert len(caller.sent[1]) == sent_before, "it has sent nothing after it woke"
    assert (await both.lease(slot)).holder_cluster == 2
    assert_no_index_of_both(caller)
    assert line.ended is None

    copied, line = await both.place()
    alone, other_line = await both.place(copies=False)
    await both.has_copy(line)
    assert copied.owner not in (None, slot)
    async with Conversation(both, copied, line) as talk, Conversation(both, alone, other_line) as other:
        both.hub.cut()
        await both.until(lambda: taken_over(line), "the second region goes on with it")
        sent_before = len(copied.sent[1])
        await talk.goes_on()
        assert len(copied.sent[1]) == sent_before, "it had stopped before its call was taken"
        both.hub.mend()
        await other.goes_on()
        await talk.goes_on()
        assert len(copied.sent[1]) == sent_before
    assert_no_index_of_both(copied)
    assert copied.owner is not None
    assert copied.owner[0] == 2
    assert alone.owner is not None
    assert alone.owner[0] == 1, "a call without a copy goes on where it is"
    assert other_line.ended is None


async def test_an_agents_lease_is_free_when_its_call_answers_in_the_second_region_and_not_before(
    both: TwoClusters,
) -> None:
    """An agent that is woken for one call looks at all free leases, and gives up those of calls that do not answer."""
    bucket = await buckets.bucket(both.client.jetstream(), subjects.BUCKET_LEASES)
    calls: dict[str, Line] = {}
    for _ in range(3):
        _, line = await both.place()
        calls[subjects.lease_key("echo", line.session_id)] = line
    for key, line in calls.items():
        lease = messages.Lease(session_id=line.session_id, agent="echo", instance="of-the-lost-region")
        await bucket.create(key, encode(lease))
        stored = await both.has_copy(line)
        await both.say(line, speech(1.0))
        while (await both.has_copy(line)).number == stored.number:  # noqa: ASYNC110  # the next one has the lease
            await asyncio.sleep(0.05)
        await bucket.delete(key)
    freed = await bucket.watchall()
    both.by_cluster[1].kill()
    async with asyncio.timeout(15):
        while calls:
            entry = await freed.updates(timeout=15)  # type: ignore[no-untyped-call]
            if entry is not None and entry.operation is None and entry.key in calls:
                session_id = calls.pop(entry.key).session_id
                asked = control(both.client, "echo", session_id, messages.Flush(generation=1))
                assert await asked is ControlOutcome.DONE
    await freed.stop()  # type: ignore[no-untyped-call]


def is_in(caller: Client, cluster: int) -> bool:
    return caller.owner is not None and caller.owner[0] == cluster


@pytest.mark.nightly
async def test_a_call_that_was_adopted_goes_on_in_a_third_cluster(nats_url: str, tmp_path: Path) -> None:
    async with two_clusters(nats_url, tmp_path / "copy-of-1", tmp_path / "copy-of-2") as clusters:
        caller, line = await clusters.place()
        first = caller.owner
        async with Conversation(clusters, caller, line) as talk:
            for lost in (1, 2):
                await clusters.has_copy(line, lost)
                clusters.by_cluster[lost].kill()
                await clusters.until(partial(is_in, caller, lost + 1), "its move is announced", 20)
                await talk.goes_on()
            repeated = len([moved for moved in clusters.moves if moved.move.old == first])
            caller.peer.check()

            def answered() -> bool:
                return any(datagram.startswith(b"\x01\x01") for datagram in caller.sent[3])

            await clusters.until(answered, "cluster 3 knows the password of cluster 1's user name")
            await clusters.until(
                lambda: len([moved for moved in clusters.moves if moved.move.old == first]) > repeated,
                "relays are told of the first move still",
            )
        assert_no_index_of_both(caller)
        rtp = [indices(caller.sent[cluster])[0] for cluster in (1, 2, 3)]
        assert rtp[2]
        assert not rtp[2] & (rtp[0] | rtp[1])
        assert (await clusters.control(line, messages.HangUp())).ok
