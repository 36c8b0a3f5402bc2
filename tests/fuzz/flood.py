"""`PYTHONPATH=tests python -m fuzz.flood SECONDS PER_SECOND [direct|udp|tcp [KIND...]]`: a caller floods beside a call.

A real transceiver, alone on the first core, gets the packets from a relay without a budget (`direct`), or from a real
one, which all clients reach by UDP or by ICE-TCP. Each flood (`fuzz.floods`)
lies between two times as long without one, in the same run: their figures are what it is compared with. The neighbour
speaks and its agent speaks all the time. The exit status is 0 if under no flood the neighbour lost more packets than
before or after it, and 99 of 100 were less than 10 ms late both ways, or no later than without the flood.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from support.models.sounds import tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats import nats_server, server_pid
from support.processes.relay_process import RelayProcess, relay_process, workers_of
from support.processes.transceiver_process import Line

from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame
from fuzz.entrances import Entrance
from fuzz.floods import KINDS, PULSES, Flooder, packets
from fuzz.live import NICE, WITHIN, Beside, Process

WAYS: Final = ("direct", "udp", "tcp")
DEFAULT: Final = (*KINDS, f"opus{PULSES}", f"checks{PULSES}")
BATCH: Final = 0.001
"""Seconds between two batches of a flood."""
PULSE: Final = 0.05
SETTLE: Final = 0.3
"""Seconds after a flood that are its own still: what waits is handled in them."""
AHEAD: Final = 2.0
"""Seconds of speech that wait to be played."""
CLOCK: Final = 48000
NOT_THE_TRANSCEIVERS: Final = 1
"""The core of all but the transceiver."""
PRIORITY: Final = 10
"""Of what measures, before all that is not real time: the flooder has the same core."""


Figures = dict[str, dict[str, float]]
"""By phase and name."""


class Watched:
    """The packets of one direction: their lateness against the best of all phases, and the numbers that are missing."""

    def __init__(self) -> None:
        self.best = float("inf")
        self.begin()
        self._last: int | None = None

    def begin(self) -> None:
        """A new phase."""
        self.offsets: list[float] = []
        self.missing = self.concealed = 0

    def note(self, number: int, position: float, concealed: bool, now: float) -> None:
        """Packet `number` came, whose media begins at `position` seconds."""
        if self._last is not None:
            self.missing += number - self._last - 1
        self._last = number
        self.concealed += concealed
        self.offsets.append(now - position)
        self.best = min(self.best, now - position)

    def late(self, share: float) -> float:
        """Milliseconds."""
        late = sorted(self.offsets)
        return (late[min(len(late) - 1, int(len(late) * share))] - self.best) * 1000 if late else float("inf")


class Neighbour(CarriedPeer):
    """A client that notes when speech for it is on the wire."""

    watched: Watched | None = None
    _sequence = _timestamp = 0

    def receive(self, datagram: bytes) -> None:
        if self.watched is not None and 127 < datagram[0] < 192 and not is_rtcp(datagram):
            sequence, timestamp = int.from_bytes(datagram[2:4], "big"), int.from_bytes(datagram[4:8], "big")
            self._sequence += (sequence - self._sequence + 0x8000 & 0xFFFF) - 0x8000
            self._timestamp += (timestamp - self._timestamp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
            self.watched.note(self._sequence, self._timestamp / CLOCK, False, time.monotonic())
        super().receive(datagram)


class Flooded(Process):
    """The transceiver, and the neighbour with its agent."""

    def __init__(self, nats_url: str, client: Client, log: Path) -> None:
        super().__init__(nats_url, client, log)
        self.to_agent, self.to_client = Watched(), Watched()
        self.entrances: list[Entrance] = []
        self.relays_address: Address | None = None
        self.way = "direct"

    def enter_by(self, way: str, relay: Address) -> None:
        """Clients that call from now on use a relay."""
        self.way, self.relays_address = way, relay

    def _spawn(self, settings: dict[str, str]) -> None:
        super()._spawn(settings)
        _pin(self.pid, 0)
        _prefer(self.pid)

    def peer(self) -> CarriedPeer:
        peer = super().peer()
        header = next(each for each, known in self.clients.items() if known is peer)
        self.clients[header] = neighbour = Neighbour(peer.transmit)
        if self.relays_address is not None:
            self.entrances.append(Entrance(self.way, self.relays_address, neighbour))
        return neighbour

    async def _heard(self, message: Msg) -> None:
        listened = self.listened
        if listened is None or subjects.audio_in(listened.agent, listened.session_id) != message.subject:
            await super()._heard(message)
            return
        frame = unpack_frame(message.data)
        self.to_agent.note(frame.sequence, frame.first_sample / frame.rate, bool(frame.flags), time.monotonic())

    async def speak_forever(self, line: Line) -> None:
        """The agent's part."""
        sound = tone(1.0, 24000)
        began, number = time.monotonic(), 0
        while True:
            while number * 0.02 < time.monotonic() - began + AHEAD:
                at = number % 50 * 960
                frame = AudioFrame(number, number * 480, time.time_ns(), 24000, 0, 1, sound[at : at + 960])
                await self.client.publish(subjects.audio_out(line.agent, line.session_id), pack_frame(frame))
                number += 1
            await asyncio.sleep(0.2)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kernel_drops(self) -> int:
        """Datagrams that found the receive buffer of the transceiver's socket full."""
        port = f":{self.address.port:04X}"
        lines = (line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:])
        return sum(int(line[12]) for line in lines if line[1].endswith(port))

    @contextlib.asynccontextmanager
    async def phase(self, name: str, figures: Figures) -> AsyncIterator[None]:
        """What the neighbour feels in this block goes into `figures`."""
        self.to_agent.begin()
        self.to_client.begin()
        began, worked, dropped = time.monotonic(), self.cpu_seconds(), self.kernel_drops()
        yield
        figures[name] = {
            "late in p99": self.to_agent.late(0.99),
            "most": self.to_agent.late(1),
            "late out p99": self.to_client.late(0.99),
            "most out": self.to_client.late(1),
            "missing": self.to_agent.missing + self.to_client.missing,
            "concealed": self.to_agent.concealed,
            "dropped": self.kernel_drops() - dropped,
            "CPU": (self.cpu_seconds() - worked) / (time.monotonic() - began) * 100,
        }


