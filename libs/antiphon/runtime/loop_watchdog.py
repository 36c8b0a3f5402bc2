"""Ends this process when its event loop stands still, so that others go on with what it holds.

The loop gives beats to a process of its own (`standstill`), which says what counts as standing still. Linux only:
elsewhere nothing is watched.
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
"""Overrides what the service gives; 0 watches nothing (for a debugger that runs inside the process)."""
BEAT_SECONDS: Final = 0.2
LEAST_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 10.0
"""Between two starts of the watching process, should it die."""
END_SECONDS: Final = 1.0
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "TZ")
"""Variables that Python itself may need. Keys are none of them."""


class LoopWatchdog:
    """Of the running loop, from `start` to `stop`. Start it when everything is loaded: imports stand still too."""

    def __init__(self, service: str, seconds: float) -> None:
        """`service` names the process in the last line of its log; `seconds` unless the environment says otherwise."""
        self._service = service
        self._seconds = _chosen(seconds)
        self._watching: subprocess.Popen[bytes] | None = None
        self._stack: IO[bytes] | None = None
        self._started = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on the loop must not stand still."""
        if sys.platform != "linux" or not self._seconds or self._timer is not None:
            return
        self._stack = os.fdopen(os.memfd_create("antiphon-stack"), "wb", buffering=0)
        faulthandler.register(standstill.STACK_SIGNAL, file=self._stack, all_threads=True)
        self._beat(asyncio.get_running_loop())

    def stop(self) -> None:
        """Nothing is watched any more; what ends the process may take its time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            faulthandler.unregister(standstill.STACK_SIGNAL)
        if self._watching is not None:
            self._let_go(self._watching)
        if self._stack is not None:
            self._stack.close()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._watching is None or self._watching.stdin is None:
                raise BrokenPipeError
            os.write(self._watching.stdin.fileno(), b".")
        except BlockingIOError:
            pass  # it has no time to read: then it can't take us for dead either
        except OSError:
            self._watch_again()
        self._timer = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _watch_again(self) -> None:
        now = time.monotonic()
        if self._stack is None or now - self._started < AGAIN_SECONDS:
            return
        if self._watching is not None:
            log.warning("the process that watches the event loop is gone: another one is started")
            self._let_go(self._watching)
            self._watching = None
        self._started = now
        form = os.environ.get("ANTIPHON_LOG_FORMAT", "").strip().lower() or "text"
        told = [str(os.getpid()), str(self._seconds), self._service, form, str(self._stack.fileno())]
        try:
            self._watching = subprocess.Popen(
                [sys.executable, "-I", "-S", standstill.__file__, *told],
                stdin=subprocess.PIPE,
                pass_fds=[self._stack.fileno()],
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        except OSError as error:
            log.warning("the event loop is not watched: %s", error)
            return
        assert self._watching.stdin is not None
        os.set_blocking(self._watching.stdin.fileno(), False)

    @staticmethod
    def _let_go(watching: subprocess.Popen[bytes]) -> None:
        """It ends when its standard input does."""
        if watching.stdin is not None:
            with contextlib.suppress(OSError):
                watching.stdin.close()
        try:
            watching.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            watching.kill()
            watching.wait()


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
