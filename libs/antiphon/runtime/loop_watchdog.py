"""Ends this process when its event loop is blocked, so that other processes continue its work.

The loop sends beats to a child process, the watcher (`standstill`), which defines when a loop counts as blocked. Linux
only: other systems have no watcher.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import math
import os
import subprocess
import sys
import time
from typing import IO, Final

from antiphon.runtime import standstill

log = logging.getLogger(__name__)

VARIABLE: Final = "ANTIPHON_LOOP_WATCHDOG_SECONDS"
"""Overrides the limit of the service, s; 0 starts no watcher (for a debugger that runs inside the process)."""
BEAT_SECONDS: Final = 0.2
LEAST_SECONDS: Final = 1.0
"""The shortest limit that can be set."""
AGAIN_SECONDS: Final = 10.0
"""Seconds between two starts of a watcher, should it die."""
END_SECONDS: Final = 1.0
"""Seconds that a watcher gets to end before it is killed."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "TZ")
"""Variables that Python itself may need, and no secrets."""


class LoopWatchdog:
    """Watches the running loop from `start` to `stop`. Owned by the main function of a service, called on that loop.

    Start it when all imports are done: an import blocks the loop too.
    """

    def __init__(self, service: str, seconds: float) -> None:
        """`service` names the process in its last log line. `seconds` is the limit, unless `VARIABLE` overrides it."""
        self._service = service
        self._seconds = _chosen(seconds)
        self._watcher: subprocess.Popen[bytes] | None = None
        self._stack_file: IO[bytes] | None = None
        self._started = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the watcher: from now on a blocked loop ends this process."""
        if sys.platform != "linux" or not self._seconds or self._timer is not None:
            return
        self._stack_file = os.fdopen(os.memfd_create("antiphon-stack"), "wb", buffering=0)
        faulthandler.register(standstill.STACK_SIGNAL, file=self._stack_file, all_threads=True)
        self._beat(asyncio.get_running_loop())

    def stop(self) -> None:
        """End the watcher, so that the shutdown of the process may block the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            faulthandler.unregister(standstill.STACK_SIGNAL)
        if self._watcher is not None:
            self._end_watcher(self._watcher)
        if self._stack_file is not None:
            self._stack_file.close()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._watcher is None or self._watcher.stdin is None:
                raise BrokenPipeError
            os.write(self._watcher.stdin.fileno(), b".")
        except BlockingIOError:
            pass  # the watcher does not run, so it does not count this time either
        except OSError:
            self._restart_watcher()
        self._timer = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _restart_watcher(self) -> None:
        now = time.monotonic()
        if self._stack_file is None or now - self._started < AGAIN_SECONDS:
            return
        if self._watcher is not None:
            log.warning("the process that watches the event loop is gone: another one is started")
            self._end_watcher(self._watcher)
            self._watcher = None
        self._started = now
        form = os.environ.get("ANTIPHON_LOG_FORMAT", "").strip().lower() or "text"
        arguments = [str(os.getpid()), str(self._seconds), self._service, form, str(self._stack_file.fileno())]
        try:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", standstill.__file__, *arguments],
                stdin=subprocess.PIPE,
                pass_fds=[self._stack_file.fileno()],
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        except OSError as error:
            log.warning("the event loop is not watched: %s", error)
            return
        assert self._watcher.stdin is not None
        os.set_blocking(self._watcher.stdin.fileno(), False)

    @staticmethod
    def _end_watcher(watcher: subprocess.Popen[bytes]) -> None:
        """It ends at the end of its standard input."""
        if watcher.stdin is not None:
            with contextlib.suppress(OSError):
                watcher.stdin.close()
        try:
            watcher.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()


def _chosen(default: float) -> float:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if seconds == 0 or (math.isfinite(seconds) and seconds >= LEAST_SECONDS):
        return seconds
    log.warning("%s is %.40r, neither 0 nor at least %g seconds: %g is used", VARIABLE, text, LEAST_SECONDS, default)
    return default
