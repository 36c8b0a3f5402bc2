"""Many callers who come and go for an hour, and whether the stack is afterwards what it was before.

    python -m chaos.soak --minutes 60 --calls 30        (with tests/ on the path; `make soak` does it)

A stack of its own (`antiphon up` with the echo agent). So many callers speak at the same time, each for `SHORTEST` to
`LONGEST` seconds; one in seven then vanishes without a word, the others hang up, and another one calls. Printed each
minute: calls so far, failures, what each part holds. Exit status 1 when

- a call did not come about, lost the server, or did not receive its own voice;
- memory, descriptors, threads, tasks or sessions at the end, without calls, are not what they were after the first
  minutes of calls (memory to 10 %).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from typing import Final

from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.errors import CallError
from chaos.calls import Call
from chaos.faults import PARTS
from chaos.processes import Held, differences, held
from chaos.transceiver_figures import transceiver_figures

SHORTEST, LONGEST = 5.0, 60.0
WARM_UP_SHARE: Final = 0.1
"""Of the time: after that, without calls, what the parts hold is noted."""
IDLE_WITHIN: Final = 60.0
"""Seconds in which everything has to be back. Who vanished is found out after 30."""


class Soak:
    """The callers of one run. Made by `main`; one task each."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self._stack = stack
        self._dice = random.Random(seed)

    async def callers(self, count: int, seconds: float) -> None:
        """So many at the same time, for so long; returns when the last one has ended."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._caller(end, number * min(1.0, SHORTEST / count)))

    async def _caller(self, end: float, wait: float) -> None:
        await asyncio.sleep(wait)
        while time.monotonic() < end:
            await self._one_call(min(self._dice.uniform(SHORTEST, LONGEST), max(SHORTEST, end - time.monotonic())))

    async def _one_call(self, seconds: float) -> None:
        call, vanishes = Call(), self._dice.random() < 1 / 7
        self.calls += 1
        try:
            await call.place(self._stack, seconds + 2)
            await asyncio.sleep(seconds)
            if call.peer.closed.is_set():
                self.failures.append(f"call {self.calls} was ended by the server")
            elif (call.listener.last_audible or 0.0) < asyncio.get_running_loop().time() - 1:
                self.failures.append(f"call {self.calls} no longer received its voice")
        except (CallError, TimeoutError) as error:
            self.failures.append(f"call {self.calls} did not come about: {error!r}")
            await asyncio.sleep(1)
        finally:
            await (call.vanish() if vanishes else call.close())


def everything(stack: Stack) -> dict[str, Held]:
    """What all parts hold."""
    return {part: held(stack, part) for part in PARTS}


async def idle(stack: Stack) -> dict[str, int]:
    """Wait until no session is left; what the transceiver holds then."""
    async with asyncio.timeout(IDLE_WITHIN):
        while (figures := await transceiver_figures(stack))["sessions"]:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    await asyncio.sleep(3)
    return figures


async def report(stack: Stack, soak: Soak, began: float) -> None:
    """A line each minute."""
    while True:
        await asyncio.sleep(60)
        parts = "  ".join(
            f"{part} {each.memory >> 20} MiB {each.descriptors.total()} fd" for part, each in everything(stack).items()
        )
        minutes = (time.monotonic() - began) / 60
        print(f"{minutes:5.0f} min  {soak.calls} calls, {len(soak.failures)} failed  {parts}", flush=True)


async def run(stack: Stack, minutes: float, count: int, seed: int) -> list[str]:
    """What went wrong."""
    soak, began = Soak(stack, seed), time.monotonic()
    reporting = asyncio.create_task(report(stack, soak, began))
    try:
        await soak.callers(count, minutes * 60 * WARM_UP_SHARE)
        figures, before = await idle(stack), everything(stack)
        await soak.callers(count, minutes * 60 * (1 - WARM_UP_SHARE))
        try:
            after = await idle(stack)
        except TimeoutError:
            return [*soak.failures, f"sessions are left {IDLE_WITHIN:.0f} s after the last call"]
    finally:
        reporting.cancel()
    left = differences(before, everything(stack)) + [
        f"transceiver: {after[name]} {name}, {value} before" for name, value in figures.items() if after[name] > value
    ]
    print(f"{soak.calls} calls in {minutes:g} min, {len(soak.failures)} failed", flush=True)
    return soak.failures + left


def main(arguments: Sequence[str] | None = None) -> int:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="(default: %(default)s)")
    parser.add_argument("--calls", type=int, default=30, help="at the same time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the lengths (default: %(default)s)")
    given = parser.parse_args(arguments)
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as stack:
        problems = asyncio.run(run(stack, given.minutes, given.calls, given.seed))
        for problem in problems[:40]:
            print(problem, file=sys.stderr)
        if problems:
            print("\n".join(stack.lines[-60:]), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
