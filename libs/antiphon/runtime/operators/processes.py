"""The processes of a region: what the services register says of each, with what it announces. `drain` ends one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.service_discovery import AGENT_SERVICE, TROUBLE, Answers, Instance, ping
from antiphon.schemas import messages, subjects

SERVICES: Final = ("antiphon-relay", "antiphon-transceiver", "antiphon-signaling", AGENT_SERVICE, "antiphon-worker")
"""All names of the register."""
LONGEST: Final = 1.0
SETTLE: Final = 0.25
"""Seconds without an answer after which a round is over."""
DRAIN_WAIT: Final = 2.0
"""Seconds in which a process says that it drains."""
MAX_TEXT: Final = 200
"""Characters of what a process says of itself."""


@dataclass(frozen=True)
class Process:
    """One entry of the register. A value. What is not known is None or empty."""

    service: str
    id: str
    """In the register: what `drain` takes."""
    version: str
    name: str = ""
    """Of a relay, an agent, or the kind of a worker; of a transceiver its `cluster.slot`."""
    host: str = ""
    pid: str = ""
    region: str = ""
    state: Literal["ready", "draining", ""] = ""
    taken: int | None = None
    """Calls that it has."""
    capacity: int | None = None
    """Calls at once."""
    lateness_ms: float | None = None
    metrics: str = ""
    """Address of its `/metrics`."""
    trouble: str = ""
    """Why it could not serve callers now."""


def processes_of(
    instances: Iterable[Instance],
    transceivers: Iterable[messages.TransceiverAnnouncement] = (),
    relays: Iterable[messages.RelayAnnouncement] = (),
) -> list[Process]:
    """One row for each instance, by service, name and id; an instance that answered twice counts once."""
    slots = {f"{each.cluster}.{each.slot}": each for each in transceivers}
    named = {each.name: each for each in relays}
    found: dict[tuple[str, str], Process] = {}
    for each in instances:
        said = {key: value[:MAX_TEXT] for key, value in each.metadata.items()}
        name = said.get("agent") or said.get("kind") or said.get("name", "")
        state: Literal["ready", "draining", ""] = ""
        taken, capacity = _count(each.data.get("sessions")), _count(each.data.get("capacity"))
        late: float | None = None
        region = said.get("region", "")
        if each.service == "antiphon-transceiver":
            name = f"{said.get('cluster', '0')}.{said.get('slot', '')}"
            if (announced := slots.get(name)) is not None:
                taken, capacity = announced.sessions, announced.capacity
                late = announced.lateness_ms if math.isfinite(announced.lateness_ms) else None
                state, region = announced.state, announced.region
        elif each.service == "antiphon-relay" and (relay := named.get(name)) is not None:
            state, region = relay.state, relay.region
        found[each.service, each.id] = Process(
            each.service,
            each.id,
            each.version[:32],
            name,
            said.get("host", ""),
            said.get("pid", ""),
            region,
            state,
            taken,
            capacity,
            late,
            said.get("metrics", ""),
            said.get(TROUBLE, ""),
        )
    return sorted(found.values(), key=lambda row: (row.service, row.name, row.id))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None


async def register_entries(client: Client) -> list[Instance]:
    """All processes that answer in the register now; agents with their load. An error of nats-py without NATS."""
    seen = 0

    def patience(answers: Answers) -> float:
        nonlocal seen
        first, seen = not seen, len(answers.instances) + answers.absent
        return math.inf if first and not seen else SETTLE

    return (await ping(client, SERVICES, LONGEST, patience, with_figures=(AGENT_SERVICE,))).instances


async def drain(client: Client, service: str, instance: str) -> messages.ControlReply:
    """Have this process stop as on SIGTERM: its answer.

    `NoRespondersError` where there is none, `TimeoutError` where it does not answer, `MalformedError` for an answer
    that is none.

    The answer comes to an inbox of the register: a process that may be drained may not answer in the inbox by which
    signaling hears of offers (`permissions`).
    """
    inbox = client.new_register_inbox() if isinstance(client, BusClient) else client.new_inbox()
    answered: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def on_answer(message: Msg) -> None:
        if not answered.done():
            answered.set_result(message)

    subscription = await client.subscribe(inbox, cb=on_answer)
    try:
        await client.publish(subjects.process_drain(service, instance), messages.encode(messages.Drain()), reply=inbox)
        async with asyncio.timeout(DRAIN_WAIT):
            answer = await answered
    finally:
        await subscription.unsubscribe()
    if (answer.headers or {}).get("Status") == "503":
        raise nats.errors.NoRespondersError
    return messages.decode(answer.data, messages.ControlReply)
