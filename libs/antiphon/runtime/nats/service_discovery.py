"""The NATS services register: entering it, asking it by `$SRV.PING`, and the health check on it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import math
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro import add_service
from nats.micro.service import Service

from antiphon.runtime.nats.access import OPEN, Access
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.connection import ONCE_SECONDS, connect_once

AGENT_SERVICE: Final = "antiphon-agent"
"""The register name of every agent; its own name is the metadata `agent`."""
TROUBLE: Final = "trouble"
"""In the metadata of an instance: why it could not serve callers at the moment; signaling shows it to everybody."""
MAX_ANSWERS: Final = 4096
"""Answers that one `ping` takes; it ends with this one."""


class Instance(NamedTuple):
    """One process in the register, as it answered a PING."""

    service: str
    """The name that was asked for, such as `AGENT_SERVICE`."""
    id: str
    """The register's own name of this instance."""
    metadata: dict[str, str]
    """What it was registered with."""
    version: str = ""
    """Of its release."""
    data: Mapping[str, Any] = MappingProxyType({})
    """Its figures, where they were asked for."""


class Answers:
    """What one `ping` has received so far. Owned by that call, which fills it; its `patience` only reads it."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        """In the order of their answers."""
        self.absent = 0
        """Names without an instance: the server answers for each of them, with status 503."""


async def register(
    client: Client,
    name: str,
    metadata: dict[str, str] | None = None,
    figures: Callable[[], dict[str, Any]] | None = None,
) -> Service:
    """Enter the NATS services register, so that `nats micro list` and health checks see this process.

    `metadata` is completed here, and stays the caller's: what the caller changes in it later is answered from then on.
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


async def ping(
    client: Client,
    names: Sequence[str],
    wait: float,
    patience: Callable[[Answers], float],
    with_figures: Collection[str] = (),
) -> Answers:
    """Ask the register for all instances of these names, for `wait` seconds at most.

    `patience` is asked before each answer: how many seconds to wait for one more. 0 ends the ping, `math.inf` uses up
    what is left of `wait`. `with_figures`: of these names, `STATS` is asked for in place of `PING`.
    """
    answers = Answers()
    received: asyncio.Queue[Msg] = asyncio.Queue()

    async def on_answer(message: Msg) -> None:
        received.put_nowait(message)

    inbox = client.new_register_inbox() if isinstance(client, BusClient) else client.new_inbox()
    # One for each name, not to be guessed: what answers as a relay must not answer as an agent.
    asked = {name: f"{inbox}.{secrets.token_hex(8)}" for name in names}
    subscription = await client.subscribe(f"{inbox}.*", cb=on_answer)
    deadline = time.monotonic() + wait
    try:
        for name, reply in asked.items():
            verb = "STATS" if name in with_figures else "PING"
            await client.publish(f"$SRV.{verb}.{name}", reply=reply)
        for _ in range(MAX_ANSWERS):
            left = min(deadline - time.monotonic(), patience(answers))
            if left <= 0:
                break
            try:
                # Not by `next_msg`, whose `wait_for` may lose a cancellation before Python 3.12.
                async with asyncio.timeout(left):
                    message = await received.get()
            except TimeoutError:
                break
            if (message.headers or {}).get("Status") == "503":
                answers.absent += 1
            elif (instance := _instance(message.data)) is not None and message.subject == asked.get(instance.service):
                answers.instances.append(instance)
    finally:
        await subscription.unsubscribe()
    return answers


async def instances(
    client: Client, name: str, wait: float = 0.5, enough: Callable[[list[dict[str, str]]], bool] | None = None
) -> list[dict[str, str]]:
    """The metadata of every instance that is in the register under `name` and answers within `wait` seconds.

    In the order of their answers. `enough`: these answers will do, the others need not be waited for.
    """

    def found(answers: Answers) -> list[dict[str, str]]:
        return [instance.metadata for instance in answers.instances]

    def patience(answers: Answers) -> float:
        return 0.0 if enough is not None and enough(found(answers)) else math.inf

    return found(await ping(client, [name], wait, patience))


async def answers_here(url: str, name: str, access: Access = OPEN, wait: float = 1.0) -> bool:
    """Whether an instance of `name` on this host answers in the services register within `wait` seconds.

    What `--check` of every service asks; False as well when NATS at `url` cannot be reached.
    """
    try:
        async with asyncio.timeout(ONCE_SECONDS + wait):
            client = await connect_once(url, "antiphon-check", access)
            try:
                host = socket.gethostname()
                return any(metadata.get("host") == host for metadata in await instances(client, name, wait))
            finally:
                await client.close()
    except (OSError, TimeoutError, nats.errors.Error):
        return False


def _instance(data: bytes) -> Instance | None:
    """None for what is no answer to a PING."""
    try:
        answer = json.loads(data)
        name, metadata = answer["name"], answer["metadata"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(name, str) or not isinstance(metadata, dict):
        return None
    said = {str(key): str(value) for key, value in metadata.items()}
    return Instance(name, str(answer.get("id", "")), said, str(answer.get("version", "")), _figures(answer))


def _figures(answer: dict[str, Any]) -> Mapping[str, Any]:
    """What the service adds to the statistics of its endpoints, which is the same for each of them."""
    endpoints = answer.get("endpoints")
    first = endpoints[0] if isinstance(endpoints, list) and endpoints else None
    data = first.get("data") if isinstance(first, dict) else None
    return data if isinstance(data, dict) else MappingProxyType({})


def _version() -> str:
    """Of the installed distribution; the register takes three numbers only, and Python's 0.2.0rc1 is none."""
    try:
        found = re.match(r"\d+\.\d+\.\d+", importlib.metadata.version("antiphon"))
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        found = None
    return found[0] if found else "0.0.0"
