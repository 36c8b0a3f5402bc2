"""Who is there: instances in the register that NATS micro services answer (`$SRV.PING`), and the health check on it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro import add_service
from nats.micro.service import Service

from antiphon.runtime.nats.connection import ONCE_SECONDS, connect_once

_LOOK_SECONDS = 0.01
AGENT_SERVICE = "antiphon-agent"
"""The register name under which every agent stands, with its own name as metadata `agent`."""
TROUBLE = "trouble"
"""In the metadata of an instance: why it could not serve callers at the moment; signaling shows it to everybody."""


async def register(
    client: Client,
    name: str,
    metadata: dict[str, str] | None = None,
    figures: Callable[[], dict[str, Any]] | None = None,
) -> Service:
    """Stand in the NATS services register, so that `nats micro list` and health checks see this process.

    `metadata` is completed here, and stays the caller's: what is changed in it later is answered from then on.
    `figures`: what `nats micro stats` shows as data of each endpoint.
    """
    metadata = {} if metadata is None else metadata
    metadata.update(host=socket.gethostname(), pid=str(os.getpid()))
    return await add_service(
        client,
        name=name,
        version=_version(),
        metadata=metadata,
        stats_handler=(lambda _: figures()) if figures else None,
    )


async def instances(
    client: Client, name: str, wait: float = 0.5, enough: Callable[[list[dict[str, str]]], bool] | None = None
) -> list[dict[str, str]]:
    """The metadata of every instance that stands in the register under `name` and answers within `wait` seconds.

    In the order of their answers. `enough`: what is found so far will do.
    """
    found: list[dict[str, str]] = []

    async def on_answer(message: Msg) -> None:
        try:
            metadata = json.loads(message.data)["metadata"]
        except (ValueError, LookupError, TypeError):
            return
        if isinstance(metadata, dict):
            found.append({str(key): str(value) for key, value in metadata.items()})

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=on_answer)
    try:
        await client.publish(f"$SRV.PING.{name}", reply=inbox)
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            if enough is not None and enough(found):
                break
            await asyncio.sleep(left if enough is None else min(left, _LOOK_SECONDS))
    finally:
        await subscription.unsubscribe()
    return found


async def answers_here(url: str, name: str, wait: float = 1.0) -> bool:
    """Whether an instance of `name` on this host answers in the services register within `wait` seconds.

    What `--check` of every service asks; False as well when NATS at `url` cannot be reached.
    """
    try:
        async with asyncio.timeout(ONCE_SECONDS + wait):
            client = await connect_once(url, "antiphon-check")
            try:
                host = socket.gethostname()
                return any(metadata.get("host") == host for metadata in await instances(client, name, wait))
            finally:
                await client.close()
    except (OSError, TimeoutError, nats.errors.Error):
        return False


def _version() -> str:
    """Of the installed distribution; the register takes three numbers only, and Python's 0.2.0rc1 is none."""
    try:
        found = re.match(r"\d+\.\d+\.\d+", importlib.metadata.version("antiphon"))
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        found = None
    return found[0] if found else "0.0.0"
