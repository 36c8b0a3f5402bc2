"""Our checks, and a NAT that gives the client another port, through a real relay."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import RelayProcess, relay_process
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import Bench, Line

from antiphon.rtc import stun

pytestmark = pytest.mark.process


class Caller:
    """A client with a socket of its own at a real relay."""

    def __init__(self, relay: RelayProcess, tcp: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._tcp = tcp
        self._at = relay.tcp[0] if tcp else relay.address
        self._stream = b""
        self.answers = 0
        self.checks = True
        self.peer = CarriedPeer(self._send)
        self.connect()

    def connect(self) -> None:
        """From a port of its own, as behind a NAT that has forgotten the one before."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM)
        self._socket.connect(self._at)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _send(self, data: bytes) -> None:
        kind = stun.message_type(data)
        if kind == stun.BINDING_REQUEST and not self.checks:
            return
        self.answers += kind == stun.BINDING_SUCCESS
        with contextlib.suppress(OSError):  # the relay ends before we do
            self._socket.send(len(data).to_bytes(2, "big") + data if self._tcp else data)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            self._stream += self._socket.recv(4096)
        if not self._tcp and self._stream:
            self.peer.receive(self._stream)
            self._stream = b""
        while len(self._stream) > 2 and len(self._stream) >= 2 + int.from_bytes(self._stream[:2], "big"):
            end = 2 + int.from_bytes(self._stream[:2], "big")
            frame, self._stream = self._stream[2:end], self._stream[end:]
            self.peer.receive(frame)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


async def connected(bench: Bench, caller: Caller) -> Line:
    opened = await bench.opened(caller.peer.offer())
    caller.peer.begin(opened.answer)
    line = bench.lines[opened.session_id]
    caller.peer.speak(tone(60))
    await bench.until(lambda: loud(line.frames), "the caller is received")
    return line


async def test_answers_to_our_checks_and_a_rebound_port_find_their_call_through_a_relay(bench: Bench) -> None:
    async with relay_process(bench.nats_url, settings={"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0"}) as relay:
        await relay.knows(routes=1)
        by_tcp, by_udp = Caller(relay, tcp=True), Caller(relay, tcp=False)
        await connected(bench, by_tcp)
        line = await connected(bench, by_udp)
        await bench.until(lambda: by_tcp.answers > 0 and by_udp.answers > 0, "both have answered a check of ours")
        by_udp.checks = False
        await bench.say(line, speech(20))
        await bench.until(lambda: loud(by_udp.peer.frames), "the agent is received")
        by_udp.close()
        by_udp.connect()
        frames, received = len(by_udp.peer.frames), len(line.frames)
        await bench.until(lambda: len(by_udp.peer.frames) > frames + 25, "the agent is received at the new port")
        await bench.until(lambda: len(line.frames) > received + 50, "the caller is received from there")
        assert sum(frame.flags != 0 for frame in line.frames[received:]) <= 25, "half a second is made up at most"
        await relay.dropped("unknown_client")
        for caller in (by_tcp, by_udp):
            await caller.peer.close()
            caller.close()
