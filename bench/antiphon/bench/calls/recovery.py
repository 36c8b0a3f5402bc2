"""What a caller notices when a process is killed in mid-sentence: bridge, agent, transceiver or relay.

Runs a stack of its own with two processes of each kind that has a successor, holds a call in which the agent speaks,
kills the process that has the call (SIGKILL), and measures at the client. Per case, in ms from the kill:

- `owner_ms`: until another process holds the call (its lease; for a transceiver, its event `taken_over`).
  A relay has no successor here: it is started again at once, as a supervisor would.
- `audio_ms`: until the client plays speech of the new holder, or until the end of the longest silence.
- `silence_ms`: the longest silence that followed. Speech that was queued in the transceiver is played meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import Error as JetStreamError

from antiphon.bench._lib.loudness import is_audible
from antiphon.bench._lib.statistics import spread
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.bench.calls.talking_agent import TALKER
from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.voice import say
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError, UsageError
from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import MalformedError, messages, subjects

CASES: Final = ("bridge", "agent", "transceiver", "relay")
QUESTION: Final = "Help! What can you do?"
BRIDGE: Final = "concierge"
SPEAKS_WITHIN: Final = 20.0
RECOVERS_WITHIN: Final = 20.0
SETTLES: Final = 3.0
"""Seconds of audio after the new owner is known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="kills per case (default: %(default)s)")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one (may be repeated; default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}: at least 1")
    cases = args.case or list(CASES)
    result: dict[str, Any] = {"rounds": args.rounds}
    with tempfile.TemporaryDirectory() as directory, own_stack(Path(directory)) as stack:
        stack.relay()
        for _ in range(2):
            stack.transceiver()
            stack.agent()
        stack.signaling()
        if "bridge" in cases:
            for _ in range(2):
                stack.bridge()
        stack.until_healthy()
        for case in cases:
            result[case] = asyncio.run(_case(stack, case, args.rounds))
    if args.json:
        print(json.dumps(result))
    else:
        for case in cases:
            print(f"{case:>12}: {result[case]}")
    return 1 if any(result[case]["failed"] for case in cases) else 0


async def _case(stack: OwnStack, case: str, rounds: int) -> dict[str, Any]:
    client = await connection.connect(stack.nats_url, "antiphon-bench-recovery")
    question = say([QUESTION], RATE)[0].tobytes() if case == "bridge" else b""
    found: list[dict[str, float]] = []
    try:
        for _ in range(rounds):
            await _all_there(client, case)
            round_ = _Round(stack, client, case)
            with contextlib.suppress(CallError, TimeoutError):  # counted below
                found.append(await round_.run(question))
    finally:
        await client.close()
    names = ("audio_ms", "silence_ms") if case == "relay" else ("owner_ms", "audio_ms", "silence_ms")
    statistics: dict[str, Any] = {name: spread([each[name] for each in found], 0) for name in names}
    return statistics | {"failed": rounds - len(found)}


async def _all_there(client: Client, case: str) -> None:
    """Return when the process that is to be killed has a successor."""
    wanted = {
        "bridge": (service_discovery.AGENT_SERVICE, {"agent": BRIDGE}, 2),
        "agent": (service_discovery.AGENT_SERVICE, {"agent": TALKER}, 2),
        "transceiver": ("antiphon-transceiver", {}, 2),
        "relay": ("antiphon-relay", {}, 1),
    }
    service, metadata, count = wanted[case]
    async with asyncio.timeout(120):
        while True:
            there = await service_discovery.instances(client, service, 0.3)
            if sum(metadata.items() <= each.items() for each in there) >= count:
                break
    await asyncio.sleep(2)  # their announcements have reached each other


