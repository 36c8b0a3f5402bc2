"""Continuing a session whose agent process is gone: silence that one for good, recall what the caller said meanwhile.

The lease is ours already (`keeper`), and the session is subscribed. What is left of the dead agent's speech is below
our first generation, so one flush removes it and keeps out whatever that agent, should it live, still sends.
"""

from __future__ import annotations

import asyncio

from nats.aio.client import Client

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases, recent_audio
from antiphon.runtime.agent_sessions.session_bus import ControlOutcome, SessionBus
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import Lease


async def fence(bus: SessionBus, lease: Lease) -> bool:
    """Silence all holders before us; False if the session is over: no transceiver has it."""
    outcome = await bus.flush(leases.first_generation(lease.takeovers))
    return outcome is not ControlOutcome.NO_SESSION


async def fence_and_recall(client: Client, bus: SessionBus, lease: Lease) -> list[AudioFrame] | None:
    """Fence, and read the caller's last seconds meanwhile, oldest first; None if the session is over.

    The list is empty where NATS does not keep them. Takes half a second at most if the transceiver answers.
    """
    recalling = asyncio.create_task(recent_audio.read(client, lease.agent, lease.session_id))
    try:
        return await recalling if await fence(bus, lease) else None
    finally:
        await tasks.end(recalling)
