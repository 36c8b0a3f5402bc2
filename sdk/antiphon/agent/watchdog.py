"""Finds functions that block the event loop, and names them; measures how late the loop is.

All sessions of a process share one loop: one `time.sleep(1)` is a second of silence in all of them.
A thread checks whether the loop still runs, and when it does not, which line it is in. Where that thread was late
itself and the process did not compute, no function has blocked: the machine had no time for the process.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Final

log = logging.getLogger("antiphon.agent")

_TICK: Final = 0.05
_WINDOW: Final = 5.0
_AUDIBLE: Final = 0.1
_EXCUSES: Final = 64
_WAKES_WITHIN: Final = 0.25
"""Seconds by which the thread may notice later than the loop that both had no time."""
_OURS: Final = str(Path(__file__).parent)
_LIBRARIES: Final = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Watchdog:
    """Watches the loop in which it is made.

    Owner: the agent, while it serves. Called from the event loop; `_watch` runs in a thread of its own.
    """

    def __init__(self, blocked_seconds: float) -> None:
        self.blocked = 0
        """How often the loop was blocked."""
        self._limit = blocked_seconds
        self._lateness: deque[tuple[float, float]] = deque()
        self._excuses: deque[float] = deque(maxlen=_EXCUSES)
        """When it was seen that the machine had no time for the process."""
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._found: str = ""
        self._ticking: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="antiphon-watchdog", daemon=True)

    def start(self) -> None:
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._ticking is not None:
            self._ticking.cancel()

    def late_ms(self) -> float:
        """How long the loop was blocked in the last five seconds, in stretches that a caller can hear.

        Not where the machine had no time for the process: that passes, and its neighbours would be no better.
        """
        excuses = tuple(self._excuses)
        return 1000 * sum(
            late
            for at, late in self._lateness
            if late > _AUDIBLE and not any(at - late - _TICK <= each <= at + _WAKES_WITHIN for each in excuses)
        )

    def _tick(self) -> None:
        now = time.monotonic()
        late = max(0.0, now - self._last - _TICK) if self._ticking is not None else 0.0
        self._last = now
        self._lateness.append((now, late))
        while self._lateness[0][0] < now - _WINDOW:
            self._lateness.popleft()
        if self._found:
            found, self._found = self._found, ""
            self.blocked += 1
            log.error("the event loop was blocked for %.0f ms by %s", late * 1000, found)
        elif late > self._limit:
            log.warning("the event loop was late by %.0f ms: the machine had no time for this process", late * 1000)
        self._ticking = self._loop.call_later(_TICK, self._tick)

    def _watch(self) -> None:
        """In the thread."""
        step = min(_TICK, self._limit / 2)
        woke, computed = time.monotonic(), time.process_time()
        while not self._stop.wait(step):
            now, computing = time.monotonic(), time.process_time()
            if now - woke - step - (computing - computed) > self._limit / 2:
                self._excuses.append(now)
            excused = self._excuses[-1] if self._excuses else 0.0
            if now - max(self._last, excused) > self._limit + _TICK and not self._found:
                frame = sys._current_frames().get(self._loop_thread)
                if frame is not None:
                    self._found = self._name(frame)
            woke, computed = now, computing

    def _name(self, frame: FrameType) -> str:
        task = asyncio.current_task(self._loop)
        where = whose(frame)
        return f"{where} in {task.get_name()}" if task is not None else where


def whose(frame: FrameType) -> str:
    """The innermost line that belongs to neither a library nor to us: the author's."""
    innermost, each = frame, frame
    while True:
        file = each.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _OURS, "<frozen")):
            break
        if each.f_back is None:
            each = innermost
            break
        each = each.f_back
    text = f"{each.f_code.co_qualname} ({each.f_code.co_filename}:{each.f_lineno})"
    if each is not innermost:
        text += f", inside {innermost.f_code.co_qualname}"
    return text
