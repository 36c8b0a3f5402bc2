"""How long a caller waits for an answer while another caller floods the same bridge with events.

Plays both against the bridge that answers on ANTIPHON_NATS_URL. The neighbour asks by text, each time at another speed
of speech, so that its answer is synthesised anew: what is measured goes from its `response.create` to the first frame.
The other caller sends from a process of its own, in turns to a call that no bridge has (`without`, which costs the
machine the same) and to a call of the bridge (`with`). Run the bridge with ANTIPHON_GREETING=none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import nats.errors

from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.nats import connection
from antiphon.testing.fake_transceiver import FakeTransceiver

Event = dict[str, Any]
BATCH: Final = 20
LOST_SECONDS: Final = 5.0
"""An answer that takes so long counts as this, and ends its round."""
PAUSE_SECONDS: Final = 0.15
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
    "small items": [_message("Hello")],
    "items of 28 KiB": [_message("x" * 28 * 1024)],
    "items read back": [_message("x" * 28 * 1024)] + [{"type": "conversation.item.retrieve", "item_id": "item_1"}] * 99,
    "sessions read back": [_tools()] + [{"type": "session.update", "session": {}}] * 99,
    "tools of 60 KiB": [_tools()],
    "responses and cancels": [_message(LONG_TEXT), CREATE, CANCEL],
    "commits": [{"type": "input_audio_buffer.commit"}],
    "all of it": [_message("Hello"), _tools(), CREATE, _message(LONG_TEXT), CANCEL, {"type": "nothing"}],
}


def _attack(url: str, agent: str, events: list[Event], rate: float, seconds: float, has_bridge: bool) -> None:
    """The flood, in a process of its own. `has_bridge`: False for a call that no bridge was asked to take."""

    async def flood() -> None:
        client = await connection.connect(url, "bench-flood")
        try:
            async with FakeTransceiver(client, agent, claimed=not has_bridge) as call:
                following: Iterator[Event] = itertools.cycle(events)
                began, sent = time.monotonic(), 0
                while (passed := time.monotonic() - began) < seconds and not call.hung_up.is_set():
                    while sent < passed * rate:
                        for _ in range(BATCH):
                            with contextlib.suppress(nats.errors.Error):  # the server does not read as fast
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
        try:
            await call.until(_more_frames(call, frames), timeout=LOST_SECONDS)
        except TimeoutError:
            waits.append(LOST_SECONDS * 1000)
            return waits
        waits.append((time.monotonic() - asked) * 1000)
        await call.send({"type": "output_audio_buffer.clear"})
        await call.wait_for("response.done", done + 1)
        await asyncio.sleep(PAUSE_SECONDS)  # below the neighbour's own budget of events
    return waits


def _more_frames(call: FakeTransceiver, frames: int) -> Callable[[], bool]:
    return lambda: len(call.frames) > frames


async def measure(settings: Settings, names: Sequence[str], rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Waits of the neighbour in ms, by attack: the median of all, that of each round, and the longest."""
    client = await connection.connect(settings.nats_url, "bench-neighbour")
    result: dict[str, Any] = {}
    spawn = multiprocessing.get_context("spawn")
    speeds = itertools.count()
    try:
        for name in names:
            waits: dict[str, list[list[float]]] = {"without": [], "with": []}
            async with FakeTransceiver(client, settings.agent_name) as call:
                await _answers(call, 0.1, speeds)
                for number in range(2 * rounds):
                    kind = ("without", "with", "with", "without")[number % 4]
                    arguments = (settings.nats_url, settings.agent_name, ATTACKS[name], rate, seconds + 1.5)
                    attacker = spawn.Process(target=_attack, args=(*arguments, kind == "with"))
                    attacker.start()
                    await asyncio.sleep(1.0)
                    waits[kind].append(await _answers(call, seconds, speeds))
                    await asyncio.to_thread(attacker.join)
            result[name] = {kind: _summary(found) for kind, found in waits.items()}
    finally:
        await client.close()
    return result


def _summary(rounds: list[list[float]]) -> dict[str, Any]:
    waits = [wait for of_round in rounds for wait in of_round]
    return {
        "answers": len(waits),
        "median": statistics.median(waits),
        "rounds": [round(statistics.median(of_round), 1) for of_round in rounds],
        "longest": max(waits),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=1000.0, help="events a second of the flood (default: %(default)s)"
    )
    parser.add_argument("--attack", action="append", choices=list(ATTACKS), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="of each attack, without and with it (default: 4)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    result = asyncio.run(measure(Settings(), args.attack or list(ATTACKS), args.rate, args.seconds, args.rounds))
    if args.json:
        print(json.dumps(result))
        return 0
    for name, kinds in result.items():
        for kind, values in kinds.items():
            rounds = " ".join(f"{median:.0f}" for median in values["rounds"])
            print(
                f"{name:24}{kind:10}answers {values['answers']:3}   median {values['median']:7.1f}"
                f"   longest {values['longest']:7.1f}   medians of the rounds {rounds}"
            )
    return 0
