"""Random faults of one seed on a running stack, one after the other, and whether all is well after each.

    python -m chaos.random_faults --seed 7 --faults 100        (with tests/ on the path; `make chaos` does it)

A stack of its own (`antiphon up` with the echo agent) in a network namespace, with a small disk and a wall clock of its
own. Two callers speak all the time. After each fault, counted from its end:

- a new call comes about and its caller receives its own voice within `WELL_WITHIN`;
- within the same time the running calls receive theirs again, all that have to survive this fault; the others do too,
  or their clients are told that they have ended;
- within `BASELINE_WITHIN` descriptors, threads, processes, tasks and sessions are what they were before the first
  fault, memory too, to 10 %;
- the parts have written no more than `LINES_PER_FAULT` lines.

Exit status 1 when one of these fails. Needs root for the namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.errors import CallError
from chaos.calls import Call, longest_silence, new_call
from chaos.faults import PARTS, Fault, draw
from chaos.injection import Injector
from chaos.namespace import enter, shifted_clock, small_disk
from chaos.processes import Held, differences, held
from chaos.transceiver_figures import transceiver_figures

CALLS: Final = 2
WARM_UP: Final = 6
WELL_WITHIN: Final = 5.0
BASELINE_WITHIN: Final = 60.0
RENEWED_AFTER: Final = 3.0
PATIENCE: Final = 40.0
"""Seconds after which a wait is given up; above the limits, so that the report says by how much they were missed."""
SPEECH: Final = 3600.0
LINES_PER_FAULT: Final = 400
"""Of all parts together. A part that repeats itself fills a disk."""


class Outcome(NamedTuple):
    """What one fault did. Times in seconds since its end."""

    fault: Fault
    gap: float
    """The longest silence of a running call that survived, the fault's own time included."""
    new_call: float
    running: float
    """Until the last running call was well, or its client told."""
    survived: int
    baseline: float
    problems: list[str]


