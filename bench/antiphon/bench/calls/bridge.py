"""How long a caller waits for a running bridge, and which step it waits for.

Plays callers against the bridge that answers on ANTIPHON_NATS_URL, in real time, with questions in the packaged voice.
It measures the bridge's share of the wait: from the last loud sample on NATS to the first frame of the answer on NATS,
without any network. The bridge's own times come from its events `antiphon.latency`. Run the bridge under test with
ANTIPHON_GREETING=none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from typing import Any, Final

import numpy as np
import soxr

from antiphon.bench._lib.statistics import percentiles
from antiphon.cli.errors import UsageError
from antiphon.inference_bridge.models.local import load_synthesizer, load_transcriber
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples, Synthesizer
from antiphon.runtime.nats import connection
from antiphon.testing.fake_transceiver import INPUT_RATE, FakeTransceiver

QUESTIONS: Final = (
    "What time is it?",
    "I would like to book an appointment for tomorrow at ten thirty.",
    "What have I booked?",
    "Can you move it to half past two on Thursday?",
    "When are you open?",
    "What day is it today?",
    "Please cancel my appointment.",
    "Thank you very much.",
)


def _summary(times_ms: list[float]) -> dict[str, float | None]:
    return percentiles(times_ms, (50, 95, 100))


def models_alone(transcriber: Transcriber, synthesizer: Synthesizer, spoken: list[Samples]) -> dict[str, Any]:
    """What the models take on an idle machine, one at a time, in ms."""
    transcribing: list[float] = []
    first: list[float] = []
    long: list[float] = []
    for speech in spoken:
        started = time.perf_counter()
        transcriber.transcribe(speech.astype("<i2").tobytes())
        transcribing.append((time.perf_counter() - started) * 1000)
    for clauses, text in ((first, "Let me see."), (long, "I have booked you for tomorrow at half past ten.")):
        for _ in range(len(spoken)):
            started = time.perf_counter()
            synthesizer.synthesize(text)
            clauses.append((time.perf_counter() - started) * 1000)
    return {"stt_ms": _summary(transcribing), "tts_three_words_ms": _summary(first), "tts_ten_words_ms": _summary(long)}


async def conversation(call: FakeTransceiver, spoken: list[Samples], waits: list[float]) -> None:
    """Ask everything once; the ms from the last loud sample to the answer's first frame go into `waits`."""
    for number, speech in enumerate(spoken, 1):
        frames = len(call.frames)
        await call.say(speech)
        await call.wait_for("response.done", number, timeout=60)
        waits.append((call.frame_times_ns[frames] - call.speech_end_ns) / 1e6)


async def measure(settings: Settings, calls: int) -> dict[str, Any]:
    transcriber, synthesizer = load_transcriber(settings), load_synthesizer(settings)
    voiced = [soxr.resample(synthesizer.synthesize(q), SPEECH_RATE, INPUT_RATE) for q in QUESTIONS]
    spoken: list[Samples] = [np.asarray(v, dtype=np.int16) for v in voiced]
    result: dict[str, Any] = {"models_alone": models_alone(transcriber, synthesizer, spoken), "calls": calls}
    client = await connection.connect(settings.nats_url, "antiphon-inference-bridge-bench")
    waits: list[float] = []
    events: list[dict[str, Any]] = []

    async def caller(number: int) -> None:
        async with FakeTransceiver(client, settings.agent_name) as call:
            await asyncio.sleep(number * 0.37)  # people do not speak in chorus
            order = spoken[number % len(spoken) :] + spoken[: number % len(spoken)]
            await conversation(call, order, waits)
            events.extend(call.of_type("antiphon.latency"))

    try:
        await asyncio.gather(*(caller(number) for number in range(calls)))
    finally:
        await client.close()
    result["turns"] = len(waits)
    result["end_of_speech_to_first_audio_ms"] = _summary(waits)
    for name in ("end_of_turn_ms", "stt_ms", "stt_wait_ms", "agent_ms", "tts_first_ms"):
        result[name] = _summary([event[name] for event in events])
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=1, help="conversations at once (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.calls < 1:
        raise UsageError(f"--calls {args.calls}: at least 1")
    logging.basicConfig(level=logging.WARNING)
    result = asyncio.run(measure(Settings(), args.calls))
    if args.json:
        print(json.dumps(result))
        return 0
    for name, value in {**result.pop("models_alone"), **result}.items():
        shown = (
            "   ".join(f"{key} {number:7.1f}" for key, number in value.items()) if isinstance(value, dict) else value
        )
        print(f"{name:36} {shown}")
    return 0
