"""`PYTHONPATH=tests python -m fuzz.flood SECONDS PER_SECOND [KIND...]`: one caller floods with packets of its own keys.

As `fuzz.live`, with packets that are well-formed and authentic, each as many as a hostile relay (one without a budget)
passes on. `pulses` of a kind come all at once, once a second. Exit status 0 if the neighbour of each flood had no frame
missing and 99 of 100 were less than 10 ms late.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.models.sounds import tone
from support.peers.sctp_packets import UNORDERED, data, packet
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats import nats_server

from antiphon.cli.ice_check import pack_binding_request
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.runtime.nats import connection
from fuzz.live import BATCH, NICE, WITHIN, Beside, Heard, Process, process

KINDS: Final = ("opus", "holes", "nacks", "checks", "sctp", "opus-pulses", "checks-pulses")
PAYLOAD_TYPE: Final = 111
LONGER: Final = 4.0


def sender(kind: str, peer: Flooder) -> Callable[[], None]:
    """Sends one packet of that kind with each call."""
    dice = random.Random(1)
    rubbish = [b"\xf8" + dice.randbytes(80) for _ in range(100)]
    stream, numbers = peer.rtp, iter(range(1 << 30))

    def speech(step: int) -> None:
        stream.sequence = stream.sequence + step & 0xFFFF
        number = next(numbers)
        timestamp = number * 960 * step & 0xFFFFFFFF
        peer.send_rtp(pack_rtp(PAYLOAD_TYPE, False, stream.sequence, timestamp, stream.ssrc, rubbish[number % 100]))

    def nack() -> None:
        lost = b"".join(struct.pack("!HH", base & 0xFFFF, 0xFFFF) for base in range(0, 65536, 17))[:1200]
        media = peer.answer_ssrc()
        peer.send_rtcp(struct.pack("!BBHII", 0x81, 205, 2 + len(lost) // 4, stream.ssrc, media) + lost)

    answer = peer.answer
    checks = (
        [pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=False) for _ in range(5000)]
        if kind.startswith("checks")
        else []
    )

    def check() -> None:
        number = next(numbers)
        if number < len(checks):
            peer.transmit(checks[number])
        else:  # as cheap to send, and authentic still
            peer.transmit(pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=False))

    def sctp() -> None:
        assert peer._data is not None
        association, number = peer._data._sctp, next(numbers)
        chunks = b"".join(data(association.local_tsn + number * 20 + each, b"x", UNORDERED | 3) for each in range(20))
        peer._send_record(packet(association._remote_verification_tag, chunks))

    return {
        "opus": lambda: speech(1),
        "holes": lambda: speech(2),
        "nacks": nack,
        "checks": check,
        "sctp": sctp,
    }[kind.removesuffix("-pulses")]


class Flooder(CarriedPeer):
    """A client that knows the SSRC of our stream."""

    def answer_ssrc(self) -> int:
        return int(self.answer_text.split("a=ssrc:")[1].split()[0])

    def begin(self, answer: str) -> None:
        self.answer_text = answer
        super().begin(answer)


class FromFlooder(Beside):
    def peer(self) -> CarriedPeer:
        peer = super().peer()
        header = next(each for each, known in self.clients.items() if known is peer)
        flooder = self.clients[header] = Flooder(peer.transmit)
        return flooder


async def attack(nats_url: str, kind: str, seconds: float, per_second: int) -> None:
    """What the flooder's process does; it says how much it has sent and how its call ended."""
    os.nice(NICE)
    client = await connection.connect(nats_url, "antiphon-flood")
    bench = FromFlooder(nats_url, client)
    sent = 0
    try:
        await bench.start()
        peer, line = await bench.call()
        assert isinstance(peer, Flooder)
        peer.unplug_microphone()
        send = sender(kind, peer)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds and line.ended is None:
            due = int(elapsed) * per_second + per_second if kind.endswith("-pulses") else int(elapsed * per_second)
            for _ in range(due - sent):
                send()
            sent = max(sent, due)
            await asyncio.sleep(BATCH)
        print(sent, line.ended)
    finally:
        await bench.close()
        await client.close()


async def flooded(nats_url: str, log: Path, kind: str, seconds: float, per_second: int) -> tuple[Process, int, str]:
    """The process, which has ended then, with what the neighbour heard; packets sent; how the flooder's call ended."""
    async with process(nats_url, log) as bench:
        neighbour, line = await bench.call()
        neighbour.speak(tone(seconds + LONGER + 10))
        command = [sys.executable, "-m", "fuzz.flood", "attack", nats_url, kind, str(seconds), str(per_second)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        flooder = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
        bench.listened, bench.heard = line, Heard()
        try:
            said, _ = await flooder.communicate()
        finally:
            if flooder.returncode is None:
                flooder.kill()
        assert flooder.returncode == 0
        assert line.ended is None, "the neighbour's call goes on"
        sent, ended = said.split()
        return bench, int(sent), ended.decode()


async def main(seconds: float, per_second: int, kinds: list[str]) -> int:
    failed = False
    for kind in kinds:
        with (
            tempfile.TemporaryDirectory(prefix="antiphon-flood-") as scratch,
            nats_server(Path(scratch, "nats")) as url,
        ):
            bench, sent, ended = await flooded(url, Path(scratch, "log"), kind, seconds, per_second)
        assert bench.heard is not None
        heard = bench.heard
        missing = heard.sequences[-1] - heard.sequences[0] + 1 - len(heard.sequences)
        concealed = heard.concealed
        late = [heard.percentile(share) * 1000 for share in (0.5, 0.99, 1.0)]
        failed |= missing > 0 or late[1] >= WITHIN * 1000
        print(
            f"{kind}: {sent} packets sent, its call {ended}; neighbour: {len(heard.sequences)} frames, {missing} "
            "missing, {} concealed; late p50 {:.1f}, p99 {:.1f}, most {:.1f} ms".format(concealed, *late),
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["attack", url, kind, seconds, rate]:
            asyncio.run(attack(url, kind, float(seconds), int(rate)))
        case [seconds, rate, *kinds]:
            sys.exit(asyncio.run(main(float(seconds), int(rate), kinds or list(KINDS))))
