"""`python -m antiphon.bench.calls.bridge`: how long a caller waits for a running bridge, and for what.

Plays callers against the bridge that answers on ANTIPHON_NATS_URL, in real time, with questions that the
packaged voice speaks. What is measured is this side's share: from the last loud sample on NATS to the first
frame of the answer on NATS, without any network. The bridge's own account of it comes from `antiphon.latency`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from typing import Any, Final

import numpy as np
import soxr

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


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = min(len(ordered) - 1, int(len(ordered) * 0.95))
    return {"p50": round(statistics.median(ordered), 1), "p95": round(ordered[at], 1), "max": round(ordered[-1], 1)}


def models_alone(transcriber: Transcriber, synthesizer: Synthesizer, spoken: list[Samples]) -> dict[str, Any]:
    """What the models take on an idle machine, one at a time, in ms."""
    hearing: list[float] = []
    first: list[float] = []
    long: list[float] = []
    for speech in spoken:
        started = time.perf_counter()
        transcriber.transcribe(speech.astype("<i2").tobytes())
        hearing.append((time.perf_counter() - started) * 1000)
    for clauses, text in ((first, "Let me see."), (long, "I have booked you for tomorrow at half past ten.")):
        for _ in range(len(spoken)):
            started = time.perf_counter()
            synthesizer.synthesize(text)
            clauses.append((time.perf_counter() - started) * 1000)
    return {"stt_ms": _spread(hearing), "tts_three_words_ms": _spread(first), "tts_ten_words_ms": _spread(long)}


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
    result["end_of_speech_to_first_audio_ms"] = _spread(waits)
    for name in ("end_of_turn_ms", "stt_ms", "stt_wait_ms", "agent_ms", "tts_first_ms"):
        result[name] = _spread([event[name] for event in events])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m antiphon.bench.calls.bridge", description=__doc__)
    parser.add_argument("--calls", type=int, default=1, help="conversations at once (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    # the bridge under test must greet nobody: ANTIPHON_GREETING=none
    result = asyncio.run(measure(Settings(), arguments.calls))
    if arguments.json:
        print(json.dumps(result))
        return 0
    for name, value in {**result.pop("models_alone"), **result}.items():
        spread = (
            "   ".join(f"{key} {number:7.1f}" for key, number in value.items()) if isinstance(value, dict) else value
        )
        print(f"{name:36} {spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
