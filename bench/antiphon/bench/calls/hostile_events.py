"""How long a caller waits for an answer while another caller floods the same bridge with events.

Plays both against the bridge that answers on ANTIPHON_NATS_URL. The neighbour asks by text, each time at another speed
of speech, so that its answer is synthesised anew: what is measured goes from its `response.create` to the first frame.
The other caller sends from a process of its own, without and with each attack. Run the bridge with
ANTIPHON_GREETING=none.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from antiphon.bench._lib.statistics import percentiles
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.nats import connection
from antiphon.testing.fake_transceiver import FakeTransceiver

Event = dict[str, Any]
BATCH: Final = 20
LONG_TEXT: Final = "and so I went on to say, without ever coming to an end, " * 40


def _message(text: str) -> Event:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def _tools() -> Event:
    schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(300)}}
    tools = [{"type": "function", "name": f"tool_{n}", "parameters": schema} for n in range(5)]
    return {"type": "session.update", "session": {"tools": tools}}


CREATE: Final[Event] = {"type": "response.create"}
CANCEL: Final[Event] = {"type": "response.cancel"}
ATTACKS: Final[dict[str, list[Event]]] = {
    "none": [],
    "small items": [_message("Hello")],
    "items of 28 KiB": [_message("x" * 28 * 1024)],
    "tools of 60 KiB": [_tools()],
    "responses and cancels": [_message(LONG_TEXT), CREATE, CANCEL],
    "commits": [{"type": "input_audio_buffer.commit"}],
    "all of it": [_message("Hello"), _tools(), CREATE, _message(LONG_TEXT), CANCEL, {"type": "nothing"}],
}


def _attack(url: str, agent: str, events: list[Event], rate: float, seconds: float) -> None:
    """The flood, in a process of its own."""

    async def flood() -> None:
        client = await connection.connect(url, "bench-flood")
        try:
            async with FakeTransceiver(client, agent) as call:
                following: Iterator[Event] = itertools.cycle(events)
                began, sent = time.monotonic(), 0
                while (passed := time.monotonic() - began) < seconds and not call.hung_up.is_set():
                    while sent < passed * rate:
                        for _ in range(BATCH):
                            await call.send(next(following))
                        sent += BATCH
                    await asyncio.sleep(0.005)
        finally:
            await client.close()

    asyncio.run(flood())


async def _answers(call: FakeTransceiver, seconds: float, speeds: Iterator[int]) -> list[float]:
    """Ask for so long; ms until the first frame of each answer."""
    waits: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await call.send({"type": "session.update", "session": {"audio": {"output": {"speed": 1 + next(speeds) / 1e5}}}})
        await call.send(_message("When are you open?"))
        done, frames, asked = len(call.of_type("response.done")), len(call.frames), time.monotonic()
        await call.send(CREATE)
        await call.until(_more_frames(call, frames))
        waits.append((time.monotonic() - asked) * 1000)
        await call.send({"type": "output_audio_buffer.clear"})
        await call.wait_for("response.done", done + 1)
    return waits


def _more_frames(call: FakeTransceiver, frames: int) -> Callable[[], bool]:
    return lambda: len(call.frames) > frames


async def measure(settings: Settings, rate: float, seconds: float) -> dict[str, Any]:
    """Waits of the neighbour in ms, by attack."""
    client = await connection.connect(settings.nats_url, "bench-neighbour")
    result: dict[str, Any] = {}
    spawn = multiprocessing.get_context("spawn")
    speeds = itertools.count()
    try:
        for name, events in ATTACKS.items():
            arguments = (settings.nats_url, settings.agent_name, events, rate, seconds + 2)
            attacker = spawn.Process(target=_attack, args=arguments) if events else None
            async with FakeTransceiver(client, settings.agent_name) as call:
                if attacker:
                    attacker.start()
                    await asyncio.sleep(1.5)
                try:
                    waits = await _answers(call, seconds, speeds)
                except TimeoutError:
                    waits = [20_000.0]
                result[name] = {"answers": len(waits), **percentiles(waits, (50, 95, 100))}
            if attacker:
                await asyncio.to_thread(attacker.join)
    finally:
        await client.close()
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=1000.0, help="events a second of the flood (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each attack (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    result = asyncio.run(measure(Settings(), args.rate, args.seconds))
    if args.json:
        print(json.dumps(result))
        return 0
    for name, values in result.items():
        print(f"{name:24}" + "   ".join(f"{key} {value:8.1f}" for key, value in values.items()))
    return 0
