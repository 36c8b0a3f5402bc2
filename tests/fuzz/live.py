"""`PYTHONPATH=tests python -m fuzz.live SECONDS [PER_SECOND]`: mutated SCTP from a live session's own keys.

A real transceiver process holds two sessions. One client sends it SCTP packets that no client sends, sealed by its
DTLS keys; the other talks, and its frames are timed where they arrive, at NATS. Exit status 0 if the process logged
no error, both of its calls could be held, and 99 of 100 of the neighbour's frames were less than 10 ms late.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from support.models.sounds import tone
from support.peers.sctp_packets import MALFORMED, UNORDERED, data, forward_tsn, packet, sack
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats import nats_server
from support.processes.transceiver_process import Bench, Line

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import unpack_frame
from fuzz.targets import WELL_FORMED

BATCH: Final = 0.005
"""Seconds between two batches of an attacker: it is no faster than its own loop."""
MOST: Final = 40
"""Packets of a batch."""
DEAF: Final = 1.0
"""Seconds without a record of the transceiver's after which its association is taken for closed."""
RENEW: Final = 5.0
"""Seconds after which the attacker calls again anyway: an association may have closed unnoticed."""
NICE: Final = 10
"""The attacker's machine is another one in reality: on ours it gets what the transceiver and the neighbour leave."""
LONGER: Final = 15.0
"""Seconds that the neighbour speaks beyond the attack: its process has to start."""
WITHIN: Final = 0.010
"""Seconds: how late a frame may be."""


@dataclass
class Heard:
    """The neighbour's frames: when each arrived, against the best of the last seconds."""

    lateness: list[float] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    concealed: int = 0
    """Frames made up for packets that did not come in time."""
    _offsets: deque[float] = field(default_factory=lambda: deque(maxlen=250))

    def frame(self, payload: bytes, now: float) -> None:
        frame = unpack_frame(payload)
        self.sequences.append(frame.sequence)
        self.concealed += bool(frame.flags)
        offset = now - frame.first_sample / frame.rate
        self._offsets.append(offset)
        self.lateness.append(offset - min(self._offsets))

    def percentile(self, share: float) -> float:
        return sorted(self.lateness)[min(len(self.lateness) - 1, int(len(self.lateness) * share))]


class Process(Bench):
    """As `Bench`, with its log in a file."""

    def __init__(self, nats_url: str, client: Client, log: Path) -> None:
        super().__init__(nats_url, client)
        self.log = log
        self.heard: Heard | None = None
        self.listened: Line | None = None

    def _spawn(self, settings: dict[str, str]) -> None:
        with self.log.open("w") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=settings, stderr=log)

    async def _heard(self, message: Msg) -> None:
        listened = self.listened is not None and message.subject == subjects.audio_in(
            self.listened.agent, self.listened.session_id
        )
        if listened and self.heard is not None:
            self.heard.frame(message.data, time.monotonic())
            return
        await super()._heard(message)

    def complaints(self) -> list[str]:
        """What of the log should not be there."""
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line or "ERROR" in line]


@asynccontextmanager
async def process(nats_url: str, log: Path) -> AsyncIterator[Process]:
    client = await connection.connect(nats_url, "antiphon-fuzz")
    running = Process(nats_url, client, log)
    try:
        await running.start()
        yield running
    finally:
        await running.close()
        await client.close()


class Beside(Bench):
    """Relay and signaling of the attacker, in a process of its own: it takes no time from the neighbour's."""

    clients_host = "192.0.2.2"

    def _spawn(self, settings: dict[str, str]) -> None:
        pass  # the transceiver is the other one's

    def relay_announcement(self) -> messages.RelayAnnouncement:
        return super().relay_announcement().model_copy(update={"name": "beside"})


