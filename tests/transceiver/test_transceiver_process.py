"""The transceiver as a process: real sockets, real NATS, real DTLS; the test is relay, agent and signaling."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import nats.errors
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame as AvFrame
from nats.aio.msg import Msg
from support.aiortc_client import Tone
from support.nats import nats_server
from support.relay_process import Datagrams, relay_process
from support.sounds import speech, tone
from support.transceiver_peer import CANDIDATE
from support.transceiver_process import ENVIRONMENT, Bench, transceiver_process

from antiphon.cli.ice_check import pack_binding_request
from antiphon.cli.sdp import Answer
from antiphon.schemas import bus, messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.schemas.messages import decode, encode


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    """A transceiver without sessions."""
    async with transceiver_process(nats_url) as running:
        yield running


def kill_nats(directory: Path) -> None:
    """As a power cut would."""
    for ports in directory.glob("*.ports"):
        os.kill(int(ports.stem.rpartition("_")[2]), signal.SIGKILL)


def children_of(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def is_alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def others(bench: Bench, count: int) -> list[subprocess.Popen[bytes]]:
    """Further transceivers of the same cluster."""
    environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": bench.nats_url}
    return [subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=environment) for _ in range(count)]


def spoken(frames: list[AudioFrame]) -> list[AudioFrame]:
    """Frames of packets that came, not made up for packets that did not."""
    return [frame for frame in frames if not frame.flags & FrameFlag.SILENCE]


def loud(frames: list[AudioFrame]) -> bool:
    return any(max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames)


async def test_a_call_carries_audio_and_data_both_ways(bench: Bench) -> None:
    peer, line = await bench.call()
    peer.speak(tone(1.0))
    await bench.say(line, speech(1.0))
    await bench.until(lambda: loud(line.frames) and loud(peer.frames), "both hear each other")
    peer.send_text("up")
    await bench.client.publish(
        subjects.data_out(line.session_id), encode(messages.DataMessage.of("oai-events", "down"))
    )
    await bench.until(lambda: bool(line.data) and peer.texts == ["down"], "messages pass")
    assert line.data[0].text == "up"
    await bench.until(lambda: "ended" in line.states(), "the reply's end is told")
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.until(lambda: line.ended == "hang_up" and peer.closed.is_set(), "both are told of the end")
    await bench.sessions(0)


async def test_what_an_agent_says_before_it_answers_the_claim_is_not_lost(bench: Bench) -> None:
    bench.early = [("data", encode(messages.DataMessage.of("oai-events", f"early {n}"))) for n in range(5)]
    peer, _ = await bench.call()
    await bench.until(lambda: len(peer.texts) == 5, "early messages arrive")
    assert peer.texts == [f"early {n}" for n in range(5)]


async def test_flush_pause_and_resume_over_nats(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.say(line, speech(20.0, generation=1))
    await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard")
    assert (await bench.control(line, messages.Pause())).ok
    await bench.until(lambda: not loud(peer.frames[-10:]), "silence while paused")
    assert (await bench.control(line, messages.Resume())).ok
    await bench.until(lambda: loud(peer.frames[-3:]), "speech is heard again")
    assert (await bench.control(line, messages.Flush(generation=2))).ok
    await bench.until(lambda: not loud(peer.frames[-10:]), "silence after the flush")
    await bench.until(lambda: any(isinstance(event, messages.Flushed) for event in line.events), "flushed is told")
    await bench.say(line, speech(0.5, generation=2))
    await bench.until(lambda: loud(peer.frames[-3:]), "the next generation is heard")
    reply = await bench.client.request(subjects.session_control(line.session_id), b"{}", timeout=5)
    assert b'"ok":false' in reply.data


async def test_unusable_frames_are_reported_and_harm_nothing(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.client.publish(subjects.audio_out(line.session_id), b"\xc1 no frame")
    await bench.client.publish(subjects.data_out(line.session_id), b"no message")
    await bench.until(
        lambda: sum(isinstance(event, messages.SessionError) for event in line.events) == 2, "both are reported"
    )
    await bench.say(line, speech(0.5))
    await bench.until(lambda: loud(peer.frames), "speech is still heard")


async def test_random_datagrams_change_nothing(bench: Bench) -> None:
    peer, line = await bench.call()
    generator, stranger = random.Random(1), Datagrams()
    known = next(iter(bench.clients))
    for number in range(3000):
        rubbish = generator.randbytes(generator.randrange(200))
        first = bytes([generator.choice([0, 1, 20, 22, 23, 128, 144, 200])])
        packet = generator.choice([rubbish, known + rubbish, known + first + rubbish, tunnel.HELLO[:5], b""])
        (bench.relay if number % 2 else stranger).send(packet, bench.address)
        if number % 100 == 0:
            await asyncio.sleep(0.01)
    stranger.close()
    before = len(line.frames)
    await bench.until(lambda: len(line.frames) > before + 20, "the call goes on")
    peer.send_text("still here")
    await bench.until(lambda: bool(line.data), "data passes")
    assert line.ended is None
    await bench.sessions(1)
    another, _ = await bench.call()
    await another.close()


async def test_packets_of_a_relay_nobody_announced_are_ignored(bench: Bench) -> None:
    peer = bench.peer()
    opened = await bench.ask(peer.offer())
    assert isinstance(opened, messages.Opened)
    line = {name: value for name, _, value in (row.partition(":") for row in opened.answer.split("\r\n"))}
    check = pack_binding_request(f"{line['a=ice-ufrag']}:x", line["a=ice-pwd"], use_candidate=True)
    header = tunnel.pack_header(Address("192.0.2.9", 9))
    stranger = Datagrams()
    stranger.send(header + check, bench.address)
    stranger.send(tunnel.HELLO, bench.address)
    # Our own relay's check comes later and is answered first: the stranger's was read and not answered.
    peer.begin(opened.answer)
    await asyncio.wait_for(peer.connected.wait(), 10)
    assert stranger.waiting() == []
    stranger.close()


async def test_a_hello_is_answered_with_the_bare_headers_of_all_clients(bench: Bench) -> None:
    for _ in range(3):
        await bench.call()
    bench.bare.clear()
    bench.relay.send(tunnel.HELLO, bench.address)
    await bench.until(lambda: sorted(bench.bare) == sorted(bench.clients), "all headers come")


async def test_a_flow_is_found_by_its_owner_and_by_nobody_else(bench: Bench) -> None:
    await bench.call()
    client = tunnel.unpack(next(iter(bench.clients))).client
    reply = await bench.client.request(subjects.FLOW_FIND, encode(messages.FlowFind(client=str(client))), timeout=5)
    owner = messages.decode(reply.data, messages.FlowOwner)
    assert (owner.slot, owner.epoch) == (bench.announcement.slot, bench.announcement.epoch)
    with pytest.raises(nats.errors.TimeoutError):
        await bench.client.request(subjects.FLOW_FIND, encode(messages.FlowFind(client="192.0.2.200:1")), timeout=0.3)


async def test_concurrent_opens_never_exceed_the_capacity(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_CAPACITY="5") as bench:
        bench.claim_delay = 0.005
        offer = bench.peer().offer()
        began = asyncio.get_running_loop().time()
        replies = await asyncio.gather(*(bench.ask(offer) for _ in range(20)))
        opened = [reply for reply in replies if isinstance(reply, messages.Opened)]
        refused = [reply for reply in replies if isinstance(reply, messages.Refused)]
        assert (len(opened), {reply.code for reply in refused}) == (5, {"full"})
        assert asyncio.get_running_loop().time() - began < 5
        await bench.sessions(5)
        line = bench.lines[opened[0].session_id]
        assert (await bench.control(line, messages.HangUp())).ok
        assert isinstance(await bench.ask(offer), messages.Opened)


async def test_an_agent_that_does_not_answer_holds_up_nobody_else(bench: Bench) -> None:
    asked = []

    async def deaf(message: Msg) -> None:
        """Takes the claim and says nothing."""
        asked.append(message)

    await bench.client.subscribe(subjects.agent_claim("deaf"), cb=deaf)
    await bus.flush(bench.client)
    offer = bench.peer().offer()
    slow = [asyncio.create_task(bench.ask(offer, "deaf")) for _ in range(10)]
    await bench.until(lambda: len(asked) == 10, "all claims are made at the same time")
    assert isinstance(await bench.ask(offer), messages.Opened)
    assert not all(task.done() for task in slow)
    replies = await asyncio.gather(*slow)
    assert {reply.code for reply in replies if isinstance(reply, messages.Refused)} == {"no_agent"}
    missing = await bench.ask(offer, "nobody")
    assert isinstance(missing, messages.Refused)
    assert "'nobody'" in missing.message


@pytest.mark.parametrize(
    ("offer", "code"),
    [("hello", "bad_offer"), ("v=0\r\n", "no_audio"), ("v=0\r\nm=video 9 RTP/SAVPF 96\r\n", "no_audio")],
)
async def test_a_bad_offer_is_refused_with_its_reason_and_costs_no_slot(bench: Bench, offer: str, code: str) -> None:
    reply = await bench.ask(offer)
    assert isinstance(reply, messages.Refused)
    assert reply.code == code
    await bench.sessions(0)


async def test_a_call_outlives_nats_and_its_audio_resumes_by_itself(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url, ExitStack() as later:
        port = int(url.rpartition(":")[2])
        async with transceiver_process(url) as bench:
            peer, line = await bench.call()
            bench.announcing = False  # the relay comes back to NATS later than the transceiver
            kill_nats(tmp_path)
            await bench.until(lambda: not bench.client.is_connected, "NATS is gone")
            at = len(peer.frames)
            await asyncio.sleep(7)  # longer than an announcement lives
            assert bench.is_running()
            later.enter_context(nats_server(tmp_path / "again", port))  # outlives every client
            await bench.until(lambda: bench.client.is_connected, "NATS is back")
            seen = len(line.frames)
            began = asyncio.get_running_loop().time()
            await bench.until(lambda: len(spoken(line.frames[seen:])) > 50, "the caller is heard again")
            assert asyncio.get_running_loop().time() - began < 4
            bench.announcing = True
            await bench.say(line, speech(1.0))
            await bench.until(lambda: loud(peer.frames[at:]), "the agent is heard again")
            assert line.ended is None
            assert isinstance(await bench.ask(peer.offer()), messages.Opened)


async def test_a_thousand_sessions_leave_nothing_behind(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_CONSENT_SECONDS="6", ANTIPHON_CAPACITY="400") as bench:
        turns = asyncio.Semaphore(12)

        async def one(number: int) -> None:
            """Hung up, closed by the client, vanished in mid-call or in mid-handshake, or never come."""
            async with turns:
                kind = 2 if number % 20 == 2 else (0, 1, 3, 4)[number % 4]  # few vanish: they stay for 6 s
                if kind < 3:
                    peer, line = await bench.call()
                    if kind == 0:
                        await bench.control(line, messages.HangUp())
                    await (peer.close() if kind == 1 else peer.vanish())
                else:
                    peer = bench.peer()
                    opened = await bench.opened(peer.offer())
                    if kind == 3:
                        transmit = peer.transmit
                        peer.transmit = lambda data: transmit(data) if data[0] < 4 else None
                        peer.begin(opened.answer)
                        await bench.until(lambda: peer._handshake is not None, "the handshake has begun")
                        await peer.vanish()
                    await bench.control(bench.lines[opened.session_id], messages.HangUp())

        async def round_of(count: int) -> None:
            await asyncio.gather(*(one(number) for number in range(count)))
            await bench.until(lambda: bench.announcement.sessions == 0, "all of them are over", 60)
            bench.forget_clients()

        await round_of(200)  # what is loaded and cached once, and as many at a time as later
        descriptors, memory = bench.descriptors(), bench.memory()
        await round_of(1000)
        assert bench.descriptors() == descriptors
        print(f"memory {memory:.1f} MB, after 1,000 sessions {bench.memory():.1f} MB")
        assert bench.memory() - memory < 8
        assert all(line.ended is not None for line in bench.lines.values())
        peer, _ = await bench.call()
        await peer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_every_session_with_a_word_and_the_process_within_2_s(
    bench: Bench, number: signal.Signals
) -> None:
    calls = [await bench.call() for _ in range(3)]
    os.kill(bench.pid, number)
    status, seconds = await bench.terminate()
    assert (status, seconds < 2) == (0, True)
    await bench.until(lambda: all(line.ended == "draining" for _, line in calls), "agents are told")
    await bench.until(lambda: all(peer.closed.is_set() for peer, _ in calls), "clients are told")
    assert bench.announcement.state == "draining"


async def test_it_ends_within_2_s_without_nats_too(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        async with transceiver_process(url) as bench:
            await bench.call()
            kill_nats(tmp_path)
            await bench.until(lambda: not bench.client.is_connected, "NATS is gone")
            status, seconds = await bench.terminate()
            assert (status, seconds < 2.5) == (0, True)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ANTIPHON_ROUTE_KEYS": ""}, "ANTIPHON_ROUTE_KEYS"),
        ({"ANTIPHON_PASSWORD_KEY": "xy"}, "ANTIPHON_PASSWORD_KEY"),
        ({"ANTIPHON_TRANSCEIVER_BIND": "nonsense:0"}, "nonsense"),
        ({"ANTIPHON_TRANSCEIVER_ADVERTISE": "my-host"}, "my-host"),
        ({"ANTIPHON_TRANSCEIVER_BIND": "192.0.2.1:0"}, "assign"),
    ],
)
def test_settings_that_can_t_work_are_one_line_and_status_2(nats_url: str, changed: dict[str, str], says: str) -> None:
    environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": nats_url} | changed
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.transceiver"], env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


async def test_slots_are_taken_by_one_process_each(bench: Bench) -> None:
    slots: set[tuple[int, int]] = set()
    seen = await bench.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE)
    processes = others(bench, 3)
    try:
        while len(slots) < 4:
            said = messages.decode((await seen.next_msg(10)).data, messages.TransceiverAnnouncement)
            slots.add((said.slot, parse_address(said.tunnel_address).port))
        assert len({slot for slot, _ in slots}) == 4
    finally:
        for process in processes:
            process.terminate()
        assert [process.wait(5) for process in processes] == [0, 0, 0]


async def test_a_drain_takes_no_new_calls_and_lets_running_ones_end(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_DRAIN_SECONDS="60") as bench:
        peer, line = await bench.call()
        os.kill(bench.pid, signal.SIGTERM)
        await bench.until(lambda: bench.announcement.state == "draining", "it announces the drain")
        refused = await bench.ask(bench.peer().offer())
        assert isinstance(refused, messages.Refused)
        assert refused.code == "draining"
        await bench.until(lambda: any('"antiphon.draining"' in text for text in peer.texts), "the client is told")
        assert any(isinstance(event, messages.Draining) for event in line.events)
        assert line.ended is None
        await peer.close()
        await bench.until(lambda: not bench.is_running(), "it ends with its last session")
        assert line.ended == "client_closed"
        assert bench.exit_status() == 0


async def test_a_drain_ends_at_its_deadline(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_DRAIN_SECONDS="0.5") as bench:
        peer, line = await bench.call()
        os.kill(bench.pid, signal.SIGTERM)
        await bench.until(lambda: not bench.is_running(), "it ends although a call is up")
        assert line.ended == "draining"
        assert bench.exit_status() == 0
        await bench.until(peer.closed.is_set, "the client is told")


async def test_each_process_of_a_parent_has_its_own_slot_and_port_and_is_started_again(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_TRANSCEIVER_PROCESSES="2") as bench:
        seen: dict[int, messages.TransceiverAnnouncement] = {}

        async def announced(message: Msg) -> None:
            said = decode(message.data, messages.TransceiverAnnouncement)
            seen[said.slot] = said

        await bench.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=announced)
        await bench.until(lambda: set(seen) == {0, 1}, "both announce themselves")
        assert seen[0].tunnel_address != seen[1].tunnel_address
        children = children_of(bench.pid)
        assert len(children) == 2
        epochs = {slot: said.epoch for slot, said in seen.items()}
        os.kill(int(min(children)), signal.SIGKILL)

        def is_replaced() -> bool:
            return any(said.epoch != epochs.get(slot) for slot, said in seen.items())

        await bench.until(is_replaced, "the dead one is replaced, under another epoch or slot")
        status, seconds = await bench.terminate()
        assert status == 0
        assert seconds < 4
        assert not any(is_alive(pid) for pid in children)


async def test_a_parent_that_is_killed_leaves_no_process_behind(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_TRANSCEIVER_PROCESSES="2") as bench:
        await bench.until(lambda: len(children_of(bench.pid)) == 2, "both are there")
        await bench.sessions(0)
        children = children_of(bench.pid)
        os.kill(bench.pid, signal.SIGKILL)
        await bench.until(lambda: not any(map(is_alive, children)), "they are gone")


async def test_a_new_offer_on_a_running_session_restarts_its_ice(bench: Bench) -> None:
    peer, line = await bench.call()
    offer = peer.offer()
    opened = await bench.ask(offer, session_id=line.session_id)
    assert isinstance(opened, messages.Opened)
    assert opened.session_id == line.session_id
    assert "a=setup:active" in opened.answer
    answer = Answer(opened.answer + CANDIDATE)
    assert answer.ufrag != peer._answer.ufrag
    assert answer.fingerprints == peer._answer.fingerprints
    assert re.findall("o=- (.*) IN", opened.answer)[0].split()[1] == "2"
    peer._answer.ufrag, peer._answer.password = answer.ufrag, answer.password
    frames = len(line.frames)
    await bench.until(lambda: len(line.frames) > frames + 200, "audio goes on beyond the next checks")
    assert line.ended is None
    stranger = await bench.ask(bench.peer().offer(), session_id=line.session_id)
    assert isinstance(stranger, messages.Refused)
    assert stranger.code == "bad_offer"
    gone = await bench.ask(offer, session_id="rtc_nobody")
    assert isinstance(gone, messages.Refused)
    assert gone.code == "no_session"


async def test_stock_aiortc_talks_and_listens_through_a_real_relay(bench: Bench) -> None:
    async with relay_process(bench.nats_url, path="portable") as relay:
        await relay.knows(routes=1)
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        heard: list[int] = []
        listening: list[asyncio.Task[None]] = []

        async def listen(track: MediaStreamTrack) -> None:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AvFrame)
                heard.append(max(memoryview(bytes(frame.planes[0])).cast("h")))

        client.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
        client.addTrack(Tone())
        channel = client.createDataChannel("oai-events")
        texts: list[str] = []
        channel.on("message", texts.append)
        channel.on("open", lambda: channel.send("x" * 16_000))
        await client.setLocalDescription(await client.createOffer())
        opened = await bench.ask(client.localDescription.sdp)
        assert isinstance(opened, messages.Opened)
        host, port = relay.address
        first, mark, rest = opened.answer.partition("a=rtcp-mux\r\n")
        candidate = f"a=candidate:1 1 udp 2130706000 {host} {port} typ host\r\na=end-of-candidates\r\n"
        await client.setRemoteDescription(RTCSessionDescription(first + mark + candidate + rest, "answer"))
        line = bench.lines[opened.session_id]
        await bench.until(lambda: loud(line.frames), "the client is heard")
        await bench.until(lambda: len(line.data) == 1, "16 KB came on the data channel")
        assert line.data[0].text == "x" * 16_000
        await bench.client.publish(
            subjects.data_out(line.session_id), encode(messages.DataMessage.of("oai-events", "y" * 16_000))
        )
        await bench.say(line, speech(3.0))
        await bench.until(lambda: texts == ["y" * 16_000], "16 KB went on the data channel")
        await bench.until(lambda: max(heard, default=0) > 4000, "the agent is heard")
        await client.close()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        await bench.until(lambda: line.ended == "client_closed", "the end is seen at once")
