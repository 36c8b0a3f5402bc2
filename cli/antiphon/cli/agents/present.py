"""`antiphon agents`: the agents that can take calls now, by the services register and by what text agents announce."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from nats.aio.msg import Msg

from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.errors import CallError
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.service_discovery import AGENT_SERVICE, TROUBLE, Answers, Instance, ping
from antiphon.schemas import MalformedError, messages, subjects

LISTEN_SECONDS: Final = 1.3
"""Text agents announce themselves each second."""
MAX_ANNOUNCED: Final = 4096
"""Instances; further ones are not taken."""
MAX_TEXT: Final = 200
"""Characters of what an agent says of itself."""


@dataclass(frozen=True)
class Present:
    """An agent with all its processes. A value."""

    name: str
    kind: str
    """`text`: a plug-in that bridges ask; else what the process says of itself, or nothing."""
    instances: int
    taken: int
    """Calls, or with text agents answers under way, of all instances."""
    capacity: int
    trouble: str = ""
    """Why an instance could not serve callers now."""


def present(instances: Iterable[Instance], announced: Iterable[messages.TextAgentAnnouncement]) -> list[Present]:
    """One row for each agent, by name; an instance that answered twice counts once."""
    entries: dict[str, dict[str, Instance]] = {}
    for instance in instances:
        said = instance.metadata
        for name in (said.get("agents") or said.get("agent", "")).split(","):
            if name:
                entries.setdefault(name[:64], {})[instance.id] = instance
    text: dict[str, list[messages.TextAgentAnnouncement]] = {}
    for each in announced:
        text.setdefault(each.agent, []).append(each)
    rows = []
    for name in sorted(entries.keys() | text.keys()):
        served = list(entries.get(name, {}).values())
        trouble = next((each.metadata[TROUBLE] for each in served if each.metadata.get(TROUBLE)), "")[:MAX_TEXT]
        if own := text.get(name):
            taken, capacity = sum(each.answering for each in own), sum(each.capacity for each in own)
            rows.append(Present(name, "text", len(own), taken, capacity, trouble))
            continue
        kind = next((each.metadata["kind"] for each in served if each.metadata.get("kind")), "")[:16]
        taken = sum(_count(each.data, "sessions") for each in served)
        rows.append(
            Present(name, kind, len(served), taken, sum(_count(each.data, "capacity") for each in served), trouble)
        )
    return rows


def run(url: str, *, as_json: bool) -> int:
    """Write who is present; 1 if nobody is."""
    found = asyncio.run(_find(url))
    if as_json:
        print(json.dumps({"agents": [asdict(each) for each in found]}, indent=2))
    elif found:
        print(table(found))
    else:
        print("no agent is present")
    return 0 if found else 1


def table(found: Iterable[Present]) -> str:
    """For people."""
    rows = [("AGENT", "KIND", "INSTANCES", "LOAD", "TROUBLE")]
    for each in found:
        trouble = each.trouble.encode("unicode_escape").decode()
        rows.append((each.name, each.kind or "-", str(each.instances), f"{each.taken}/{each.capacity}", trouble))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


async def _find(url: str) -> list[Present]:
    announced: dict[tuple[str, str], messages.TextAgentAnnouncement] = {}

    async def on_announcement(message: Msg) -> None:
        try:
            said = messages.decode(message.data, messages.TextAgentAnnouncement)
            named = subjects.parse_agent_announce(message.subject)
        except MalformedError:
            return
        key = said.agent, said.instance
        if named != said.agent or (key not in announced and len(announced) >= MAX_ANNOUNCED):
            return
        announced[key] = said

    until = time.monotonic() + LISTEN_SECONDS
    async with on_the_bus(url, "antiphon-agents", "operator") as client:
        try:
            await client.subscribe(subjects.ANY_AGENT_ANNOUNCE, cb=on_announcement)
            await connection.require_allowed(client)
            answers: Answers = await ping(
                client, [AGENT_SERVICE], LISTEN_SECONDS, lambda _: until - time.monotonic(), [AGENT_SERVICE]
            )
            await asyncio.sleep(until - time.monotonic())
        except (*BUS_ERRORS, MalformedError) as error:
            raise CallError(f"the agents can't be listed: {str(error) or type(error).__name__}") from None
    return present(answers.instances, (each for each in announced.values() if not each.leaving))


def _count(figures: Mapping[str, Any], name: str) -> int:
    value = figures.get(name)
    return value if type(value) is int and 0 <= value < 1 << 53 else 0
