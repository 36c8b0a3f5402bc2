"""The first check of a prepared call's client, found among the packets that are for no session. No NATS, no session.

A check costs nothing but its integrity until that is right: it is then put into a queue, which `TakeOut` empties. What
comes of the same client meanwhile waits with it.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from antiphon.rtc import stun
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import tunnel
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.net.demux import Unrouted
from antiphon.transceiver.prepared.waiting_calls import Waiting, WaitingCalls

MAX_AT_ONCE: Final = 256
"""Calls whose clients have come and which are being made. The checks of further ones are dropped: clients repeat them
after 50 ms."""
BEGINS: Final = (200, 400)
"""Attempts per second, and at once: while the process is full each check of a waiting client is one."""
MAX_CHECKS: Final = 4
"""Of one client that wait for its session: one of each way that it tries, in most cases."""


class ComingClient(NamedTuple):
    """A client whose first check was authentic. Owned by `FirstChecks` until `done`."""

    ufrag: str
    call: Waiting
    checks: list[Unrouted]
    """In their order; the session answers them when it is made."""


class FirstChecks:
    """Finds them. `FirstChecks` of the `TunnelReceiver`.

    Owner: the process, for its whole life. Event loop only; `take` waits for nothing.
    """

    def __init__(self, waiting: WaitingCalls, password_key: bytes) -> None:
        self._waiting = waiting
        self._password_key = password_key
        self._coming: dict[str, ComingClient] = {}
        self._queue: asyncio.Queue[ComingClient] = asyncio.Queue(MAX_AT_ONCE)
        self._begins = TokenBucket(*BEGINS)

    def take(self, unrouted: Unrouted, now: float) -> bool:
        """Whether this packet is the authentic check of a prepared call's client: then it waits for its session."""
        call = self._waiting.find(unrouted.ufrag, now) if unrouted.ufrag else None
        if call is None or not self._is_authentic(unrouted):
            return False
        coming = self._coming.get(unrouted.ufrag)
        if coming is None:
            if len(self._coming) < MAX_AT_ONCE and self._begins.take(1, now):
                coming = self._coming[unrouted.ufrag] = ComingClient(unrouted.ufrag, call, [unrouted])
                self._queue.put_nowait(coming)
        elif len(coming.checks) < MAX_CHECKS:
            coming.checks.append(unrouted)
        return True

    async def next(self) -> ComingClient:
        """The next client that has come; `done` follows."""
        return await self._queue.get()

    def done(self, coming: ComingClient) -> None:
        """Its session is there, or will not be: a further check begins anew, where the call still waits."""
        self._coming.pop(coming.ufrag, None)

    def _is_authentic(self, unrouted: Unrouted) -> bool:
        datagram = unrouted.packet[tunnel.header_length(unrouted.packet) :]
        try:
            request = stun.unpack_binding_request(datagram)
        except stun.StunError:
            return False
        password = ice_password(self._password_key, unrouted.ufrag).encode()
        return not request.unknown and stun.is_authentic(datagram, request, password)
