"""What an agent does that gets its own voice back as echo: is its answer spoken to its end, and may it be interrupted?

Each call's greeting is an answer of ten seconds. Its speaker is coupled to its microphone: what is played comes back
through Opus, a room and Opus again, so many ms later and so many dB below. In the first half of the calls nobody
speaks; in the other half a caller speaks into the answer, as loud as the agent. NATS, bridge and models are real, the
transceiver is played. It starts its own NATS and bridge, once with the canceller and once without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.bench._lib.proc import cpu_seconds
from antiphon.bench._lib.processes import nats_server, process
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench._lib.word_errors import word_error_rate, words
from antiphon.cli.errors import UsageError
from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE
from antiphon.rtc.media.opus import Decoder, Encoder
from antiphon.runtime.nats import connection
from antiphon.schemas.audio import AudioFrame
from antiphon.testing.fake_transceiver import INPUT_FRAME, INPUT_RATE, FakeTransceiver

Samples = npt.NDArray[np.int16]

ANSWER: Final = (
    "Thank you for calling the clinic. We are open from Monday to Friday between eight and six. On Saturday we close at"
    " noon. If you would like to book an appointment, please tell me the day and the time that suit you best."
)
"""Ten seconds."""
CALLERS: Final = (
    "Wait, I need Tuesday instead.",
    "Can you repeat that?",
    "I want to speak to a person.",
    "Do you have a free place tomorrow?",
    "Please tell me your address.",
)
LEVELS_DB: Final = (6, 12, 20, 30, 40)
DELAYS_MS: Final = (50, 150, 250, 400)
NOISE: Final = 12.0
"""RMS of the microphone's own noise."""
ROOM_S: Final = 0.12
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class EchoPath:
    """One way from speaker to microphone. A value."""

    level_db: int
    delay_ms: int


class EchoingCall(FakeTransceiver):
    """A call whose speaker its microphone picks up."""

    def couple(self, path: EchoPath, seed: int) -> None:
        """Before the call begins."""
        random = np.random.default_rng(seed)
        count = int(ROOM_S * INPUT_RATE)
        room = random.normal(0, 1, count) * np.exp(-np.arange(count) * 6 / count)
        room[0] = 3
        self._room = room / np.sqrt(np.sum(room**2)) * 10 ** (-path.level_db / 20)
        self._late = path.delay_ms * INPUT_RATE // 1000
        self._random = random
        self._down = (Encoder(SPEECH_RATE), Decoder(INPUT_RATE))
        self._up = (Encoder(INPUT_RATE), Decoder(INPUT_RATE))
        self._air = np.zeros(self._late + count + 2 * INPUT_FRAME)
        """What will be at the microphone, from the next frame on."""

    def speaker(self, frame: AudioFrame | None) -> None:
        """What is played now arrives later."""
        if frame is not None:
            encoder, decoder = self._down
            sound = np.frombuffer(decoder.decode(encoder.encode(frame.pcm)), dtype="<i2").astype(np.float64)
            echo = np.convolve(sound, self._room)
            self._air[self._late : self._late + len(echo)] += echo

    def microphone(self, pcm: bytes) -> bytes:
        """The caller and the echo, as the transceiver decodes it."""
        sound = np.frombuffer(pcm, dtype="<i2") + self._air[:INPUT_FRAME] + self._random.normal(0, NOISE, INPUT_FRAME)
        self._air = np.concatenate([self._air[INPUT_FRAME:], np.zeros(INPUT_FRAME)])
        encoder, decoder = self._up
        return decoder.decode(encoder.encode(np.clip(sound, -32768, 32767).astype("<i2").tobytes()))


@dataclass
class Result:
    """What became of one call."""

    path: EchoPath
    whole: bool = False
    """The answer was spoken to its end."""
    turns: int = 0
    """Turns of the caller that were found."""
    holds: int = 0
    interrupted_ms: float | None = None
    """From the caller's first sample to the stop of the agent."""
    spoken: str = ""
    transcript: str = ""


def _transcripts(call: FakeTransceiver) -> list[str]:
    done = call.of_type("conversation.item.input_audio_transcription.completed")
    return [event["transcript"] for event in done if event["transcript"]]


async def listen(call: EchoingCall, result: Result) -> None:
    """Nobody speaks."""
    done = await call.wait_for("response.done", timeout=PATIENCE)
    await call.quiet(2.0)
    result.whole = done["response"]["status"] == "completed"
    result.turns = len(call.of_type("input_audio_buffer.committed"))
    result.holds = len(call.pause_times)
    result.transcript = " | ".join(_transcripts(call))


async def interrupt(call: EchoingCall, result: Result, speech: Samples, after_s: float) -> None:
    """A caller speaks into the answer."""
    await call.until(lambda: bool(call.played), PATIENCE)
    await call.quiet(after_s)
    await call.say(speech)
    await call.wait_for("response.done", timeout=PATIENCE)
    stops = [at for at in (*call.pause_times, *call.flush_times) if at >= call.speech_begin]
    cancelled = call.of_type("response.done")[0]["response"]["status"] == "cancelled"
    if cancelled and stops:
        result.interrupted_ms = (stops[0] - call.speech_begin) * 1000
        await call.until(lambda: bool(_transcripts(call)), PATIENCE)
    result.transcript = " ".join(_transcripts(call))


