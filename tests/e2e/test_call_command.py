"""`antiphon call` against the whole stack: conversations without a browser."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.conditions import until
from support.models.bookings import BOOKING, DAY
from support.models.voice import RATE, say, silence, transcribe, words
from support.net.impaired import impaired_path
from support.processes.stack import Stack, running_stack

from antiphon.agent import Agent, Session
from antiphon.bench._lib.otlp import OtlpReceiver
from antiphon.cli.call.call_listener import AUDIBLE, Listener
from antiphon.cli.call.command import CallResult, converse
from antiphon.cli.call.sdp import Answer
from antiphon.cli.call.wav import Samples, read_wav, write_wav
from antiphon.cli.call.webrtc_client import Peer
from antiphon.runtime.nats.permissions import User

pytestmark = [pytest.mark.realtime, pytest.mark.models]


def question(text: str) -> Samples:
    return np.concatenate([silence(0.2), say(text), silence(0.2)])


def test_a_spoken_question_is_understood_and_answered(stack: Stack, tmp_path: Path) -> None:
    wav, out = tmp_path / "question.wav", tmp_path / "answer.wav"
    write_wav(wav, question(BOOKING), RATE)
    command = [sys.executable, "-m", "antiphon.cli.main", "call", "--json", "--url", stack.url]
    done = subprocess.run([*command, "--wav", str(wav), "--out", str(out)], capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result.keys() == {"ok", "heard", "answered", "setup_ms", "answer_ms", "lost_packets"}
    assert result["ok"] is True
    assert {"book", "appointment", DAY.lower(), "half", "past"} <= set(words(result["heard"]))
    assert "10:30" in result["answered"]
    spoken = transcribe(read_wav(out, RATE))
    assert {"done", DAY.lower(), "anything", "else"} <= set(words(spoken)), spoken


@pytest.mark.nightly
def test_a_question_may_be_given_as_text(stack: Stack) -> None:
    command = [sys.executable, "-m", "antiphon.cli.main", "call", "--json", "--url", stack.url]
    done = subprocess.run([*command, "--say", "What time is it?"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "time" in words(json.loads(done.stdout)["heard"])


def test_an_unreachable_server_is_named_without_a_traceback(tmp_path: Path) -> None:
    wav = tmp_path / "question.wav"
    write_wav(wav, silence(0.5), RATE)
    command = [sys.executable, "-m", "antiphon.cli.main", "call", "--url", "http://127.0.0.1:9", "--wav", str(wav)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is the stack running?" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_echo_plug_in_speaks_while_the_caller_still_talks(stack: Stack) -> None:
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(stack.url, "echo")
        peer.speak(np.concatenate([say(BOOKING), say(BOOKING)]).tobytes())
        await until(lambda: listener.last_audible is not None)
        assert peer.speaking, "the echo came only after the caller had finished"
        await until(lambda: not peer.speaking)
    finally:
        await peer.close()


@pytest.mark.nightly
async def test_ten_calls_at_once_are_all_answered() -> None:
    """However long that takes: by itself a bridge takes only as many as it answers in time."""
    spoken = question("What time is it?")
    with running_stack("--loopback-only", environment={"ANTIPHON_BRIDGE_MAX_WAIT": "0"}) as patient:
        calls = [converse(patient.url, None, None, spoken) for _ in range(10)]
        results: list[CallResult] = [result for result, _ in await asyncio.gather(*calls)]
    assert [result.error for result in results] == [None] * 10
    assert all("time" in words(result.heard) for result in results), [result.heard for result in results]


@pytest.mark.nightly
async def test_a_path_that_loses_and_reorders_carries_a_conversation(stack: Stack) -> None:
    relay = (await _answer_of_an_offer(stack)).candidates[0]
    async with impaired_path(relay, loss=0.05, jitter=0.03) as (address, path):
        result, answer = await converse(stack.url, None, None, question(BOOKING), address)
    assert path.lost > 0
    assert result.error is None
    # A lost packet in a word may cost that word, either way, and not the conversation.
    assert len({"book", "appointment", DAY.lower()} & set(words(result.heard))) >= 2, result.heard
    said = words(transcribe(answer))
    assert len({DAY.lower(), "anything", "else"} & set(said)) >= 2, said


async def _silenced_after_ms(stack: Stack) -> float:
    """Talk over the greeting; milliseconds from the first loud sample to the last one of the old speech."""
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    loop = asyncio.get_running_loop()
    try:
        await peer.connect(stack.url)
        # The greeting is long enough to talk over.
        await until(lambda: listener.last_audible is not None)
        begun = len(listener.frames)
        await until(lambda: len(listener.frames) > begun + 15)
        spoken = say("What time is it right now, please?")
        onset = int(np.flatnonzero(np.abs(spoken.astype(np.int32)) > AUDIBLE * 32768)[0]) / RATE
        spoke_at = loop.time() + onset
        peer.speak(spoken.tobytes())
        await until(lambda: any(event.get("type") == "output_audio_buffer.cleared" for event in listener.events))
        cleared_at = loop.time()
        await until(lambda: loop.time() > cleared_at + 0.3)
        audible = [
            at
            for at, pcm in listener.frames
            if spoke_at < at < cleared_at + 0.3
            and np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)).max() > AUDIBLE * 32768
        ]
        return (max(audible) - spoke_at) * 1000 if audible else 0.0
    finally:
        await peer.close()


async def test_talking_over_the_agent_silences_it_within_250_ms(stack: Stack) -> None:
    took: list[float] = []
    # Three attempts, because others may hold this machine for longer than that: a defect of ours shows in each.
    while len(took) < 3 and min(took, default=250) >= 250:
        took.append(await _silenced_after_ms(stack))
    assert min(took) < 250, f"the old speech went on for {', '.join(f'{ms:.0f}' for ms in took)} ms"


async def _answer_of_an_offer(stack: Stack) -> Answer:
    """Place a call and end it; what was answered."""
    peer = Peer(lambda _: None, lambda _: None)
    try:
        await peer.connect(stack.url, "echo")
        return peer._answer
    finally:
        await peer.close()


async def test_the_answer_offers_relay_addresses_only(stack: Stack) -> None:
    answer = await _answer_of_an_offer(stack)
    transceiver_port = _udp_ports(stack.pid_of("transceiver"))
    assert {candidate.port for candidate in answer.candidates}.isdisjoint(transceiver_port)


async def test_one_public_udp_port_serves_any_number_of_calls(stack: Stack) -> None:
    before = {name: _udp_ports(stack.pid_of(name)) for name in ("relay", "transceiver")}
    peers = [Peer(lambda _: None, lambda _: None) for _ in range(8)]
    try:
        await asyncio.gather(*(peer.connect(stack.url, "echo") for peer in peers))
        assert {name: _udp_ports(stack.pid_of(name)) for name in before} == before
        assert len({candidate for peer in peers for candidate in peer._answer.candidates}) <= 2
    finally:
        await asyncio.gather(*(peer.close() for peer in peers))


def _udp_ports(pid: int) -> set[int]:
    """The UDP ports that a process and its children have open, from /proc."""
    family = {pid}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                family.add(int(entry.name))
    inodes = set()
    for member in family:
        for descriptor in Path(f"/proc/{member}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    ports = set()
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


async def test_one_call_is_one_trace_through_all_services(stack: Stack, otlp: OtlpReceiver) -> None:
    otlp.spans.clear()
    result, _ = await converse(stack.url, None, None, question("What time is it?"))
    assert result.ok, result.error
    setting_up = {"offer", "place", "open", "claim", "first_packet", "ice", "dtls", "first_audio_in", "first_audio_out"}
    wanted = {"call", *setting_up, "end_of_turn", "playout"}

    def trace_of_the_call() -> str | None:
        for span in otlp.spans:
            if span.name == "offer" and wanted <= {other.name for other in otlp.of_trace(span.trace_id)}:
                return span.trace_id
        return None

    await until(lambda: trace_of_the_call() is not None, 15)
    trace_id = trace_of_the_call()
    assert trace_id is not None
    spans = otlp.of_trace(trace_id)
    assert {span.service for span in spans} >= {
        "antiphon-signaling",
        "antiphon-transceiver",
        "antiphon-inference-bridge",
    }
    assert sum(span.name == "call" for span in spans) == 1
    known = {span.span_id for span in spans}
    assert all(span.parent_id in known for span in spans if span.parent_id), "a span's parent is missing"


async def test_a_call_that_is_over_is_unknown_and_the_stack_stays_healthy(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http:
        peer = Peer(lambda _: None, lambda _: None)
        await peer.connect(stack.url, "echo")
        location = peer.location
        await peer.close()
        gone = await http.post(location + "/hangup")
        assert gone.status_code == 404
        assert gone.json()["error"]["message"]
        assert (await http.get("/healthz")).status_code == 200


async def test_an_agent_that_ends_the_call_is_told_from_a_firewall_and_a_goodbye_from_a_fault(
    stack: Stack, tmp_path: Path
) -> None:
    agents = {name: Agent(name) for name in ("goodbye", "hasty", "mute", "failing")}

    @agents["goodbye"].session
    async def goodbye(session: Session) -> None:
        await session.say(np.asarray(say("Goodbye, and thank you for calling."), dtype="<i2").tobytes())

    @agents["hasty"].session
    async def hasty(session: Session) -> None:
        await asyncio.sleep(0.1)  # the session is there by then, the client is not connected

    @agents["mute"].session
    async def mute(session: Session) -> None:
        async for _ in session.audio():
            return

    @agents["failing"].session
    async def failing(session: Session) -> None:
        await session.say(np.asarray(say("Well."), dtype="<i2").tobytes())
        raise RuntimeError("in mid-call")

    async with AsyncExitStack() as serving:
        for agent in agents.values():
            known = stack.user(User("agent", agent.name))
            await serving.enter_async_context(agent.serving(stack.nats_url, known["ANTIPHON_NATS_CREDENTIALS"]))
        out, wav = tmp_path / "said.wav", tmp_path / "question.wav"
        write_wav(wav, question("What time is it?"), RATE)
        command = ["-m", "antiphon.cli.main", "call", "--json", "--url", stack.url, "--agent", "goodbye"]
        done = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--wav", str(wav), "--out", str(out), stdout=subprocess.PIPE
        )
        told = json.loads((await done.communicate())[0])
        assert (done.returncode, told["ok"], told["ended"]) == (0, True, "the agent ended the call")
        assert "error" not in told
        assert words(transcribe(read_wav(out, RATE)))[-2:] == ["for", "calling"]
        began = asyncio.get_running_loop().time()
        for name, message in (
            ("hasty", "the agent ended the call at once, without a word"),
            ("mute", "the agent ended the call at once, without a word"),
            ("failing", "the agent failed and ended the call"),
        ):
            result, _ = await converse(stack.url, name, None, question("What time is it?"))
            assert (result.ok, result.error) == (False, message), name
        assert asyncio.get_running_loop().time() - began < 15