class FromFlooder(Beside):
    def __init__(self, nats_url: str, client: Client) -> None:
        super().__init__(nats_url, client)
        # An address of its own for each flooder: the call of the one before, from the same, has not ended yet.
        self.clients_host = f"192.0.2.{2 + os.getpid() % 250}"
        self._enter: tuple[str, Address] | None = None
        self.entrance: Entrance | None = None

    def enter_by(self, way: str, relay: Address) -> None:
        """The client that calls next uses a relay."""
        self._enter = way, relay

    def peer(self) -> CarriedPeer:
        peer = super().peer()
        header = next(each for each, known in self.clients.items() if known is peer)
        flooder = self.clients[header] = Flooder(peer.transmit)
        if self._enter is not None:
            self.entrance = Entrance(*self._enter, flooder)
        return flooder


def _pin(pid: int, core: int) -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


def _prefer(*pids: int) -> None:
    """Let this process and these go before the flooder and all else on this machine, where we may."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))


async def attack(nats_url: str, way: str, relay: str, kind: str, seconds: float, per_second: int) -> None:
    """The flooder's process. It waits for a line when its packets are made, and says how many it has sent."""
    os.nice(NICE)
    client = await connection.connect(nats_url, "antiphon-flood")
    bench = FromFlooder(nats_url, client)
    sent = 0
    try:
        await bench.start()
        if way != "direct":
            bench.enter_by(way, parse_address(relay))
        peer, line = await bench.call()
        assert isinstance(peer, Flooder)
        peer.unplug_microphone()
        header = next(each for each, known in bench.clients.items() if known is peer)
        made = packets(kind, peer, header, int(seconds * per_second))
        if bench.entrance is not None:
            flood, send = [each for _, each in made], bench.entrance.send
        else:
            flood, to = [head + each for head, each in made], bench.address
            send = partial(bench.relay.send, to=to)
        peer.keep_records_back()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began, pulses = time.monotonic(), kind.endswith(PULSES)
        while (elapsed := time.monotonic() - began) < seconds and line.ended is None:
            due = int((elapsed // PULSE + 1) * PULSE * per_second) if pulses else int(elapsed * per_second)
            for datagram in flood[sent:due]:
                send(datagram)
            sent = max(sent, min(due, len(flood)))
            await asyncio.sleep(BATCH)
        print(sent, line.ended, flush=True)
    finally:
        await bench.close()
        await client.close()


async def flooded(bench: Flooded, kind: str, seconds: float, per_second: int) -> tuple[Figures, str]:
    """What the neighbour felt before, during and after, and what the flooder says."""
    how = ["attack", bench.nats_url, bench.way, str(bench.relays_address), kind, str(seconds), str(per_second)]
    command = [sys.executable, "-m", "fuzz.flood", *how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    flooder = await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe)
    assert flooder.stdout is not None
    assert flooder.stdin is not None
    figures: Figures = {}
    try:
        assert await flooder.stdout.readline() == b"ready\n"
        await asyncio.sleep(SETTLE)
        async with bench.phase("before", figures):
            await asyncio.sleep(seconds)
        async with bench.phase(kind, figures):
            flooder.stdin.write(b"go\n")
            said = (await flooder.stdout.readline()).decode()
            await asyncio.sleep(SETTLE)
        async with bench.phase("after", figures):
            await asyncio.sleep(seconds)
        assert await flooder.wait() == 0
    finally:
        if flooder.returncode is None:
            flooder.kill()
            await flooder.wait()
    return figures, said


def passes(kind: str, figures: Figures) -> bool:
    """What docs/security.md promises."""
    under, others = figures[kind], (figures["before"], figures["after"])

    def usual(name: str) -> float:
        return max(other[name] for other in others)

    in_time = all(under[each] < max(WITHIN * 1000, usual(each)) for each in ("late in p99", "late out p99"))
    return in_time and all(under[each] <= usual(each) for each in ("missing", "concealed"))


async def beside_floods(bench: Flooded, kinds: list[str], seconds: float, per_second: int) -> list[str]:
    """Print what the neighbour feels of each kind; returns those that are worse than they should be."""
    failed = []
    neighbour, line = await bench.call()
    assert isinstance(neighbour, Neighbour)
    neighbour.speak(tone(1.0) * int(len(kinds) * (seconds * 3 + 30)))
    bench.listened, neighbour.watched = line, bench.to_client
    speaking = asyncio.create_task(bench.speak_forever(line))
    try:
        await asyncio.sleep(1)
        for kind in kinds:
            bench.to_agent.best = bench.to_client.best = float("inf")
            figures, said = await flooded(bench, kind, seconds, per_second)
            assert line.ended is None, "the neighbour's call goes on"
            failed += [] if passes(kind, figures) else [kind]
            print(f"{kind}: {said.strip()}")
            for phase, each in figures.items():
                print(f"  {phase:14}", ", ".join(f"{name} {value:.1f}" for name, value in each.items()), flush=True)
    finally:
        await tasks.end(speaking)
    return failed


@contextlib.asynccontextmanager
async def entered(bench: Flooded, way: str) -> AsyncIterator[None]:
    """With a relay for all clients, where they use one."""
    if way == "direct":
        yield
        return
    async with relay_process(bench.nats_url, settings={"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0"}) as relay:
        await relay.knows(routes=1)
        _prefer(relay.pid, *workers_of(relay.pid))
        bench.enter_by(way, await _tcp_address(bench, relay) if way == "tcp" else relay.address)
        yield


async def _tcp_address(bench: Flooded, relay: RelayProcess) -> Address:
    announced = await bench.client.subscribe(subjects.relay_announce("test"))
    told = messages.decode((await announced.next_msg(5)).data, messages.RelayAnnouncement)
    await announced.unsubscribe()
    return parse_address(told.tcp_addresses[0])


async def main(seconds: float, per_second: int, way: str, kinds: list[str]) -> int:
    _pin(0, NOT_THE_TRANSCEIVERS)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="antiphon-flood-") as scratch, nats_server(Path(scratch, "nats")) as url:
        _prefer(server_pid(Path(scratch, "nats")))
        client = await connection.connect(url, "antiphon-fuzz")
        bench = Flooded(url, client, Path(scratch, "log"))
        try:
            await bench.start()
            async with entered(bench, way):
                failed = await beside_floods(bench, kinds, seconds, per_second)
        finally:
            await bench.close()
            await client.close()
        print(*(bench.complaints()[:20]), sep="\n")
    print("failed:", *failed or ["none"])
    return int(bool(failed))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["attack", url, way, relay, kind, seconds, rate]:
            asyncio.run(attack(url, way, relay, kind, float(seconds), int(rate)))
        case [seconds, rate, *how]:
            way, kinds = (how[0], how[1:]) if how and how[0] in WAYS else ("direct", how)
            everything = [each for each in DEFAULT if way == "direct" or each != "forged"]
            sys.exit(asyncio.run(main(float(seconds), int(rate), way, kinds or everything)))
