"""Races TCP connects to a server: a lost SYN costs a quarter of a second instead of the whole one that TCP waits.

As RFC 8305 section 5 has it for several addresses, with the families in turn, and also where there is only one address:
Chromium does the same.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

PAUSE: Final = 0.25
"""Seconds before the next attempt, while none has been answered."""
ATTEMPTS: Final = 4
LINEAR_TIMEOUTS: Final = 16
"""TCP_THIN_LINEAR_TIMEOUTS of <linux/tcp.h>: a request that is lost again and again is repeated at even intervals, some
300 ms at a round trip of 100 ms, not after twice as long each time. It holds for six repetitions of a few packets."""

T = TypeVar("T")


class Target(NamedTuple):
    """One address of the server. A value."""

    family: int
    address: tuple[Any, ...]


def in_turn(targets: Sequence[Target]) -> list[Target]:
    """Without doubles, IPv6 and IPv4 alternating; the family that the resolver put first begins."""
    families: dict[int, list[Target]] = {}
    for target in dict.fromkeys(targets):
        families.setdefault(target.family, []).append(target)
    rounds = itertools.zip_longest(*families.values())
    return [target for each in rounds for target in each if target is not None]


async def resolve(host: str, port: int) -> list[Target]:
    """The addresses of a name, in the order in which they are tried; OSError if it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return in_turn([Target(family, address) for family, _, _, _, address in found])


async def race(targets: Sequence[Target], connect: Callable[[Target], Awaitable[T]], discard: Callable[[T], None]) -> T:
    """The first connection that is there; OSError if every address refuses. `discard` gets what connects too late.

    An attempt begins every `PAUSE` seconds, on the next address and then again on the first, until there are `ATTEMPTS`
    of them. Where an address refuses, the next one is tried at once, and it is not tried again.
    """
    order = list(itertools.islice(itertools.cycle(targets), max(ATTEMPTS, min(len(targets), 2 * ATTEMPTS))))
    refused: dict[Target, OSError] = {}
    running: dict[asyncio.Future[T], Target] = {}
    try:
        while True:
            while order and order[0] in refused:
                del order[0]
            if order and len(running) < ATTEMPTS:
                target = order.pop(0)
                running[asyncio.ensure_future(connect(target))] = target
            if not running:
                raise next(iter(refused.values()), OSError("the server's name has no address"))
            more = bool(order) and len(running) < ATTEMPTS
            done, _ = await asyncio.wait(running, timeout=PAUSE if more else None, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                target = running[attempt]
                try:
                    won = attempt.result()
                except OSError as error:
                    del running[attempt]
                    refused[target] = error
                else:
                    del running[attempt]
                    return won
    finally:
        for attempt in running:
            attempt.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(late, BaseException):
                discard(late)


async def _connect(target: Target) -> socket.socket:
    attempt = socket.socket(target.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        attempt.setblocking(False)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            attempt.setsockopt(socket.IPPROTO_TCP, LINEAR_TIMEOUTS, 1)
        await asyncio.get_running_loop().sock_connect(attempt, target.address)
    except BaseException:
        attempt.close()
        raise
    return attempt


async def connect(host: str, port: int) -> socket.socket:
    """A connected socket with TCP_NODELAY; OSError says why there is none."""
    return await race(await resolve(host, port), _connect, socket.socket.close)
