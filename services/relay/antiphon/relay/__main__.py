"""`python -m antiphon.relay [--check | --standby]`: runs the relay, or asks whether one of this host answers on NATS.

The workers are started before anything else is imported: packets move again about 0.2 s after the start. A standby has
imported everything, and its workers too, before it waits for the order to begin.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

from antiphon.relay.settings import SettingsError, load

USAGE: Final = """usage: python -m antiphon.relay [--check | --standby]

Moves packets between clients and calls; settings are ANTIPHON_* variables (docs/relay.md).

  --check    exit 0 if a relay of this host answers on NATS, else 1
  --standby  bind and connect nothing until a line comes on standard input; end when that closes
"""


def main() -> int:
    """Exit status: 0 after SIGTERM or SIGINT; 2 when the settings can't be used; `--check`: 0 if alive, else 1."""
    arguments = sys.argv[1:]
    if arguments == ["--check"]:
        return _check()
    standby = arguments == ["--standby"]
    if arguments and not standby:
        print(USAGE, end="", file=sys.stdout if arguments in (["--help"], ["-h"]) else sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    try:
        settings = load()
    except SettingsError as error:
        print(f"antiphon-relay: {error}", file=sys.stderr)
        return 2

    from antiphon.relay.control.worker_pool import WorkerPool, start_workers

    # Until the event loop handles them, half a second later.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    workers = start_workers(settings)
    if standby and not _ordered_to_begin():
        return 0
    try:
        pool = WorkerPool(settings, workers)
    except OSError as error:
        print(f"antiphon-relay: {error.strerror or error}", file=sys.stderr)
        return 2

    import asyncio

    from antiphon.relay.control.process import serve
    from antiphon.runtime import telemetry
    from antiphon.runtime.metrics import load_or_exit

    metrics = load_or_exit("relay")
    finish = telemetry.start("relay")
    try:
        asyncio.run(serve(settings, pool, metrics))
    except* OSError as group:
        print(f"antiphon-relay: {_first(group)}", file=sys.stderr)
        return_status = 2
    else:
        return_status = 0
    finally:
        finish()
    return return_status


def _ordered_to_begin() -> bool:
    """Import what `main` imports, then wait; False when the process that would give the order has ended."""
    import asyncio  # noqa: F401

    from antiphon.relay.control import process  # noqa: F401
    from antiphon.runtime import telemetry  # noqa: F401

    print("a standby is ready", flush=True)
    return bool(sys.stdin.buffer.readline())


def _first(group: BaseExceptionGroup[OSError]) -> str:
    error = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error.strerror or error)


def _check() -> int:
    import asyncio
    import os

    from antiphon.runtime.nats import connection, service_discovery
    from antiphon.runtime.nats.access import AccessError, from_environment

    url = os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL
    try:
        access = from_environment("relay")
    except AccessError as error:
        print(f"antiphon-relay: {error}", file=sys.stderr)
        return 2
    return 0 if asyncio.run(service_discovery.answers_here(url, "antiphon-relay", access)) else 1


if __name__ == "__main__":
    sys.exit(main())
