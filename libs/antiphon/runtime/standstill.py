"""The process that watches another one's event loop, and ends it when the loop stands still. Run by `loop_watchdog`.

    python -I -S standstill.py PID SECONDS SERVICE FORMAT STACK_FD      (beats come on standard input)

A process of its own, because a thread of the watched one would stand still with it: a call into C that keeps the
interpreter's lock (a regular expression that explodes) stops every Python thread. Of the standard library only, so
that it is small and starts at once. Linux: it reads /proc.

What counts as standing still, in `Standstill`: time in which the loop gave no beat while we ran ourselves and the
watched process either computed or waited for something. Not: time in which it was stopped (SIGSTOP, a debugger), in
which the machine had no processor for it, or in which it waited for a disk or for memory (state D), which ending it
would not shorten. A pause of the whole machine is one tick of ours, and ticks are capped.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

TICK_SECONDS: Final = 0.1
LONGEST_TICK: Final = 0.2
"""What one tick counts at most."""
LOOK_SECONDS: Final = 0.5
"""Without a beat for this long the watched process is looked at; before that the loop is only late."""
SHARE: Final = 2.0
"""On a machine with others, a process that computes gets a part of the processor: half of it counts as all."""
STACK_SIGNAL: Final = signal.SIGUSR2
"""Makes the watched process write its stacks; by `faulthandler`, so also inside a call into C."""
STACK_SECONDS: Final = 0.3
REPORT_SECONDS: Final = 1.0
MAX_STACK: Final = 1 << 16
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """What /proc says of a process."""

    states: str
    """Of its threads, the main one first: R runs or could, S waits, D waits for a disk or memory, T, t are stopped."""
    computed: float
    """Seconds of processor time of the whole process."""


class Standstill:
    """How long a loop has stood still. Sans-IO: it is told of beats and of looks at the process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Since the last beat, of the kind that counts."""
        self._silent = 0.0
        """Since the last beat, in our own ticks."""
        self._began = False
        self._ticked = self._passed = 0.0
        self._computed: float | None = None

    def beat(self, now: float) -> None:
        """The loop runs. The first beat begins the watch."""
        self.seconds = self._silent = 0.0
        self._began, self._ticked, self._computed = True, now, None

    def tick(self, now: float) -> bool:
        """Time passed; whether the process is to be looked at."""
        if not self._began:
            return False
        self._passed = max(0.0, min(now - self._ticked, LONGEST_TICK))
        self._ticked = now
        self._silent += self._passed
        return self._silent >= LOOK_SECONDS

    def look(self, seen: Look) -> None:
        """Count what passed since the last tick, by what the process did meanwhile."""
        if self._computed is None:  # the first look: what it did before is not known
            self._computed = seen.computed
            self.seconds = self._silent - self._passed if seen.states[:1] == "S" else 0.0
        used, self._computed = seen.computed - self._computed, seen.computed
        if any(state in "Tt" for state in seen.states):
            return
        if "R" in seen.states:  # it computes, or waits for a processor
            self.seconds += min(self._passed, used * SHARE)
        elif seen.states[:1] == "S":
            self.seconds += self._passed


def look(pid: int) -> Look | None:
    """None: it is gone."""
    try:
        states = "".join(_fields(Path(f"/proc/{pid}/task/{thread}/stat"))[0] for thread in _threads(pid))
        whole = _fields(Path(f"/proc/{pid}/stat"))
    except OSError:
        return None
    return Look(states, (int(whole[11]) + int(whole[12])) / _CLOCK_TICKS)


def _threads(pid: int) -> list[int]:
    """The main one has the process's own number."""
    threads = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    return [pid, *(each for each in threads if each != pid)]


def _fields(stat: Path) -> list[str]:
    """From the state on: the name before it may hold anything."""
    return stat.read_text(errors="replace").rpartition(")")[2].split()


def _report(service: str, form: str, level: str, message: str, stack: str = "") -> None:
    """As `telemetry` writes, which takes too long to import."""
    seconds = time.time()
    if form == "json":
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}+00:00"
        said = {"time": when, "level": level, "service": service, "logger": "antiphon.standstill", "message": message}
        lines = json.dumps(said | {"fields": {}} | ({"exception": stack} if stack else {}))
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        lines = f"{stack.rstrip()}\n" * bool(stack) + f"{clock} {level} {service} {message}"
    with contextlib.suppress(OSError, ValueError):
        signal.setitimer(signal.ITIMER_REAL, REPORT_SECONDS)  # perhaps it is our common log that takes nothing
        print(lines, file=sys.stderr, flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _give_up(number: int, frame: object) -> None:
    raise TimeoutError


def _stack(pid: int, file: int) -> str:
    """Where its threads stand; empty if it does not say."""
    with contextlib.suppress(OSError):
        os.kill(pid, STACK_SIGNAL)
        time.sleep(STACK_SECONDS)
        return os.pread(file, MAX_STACK, 0).decode(errors="replace")
    return ""


def watch(pid: int, limit: float, service: str, form: str, stack_file: int) -> None:
    """Until the watched process is gone: it closes our standard input by ending, however it ends."""
    standstill = Standstill()
    while True:
        if select.select([0], [], [], TICK_SECONDS)[0]:
            if not os.read(0, 1 << 16):
                return
            standstill.beat(time.monotonic())
            continue
        if not standstill.tick(time.monotonic()):
            continue
        seen = look(pid)
        if seen is None or os.getppid() != pid:
            return
        standstill.look(seen)
        if standstill.seconds >= limit:
            stack = _stack(pid, stack_file)
            if select.select([0], [], [], 0)[0]:  # it went on at the last moment, or has ended
                continue
            what = f"the event loop has stood still for {standstill.seconds:.1f} s"
            end = "this process is ended, others go on with its work; above is where its threads stood"
            _report(service, form, "CRITICAL", f"{what}: {end}", stack)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the whole group gets them; we end with the other
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _give_up)
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
