"""What a NATS server costs per audio frame, and a process per announcement that it reads.

A server on a core of its own carries the frames of so many calls, both ways, each from one publisher to one
subscriber, at the rate of those calls. Its processor time over the frames is `us_per_frame`: one message in, one out.
`announcement_us` is the processor time of a process that subscribes with the client of our services and decodes
announcements of transceivers. `antiphon world --calls ... --from FILE` takes the output of `--json` as inputs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import selectors
import tempfile
import time
from pathlib import Path
from typing import Final

from nats.aio.msg import Msg

from antiphon.bench._lib.cores import cores
from antiphon.bench._lib.processes import nats_server
from antiphon.bench.media.nats_wire import NatsWire
from antiphon.cli.errors import UsageError
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.schemas.messages import TransceiverAnnouncement

FRAME_S: Final = 0.02
ANNOUNCEMENTS: Final = 20_000
TICKS: Final = os.sysconf("SC_CLK_TCK")
RATE: Final = 24_000
"""Hz of the calls' PCM, the default of a session."""


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _server_pid(directory: Path) -> int:
    return int(next(directory.glob("*.ports")).stem.rpartition("_")[2])


def _frames(url: str, pid: int, calls: int, seconds: float) -> dict[str, float]:
    """Publish `calls` frames each way every 20 ms, and read them."""
    publisher, subscriber = NatsWire(url), NatsWire(url)
    received = 0

    def arrived(subject: bytes, reply: bytes, payload: bytes) -> None:
        nonlocal received
        received += 1

    pcm = os.urandom(int(RATE * FRAME_S) * 2)
    frame = pack_frame(AudioFrame(1_000_000, 480_000_000, time.time_ns(), RATE, 0, 3, pcm))
    names = [f"call{n:018d}" for n in range(calls)]
    each = [subjects.audio_in("echo", name).encode() for name in names]
    each += [subjects.audio_out("echo", name).encode() for name in names]
    try:
        for subject in each:
            subscriber.subscribe(subject.decode(), arrived)
        subscriber.flush()
        time.sleep(0.2)  # the server reads the subscriptions before the first frame
        with selectors.DefaultSelector() as selector:
            selector.register(subscriber.socket, selectors.EVENT_READ)
            spent, began = _cpu_seconds(pid), time.monotonic()
            due, sent = began, 0
            while due < began + seconds:
                for subject in each:
                    publisher.publish(subject, frame)
                publisher.flush()
                sent += len(each)
                due += FRAME_S
                while (left := due - time.monotonic()) > 0:
                    if selector.select(left):
                        subscriber.readable()
            until = time.monotonic() + 2
            while received < sent and time.monotonic() < until:
                publisher.flush()
                if selector.select(0.05):
                    subscriber.readable()
            took, elapsed = _cpu_seconds(pid) - spent, time.monotonic() - began
    finally:
        publisher.close()
        subscriber.close()
    if received < sent * 0.99:
        raise UsageError(f"{received} of {sent} frames came through NATS: is the machine busy? Ask for fewer --calls")
    return {
        "us_per_frame": round(took / received * 1e6, 2),
        "frames_per_second": round(received / elapsed),
        "frame_bytes": len(frame),
        "core_percent": round(100 * took / elapsed, 1),
    }


async def _announcements(url: str) -> float:
    """Processor time of this process per announcement received and decoded, less that of publishing, in us."""
    announcement = TransceiverAnnouncement(
        cluster=1, slot=7, epoch=3, tunnel_address="10.0.0.7:40000", state="ready", sessions=80, capacity=100,
        lateness_ms=0.8, holder="0123456789abcdef0123456789abcdef", lifeline="10.0.0.7:40001", region="europe",
    )  # fmt: skip
    payload, subject = messages.encode(announcement), subjects.transceiver_announce(1, 7)
    publisher, reader = NatsWire(url), await connection.connect(url, "bench-announcements")
    received, done = 0, asyncio.Event()

    async def arrived(message: Msg) -> None:
        nonlocal received
        messages.decode(message.data, TransceiverAnnouncement)
        received += 1
        if received == ANNOUNCEMENTS:
            done.set()

    try:
        await reader.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=arrived)
        await reader.flush()
        publisher.socket.setblocking(True)
        for _ in range(ANNOUNCEMENTS):
            publisher.publish(subject.encode(), payload)
        publisher.flush()  # nothing is read meanwhile: the reader's own time begins here
        began = time.process_time()
        async with asyncio.timeout(30):
            await done.wait()
        return round((time.process_time() - began) / ANNOUNCEMENTS * 1e6, 1)
    finally:
        publisher.close()
        await reader.close()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=100, help="calls at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of frames (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.calls <= 500 or not 0.5 <= args.seconds <= 600:
        raise UsageError("--calls takes 1 to 500, --seconds 0.5 to 600")
    core, other = cores()
    os.sched_setaffinity(0, {other})
    with tempfile.TemporaryDirectory() as scratch, nats_server(Path(scratch), core) as url:
        found: dict[str, float] = _frames(url, _server_pid(Path(scratch)), args.calls, args.seconds)
        found["announcement_us"] = asyncio.run(_announcements(url))
    found["calls"] = args.calls
    if args.json:
        print(json.dumps(found))
    else:
        print(
            f"NATS server: {found['us_per_frame']} us per frame of {found['frame_bytes']} bytes at "
            f"{found['frames_per_second']} frames/s; a reader of announcements: {found['announcement_us']} us each"
        )
    return 0
