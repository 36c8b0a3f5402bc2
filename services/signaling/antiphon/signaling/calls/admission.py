"""Whether a caller's call may be placed now: its right to call, the places for offers, limits, uses of a secret.

No protocol and no media: a call over WebSocket passes here as one over WebRTC does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.auth.client_secret import ClientSecret
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.errors import ApiError, unavailable

MAX_PLACING: Final = 64
"""Calls being placed at once; above, 503 at once is kinder than a queue."""


def check_may_call(caller: Caller) -> None:
    """`ApiError` 403 without the scope, 401 for an old secret. Costs nothing: called before the body is read."""
    caller.need("calls")
    secret = _counted_secret(caller)
    if secret is not None and time.time() >= secret.expires_at:
        raise _used_up("expired_secret", "this ek_ secret has expired: fetch a new one for each call")


@asynccontextmanager
async def admitted(services: Services, caller: Caller) -> AsyncGenerator[None]:
    """The block places one call of this caller. `ApiError` 401, 403, 429 or 503 if it may not.

    A block that raises has placed no call, so the use of the secret is given back.
    """
    check_may_call(caller)
    if services.placing.locked():
        raise unavailable("overloaded", f"{MAX_PLACING} calls are being placed right now", retry_after=1)
    async with services.placing:  # does not wait: nothing ran since `locked`
        await services.limits.admit("calls", caller.address, caller.key)
        secret = _counted_secret(caller)
        if secret is not None:
            await _count_use(secret, services)
        try:
            yield
        except BaseException:
            if secret is not None:
                await asyncio.shield(services.limits.store.give_back(secret.id))
            raise


def _counted_secret(caller: Caller) -> ClientSecret | None:
    """Without keys nothing is counted, and a secret only carries settings."""
    return caller.secret if caller.key is not None else None


async def _count_use(secret: ClientSecret, services: Services) -> None:
    """One of the calls that the secret may place; `ApiError` 401 if it has placed all of them."""
    if not await services.limits.store.use(secret.id, secret.max_calls, secret.made_at, secret.counter):
        times = "its call" if secret.max_calls == 1 else f"its {secret.max_calls} calls"
        raise _used_up("secret_used", f"this ek_ secret has placed {times}: fetch a new one for each call")


def _used_up(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
