"""`PYTHONPATH=tests python -m fuzz.flood SECONDS PER_SECOND [KIND...]`: one caller floods; what does a neighbour feel?

A real transceiver, alone on the first core, gets the packets from a relay without a budget. Each flood (`fuzz.floods`)
lies between two times as long without one, in the same run: their figures are what it is compared with. The neighbour
speaks and its agent speaks all the time. The exit status is 0 if under no flood the neighbour lost more packets than
before or after it, and 99 of 100 were less than 10 ms late both ways.
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
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from support.models.sounds import tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats import nats_server, server_pid
from support.processes.transceiver_process import Line

from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame
from fuzz.floods import KINDS, PULSES, Flooder, packets
from fuzz.live import NICE, WITHIN, Beside, Process

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

    def _spawn(self, settings: dict[str, str]) -> None:
        super()._spawn(settings)
        _pin(self.pid, 0)

    def peer(self) -> CarriedPeer:
        peer = super().peer()
        header = next(each for each, known in self.clients.items() if known is peer)
        self.clients[header] = neighbour = Neighbour(peer.transmit)
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
    async def phase(self, name: str, figures: dict[str, dict[str, float]]) -> AsyncIterator[None]:
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

    def peer(self) -> CarriedPeer:
        peer = super().peer()
        header = next(each for each, known in self.clients.items() if known is peer)
        flooder = self.clients[header] = Flooder(peer.transmit)
        return flooder


def _pin(pid: int, core: int) -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


def _prefer(directory: Path) -> None:
    """Let this process and the NATS server go before the flooder, which has the same core, where we may."""
    server = server_pid(directory)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
        for thread in Path(f"/proc/{server}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))


async def attack(nats_url: str, kind: str, seconds: float, per_second: int) -> None:
    """The flooder's process. It waits for a line when its packets are made, and says how many it has sent."""
    os.nice(NICE)
    client = await connection.connect(nats_url, "antiphon-flood")
    bench = FromFlooder(nats_url, client)
    sent = 0
    try:
        await bench.start()
        peer, line = await bench.call()
        assert isinstance(peer, Flooder)
        peer.unplug_microphone()
        header = next(each for each, known in bench.clients.items() if known is peer)
        flood = [head + each for head, each in packets(kind, peer, header, int(seconds * per_second))]
        peer.keep_records_back()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        send, to = bench.relay.socket.sendto, tuple(bench.address)
        began, pulses = time.monotonic(), kind.endswith(PULSES)
        while (elapsed := time.monotonic() - began) < seconds and line.ended is None:
            due = int((elapsed // PULSE + 1) * PULSE * per_second) if pulses else int(elapsed * per_second)
            for datagram in flood[sent:due]:
                send(datagram, to)
            sent = max(sent, min(due, len(flood)))
            await asyncio.sleep(BATCH)
        print(sent, line.ended, flush=True)
    finally:
        await bench.close()
        await client.close()


async def flooded(
    bench: Flooded, kind: str, seconds: float, per_second: int
) -> tuple[dict[str, dict[str, float]], str]:
    """What the neighbour felt before, during and after, and what the flooder says."""
    command = [sys.executable, "-m", "fuzz.flood", "attack", bench.nats_url, kind, str(seconds), str(per_second)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    flooder = await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe)
    assert flooder.stdout is not None
    assert flooder.stdin is not None
    figures: dict[str, dict[str, float]] = {}
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


def passes(kind: str, figures: dict[str, dict[str, float]]) -> bool:
    """What docs/security.md promises."""
    under, others = figures[kind], (figures["before"], figures["after"])
    late = max(under["late in p99"], under["late out p99"]) >= WITHIN * 1000
    return not late and all(under[each] <= max(other[each] for other in others) for each in ("missing", "concealed"))


async def main(seconds: float, per_second: int, kinds: list[str]) -> int:
    _pin(0, NOT_THE_TRANSCEIVERS)
    failed = []
    with tempfile.TemporaryDirectory(prefix="antiphon-flood-") as scratch, nats_server(Path(scratch, "nats")) as url:
        _prefer(Path(scratch, "nats"))
        client = await connection.connect(url, "antiphon-fuzz")
        bench = Flooded(url, client, Path(scratch, "log"))
        speaking: list[asyncio.Task[None]] = []
        try:
            await bench.start()
            neighbour, line = await bench.call()
            assert isinstance(neighbour, Neighbour)
            neighbour.speak(tone(1.0) * int(len(kinds) * (seconds * 3 + 30)))
            bench.listened, neighbour.watched = line, bench.to_client
            speaking.append(asyncio.create_task(bench.speak_forever(line)))
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
            await tasks.end(*speaking)
            await bench.close()
            await client.close()
        print(*(bench.complaints()[:20]), sep="\n")
    print("failed:", *failed or ["none"])
    return int(bool(failed))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["attack", url, kind, seconds, rate]:
            asyncio.run(attack(url, kind, float(seconds), int(rate)))
        case [seconds, rate, *kinds]:
            sys.exit(asyncio.run(main(float(seconds), int(rate), kinds or list(DEFAULT))))
