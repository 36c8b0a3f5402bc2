"""Whether a caller's call may be placed now: its right to call, the places for offers, limits, uses of a secret.

No protocol and no media: a call over WebSocket passes here as one over WebRTC does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.auth.client_secret import ClientSecret
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.limits.secret_uses import PreparedUse
from antiphon.signaling.placement.placement import Placed
from antiphon.signaling.placement.prepared import was_used as withdrawn_or_used

MAX_PLACING: Final = 64
"""Calls being placed at once; above, 503 at once is kinder than a queue."""
MAX_PREPARING: Final = 32
"""Likewise calls being prepared, which take no place of a call's."""


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
    async with services.placing, _counted(services, caller):  # does not wait: nothing ran since `locked`
        yield


@asynccontextmanager
async def admitted_to_prepare(
    services: Services, caller: Caller
) -> AsyncGenerator[Callable[[Placed], Awaitable[None]]]:
    """As `admitted`, for a block that prepares one call, and gives it to what it gets when that is done.

    It counts as a call within the limits per minute. Of a secret it takes one use; the next prepared call, or an
    ordinary one, takes that over as long as the prepared call was not used.
    """
    check_may_call(caller)
    if services.preparing.locked():
        raise unavailable("overloaded", f"{MAX_PREPARING} calls are being prepared right now", retry_after=1)

    async def keep(placed: Placed) -> None:
        secret = _counted_secret(caller)
        if secret is not None:
            prepared = PreparedUse(placed.session_id, placed.cluster, placed.slot)
            await services.limits.store.note_prepared(secret.id, prepared)

    async with services.preparing, _counted(services, caller):
        yield keep


@asynccontextmanager
async def _counted(services: Services, caller: Caller) -> AsyncGenerator[None]:
    """The block is counted as one call, by all that counts calls; one that raises costs its secret nothing."""
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


def holder_of(caller: Caller) -> str:
    """`OpenRequest.prepare`: a secret has one prepared call at a time."""
    return caller.creator if _counted_secret(caller) is not None else ""


def _counted_secret(caller: Caller) -> ClientSecret | None:
    """Without keys nothing is counted, and a secret only carries settings."""
    return caller.secret if caller.key is not None else None


async def _count_use(secret: ClientSecret, services: Services) -> None:
    """One of the calls that the secret may place; `ApiError` 401 if it has placed all of them."""
    store = services.limits.store

    async def was_used(prepared: PreparedUse) -> bool:
        return await withdrawn_or_used(services.backend, secret.creator, *prepared, store.is_marked)

    if not await store.use(secret.id, secret.max_calls, secret.made_at, secret.counter, was_used):
        times = "its call" if secret.max_calls == 1 else f"its {secret.max_calls} calls"
        raise _used_up("secret_used", f"this ek_ secret has placed {times}: fetch a new one for each call")


def _used_up(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
