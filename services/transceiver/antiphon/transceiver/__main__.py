"""`python -m antiphon.transceiver`: run one transceiver until SIGTERM. `--check`: does one of this host answer?"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from typing import Final

import nats.errors
from pydantic import ValidationError

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.loop_watchdog import LoopWatchdog
from antiphon.runtime.metrics import load_or_exit
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import connection, service_discovery
from antiphon.transceiver import prefork
from antiphon.transceiver.process import Transceiver
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.coalescing_selector import CoalescingSelector

STANDSTILL_SECONDS: Final = 2.0
"""Of the event loop, after which the calls are better off in another process; docs/transceiver.md says what may take
long."""


async def serve(settings: Settings, metrics: MetricsSettings, is_busy: Callable[[], bool]) -> None:
    """Run until SIGTERM or SIGINT. `is_busy()`: of the loop, which coalesces its wakeups."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connecting = asyncio.create_task(
        connection.connect(settings.nats_url, "antiphon-transceiver", settings.nats_access(), reads_frames=True)
    )
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await tasks.end(connecting)
        return
    client = connecting.result()
    starting = asyncio.create_task(Transceiver.start(settings, client, metrics, stop.set, is_busy))
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        await tasks.end(starting)
        await client.close()
        return
    transceiver = starting.result()
    # These objects live as long as the process: the collector need not look at them again while frames are due.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # frames make no cycles; of ended sessions, see `timing.cycle_collection`
    watchdog = LoopWatchdog("transceiver", STANDSTILL_SECONDS)
    watchdog.start()
    await stop.wait()
    stop.clear()  # a second signal ends the drain
    if prefork.is_orphan():
        stop.set()  # hand over or end at once
    await transceiver.drain(stop)
    await transceiver.stop()
    await client.close()
    watchdog.stop()


def main() -> int:
    """Exit status 0 after a stop, 1 for a failed check or a bus that fails while we start, 2 for unusable settings."""
    try:
        settings = Settings()
    except ValidationError as error:
        problems = "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
        print(f"antiphon transceiver: {problems}", file=sys.stderr)
        return 2
    if "--check" in sys.argv[1:]:
        answers = service_discovery.answers_here(settings.nats_url, "antiphon-transceiver", settings.nats_access())
        return 0 if asyncio.run(answers) else 1
    metrics = load_or_exit("transceiver")
    prefork.tie_to_parent()
    flush_traces = telemetry.start("transceiver")
    try:
        if settings.transceiver_processes > 1:
            return asyncio.run(prefork.serve(settings))
        selector = CoalescingSelector()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(serve(settings, metrics, lambda: selector.coalescing))
    except connection.RefusedError as error:
        print(f"antiphon transceiver: {error} (ANTIPHON_NATS_CREDENTIALS, ANTIPHON_CLUSTER)", file=sys.stderr)
        return 2
    except (nats.errors.Error, TimeoutError) as error:
        print(f"antiphon transceiver: NATS fails us at our start: {error or type(error).__name__}", file=sys.stderr)
        return 1  # to be started again
    except (RuntimeError, OSError) as error:
        print(f"antiphon transceiver: {error or type(error).__name__}", file=sys.stderr)
        return 2
    finally:
        flush_traces()
    return 0


if __name__ == "__main__":
    sys.exit(main())
