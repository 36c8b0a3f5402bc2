"""Looks at the files of keys, for as long as the process runs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
"""Between two looks. With it a revoked key ends within a second, on running side channels too."""


class Looks(Protocol):
    """What reads its file again when that has changed."""

    def look(self, now: float) -> None: ...


async def watch(*files: Looks) -> None:
    """Look for ever. In a thread, because a file may lie on a network's file system."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        for each in files:
            try:
                await asyncio.to_thread(each.look, time.monotonic())
            except Exception:
                log.exception("a file of keys could not be read again")
