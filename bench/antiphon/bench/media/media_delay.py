"""What relay, transceiver and NATS add to a frame's way: client to agent, and agent to client.

One process is both ends, so that one clock measures: a client that sends packets through the relay, and an
agent on NATS that is told the session's frames and publishes speech.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
from typing import Any, Final

import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.bench._lib.loudness import mean_level
from antiphon.bench._lib.statistics import percentiles
from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import UsageError
from antiphon.cli.up.running_stack import agent_for
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import audio, messages, subjects
from antiphon.schemas.audio import AudioFrame

FRAME: Final = RATE // 50
MARK_EVERY: Final = 15
"""Frames between two marks: a mark is a loud frame in silence, found again by its energy."""
LOUD: Final = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running stack (default: %(default)s)")
    parser.add_argument("--nats", default=connection.DEFAULT_NATS_URL, help="its NATS server (default: %(default)s)")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--marks", type=int, default=60, help="measurements each way (default: %(default)s)")
    parser.add_argument("--live", action="store_true", help="an agent that is not ahead: one frame every 20 ms")
    parser.add_argument(
        "--jitter-ms",
        type=float,
        default=5.0,
        help="with --live: most lateness of a frame (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.marks < 1:
        raise UsageError(f"--marks {args.marks}: at least 1")
    if not 0 <= args.jitter_ms < 20:
        raise UsageError(f"--jitter-ms {args.jitter_ms:g}: from 0 to below 20")
    result = asyncio.run(_measure(args))
    if args.json:
        print(json.dumps(result))
    else:
        for name, spread in result.items():
            print(f"{name:>18}: " + "  ".join(f"{key} {value}" for key, value in spread.items()))
    return 0


def mark(rate: int) -> bytes:
    """A frame that no codec hides: 20 ms of a loud tone."""
    time = np.arange(rate // 50) / rate
    return (np.sin(2 * np.pi * 440 * time) * 12000).astype("<i2").tobytes()


class _Ends:
    """Both ends: when each mark left, and when it was seen."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.up_sent: float | None = None
        self.down_sent: float | None = None
        self.up: list[float] = []
        self.down: list[float] = []

    def left_client(self) -> None:
        self.up_sent = self.loop.time()

    def at_agent(self, pcm: bytes) -> None:
        if self.up_sent is not None and mean_level(pcm) > LOUD:
            self.up.append((self.loop.time() - self.up_sent) * 1000)
            self.up_sent = None

    def at_client(self, frame: AudioFrame) -> None:
        if self.down_sent is not None and mean_level(frame.pcm) > LOUD:
            self.down.append((self.loop.time() - self.down_sent) * 1000)
            self.down_sent = None


async def _measure(args: argparse.Namespace) -> dict[str, dict[str, float | None]]:
    ends = _Ends()
    name = f"bench-{secrets.token_hex(4)}"
    with agent_for(name, args.nats) as access:
        async with on_the_bus(args.nats, "antiphon-bench", "agent", access) as client:
            await _mark(args, ends, name, client)
    if args.live:
        return {"live_agent_to_client_ms": _summary(ends.down)}
    return {"client_to_agent_ms": _summary(ends.up), "agent_to_client_ms": _summary(ends.down)}


async def _mark(args: argparse.Namespace, ends: _Ends, name: str, client: Client) -> None:
    sessions: list[str] = []

    async def received(message: Msg) -> None:
        ends.at_agent(audio.unpack_frame(message.data).pcm)

    async def claimed(request: Any) -> None:
        claim = messages.decode(request.data, messages.Claim)
        sessions.append(claim.session_id)
        await client.subscribe(subjects.audio_in(name, claim.session_id), cb=received)
        await connection.flush(client)
        await request.respond(messages.encode(messages.ClaimReply(accepted=True, input_rate=24000)))

    service = await service_discovery.register(client, service_discovery.AGENT_SERVICE, {"agent": name})
    await service.add_endpoint(name="claim", subject=subjects.agent_claim(name), handler=claimed)
    peer = Peer(ends.at_client, lambda _: None, ends.left_client)
    try:
        await peer.connect(args.url, name, args.key)
        await asyncio.sleep(1)
        subject = subjects.audio_out(name, sessions[0])
        if args.live:
            await _speak_live(args, ends, client, subject)
        else:
            await _speak_marks(args, ends, client, subject, peer)
    finally:
        await peer.close()


async def _speak_marks(args: argparse.Namespace, ends: _Ends, client: Client, subject: str, peer: Peer) -> None:
    """Marks both ways, each on its own."""
    for _ in range(args.marks):
        peer.speak(mark(RATE))
        ends.down_sent = ends.loop.time()
        for index, pcm in enumerate((mark(RATE), bytes(2 * FRAME), bytes(2 * FRAME))):
            frame = AudioFrame(index, 0, 0, RATE, 0, 0, pcm)
            await client.publish(subject, audio.pack_frame(frame))
        # A time that is no multiple of 20 ms: marks fall on every phase of the clocks.
        await asyncio.sleep(MARK_EVERY * 0.0203)


async def _speak_live(args: argparse.Namespace, ends: _Ends, client: Client, subject: str) -> None:
    """Frames without an end and none ahead of its time; the first is the latest, as after a slow start."""
    began, chance = ends.loop.time(), random.Random(1)
    hum = (np.sin(np.arange(FRAME) * 0.05) * 50).astype("<i2").tobytes()
    for number in range(args.marks * MARK_EVERY):
        late = chance.random() * args.jitter_ms if number else 15.0
        await asyncio.sleep(max(0.0, began + number * 0.020 + late / 1000 - ends.loop.time()))
        marks = number % MARK_EVERY == MARK_EVERY - 1
        if marks:
            ends.down_sent = ends.loop.time()
        frame = AudioFrame(number, number * FRAME, 0, RATE, 0, 0, mark(RATE) if marks else hum)
        await client.publish(subject, audio.pack_frame(frame))


def _summary(delays_ms: list[float]) -> dict[str, float | None]:
    return {"marks": len(delays_ms), **(percentiles(delays_ms, (50, 99), 2) if delays_ms else {})}