class Attacker:
    """One caller: well-behaved until its channel is open, again and again."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.calls = self.sent = 0
        self._dice = random.Random(seed)
        self._ahead = 0

    async def attack(self, until: float, per_second: int) -> None:
        while time.monotonic() < until:
            peer, line = await self.bench.call()
            self.calls += 1
            self._ahead = 0
            began, before = time.monotonic(), self.sent
            records, changed = 0, began
            while time.monotonic() < min(until, began + RENEW) and line.ended is None and not over(peer):
                if peer._records is not None and peer._records.state.read_highest != records:
                    records, changed = peer._records.state.read_highest, time.monotonic()
                elif self.sent > before and time.monotonic() - changed > DEAF:
                    break  # a packet has ended the association
                due = int((time.monotonic() - began) * per_second) - (self.sent - before)
                for _ in range(min(due, MOST)):
                    self._send(peer)
                await asyncio.sleep(BATCH)
            await self.bench.control(line, messages.HangUp())
            await peer.vanish()

    def _send(self, peer: CarriedPeer) -> None:
        assert peer._data is not None
        association = peer._data.association
        dice, tag = self._dice, association.peer_tag
        chunks = self._chunks(association.outbound.next_tsn, association.inbound.tsn)
        if dice.random() < 0.7:
            chunks = self._mutated(chunks)
        if dice.random() < 0.02:
            tag = dice.choice((0, tag ^ 1, dice.getrandbits(32)))
        written = packet(0 if chunks[:1] == b"\1" else tag, chunks)
        peer._send_record(written if dice.random() > 0.02 else self._mutated(written))
        self.sent += 1

    def _chunks(self, tsn: int, acknowledged: int) -> bytes:
        dice = self._dice
        at = tsn + self._ahead
        kind = dice.randrange(8)
        if kind == 0:
            return dice.choice(WELL_FORMED[:-2])
        if kind == 1:
            return dice.choice(list(MALFORMED.values()))[:1100]
        if kind == 2:  # small messages, which come in turn
            self._ahead += 20
            return b"".join(data(at + n, b"%d" % n, UNORDERED | 3) for n in range(20))
        if kind == 3:  # every second number
            return b"".join(data(at + 2 * n + dice.randrange(8192), b"gap", 3 | UNORDERED) for n in range(20))
        if kind == 4:  # fragments
            self._ahead += 1
            return data(at, dice.randbytes(dice.choice((1, 20, 1000))), dice.choice((0, 0, 0, 1, 2, 4)))
        if kind == 5:
            return sack(acknowledged, [(dice.randrange(65536), dice.randrange(65536)) for _ in range(280)])
        if kind == 6:
            return sack(tsn + dice.randrange(-3, 3), [(1, 65535)] * 280)
        return forward_tsn(at + dice.choice((0, 1, 100, 70_000)), (1, dice.randrange(65536)))

    def _mutated(self, written: bytes) -> bytes:
        changed = bytearray(written)
        for _ in range(self._dice.randrange(4)):
            where = self._dice.randrange(len(changed))
            match self._dice.randrange(4):
                case 0:
                    changed[where] = self._dice.getrandbits(8)
                case 1:
                    changed[where] ^= 1 << self._dice.randrange(8)
                case 2 if len(changed) > 8:
                    del changed[where:]
                case _:
                    changed[where:where] = self._dice.randbytes(self._dice.choice((1, 4)))
            if len(changed) < 4:
                break
        return bytes(changed[:1180])


def over(peer: CarriedPeer) -> bool:
    return peer._data is None or peer._data.closed or peer.closed.is_set()


async def attack(nats_url: str, seconds: float, per_second: int) -> None:
    """What the attacker's process does; it says what it has done on its standard output."""
    os.nice(NICE)
    client = await connection.connect(nats_url, "antiphon-fuzz")
    bench = Beside(nats_url, client)
    try:
        await bench.start()
        attacker = Attacker(bench, 1)
        await attacker.attack(time.monotonic() + seconds, per_second)
    finally:
        await bench.close()
        await client.close()
    print(attacker.sent, attacker.calls)


async def attacked(nats_url: str, log: Path, seconds: float, per_second: int) -> tuple[Process, int, int]:
    """Attack for so long: the process, which has ended then, with what the neighbour heard; packets and calls."""
    async with process(nats_url, log) as bench:
        neighbour, line = await bench.call()
        # All the time: the silence of a sender in DTX is made up here, and the first of it late by design.
        neighbour.speak(tone(seconds + LONGER))
        command = [sys.executable, "-m", "fuzz.live", "attack", nats_url, str(seconds), str(per_second)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        attacker = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
        bench.listened, bench.heard = line, Heard()
        try:
            said, _ = await attacker.communicate()
        finally:
            if attacker.returncode is None:
                attacker.kill()
        assert attacker.returncode == 0
        sent, calls = map(int, said.split())
        assert line.ended is None, "the neighbour's call goes on"
        assert bench.is_running()
        neighbour.send_text("still here")
        await bench.until(lambda: any(each.text == "still here" for each in line.data), "its channel works")
        peer, _ = await bench.call()
        await peer.close()
        return bench, sent, calls


async def main(seconds: float, per_second: int) -> int:
    with tempfile.TemporaryDirectory(prefix="antiphon-live-") as scratch, nats_server(Path(scratch, "nats")) as url:
        bench, sent, calls = await attacked(url, Path(scratch, "log"), seconds, per_second)
        heard, complaints = bench.heard, bench.complaints()
        assert heard is not None
        late = [heard.percentile(share) * 1000 for share in (0.5, 0.99, 0.999, 1.0)]
        print(f"{sent} packets in {seconds:.0f} s, {calls} calls, {len(complaints)} errors in the log")
        missing = heard.sequences[-1] - heard.sequences[0] + 1 - len(heard.sequences)
        print(f"the neighbour's {len(heard.sequences)} frames, {missing} missing; lateness in ms: ", end="")
        print("p50 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, most {:.1f}".format(*late))
        print(*complaints[:20], sep="\n")
        return int(bool(complaints) or missing > 0 or late[1] >= WITHIN * 1000)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["attack", url, seconds, rate]:
            asyncio.run(attack(url, float(seconds), int(rate)))
        case [seconds, *rates]:
            sys.exit(asyncio.run(main(float(seconds), int(rates[0]) if rates else 2000)))
