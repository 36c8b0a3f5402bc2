"""`antiphon replay FILE`: sends the caller's speech and messages of a recorded call to an agent on NATS again.

FILE is an `.antiphon` file, or a WAV file with its time line beside it.

No WebRTC is involved: this command acts as the transceiver. Each replay sends the same frames and messages, in the same
order and at the same pace.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.call.wav import Samples, read_channel
from antiphon.cli.errors import UsageError, installing
from antiphon.cli.recordings.call_file import AUDIO, MAX_RAW_BYTES, RAW, SUFFIX, read_part
from antiphon.runtime.nats import connection
from antiphon.schemas import messages
from antiphon.schemas.audio import FRAME_MS

if TYPE_CHECKING:
    from antiphon.testing.fake_transceiver import FakeTransceiver

RATE: Final = 16000
MAX_AUDIO: Final = 256 << 20
"""Bytes of a recording's sound: some nine hours."""
ANSWER_WAIT: Final = 30.0
"""Seconds for the agent's last answer after the end of the recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon replay`."""
    parser.add_argument(
        "file", type=Path, help="a file of antiphon record (or any WAV file: its left channel is the caller)"
    )
    parser.add_argument("--agent", default="concierge", help="the agent's name (default: %(default)s)")
    parser.add_argument(
        "--nats", default=os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL, help="the bus"
    )
    parser.add_argument("--json", action="store_true", help="print every event of the agent, one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Replay the file and print the agent's events; returns the exit status."""
    if args.file.suffix == SUFFIX:
        samples, typed = _recorded(args.file)
    else:
        samples = read_channel(args.file, 0, RATE)
        beside = args.file.with_suffix(".jsonl")
        typed = _typed(str(beside), beside.read_text("utf-8") if beside.is_file() else "")
    return asyncio.run(_replay(args.nats, args.agent, samples, typed, args.json))


def _recorded(path: Path) -> tuple[Samples, list[tuple[float, dict[str, Any]]]]:
    """The caller's speech and what the client sent, of an `.antiphon` file."""
    try:
        from antiphon.cli.recordings import ogg_opus
    except ModuleNotFoundError as error:
        raise UsageError(f"reading {path} needs {error.name}: {installing('cli')}") from None
    try:
        audio = read_part(path, AUDIO, MAX_AUDIO)
        text = read_part(path, RAW, MAX_RAW_BYTES).decode("utf-8", "replace")
        samples = ogg_opus.read(audio, RATE)[:, 0].copy()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:  # of the archive or of the sound
        raise UsageError(f"{path} can't be read: {error}") from None
    return samples, _typed(f"{path} ({RAW})", text)


def _typed(name: str, text: str) -> list[tuple[float, dict[str, Any]]]:
    """What the client sent on its data channel, and when (ms); empty without a time line."""
    found: list[tuple[float, dict[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            if entry["kind"] == "data.in" and entry["message"]["channel"] == messages.EVENTS_CHANNEL:
                found.append((float(entry["at_ms"]), json.loads(entry["message"]["text"])))
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{name}, line {number}: this is no time line of antiphon record") from None
    return found


async def _replay(
    url: str, agent: str, samples: Samples, typed: list[tuple[float, dict[str, Any]]], every_event: bool
) -> int:
    try:
        from antiphon.testing.fake_transceiver import FakeTransceiver
    except ModuleNotFoundError as error:
        raise UsageError(f"replaying needs {error.name}: {installing('inference-bridge')}") from None
    try:
        async with on_the_bus(url, "antiphon-replay", "transceiver") as client:
            call = FakeTransceiver(client, agent)
            call.script(samples, [(round(at_ms / FRAME_MS), event) for at_ms, event in typed])
            await _play(call, every_event)
    except (RuntimeError, TimeoutError) as error:
        raise UsageError(str(error)) from None
    return 0


async def _play(call: FakeTransceiver, every_event: bool) -> None:
    async with call:
        await call.script_over()
        await call.quiet(1.0)  # a turn ends by silence
        await call.until(lambda: call.answered, ANSWER_WAIT)
        for event in call.events:
            _print(event, every_event)


def _print(event: dict[str, Any], every_event: bool) -> None:
    if every_event:
        print(json.dumps(event))
    elif event["type"] == "conversation.item.input_audio_transcription.completed":
        print(f"caller: {event['transcript']}")
    elif event["type"] == "response.output_audio_transcript.done":
        print(f" agent: {event['transcript']}")
