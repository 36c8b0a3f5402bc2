"""The watcher: a process that ends another one when that one's event loop is blocked. Started by `loop_watchdog`.

    python -I -S standstill.py PID SECONDS SERVICE FORMAT STACK_FD      (beats come on standard input)

It is a process because a thread would be blocked together with the loop: a call into C that keeps the interpreter's
lock (such as an exponential regular expression) stops every Python thread. It imports the standard library only, so
that it is small and starts at once. Linux: it reads /proc.

`Standstill` counts the time in which the loop sent no beat, the watcher ran, and the watched process computed or
waited for something. It does not count the time in which the process was stopped (SIGSTOP, a debugger), in which the
machine had no processor for it, or in which it waited for a disk or for memory (state D), which ending it would not
shorten. A pause of the whole machine is one tick of the watcher, and ticks are capped.
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
"""Seconds that one tick counts at most."""
SAMPLE_AFTER: Final = 0.5
"""Seconds without a beat after which the watcher samples the process; before that the loop is only late."""
SHARE: Final = 2.0
"""Seconds counted per second of processor time: on a shared machine half of a processor counts as a whole one."""
STACK_SIGNAL: Final = signal.SIGUSR2
"""Makes the watched process write its stacks: by `faulthandler`, which works inside a call into C too."""
STACK_SECONDS: Final = 0.3
"""Seconds that the watched process gets to write its stacks."""
REPORT_SECONDS: Final = 1.0
"""Seconds after which the watcher gives up writing to the log."""
MAX_STACK: Final = 1 << 16
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """The state of a process in /proc. A value."""

    states: str
    """A letter per thread, the main one first: R runs or could, S waits, D waits for a disk or memory, T, t stopped."""
    computed: float
    """Processor time of all threads, s."""


class Standstill:
    """How long a loop has been blocked. Sans-IO: it is given beats, ticks and samples. Owned by `watch`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Time since the last beat that counts as blocked."""
        self._silent = 0.0
        """Time since the last beat, in ticks of the watcher."""
        self._began = False
        self._ticked = self._passed = 0.0
        self._computed: float | None = None

    def beat(self, now: float) -> None:
        """The loop runs. Counting starts with the first beat."""
        self.seconds = self._silent = 0.0
        self._began, self._ticked, self._computed = True, now, None

    def tick(self, now: float) -> bool:
        """Time passed; True if the process is to be sampled."""
        if not self._began:
            return False
        self._passed = max(0.0, min(now - self._ticked, LONGEST_TICK))
        self._ticked = now
        self._silent += self._passed
        return self._silent >= SAMPLE_AFTER

    def add(self, sample: Sample) -> None:
        """Count the time since the last tick, by what the process did in it."""
        if self._computed is None:  # the first sample: what it did before is not known
            self._computed = sample.computed
            self.seconds = self._silent - self._passed if sample.states[:1] == "S" else 0.0
        used, self._computed = sample.computed - self._computed, sample.computed
        if any(state in "Tt" for state in sample.states):
            return
        if "R" in sample.states:  # it computes, or waits for a processor
            self.seconds += min(self._passed, used * SHARE)
        elif sample.states[:1] == "S":
            self.seconds += self._passed


def sample_of(pid: int) -> Sample | None:
    """The state of a process; None if there is no such process."""
    try:
        states = "".join(_fields(Path(f"/proc/{pid}/task/{thread}/stat"))[0] for thread in _threads(pid))
        whole = _fields(Path(f"/proc/{pid}/stat"))
    except OSError:
        return None
    return Sample(states, (int(whole[11]) + int(whole[12])) / _CLOCK_TICKS)


def _threads(pid: int) -> list[int]:
    """The main thread first: its number is that of the process."""
    threads = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    return [pid, *(each for each in threads if each != pid)]


def _fields(stat: Path) -> list[str]:
    """The fields from the state on. The name before it may hold any character."""
    return stat.read_text(errors="replace").rpartition(")")[2].split()


def _report(service: str, form: str, level: str, message: str, stack: str = "") -> None:
    """Log in the format of `telemetry`, which takes too long to import."""
    seconds = time.time()
    if form == "json":
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}+00:00"
        entry = {"time": when, "level": level, "service": service, "logger": "antiphon.standstill", "message": message}
        lines = json.dumps(entry | {"fields": {}} | ({"exception": stack} if stack else {}))
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        lines = f"{stack.rstrip()}\n" * bool(stack) + f"{clock} {level} {service} {message}"
    with contextlib.suppress(OSError, ValueError):
        signal.setitimer(signal.ITIMER_REAL, REPORT_SECONDS)  # the log may be what the process waits for
        print(lines, file=sys.stderr, flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(number: int, frame: object) -> None:
    raise TimeoutError


def _stack(pid: int, file: int) -> str:
    """The stacks of its threads; empty if it does not write them."""
    with contextlib.suppress(OSError):
        os.kill(pid, STACK_SIGNAL)
        time.sleep(STACK_SECONDS)
        return os.pread(file, MAX_STACK, 0).decode(errors="replace")
    return ""


def watch(pid: int, limit: float, service: str, form: str, stack_file: int) -> None:
    """Watch until the process has ended, which closes our standard input, or is ended here."""
    standstill = Standstill()
    while True:
        if select.select([0], [], [], TICK_SECONDS)[0]:
            if not os.read(0, 1 << 16):
                return
            standstill.beat(time.monotonic())
            continue
        if not standstill.tick(time.monotonic()):
            continue
        sample = sample_of(pid)
        if sample is None or os.getppid() != pid:
            return
        standstill.add(sample)
        if standstill.seconds >= limit:
            stack = _stack(pid, stack_file)
            if select.select([0], [], [], 0)[0]:  # a beat at the last moment, or its end
                continue
            what = f"the event loop has stood still for {standstill.seconds:.1f} s"
            end = "this process is ended, others continue its work; the stacks of its threads are above"
            _report(service, form, "CRITICAL", f"{what}: {end}", stack)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return


if __name__ == "__main__":
    # Signals go to the whole process group; the watcher ends with the watched process.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _on_alarm)
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