class _Round:
    """One call, one kill."""

    def __init__(self, stack: OwnStack, client: Client, case: str) -> None:
        self._stack, self._client, self._case = stack, client, case
        self._loop = asyncio.get_running_loop()
        self._taken_over = asyncio.Event()
        self._new_speech: float | None = None
        """When the transceiver began to play speech of a new holder of the lease."""

    async def run(self, question: bytes) -> dict[str, float]:
        listener = Listener()
        peer = Peer(listener.audio, listener.message)
        try:
            agent = BRIDGE if question else TALKER
            await peer.connect(self._stack.url, agent)
            self._session_id = peer.session_id
            subject = subjects.session_event(agent, self._session_id)
            subscription = await self._client.subscribe(subject, cb=self._on_event)
            if question:
                await asyncio.sleep(0.5)
                peer.speak(question)
            async with asyncio.timeout(SPEAKS_WITHIN):
                while (spoke := listener.audible_since(0.0)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                while self._loop.time() < spoke + 1.0:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            pid, again, until_owned = await self._victim()
            killed = self._loop.time()
            self._stack.kill(pid)
            again()
            async with asyncio.timeout(RECOVERS_WITHIN):
                await until_owned()
                owned = self._loop.time()
                gap = await self._longest_silence(listener, killed)
            await subscription.unsubscribe()
            audible = gap[1]
            if self._new_speech is not None:
                audible = listener.audible_since(self._new_speech) or audible
            return {
                "owner_ms": (owned - killed) * 1000,
                "audio_ms": (audible - killed) * 1000,
                "silence_ms": (gap[1] - gap[0]) * 1000,
            }
        finally:
            await peer.close()

    async def _longest_silence(self, listener: Listener, killed: float) -> tuple[float, float]:
        """Wait until the agent has been audible again for a while: from when to when it was silent longest."""
        awaits_speech = self._case in ("bridge", "agent")
        while True:
            await asyncio.sleep(0.05)
            gap = longest_gap(listener, killed, self._loop.time())
            since = self._new_speech if awaits_speech else gap and gap[1]
            if gap and since and self._loop.time() > since + SETTLES:
                return gap

    async def _on_event(self, message: Msg) -> None:
        match messages.decode_any(message.data, messages.SESSION_EVENT, "event"):
            case messages.TakenOver():
                self._taken_over.set()
            case messages.Playout(generation=generation) if generation > leases.first_generation(1):
                self._new_speech = self._new_speech or self._loop.time() - 0.02

    async def _victim(self) -> tuple[int, Callable[[], object], Callable[[], Awaitable[object]]]:
        """The process to kill, how to start another one, and the wait for its successor."""
        if self._case == "relay":
            there = await service_discovery.instances(self._client, "antiphon-relay", 0.3)
            return int(there[0]["pid"]), self._stack.relay, _at_once
        if self._case == "transceiver":
            return await self._owner(), self._stack.transceiver, self._taken_over.wait
        name = BRIDGE if self._case == "bridge" else TALKER
        holder = await self._holder(name)
        start = self._stack.bridge if self._case == "bridge" else self._stack.agent
        return int(holder.split("-")[-2]), start, lambda: self._held_by_another(name, holder)

    async def _owner(self) -> int:
        """The process id of the transceiver that has the call: the only one."""
        announced = await self._client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE)
        try:
            while True:
                announcement = messages.decode((await announced.next_msg(5)).data, messages.TransceiverAnnouncement)
                if announcement.sessions and announcement.state == "ready":
                    there = await service_discovery.instances(self._client, "antiphon-transceiver", 0.3)
                    return next(int(each["pid"]) for each in there if each["slot"] == str(announcement.slot))
        finally:
            await announced.unsubscribe()

    async def _holder(self, name: str) -> str:
        bucket = await self._client.jetstream().key_value(subjects.BUCKET_LEASES)
        entry = await bucket.get(subjects.lease_key(name, self._session_id))
        return messages.decode(entry.value or b"", messages.Lease).instance

    async def _held_by_another(self, name: str, before: str) -> None:
        while True:
            with contextlib.suppress(JetStreamError, MalformedError):  # away for a moment
                if await self._holder(name) not in ("", before):
                    return
            await asyncio.sleep(0.01)


async def _at_once() -> None:
    """A relay has no successor to wait for."""


def longest_gap(listener: Listener, since: float, now: float) -> tuple[float, float] | None:
    """From when to when nothing audible came, the longest such time after `since`; None while it is still so."""
    audible = [at for at, pcm in listener.frames if at >= since - 0.2 and is_audible(pcm)]
    gaps = [(second - first, first, second) for first, second in pairwise(audible) if second >= since]
    if not gaps:
        return None
    longest, first, second = max(gaps)
    return None if now - audible[-1] > longest else (first, second)