async def _seconds(*work: asyncio.Task[None]) -> float:
    """Until all of these are done; infinite if they are not in time."""
    began = time.monotonic()
    done, late = await asyncio.wait(work, timeout=PATIENCE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    return float("inf") if late else time.monotonic() - began


class Run:
    """One stack and its faults. Made by `run`, which calls it from one task."""

    def __init__(self, stack: Stack, injector: Injector) -> None:
        self._stack, self._injector = stack, injector
        self._calls: list[Call] = []
        self._baseline: dict[str, Held] = {}
        self._figures: dict[str, Any] = {}

    async def warm_up(self) -> None:
        """Some calls that end, then those that stay, and what the processes hold then."""
        for _ in range(WARM_UP):
            await new_call(self._stack)
        await self._complete_calls()
        await asyncio.sleep(3)
        self._baseline = {part: held(self._stack, part) for part in PARTS}
        self._figures = await transceiver_figures(self._stack)

    async def _complete_calls(self) -> None:
        """Close those that have ended, and place as many new ones."""
        running = [call for call in self._calls if not call.peer.closed.is_set()]
        for call in self._calls:
            call.forget()
            if call not in running:
                await call.close()
        while len(running) < CALLS:
            call = Call()
            running.append(call)
            self._calls = running
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await call.place(self._stack, SPEECH)
                        break
                    except (CallError, TimeoutError):
                        await call.close()
                        running[-1] = call = Call()
        self._calls = running

    async def _replace_calls(self) -> None:
        """Hang up all that run; `_complete_calls` places new ones."""
        await asyncio.gather(*(call.close() for call in self._calls))
        self._calls = []

    async def strike(self, fault: Fault) -> Outcome:
        """One fault, and what follows."""
        loop, problems = asyncio.get_running_loop(), []
        began, lines = loop.time(), len(self._stack.lines)
        await self._injector.inject(fault)
        over = loop.time()
        running = [asyncio.create_task(self._well(call, over, fault.calls_survive)) for call in self._calls]
        new, back = await asyncio.gather(_seconds(asyncio.create_task(new_call(self._stack))), _seconds(*running))
        alive = [call for call in self._calls if not call.peer.closed.is_set()]
        if fault.calls_survive and len(alive) < CALLS:
            problems.append(f"{CALLS - len(alive)} of {CALLS} calls ended")
        gap = max((longest_silence(call.listener, began - 0.5, loop.time()) for call in alive), default=0.0)
        if new > WELL_WITHIN:
            problems.append(f"a new call took {new:.1f} s")
        if back > WELL_WITHIN:
            problems.append(f"the running calls took {back:.1f} s")
            for call in self._calls:  # the next fault begins with calls that are well
                if (call.listener.last_audible or 0) < loop.time() - 1:
                    await call.close()
                    call.peer.closed.set()
        if not fault.calls_survive:
            # One that seems well may be about to end (after an apology, say): the next fault would be blamed for it.
            await self._replace_calls()
        await self._complete_calls()
        baseline, left = await self._until_baseline()
        problems += left
        if (lines := len(self._stack.lines) - lines) > LINES_PER_FAULT:
            problems.append(f"{lines} lines of log")
        return Outcome(fault, gap, new, back, len(alive), baseline, problems)

    async def _well(self, call: Call, since: float, survives: bool) -> None:
        """Returns when a running call is well again, or where it need not survive its client knows that it ended."""
        again = asyncio.create_task(call.received_after(since + 0.5))
        waits = {again} if survives else {again, asyncio.create_task(call.ended())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _until_baseline(self) -> tuple[float, list[str]]:
        """Seconds until everything is as before, and what is not."""
        began, renewed = time.monotonic(), False
        while True:
            left = await self._left_over()
            passed = time.monotonic() - began
            if left and passed > RENEWED_AFTER and not renewed:
                # Calls that were taken over keep the socket of the process that died, for as long as they run.
                renewed = True
                await self._replace_calls()
                await self._complete_calls()
            if not left or passed > BASELINE_WITHIN:
                return passed, left
            await asyncio.sleep(0.25)

    async def _left_over(self) -> list[str]:
        now: dict[str, Held] = {}
        for part in PARTS:
            try:
                now[part] = held(self._stack, part)
            except LookupError:
                continue
        left = differences(self._baseline, now)
        try:
            figures = await transceiver_figures(self._stack)
        except (TimeoutError, LookupError) as error:
            return [*left, f"transceiver: no statistics ({error})"]
        return left + [
            f"transceiver: {figures[name]} {name}, {before} before"
            for name, before in self._figures.items()
            if figures[name] > before
        ]

    async def close(self) -> None:
        await asyncio.gather(*(call.close() for call in self._calls), return_exceptions=True)


async def run(stack: Stack, injector: Injector, faults: list[Fault]) -> list[Outcome]:
    """All of them, one after the other, printed as they go."""
    each = Run(stack, injector)
    outcomes = []
    try:
        await each.warm_up()
        print(f"{'':>5} {'fault':<42} {'gap':>7} {'new call':>9} {'running':>8} {'as before':>10}", flush=True)
        for number, fault in enumerate(faults, 1):
            outcome = await each.strike(fault)
            outcomes.append(outcome)
            print(
                f"{number:5d} {fault!s:<42} {outcome.gap:6.2f}s {outcome.new_call:8.2f}s {outcome.running:7.2f}s "
                f"{outcome.baseline:9.2f}s  {'; '.join(outcome.problems)}",
                flush=True,
            )
    finally:
        await each.close()
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m chaos.random_faults", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7, help="which faults (default: %(default)s)")
    parser.add_argument("--faults", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds of one (default: %(default)s)")
    parser.add_argument("--only", metavar="KIND", help="only faults of this kind")
    given = parser.parse_args(arguments)
    own = sys.argv[1:] if arguments is None else arguments
    if (status := enter("chaos.random_faults", own)) is not None:
        return status
    faults = draw(given.seed, given.faults if given.only is None else given.faults * 20, given.longest)
    if given.only is not None:
        faults = [fault for fault in faults if fault.kind == given.only][: given.faults]
    with (
        tempfile.TemporaryDirectory() as scratch,
        small_disk(Path(scratch, "disk")) as disk,
        shifted_clock(Path(scratch)) as clock,
        running_stack("--loopback-only", "--plugin", str(ECHO_AGENT), environment={"TMPDIR": str(disk)}) as stack,
    ):
        outcomes = asyncio.run(run(stack, Injector(stack, disk, clock), faults))
        failed = [outcome for outcome in outcomes if outcome.problems]
        gaps = sorted(outcome.new_call for outcome in outcomes)
        print(
            f"{len(outcomes) - len(failed)} of {len(outcomes)} faults of seed {given.seed} ended well; a new call took "
            f"{gaps[len(gaps) // 2]:.2f} s (median), {gaps[-1]:.2f} s (longest)",
            flush=True,
        )
        if failed:
            log = Path(os.environ.get("ANTIPHON_CHAOS_LOG", ".reports/chaos.log"))
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join(stack.lines))
            print(f"what the stack printed is in {log}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
