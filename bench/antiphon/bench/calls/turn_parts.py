"""Whether the parts of a turn add up: spans of a whole stack against the caller's own recording, turn by turn.

It starts a stack with the packaged models and the scripted agent on loopback, reads the spans back by OTLP/HTTP, and
compares for each turn the sum of its parts with the time between the caller's last sample sent and the first one
received. A part that has no span makes the turn fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from antiphon.bench._lib.otlp import Span, otlp_receiver
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench.calls.own_stack import own_stack
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import UsageError
from antiphon.runtime.telemetry import names
from antiphon.schemas.audio import AudioFrame, FrameFlag

QUESTION: Final = "What time is it?"
AGENT: Final = "concierge"
AUDIBLE: Final = 100
"""Of 32768: what is quieter at the end of the question is not sent."""
EXPECTED: Final = frozenset(
    ("uplink", "receive", "end_of_turn", "stt", "agent", "tts", "publish", "playout", "send", "downlink")
)
"""Parts that each turn has here; the client reports no jitter buffer, and the relay is not asked."""
_WITHIN: Final = 20.0
_FRAME: Final = RATE // 50
_QUIET: Final = 1.0
_LAST_SPANS: Final = 3.0


class Heard(NamedTuple):
    """One turn in the caller's recording, Unix time in seconds."""

    last_sent: float
    first_received: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=50, help="how many (default: %(default)s)")
    parser.add_argument("--within", type=float, default=20.0, help="ms that p95 may differ (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.turns < 1:
        raise UsageError("--turns is at least 1")
    with otlp_receiver() as receiver, tempfile.TemporaryDirectory() as directory:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
        heard = _converse(Path(directory), args.turns)
        result = compared(heard, receiver.spans)
    result["ok"] = not result["missing"] and result["compared"] == args.turns
    worst = result["difference_ms"]["p95"]
    result["ok"] = result["ok"] and worst is not None and worst < args.within
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>15}: {value}")
    return 0 if result["ok"] else 1


def compared(heard: list[Heard], spans: list[Span]) -> dict[str, Any]:
    """Each turn of the recording against the turn of the trace that ended next to it."""
    differences, waits, sums, missing = list[float](), list[float](), list[float](), list[list[str]]()
    parts: dict[str, list[float]] = {}
    starts: list[float] = []
    turns = list(turns_of(spans))
    for turn in heard:
        found = min(turns, key=lambda each: abs(_ends(each) - turn.first_received), default=None)
        if found is None or abs(_ends(found) - turn.first_received) > 1.0:
            missing.append(sorted(EXPECTED))
            continue
        if absent := sorted(EXPECTED - found.keys()):
            missing.append(absent)
            continue
        ms = {part: (span.ended_ns - span.began_ns) / 1e6 for part, span in found.items()}
        wait = (turn.first_received - turn.last_sent) * 1000
        sums.append(sum(ms.values()))
        waits.append(wait)
        differences.append(abs(sums[-1] - wait))
        starts.append(found["uplink"].began_ns / 1e6 - turn.last_sent * 1000)
        for part, each in ms.items():
            parts.setdefault(part, []).append(each)
    return {
        "turns": len(heard),
        "compared": len(differences),
        "difference_ms": percentiles(differences, (50, 95, 100), 2),
        "wait_ms": percentiles(waits),
        "sum_ms": percentiles(sums),
        "begins_late_ms": percentiles(starts, (0, 50, 100), 2),
        "parts_ms": {part: percentiles(values, (50, 95), 2) for part, values in parts.items()},
        "missing": missing,
    }


def turns_of(spans: list[Span]) -> Iterator[dict[str, Span]]:
    """The parts of each turn that was answered, by name."""
    by_parent: dict[str, dict[str, Span]] = {}
    for span in spans:
        if names.PART in span.attributes:
            by_parent.setdefault(span.parent_id, {})[span.attributes[names.PART]] = span
    yield from (parts for parts in by_parent.values() if "send" in parts)


def _ends(turn: dict[str, Span]) -> float:
    return max(span.ended_ns for span in turn.values()) / 1e9


def _converse(directory: Path, turns: int) -> list[Heard]:
    question = _trimmed(say([QUESTION], RATE)[0])
    with own_stack(directory) as stack:
        stack.relay()
        stack.transceiver()
        stack.signaling(AGENT)
        stack.bridge()
        stack.until_healthy()
        return asyncio.run(_call(stack.url, question, turns))


def _trimmed(samples: Samples) -> Samples:
    return samples[: int(np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)[-1]) + 1]


class _Recording:
    """Both directions of the call. Used on the event loop."""

    def __init__(self) -> None:
        self.sent: list[float] = []
        """Unix times at which frames of speech left."""
        self.received: list[float] = []
        """Unix times at which frames of speech came."""

    def took(self, frame: AudioFrame) -> None:
        if not frame.flags & (FrameFlag.SILENCE | FrameFlag.CONCEALED):
            self.received.append(frame.captured_ns / 1e9)


async def _call(url: str, question: Samples, turns: int) -> list[Heard]:
    loop, recording = asyncio.get_running_loop(), _Recording()
    unix = _unix_offset(loop)
    peer = Peer(recording.took, lambda text: None, on_sent=lambda: recording.sent.append(loop.time() + unix))
    heard: list[Heard] = []
    await peer.connect(url, AGENT, None)
    try:
        await asyncio.sleep(6.0)  # a report of the round trip has come: from then on all parts are known
        frames = -(-len(question) // _FRAME)
        for _ in range(turns):
            before, since = len(recording.sent), len(recording.received)
            peer.speak(question.tobytes())
            deadline = loop.time() + _WITHIN
            while len(recording.sent) < before + frames or len(recording.received) == since:
                if loop.time() > deadline:
                    break
                await asyncio.sleep(0.01)
            else:
                # the last frame leaves when its last sample was spoken, the question may end inside it
                last_sent = recording.sent[before + frames - 1] - (frames * _FRAME - len(question)) / RATE
                heard.append(Heard(last_sent, recording.received[since]))
            while recording.received and loop.time() + unix - recording.received[-1] < _QUIET:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await peer.close()
        await asyncio.sleep(_LAST_SPANS)
    return heard


def _unix_offset(loop: asyncio.AbstractEventLoop) -> float:
    import time

    return time.time() - loop.time()
