"""`antiphon setup`: make all buckets and streams on NATS and keep them; and the same as a thread of `antiphon up`.

The work is `antiphon.runtime.nats.setup`. In `up` a thread of the supervisor does it: so no other part is given the
credential `setup`, by its environment or by a file.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping

from nats.aio.client import Client

from antiphon.cli.errors import UsageError
from antiphon.cli.up.terminal import Terminal
from antiphon.runtime.nats import setup
from antiphon.runtime.nats.stores import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon setup`; the rest are settings."""
    setup.add_arguments(parser)
    parser.epilog = (
        "Settings: ANTIPHON_NATS_URL, ANTIPHON_LEASES_STORAGE (memory or file), ANTIPHON_LEASE_RETENTION_SECONDS; with "
        "--hub: ANTIPHON_HUB_NATS_URL, ANTIPHON_HUB_NATS_CREDENTIALS, ANTIPHON_HUB_REPLICAS (1, 3 or 5). Runs "
        "until it is stopped, and makes everything again when NATS comes back empty."
    )


def run(args: argparse.Namespace) -> int:
    """Keep them until a signal; returns the exit status."""
    return setup.main(args.hub)


def table_from_environment() -> dict[str, Store]:
    """The stores with the operator's settings; `UsageError` for those that can't be used."""
    try:
        return setup.table_from()
    except setup.SettingsError as error:
        raise UsageError(str(error)) from None


class SetupThread:
    """Keeps the stores of `antiphon up`, in a thread with an event loop of its own.

    Made by `up` for the run; called by its main thread. `connect` is called in the thread: it makes the connection,
    with the credential `setup`.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Client]], table: Mapping[str, Store], terminal: Terminal
    ) -> None:
        self._connect, self._table = connect, table
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        logger = logging.getLogger("antiphon.runtime")
        logger.addHandler(_TerminalHandler(terminal))
        logger.setLevel(logging.INFO)
        logger.propagate = False
        self._thread = threading.Thread(target=self._run, name="setup", daemon=True)
        self._thread.start()

    def wait_until_ready(self, seconds: float) -> bool:
        """Whether all buckets and streams are there within that time; services wait for them anyway."""
        return self._ready.wait(seconds)

    def end(self) -> None:
        """Close the connection. Call it while NATS still runs, or not at all."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(1.0)

    def _run(self) -> None:
        self._loop.run_until_complete(self._keep_forever())

    async def _keep_forever(self) -> None:
        while not self._stop.is_set():
            try:
                await setup.serve(self._connect, self._table, self._stop, self._ready.set)
            except Exception:
                logging.getLogger("antiphon.runtime.nats").exception(
                    "buckets and streams are not kept: again in a second"
                )
                await asyncio.sleep(1.0)


class _TerminalHandler(logging.Handler):
    """Shows what the thread logs among the lines of the parts. Owned by the logger; called by the thread."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s setup %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as one line."""
        self._terminal.log("setup", self.format(record))
