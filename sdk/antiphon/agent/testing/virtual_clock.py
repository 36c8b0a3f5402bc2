"""An event loop whose time costs nothing: where a test merely waits, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from antiphon.agent.tools import threads_at_work


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(60)` takes no time. Made by the runner of a test, for that test.

    Sockets and threads are real: while one of them is waited for, time passes as usual, so that a chat server on the
    network is not timed out by a clock that runs ahead of it.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._on_threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds of the real clock, and all that was jumped over."""
        return super().time() + self._ahead

    def run_in_executor(  # type: ignore[override]  # a signature with any arguments
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """As usual; time does not jump while the function runs."""
        future = super().run_in_executor(executor, func, *args)
        self._on_threads += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self._on_threads -= 1

    def jumps(self, registered: int) -> bool:
        """Nothing real is waited for. `registered`: files of the selector; one is the loop's own."""
        return registered <= 1 and not self._on_threads and not threads_at_work()

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds


class _JumpingSelector(selectors.DefaultSelector):  # another class on each platform
    """Owned by its loop, which calls `select` when it has nothing to do for `timeout` seconds."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0 or not self._loop.jumps(len(self.get_map())):
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._loop.jump(timeout)
        return ready
