"""The drain of a process: it takes no more sessions, and the running ones are handed over or end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from antiphon.transceiver.composition.parts import Parts

log = logging.getLogger(__name__)

WAITING_INTERVAL: Final = 0.05
"""Seconds between two looks at what is left."""
ENDING_TOGETHER: Final = 0.15
"""Seconds in which other processes that end at the same time announce so: sessions that they are handed are lost."""
HANDSHAKE_SECONDS: Final = 2.0
"""At most, for sessions in their handshake to become ones that can be handed over."""


async def drain(parts: Parts, seconds: float, hurry: asyncio.Event) -> None:
    """Hand sessions over, or let them end: for so many seconds, or until `hurry`. Event loop only, once."""
    loop = asyncio.get_running_loop()
    parts.opener.drain()
    parts.announcer.changed()
    deadline = loop.time() + seconds
    await _wait_for_handshakes(parts, min(deadline, loop.time() + HANDSHAKE_SECONDS), hurry)
    await _hand_over(parts)
    if not seconds or not len(parts.demux):
        return
    log.info("draining %d sessions for at most %g s", len(parts.demux), seconds)
    for session in parts.demux:
        session.announce_draining(seconds)
    while len(parts.demux) and loop.time() < deadline:
        if await _hurried(hurry):
            return
        await _hand_over(parts)  # to a process that has started meanwhile


async def _hand_over(parts: Parts) -> None:
    """Give all sessions to another process, if there is one."""
    if parts.failover is None or not len(parts.demux) or not parts.failover.can_hand_over:
        return
    await asyncio.sleep(ENDING_TOGETHER)
    gone = await parts.failover.hand_over_all()
    log.info("%d sessions handed over, %d are left", gone, len(parts.demux))
    now = asyncio.get_running_loop().time()
    for session in parts.demux:
        if parts.endpoints.of(session.state.session_id).withdrawn:
            session.end("draining", now)  # in its handshake: relays take it elsewhere now


async def _wait_for_handshakes(parts: Parts, until: float, hurry: asyncio.Event) -> None:
    """A session in its handshake can't be handed over: most are through it within tenths of a second."""
    while asyncio.get_running_loop().time() < until and not all(session.connected for session in parts.demux):
        if await _hurried(hurry):
            return


async def _hurried(hurry: asyncio.Event) -> bool:
    """After a short wait: the drain is to end now."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAITING_INTERVAL):
            await hurry.wait()
    return hurry.is_set()
