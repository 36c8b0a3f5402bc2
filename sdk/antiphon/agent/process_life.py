"""The life of a process that serves one agent: what the environment says, signals, exit statuses. For both kinds."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.agent.tools import threads_at_work
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions import lease_crypto
from antiphon.runtime.metrics import load_or_exit
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import connection, server_url
from antiphon.runtime.nats.access import VARIABLES, Access, AccessError, from_environment
from antiphon.schemas import MalformedError

log = logging.getLogger("antiphon.agent")

URL_VARIABLE: Final = "ANTIPHON_NATS_URL"

Serving = Callable[[MetricsSettings, Callable[[], None]], AbstractAsyncContextManager[None]]
"""Of where metrics are shown, and of what ends the process: the agent serves inside the block."""


def run(
    name: str, check: Callable[[], object], serving: Serving, ready: str, stopping: Callable[[], str], grace: float
) -> None:
    """Serve until SIGTERM or SIGINT, `grace` seconds for the end of it.

    `check()`: whether files that the environment names can be used. `ready`, `stopping()`: what the log says then.
    """
    url = os.environ.get(URL_VARIABLE) or connection.DEFAULT_NATS_URL
    try:
        server_url.checked(url)
    except MalformedError as error:
        print(f"agent {name}: {URL_VARIABLE}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    try:
        check()
    except (AccessError, lease_crypto.LeaseKeyError) as error:
        print(f"agent {name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    metrics = load_or_exit("agent")
    finish = telemetry.start(f"agent-{name}")
    log.info("agent %s connects to NATS at %s", name, server_url.without_password(url))
    try:
        asyncio.run(_serve(serving, metrics, ready, stopping, grace))
    except connection.RefusedError as error:
        print(f"agent {name}: {error}: is ANTIPHON_NATS_CREDENTIALS another agent's?", file=sys.stderr)
        raise SystemExit(2) from None
    except (OSError, nats.errors.Error) as error:
        where = server_url.without_password(url)
        print(f"agent {name}: NATS at {where} ({URL_VARIABLE}): {error or type(error).__name__}", file=sys.stderr)
        passes = isinstance(error, (nats.errors.Error, TimeoutError))  # then another start may succeed
        raise SystemExit(1 if passes else 2) from None
    finally:
        finish()
    if threads_at_work():
        log.warning("agent %s: %d tools still run on threads, not waited for", name, threads_at_work())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # Python itself would wait for its threads


def access(role: str, name: str, credentials: str | os.PathLike[str] = "") -> Access:
    """Who the agent is for NATS. `credentials`: in place of `ANTIPHON_NATS_CREDENTIALS`."""
    given = {VARIABLES["credentials"]: os.fspath(credentials)} if credentials else {}
    return from_environment(role, name, {**os.environ, **given})


async def connect(name: str, url: str, who: Access) -> Client:
    """`url`: in place of `ANTIPHON_NATS_URL`; its trouble is logged with that name."""
    named = "" if url else f" ({URL_VARIABLE})"  # what to look at when it can't be reached
    url = url or os.environ.get(URL_VARIABLE) or connection.DEFAULT_NATS_URL
    return await connection.connect(
        server_url.checked(url),
        name,
        who,
        log_name=f"agent {name}: NATS at {server_url.without_password(url)}{named}",
    )


async def _serve(
    serving: Serving, metrics: MetricsSettings, ready: str, stopping: Callable[[], str], grace: float
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def serve() -> None:
        async with serving(metrics, stop.set):
            log.info("ready: %s", ready)
            await stop.wait()
            log.info("stopping: %s", stopping())

    served = asyncio.create_task(serve())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({served, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not served.done():
        _, late = await asyncio.wait({served}, timeout=grace)
        if late:  # NATS cannot be reached, or a function does not let itself be cancelled
            served.cancel()
            await asyncio.wait({served}, timeout=grace)
    await tasks.end(stopped)
    if served.done() and not served.cancelled():
        served.result()