async def measure(url: str, agent: str, at_once: int, spoken: list[Samples], seed: int) -> list[Result]:
    """A call without and one with a caller for each path."""
    client = await connection.connect(url, "antiphon-bench-echo")
    random = np.random.default_rng(seed)
    results: list[Result] = []
    room = asyncio.Semaphore(at_once)

    async def one(number: int, path: EchoPath, caller: int | None, after_s: float) -> None:
        async with room:
            session = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
            call, result = EchoingCall(client, agent, session), Result(path)
            call.couple(path, seed + number)
            async with call:
                if caller is None:
                    await listen(call, result)
                else:
                    result.spoken = CALLERS[caller]
                    await interrupt(call, result, spoken[caller], after_s)
            results.append(result)

    paths = [EchoPath(level, delay) for level, delay in product(LEVELS_DB, DELAYS_MS)]
    calls = [one(number, path, None, 0.0) for number, path in enumerate(paths)]
    calls += [
        one(100 + number, path, number % len(CALLERS), float(random.uniform(1, 6))) for number, path in enumerate(paths)
    ]
    try:
        await asyncio.gather(*calls)
    finally:
        await client.close()
    return results


def summary(results: list[Result], cpu: float) -> dict[str, Any]:
    quiet = [result for result in results if not result.spoken]
    spoken = [result for result in results if result.spoken]
    stopped = [result for result in spoken if result.interrupted_ms is not None]
    pairs = [(words(result.spoken), words(result.transcript)) for result in spoken]
    return {
        "answers": len(quiet),
        "spoken_to_the_end": sum(result.whole for result in quiet),
        "false_turns": sum(result.turns for result in quiet),
        "holds": sum(result.holds for result in quiet),
        "interruptions": len(spoken),
        "interrupted": len(stopped),
        "understood": sum(word_error_rate([pair]) <= 0.25 for pair in pairs),
        "interrupted_after_ms": percentiles([r.interrupted_ms or 0.0 for r in stopped], (50, 95)),
        "bridge_cpu_s": round(cpu, 1),
        "failed": [vars(result) | {"path": vars(result.path)} for result in results if not _is_right(result)],
    }


def _is_right(result: Result) -> bool:
    return result.interrupted_ms is not None if result.spoken else result.whole and not result.turns


@contextmanager
def _bridge(url: str, mode: str) -> Iterator[Any]:
    settings = {
        "ANTIPHON_NATS_URL": url,
        "ANTIPHON_ECHO": mode,
        "ANTIPHON_GREETING": ANSWER,
        "ANTIPHON_SCRIPTED_AGENT": "antiphon.demo.concierge.in_bridge.Concierge",
        "ANTIPHON_BRIDGE_MAX_WAIT": "0",  # all calls of a round at once
        "OTEL_SDK_DISABLED": "true",
    }
    with process([sys.executable, "-m", "antiphon.inference_bridge"], env=settings) as child:
        yield child


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of rooms, noise and times (default: %(default)s)")
    parser.add_argument("--only", choices=("cancel", "keep"), help="the bridge's ANTIPHON_ECHO (default: both)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.calls < 1:
        raise UsageError(f"--calls {args.calls}: at least 1")
    logging.basicConfig(level=logging.WARNING)
    synthesizer = load_synthesizer(Settings())
    spoken = []
    for text in CALLERS:
        voiced = soxr.resample(synthesizer.synthesize(text), SPEECH_RATE, INPUT_RATE)
        spoken.append(np.asarray(voiced, dtype=np.int16))
    found: dict[str, Any] = {}
    for mode in (args.only,) if args.only else ("cancel", "keep"):
        with (
            tempfile.TemporaryDirectory() as directory,
            nats_server(Path(directory)) as url,
            _bridge(url, mode) as child,
        ):
            results = asyncio.run(_measured(url, args.calls, spoken, args.seed, child.pid))
        found[mode] = results
    if args.json:
        print(json.dumps(found))
        return os.EX_OK
    for mode, rows in found.items():
        print(mode)
        for name, value in rows.items():
            print(f"  {name:24} {value}")
    return os.EX_OK


async def _measured(url: str, calls: int, spoken: list[Samples], seed: int, pid: int) -> dict[str, Any]:
    await _answers(url)
    before = cpu_seconds(pid)
    results = await measure(url, Settings().agent_name, calls, spoken, seed)
    return summary(results, cpu_seconds(pid) - before)


async def _answers(url: str) -> None:
    """Wait until the bridge takes a call."""
    client = await connection.connect(url, "antiphon-bench-echo")
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with FakeTransceiver(client, Settings().agent_name):
                        return
                except Exception:
                    await asyncio.sleep(0.5)
    finally:
        await client.close()
