"""NATS stands still in mid-call, again and again: how soon all is well after its return, and what the calls lose.

    python -m chaos.nats_pauses --rounds 10        (with tests/ on the path; `make chaos` does it)

A stack of its own, `antiphon up` with the echo agent. Each round holds two calls that speak all the time, stops the
NATS server by SIGSTOP, lets it go on, and measures from its return: until /healthz says that a call would succeed
(the roll call of relay, transceiver and agent included), until a new call hears its own voice, and by how much the
longest silence of the running calls is longer than the pause. After the rounds of a pause the transceiver is killed:
only a relay and a signaling that still hear the bus let a call through the next one. Exit status 1 when anything took
longer than `LIMIT` or a process of the stack was started again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from support.processes.nats import server_binary
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.up.health import ask_health
from chaos.calls import Call, longest_silence, new_call

PAUSES: Final = (1.3, 1.5, 2.0, 3.0, 5.0, 12.0)
CALLS: Final = 2
LIMIT: Final = 5.0
"""Seconds after the return within which everything is healthy, and by which a call may lose more than the pause."""
PATIENCE: Final = 30.0
BEFORE, AFTER = 1.5, 3.0
PARTS: Final = ("antiphon.relay", "antiphon.transceiver", "antiphon.signaling")


class Round(NamedTuple):
    healthy: float
    new_call: float
    beyond: float
    """Of the running calls: the longest silence, less the pause."""


async def _healthy(stack: Stack) -> None:
    while not (await asyncio.to_thread(ask_health, stack.url)).ready:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _seconds(work: asyncio.Task[None], since: float) -> float:
    try:
        async with asyncio.timeout(PATIENCE):
            await work
    except TimeoutError:
        return float("inf")
    return time.monotonic() - since


async def _round(stack: Stack, nats: int, pause: float) -> Round:
    loop = asyncio.get_running_loop()
    calls = [Call() for _ in range(CALLS)]
    try:
        for call in calls:
            await call.place(stack, pause + 3 * PATIENCE)
        await asyncio.sleep(BEFORE)
        began = loop.time()
        os.kill(nats, signal.SIGSTOP)
        try:
            await asyncio.sleep(pause)
        finally:
            os.kill(nats, signal.SIGCONT)
        back = time.monotonic()
        paused = loop.time() - began
        healthy, called = await asyncio.gather(
            _seconds(asyncio.create_task(_healthy(stack)), back), _seconds(asyncio.create_task(new_call(stack)), back)
        )
        await asyncio.sleep(AFTER)
        now = loop.time()
        beyond = max(longest_silence(call.listener, began - 0.5, now) for call in calls) - paused
        return Round(healthy, called, beyond)
    finally:
        await asyncio.gather(*(call.close() for call in calls))


async def measure(stack: Stack, pause: float, rounds: int) -> tuple[list[Round], float]:
    """The rounds, and the seconds until a call succeeds after the transceiver was killed."""
    nats = stack.pid_of_script(server_binary())
    found = [await _round(stack, nats, pause) for _ in range(rounds)]
    os.kill(stack.pid_of("transceiver"), signal.SIGKILL)
    killed = time.monotonic()
    return found, await _seconds(asyncio.create_task(new_call(stack)), killed)


def _pids(stack: Stack) -> dict[str, int]:
    return {part: stack.pid_of(part.removeprefix("antiphon.")) for part in PARTS} | {
        "echo": stack.pid_of_script(ECHO_AGENT)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.nats_pauses")
    parser.add_argument("--rounds", type=int, default=10, help="of each pause (default: %(default)s)")
    parser.add_argument("--pause", type=float, action="append", help="seconds; may be repeated (default: all)")
    given = parser.parse_args(arguments)
    bad = False
    print("  pause  rounds  healthy  new call  beyond the pause  after a killed transceiver  restarts", flush=True)
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as stack:
        for pause in given.pause or PAUSES:
            before = _pids(stack)
            rounds, after_kill = asyncio.run(measure(stack, pause, given.rounds))
            after = _pids(stack)
            restarts = [part for part in after if part != "antiphon.transceiver" and after[part] != before[part]]
            worst = Round(*(max(column) for column in zip(*rounds, strict=True)))
            failed = max(worst) > LIMIT or after_kill > PATIENCE or bool(restarts)
            bad |= failed
            print(
                f"{pause:6.1f}s {len(rounds):7d} {worst.healthy:7.2f}s {worst.new_call:8.2f}s {worst.beyond:16.2f}s "
                f"{after_kill:26.2f}s  {', '.join(restarts) or 'none'}{'  FAILED' if failed else ''}",
                flush=True,
            )
        if bad:
            print("\n".join(stack.lines[-80:]), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
