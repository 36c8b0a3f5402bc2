"""What a transceiver says of itself in the services register: tasks, sessions, and what else must come back."""

from __future__ import annotations

import json
from typing import Any, Final

import nats.errors
from support.processes.stack import Stack

from antiphon.runtime.nats.connection import connect_once

COMPARED: Final = ("sessions", "taken", "tasks", "threads", "visits", "handshakes_waiting")


async def transceiver_figures(stack: Stack) -> dict[str, int]:
    """`COMPARED` of the running transceiver; LookupError or TimeoutError while there is none."""
    try:
        client = await connect_once(stack.nats_url, "chaos", stack.access("operator"))
        try:
            answer = await client.request("$SRV.STATS.antiphon-transceiver", b"", timeout=1)
        finally:
            await client.close()
    except (OSError, nats.errors.Error) as error:
        raise LookupError(repr(error)) from None
    endpoints: list[dict[str, Any]] = json.loads(answer.data)["endpoints"]
    data = endpoints[0]["data"]
    return {name: int(data[name]) for name in COMPARED}
